import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, type Logger, PoolError, silentLogger, systemClock } from "@openpool/base";
import { candidatesFor, cpuCandidate, software } from "./candidates.ts";
import type { Device, Finding } from "./device.ts";
import { troubleText } from "./explain.ts";
import { type FfmpegBuild, inspectFfmpeg } from "./ffmpeg-build.ts";
import { type Bench, capabilitiesOf, proveDevice, proveSoftware, type SoftwareProof } from "./prove.ts";
import { type DeviceRequest, parseDevices } from "./request.ts";
import { makeSamples, type Sample } from "./samples.ts";

export interface DetectOptions {
  /** As in `WorkerOptions.devices`. */
  readonly devices: string;
  readonly ffmpegPath: string;
  readonly nvidiaSmiPath: string;
  /** Where render nodes lie, when not in `/dev/dri`: a test brings its own. */
  readonly driDir?: string;
  /** A directory to make a temporary one in. */
  readonly tempDir: string;
}

export interface Detection {
  readonly ffmpeg: FfmpegBuild;
  /** At least one. */
  readonly devices: readonly [Device, ...Device[]];
  readonly findings: readonly Finding[];
}

export type DetectFailure =
  | { readonly code: "worker/bad-devices"; readonly devices: string }
  | { readonly code: "worker/no-device"; readonly findings: readonly Finding[] };

/** What one request of the operator led to. */
interface Found {
  readonly devices: readonly Device[];
  readonly findings: readonly Finding[];
  /** Something that was asked for by name is not there or does not work. */
  readonly missing: boolean;
}

/** Whether a request names its device, so that another one of its kind is no substitute. */
function namesOne(request: DeviceRequest): boolean {
  return (
    (request.kind === "nvidia" && request.indexes !== undefined) || ("node" in request && request.node !== undefined)
  );
}

/** `taken`: devices that were asked for before, by render node or name; they are left out. */
async function proveAll(
  request: DeviceRequest,
  options: DetectOptions,
  bench: Bench,
  sample: Sample,
  proof: SoftwareProof,
  taken: Set<string>,
): Promise<Found> {
  const { choices, findings: absent } = await candidatesFor(request, options, bench.build, bench.signal);
  const devices: Device[] = [];
  const findings = [...absent];
  let missing = namesOne(request) && absent.length > 0;
  let elsewhere = false;
  for (const candidates of choices) {
    if (devices.length > 0) break;
    for (const candidate of candidates) {
      // One way to use a device is enough: the first that works.
      const place = candidate.node ?? candidate.id;
      if (taken.has(place)) {
        elsewhere = true;
        continue;
      }
      const { device, finding } = await proveDevice(candidate, bench, sample, proof);
      findings.push(finding);
      if (device) devices.push(device);
      else if (namesOne(request)) missing = true;
      if (device) taken.add(place);
    }
  }
  const optional = request.kind === "auto" || request.kind === "cpu";
  return { devices, findings, missing: missing || (!optional && !elsewhere && devices.length === 0) };
}

function cpuDevice(build: FfmpegBuild, proof: SoftwareProof): Device | undefined {
  if (proof.encoders.h264 === undefined) return undefined;
  const { id, kind, model, driver, memoryMib, uuid } = cpuCandidate();
  return {
    id,
    kind,
    model,
    driver,
    memoryMib,
    uuid,
    path: { ...software, encoders: proof.encoders, decodes: undefined },
    anySourcePath: undefined,
    capabilities: capabilitiesOf(build, proof.encoders, proof.decodes),
    proved: { encoders: Object.values(proof.encoders), decoders: [...proof.decodes] },
  };
}

/**
 * Finds out what of this machine can transcode, by doing it: a few frames through each device on the very path that
 * segments will take. Names decide nothing (data-centre cards have no encoder). Throws when nothing is left.
 */
export async function detectDevices(
  options: DetectOptions,
  deps: { readonly clock: Clock; readonly logger: Logger } = { clock: systemClock, logger: silentLogger },
  signal: AbortSignal = new AbortController().signal,
): Promise<Detection> {
  const requests = parseDevices(options.devices);
  if (typeof requests === "string") {
    throw new PoolError<DetectFailure>({ code: "worker/bad-devices", devices: options.devices }, requests);
  }
  const findings: Finding[] = [];
  const fail = (text: string): PoolError<DetectFailure> => {
    const list = findings.filter(({ usable }) => !usable).map(({ device, text: why }) => `${device}: ${why}`);
    return new PoolError<DetectFailure>(
      { code: "worker/no-device", findings },
      [text, list.join("; ")].join(" ").trim(),
    );
  };
  const build = await inspectFfmpeg(options.ffmpegPath, signal);
  const dir = await mkdtemp(join(options.tempDir, "detect-"));
  try {
    const samples = await makeSamples(build, dir, signal);
    const sample = samples.find(({ name }) => name === "h264");
    if (!sample) {
      throw fail("FFmpeg cannot make H.264 in software (libx264), which every test starts from; install a full build.");
    }
    const bench: Bench = { build, dir, samples, clock: deps.clock, signal };
    const proof = await proveSoftware(bench, sample);

    const devices: Device[] = [];
    let missing = false;
    const taken = new Set<string>();
    for (const request of requests) {
      const found = await proveAll(request, options, bench, sample, proof, taken);
      devices.push(...found.devices);
      findings.push(...found.findings);
      missing ||= found.missing;
    }
    if (missing) throw fail("A device that was asked for cannot transcode.");
    const wantsCpu = requests.some(({ kind }) => kind === "cpu" || (kind === "auto" && devices.length === 0));
    if (wantsCpu) {
      const cpu = cpuDevice(build, proof);
      const text = proof.trouble ? troubleText(proof.trouble) : "works";
      findings.push({ device: "cpu", usable: cpu !== undefined, text, tests: proof.tests });
      if (cpu) devices.unshift(cpu);
    }
    const [first, ...others] = devices;
    if (!first) throw fail("Nothing on this machine can transcode H.264.");
    return { ffmpeg: build, devices: [first, ...others], findings };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
