export { parseFingerprint } from "@openpool/transcoder";
export { detectDevices, type DetectFailure, type Detection, type DetectOptions } from "./devices/detect.ts";
export { type Device, type DeviceKind, deviceName, type Finding } from "./devices/device.ts";
export type { FfmpegBuild, FfmpegFailure } from "./devices/ffmpeg-build.ts";
export type { NvidiaGpu } from "./devices/nvidia-smi.ts";
export { type DeviceRequest, parseDevices } from "./devices/request.ts";
export type { LinkEnd as WorkerEnd } from "./net/pool-link.ts";
export {
  DEFAULT_POOL_PORT,
  defaultWorkerOptions,
  parsePoolAddress,
  type WorkerDeps,
  type WorkerOptions,
} from "./options.ts";
export type { DeviceStatus, WorkerStatus } from "./status.ts";
export { startWorker, type Worker, type WorkerFailure } from "./worker.ts";
