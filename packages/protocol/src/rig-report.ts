import { z } from "zod";

/**
 * What a rig of ours tells the pool about its machine: `POST` to this path of the workers' door, JSON, over the connection
 * that its registration is on and with the same `credentials`. A stock transcoder never does; a pool that does not know
 * the path answers 404, and the rig works all the same.
 */
export const RIG_REPORT_PATH = "/openpool/v1/rig-report";
/** A report of sixty-four devices has half of it. */
export const MAX_RIG_REPORT_BYTES = 64 * 1024;

/** FFmpeg's name of an encoder or codec, a driver's version, a path below /dev: nothing that could pass for a sentence. */
const token = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[\w.:/+~-]+$/);
const codecNames = z.array(token(40)).max(32);

export const deviceKindSchema = z.enum(["cpu", "nvidia", "vaapi", "qsv", "amf"]);

export const rigDeviceSchema = z.object({
  id: token(80).describe("as its operator names it: `cpu`, `nvidia:0`"),
  kind: deviceKindSchema,
  model: z.string().min(1).max(120),
  driver: token(40).nullable(),
  memoryMib: z.number().int().min(0).max(1e9).nullable(),
  encoders: codecNames.describe("that passed a test encode, by FFmpeg's names"),
  decoders: codecNames.describe("kinds of source that it decoded in a test"),
  sessions: z.number().int().min(1).max(10_000).nullable().describe("measured; null where the operator set a number"),
  realTimeFactor: z.number().min(0).max(1e6).nullable().describe("seconds of video a second, all streams together"),
});
export type RigDevice = z.infer<typeof rigDeviceSchema>;

/** One thing that the rig tried on itself before it offered it. */
export const preflightTestSchema = z.object({
  device: token(80),
  test: z.enum(["find", "decode", "encode"]),
  of: token(40).nullable().describe("the encoder; null where the test has no object"),
  passed: z.boolean(),
  problem: z
    .string()
    .max(40)
    .regex(/^[a-z][a-z-]*$/)
    .nullable()
    .describe("a key of `preflightProblems`; a newer rig may know others"),
  subject: token(80).nullable().describe("what the problem names: an encoder, a version"),
});
export type PreflightTest = z.infer<typeof preflightTestSchema>;

/** Fields may be added within a version; a pool that does not know the version answers 400, and the rig works all the same. */
export const rigReportSchema = z.object({
  v: z.literal(1),
  software: z.object({
    worker: z.string().max(64).describe("version of the worker daemon"),
    ffmpeg: z.string().max(64),
    system: z.string().max(64).describe("operating system and architecture"),
  }),
  devices: z.array(rigDeviceSchema).min(1).max(64),
  tests: z.array(preflightTestSchema).max(256),
});
export type RigReport = z.infer<typeof rigReportSchema>;

interface ProblemWords {
  readonly detail: string;
  /** What its operator can do; undefined: nothing, or nobody knows. */
  readonly action?: string;
}

const inContainer = "In a container, NVIDIA_DRIVER_CAPABILITIES must name video.";

/**
 * Why a test fails, in words. Rigs send the key and what it names, never FFmpeg's own text: pools show this to everybody.
 */
export const preflightProblems = {
  "no-encoder": (encoder: string) => ({
    detail: `FFmpeg has no ${encoder || "encoder for it"}`,
    action: "Install an FFmpeg that has it, or name another one with --ffmpeg.",
  }),
  "no-filter": (filter: string) => ({
    detail: `FFmpeg has no filter ${filter}`.trimEnd(),
    action: "Install a full build of FFmpeg, or name another one with --ffmpeg.",
  }),
  "driver-too-old": (needed: string) => ({
    detail: needed === "" ? "driver too old for this FFmpeg" : `driver too old: this FFmpeg's NVENC needs ${needed}`,
    action: "Update the NVIDIA driver, or use an older FFmpeg.",
  }),
  "no-encoder-library": () => ({ detail: "the driver's encoder library is missing", action: inContainer }),
  "no-decoder-library": () => ({ detail: "the driver's decoder library is missing", action: inContainer }),
  "no-driver": () => ({
    detail: "no NVIDIA driver",
    action: "Install it; a container must be started with the GPU (docker run --gpus all).",
  }),
  "no-card": (index: string) => ({
    detail: index === "" ? "nvidia-smi names no card" : `nvidia-smi lists no card ${index}`,
    action: "Run nvidia-smi: does the driver see the card?",
  }),
  "no-cuda-device": () => ({
    detail: "there is no such CUDA device",
    action: "Run nvidia-smi: does the driver see the card?",
  }),
  "memory-full": () => ({ detail: "the card's memory is full", action: "End what else uses it: nvidia-smi lists it." }),
  "sessions-taken": () => ({
    detail: "all encoder sessions of the card are in use",
    action: "End other encoders, or give the worker fewer sessions with --max-sessions.",
  }),
  "no-nvenc": () => ({ detail: "no NVENC on this card for this codec" }),
  "cannot-encode": () => ({ detail: "the device cannot encode this codec" }),
  "no-render-node": () => ({
    detail: "there is no render node in /dev/dri",
    action: "Install the GPU's driver; a container must be started with --device /dev/dri.",
  }),
  "no-vaapi": () => ({ detail: "no VAAPI driver for this device", action: "Install the VAAPI driver of its maker." }),
  "no-quick-sync": () => ({ detail: "no Quick Sync on this machine" }),
  "no-amf": () => ({ detail: "AMD's AMF runtime is missing", action: "Install it, or use VAAPI." }),
  "no-permission": () => ({
    detail: "no permission to use the device",
    action: "Add the user to the groups video and render.",
  }),
  "disk-full": () => ({ detail: "the disk is full", action: "Make room where the worker's directory is." }),
  "frames-lost": () => ({ detail: "the test encode lost frames" }),
  stopped: () => ({ detail: "stopped before it was done" }),
  other: () => ({ detail: "its test encode failed", action: "The worker's own log has FFmpeg's words." }),
} as const satisfies Record<string, (subject: string) => ProblemWords>;
export type PreflightProblem = keyof typeof preflightProblems;

/** The words for a problem that a rig told; a newer rig's own problem is `other`. */
export function describeProblem(problem: string, subject: string): ProblemWords {
  const known = Object.hasOwn(preflightProblems, problem) ? (problem as PreflightProblem) : "other";
  return preflightProblems[known](subject);
}

const counted = (n: number, what: string): string => (n === 1 ? what : `${n} × ${what}`);

/** Devices of one model as one, in the order in which they come first. */
export function devicesByModel<Device extends Pick<RigDevice, "kind" | "model">>(
  devices: readonly Device[],
): { readonly first: Device; readonly count: number }[] {
  const models = new Map<string, { first: Device; count: number }>();
  for (const device of devices) {
    const key = `${device.kind} ${device.model}`;
    const known = models.get(key);
    if (known) known.count++;
    else models.set(key, { first: device, count: 1 });
  }
  return [...models.values()];
}

/** `8 × NVIDIA GeForce RTX 4090 + NVIDIA T4`. */
export function formatDevices(models: readonly { readonly model: string; readonly count: number }[]): string {
  const shown = models.slice(0, 3).map(({ model, count }) => counted(count, model));
  return [...shown, ...(models.length > 3 ? [`${models.length - 3} more`] : [])].join(" + ");
}
