import { mkdtemp, readdir, rm } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { type Clock, type Logger, PoolError, silentLogger, systemClock } from "@openpool/base";
import {
  capabilitySet,
  type CapabilitySet,
  Capability,
  DEFAULT_CAPABILITIES,
  type Profile,
  type ProfileCodec,
} from "@openpool/protocol";
import type { EncodingPath } from "../transcode/arguments.ts";
import { createByteBudget } from "../byte-budget.ts";
import { createFfmpegTranscoder } from "../transcode/ffmpeg-transcoder.ts";
import type { TranscodeOutcome } from "../transcode/transcoder.ts";
import type { Device, DeviceKind, Finding } from "./device.ts";
import { explainFailure } from "./explain.ts";
import { type FfmpegBuild, inspectFfmpeg } from "./ffmpeg-build.ts";
import { listNvidiaGpus, type NvidiaGpu } from "./nvidia-smi.ts";
import { type DeviceRequest, parseDevices } from "./request.ts";
import {
  decodableSamples,
  decodeCapability,
  makeSamples,
  type Sample,
  SAMPLE_FRAMES,
  type SampleName,
} from "./samples.ts";

export interface DetectOptions {
  /** As in `WorkerOptions.devices`. */
  readonly devices: string;
  readonly ffmpegPath: string;
  readonly nvidiaSmiPath: string;
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

type Encoders = Partial<Record<ProfileCodec, string>>;

/** A device before its tests: ways to use it, best first, and its own encoders. */
interface Candidate {
  readonly id: string;
  readonly kind: DeviceKind;
  readonly name: string;
  readonly uuid: string | undefined;
  readonly paths: readonly Omit<EncodingPath, "encoders" | "decodes">[];
  readonly encoders: Encoders;
}

const softwareEncoders: Encoders = { h264: "libx264", h265: "libx265", vp9: "libvpx-vp9" };
const software = { frames: "software", wrapper: [], inputArgs: [], uploadFilter: "", encoderArgs: [] } as const;

function cpuCandidate(): Candidate {
  const list = cpus();
  const name = `${list[0]?.model.trim() || "processor"}, ${list.length} threads`;
  return { id: "cpu", kind: "cpu", name, uuid: undefined, paths: [software], encoders: softwareEncoders };
}

function nvidiaCandidate({ index, uuid, name, driverVersion }: NvidiaGpu): Candidate {
  const open = ["-init_hw_device", `cuda=gpu:${index}`, "-filter_hw_device", "gpu"];
  // CUDA numbers cards by speed unless told otherwise, nvidia-smi by slot.
  const common = { wrapper: ["env", "CUDA_DEVICE_ORDER=PCI_BUS_ID"], uploadFilter: "", encoderArgs: [] };
  const decode = [
    "-hwaccel",
    "cuda",
    "-hwaccel_device",
    "gpu",
    "-hwaccel_output_format",
    "cuda",
    "-extra_hw_frames",
    "8",
  ];
  return {
    id: `nvidia:${index}`,
    kind: "nvidia",
    name: `${name}, driver ${driverVersion}`,
    uuid,
    paths: [
      { ...common, frames: "cuda", inputArgs: [...open, ...decode] },
      { ...common, frames: "cuda-upload", inputArgs: open },
      { ...common, frames: "upload", inputArgs: [], encoderArgs: ["-gpu", String(index)] },
    ],
    encoders: { h264: "h264_nvenc", h265: "hevc_nvenc" },
  };
}

function renderCandidate(kind: "vaapi" | "qsv", node: string): Candidate {
  const open = kind === "vaapi" ? `vaapi=hw:${node}` : `qsv=hw:hw_any,child_device=${node}`;
  const uploadFilter = kind === "vaapi" ? "format=nv12,hwupload" : "format=nv12,hwupload=extra_hw_frames=64";
  return {
    id: `${kind}:${node}`,
    kind,
    name: `${kind.toUpperCase()} on ${node}`,
    uuid: undefined,
    paths: [
      {
        frames: "upload",
        wrapper: [],
        inputArgs: ["-init_hw_device", open, "-filter_hw_device", "hw"],
        uploadFilter,
        encoderArgs: [],
      },
    ],
    encoders: { h264: `h264_${kind}`, h265: `hevc_${kind}`, ...(kind === "vaapi" ? { vp9: "vp9_vaapi" } : {}) },
  };
}

const amfCandidate: Candidate = {
  id: "amf",
  kind: "amf",
  name: "AMD AMF",
  uuid: undefined,
  paths: [{ ...software, frames: "upload", uploadFilter: "format=nv12" }],
  encoders: { h264: "h264_amf", h265: "hevc_amf" },
};

const testProfile = (codec: ProfileCodec): Profile => ({
  name: "test",
  width: 256,
  height: 192,
  bitrate: 200_000,
  fps: 0,
  fpsDen: 1,
  container: codec === "vp9" ? "mp4" : "mpegts",
  codec,
  h264Profile: "default",
  gopMs: 0,
  quality: 0,
});

const TEST_TIMEOUT_MS = 15_000;

/** Everything that the tests of one detection share. */
interface Bench {
  readonly build: FfmpegBuild;
  readonly dir: string;
  readonly samples: readonly Sample[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Sends a sample through the real thing. */
async function tryTranscode(
  bench: Bench,
  path: EncodingPath,
  sample: Sample,
  codecs: readonly ProfileCodec[],
): Promise<TranscodeOutcome> {
  const transcoder = createFfmpegTranscoder(
    {
      ffmpegPath: bench.build.path,
      tempDir: await mkdtemp(join(bench.dir, "run-")),
      namePrefix: "test",
      path,
      anySourcePath: undefined,
      dialect: bench.build.dialect,
      keepsSpares: false,
    },
    { clock: bench.clock, logger: silentLogger, resultBudget: createByteBudget(1 << 30) },
  );
  try {
    return await transcoder.transcode(
      {
        session: "test",
        source: sample.data,
        durationMs: 2_000,
        profiles: codecs.map(testProfile),
        clip: undefined,
        perceptualHash: false,
        orchId: "test",
        deadlineMs: bench.clock.monotonicMs() + TEST_TIMEOUT_MS,
      },
      bench.signal,
    );
  } finally {
    await transcoder[Symbol.asyncDispose]();
  }
}

type TestResult = { readonly ok: true } | { readonly ok: false; readonly why: string };

async function testEncode(
  bench: Bench,
  path: EncodingPath,
  sample: Sample,
  codecs: readonly ProfileCodec[],
): Promise<TestResult> {
  for (const codec of codecs) {
    const encoder = path.encoders[codec] ?? codec;
    if (!bench.build.encoders.has(encoder)) return { ok: false, why: `FFmpeg has no ${encoder}` };
  }
  const outcome = await tryTranscode(bench, path, sample, codecs);
  if (outcome.kind !== "done") {
    return {
      ok: false,
      why:
        outcome.kind === "stopped"
          ? "stopped"
          : explainFailure("stderrTail" in outcome ? outcome.stderrTail : outcome.text),
    };
  }
  outcome.release();
  const complete = outcome.renditions.every(({ frames }) => frames === SAMPLE_FRAMES);
  return complete ? { ok: true } : { ok: false, why: "the test encode lost frames" };
}

/** Codecs of `encoders` that pass; all at once first, one by one when that fails. */
async function provedEncoders(
  bench: Bench,
  path: EncodingPath,
  sample: Sample,
): Promise<{ readonly encoders: Encoders; readonly why: string }> {
  const codecs = Object.keys(path.encoders) as ProfileCodec[];
  const all = await testEncode(bench, path, sample, codecs);
  if (all.ok) return { encoders: path.encoders, why: "" };
  const encoders: Encoders = {};
  let why = all.why;
  for (const codec of codecs) {
    const encoder = path.encoders[codec];
    const one = await testEncode(bench, path, sample, [codec]);
    if (one.ok && encoder !== undefined) encoders[codec] = encoder;
    else if (codec === "h264" && !one.ok) why = one.why;
  }
  return { encoders, why };
}

function capabilitiesOf(build: FfmpegBuild, encoders: Encoders, decodes: ReadonlySet<SampleName>): CapabilitySet {
  let set = DEFAULT_CAPABILITIES;
  if (!build.filters.has("signature")) set &= ~capabilitySet(Capability.mpeg7Signature);
  if (encoders.h265 !== undefined) set |= capabilitySet(Capability.hevcEncode);
  if (encoders.vp9 !== undefined) set |= capabilitySet(Capability.vp9Encode);
  for (const name of decodes) {
    const number = decodeCapability(name);
    if (number !== undefined) set |= capabilitySet(number);
  }
  return set;
}

const sampleCodecs = { h264: "h264", hevc: "hevc", vp8: "vp8", vp9: "vp9" } as const;

/** What the processor can do: the fallback of every other device, and a device itself. */
interface SoftwareProof {
  readonly encoders: Encoders;
  readonly decodes: ReadonlySet<SampleName>;
  readonly why: string;
}

async function proveSoftware(bench: Bench, sample: Sample): Promise<SoftwareProof> {
  const [decodes, { encoders, why }] = await Promise.all([
    decodableSamples(bench.build, bench.dir, bench.samples, [], bench.signal),
    provedEncoders(bench, { ...software, encoders: softwareEncoders, decodes: undefined }, sample),
  ]);
  return { encoders, decodes, why };
}

async function proveDevice(
  candidate: Candidate,
  bench: Bench,
  sample: Sample,
  fallback: SoftwareProof,
): Promise<{ readonly device: Device | undefined; readonly text: string }> {
  const { id, kind, name, uuid } = candidate;
  const problems = new Set<string>();
  for (const [i, bare] of candidate.paths.entries()) {
    const { encoders, why } = await provedEncoders(
      bench,
      { ...bare, encoders: candidate.encoders, decodes: undefined },
      sample,
    );
    if (encoders.h264 === undefined) {
      problems.add(why);
      continue;
    }
    // What the device lacks the processor makes, where it can.
    const all: Encoders = { ...fallback.encoders, ...encoders };
    if (bare.frames !== "cuda") {
      const path: EncodingPath = { ...bare, encoders: all, decodes: undefined };
      const device = {
        id,
        kind,
        name,
        uuid,
        path,
        anySourcePath: undefined,
        capabilities: capabilitiesOf(bench.build, all, fallback.decodes),
      };
      return { device, text: `works${bare.frames === "cuda-upload" ? ", decoding on the processor" : ""}` };
    }
    const simple = bench.samples.filter((one) => one.name in sampleCodecs);
    const decodes = await decodableSamples(bench.build, bench.dir, simple, bare.inputArgs, bench.signal);
    const upload = candidate.paths[i + 1];
    const device: Device = {
      id,
      kind,
      name,
      uuid,
      path: {
        ...bare,
        encoders: all,
        decodes: Object.entries(sampleCodecs).flatMap(([of, codec]) => (decodes.has(of as SampleName) ? [codec] : [])),
      },
      anySourcePath: upload && { ...upload, encoders: all, decodes: undefined },
      capabilities: capabilitiesOf(bench.build, all, fallback.decodes),
    };
    return { device, text: "works" };
  }
  return { device: undefined, text: [...problems].join("; ") || "it did not pass its test encode" };
}

async function renderNodes(): Promise<string[]> {
  const entries = await readdir("/dev/dri").catch(() => []);
  return entries.filter((name) => name.startsWith("renderD")).map((name) => `/dev/dri/${name}`);
}

/** The devices behind a request that are worth a test, and words about those that are not there at all. */
async function candidatesFor(
  request: DeviceRequest,
  options: DetectOptions,
  build: FfmpegBuild,
  signal: AbortSignal,
): Promise<{ readonly candidates: Candidate[]; readonly findings: Finding[] }> {
  switch (request.kind) {
    case "cpu":
      return { candidates: [], findings: [] };
    case "nvidia": {
      const inventory = await listNvidiaGpus(options.nvidiaSmiPath, signal);
      if (inventory.kind === "none")
        return { candidates: [], findings: [{ device: "nvidia", usable: false, text: inventory.why }] };
      const wanted = request.indexes ?? inventory.gpus.map(({ index }) => index);
      const candidates: Candidate[] = [];
      const findings: Finding[] = [];
      for (const index of wanted) {
        const gpu = inventory.gpus.find((one) => one.index === index);
        if (gpu) candidates.push(nvidiaCandidate(gpu));
        else findings.push({ device: `nvidia:${index}`, usable: false, text: `nvidia-smi lists no card ${index}` });
      }
      return { candidates, findings };
    }
    case "vaapi":
    case "qsv": {
      const nodes = request.node === undefined ? await renderNodes() : [request.node];
      const text = "there is no render node in /dev/dri";
      if (nodes.length === 0) return { candidates: [], findings: [{ device: request.kind, usable: false, text }] };
      return { candidates: nodes.map((node) => renderCandidate(request.kind, node)), findings: [] };
    }
    case "amf":
      return { candidates: [amfCandidate], findings: [] };
    case "auto": {
      // Each only where something speaks for it: a test of what is not there would only put words into the log.
      const nodes = await renderNodes();
      const nvidia = await candidatesFor({ kind: "nvidia", indexes: undefined }, options, build, signal);
      const candidates = [...nvidia.candidates];
      if (candidates.length === 0) {
        for (const kind of ["qsv", "vaapi"] as const) {
          if (build.encoders.has(`h264_${kind}`)) candidates.push(...nodes.map((node) => renderCandidate(kind, node)));
        }
        if (nodes.length > 0 && build.encoders.has("h264_amf")) candidates.push(amfCandidate);
      }
      return { candidates, findings: nvidia.findings };
    }
  }
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
  const build = await inspectFfmpeg(options.ffmpegPath, signal);
  const dir = await mkdtemp(join(options.tempDir, "detect-"));
  try {
    const samples = await makeSamples(build, dir, signal);
    const findings: Finding[] = [];
    const fail = (text: string): never => {
      const list = findings.map(({ device, text: why }) => `${device}: ${why}`).join("; ");
      throw new PoolError<DetectFailure>({ code: "worker/no-device", findings }, list ? `${text} ${list}` : text);
    };
    const sample = samples.find(({ name }) => name === "h264");
    if (!sample)
      return fail(
        "FFmpeg cannot make H.264 in software (libx264), which every test starts from; install a full build.",
      );
    const bench: Bench = { build, dir, samples, clock: deps.clock, signal };
    const proof = await proveSoftware(bench, sample);

    const devices: Device[] = [];
    const named = requests.some(({ kind }) => kind !== "auto");
    let wantsCpu = requests.some(({ kind }) => kind === "cpu");
    let missing = false;
    for (const request of requests) {
      const found = await candidatesFor(request, options, build, signal);
      findings.push(...found.findings);
      missing ||= named && found.findings.length > 0;
      const taken = new Set<string>();
      for (const candidate of found.candidates) {
        // One way to use a render node is enough: the first that works.
        const node = candidate.id.split(":").slice(1).join(":");
        if (candidate.kind !== "nvidia" && node && taken.has(node)) continue;
        const { device, text } = await proveDevice(candidate, bench, sample, proof);
        findings.push({ device: candidate.id, usable: device !== undefined, text });
        if (device) {
          devices.push(device);
          taken.add(node);
        } else {
          missing ||=
            named &&
            (request.kind === "nvidia" || request.kind === "amf" || ("node" in request && request.node !== undefined));
        }
      }
    }
    if (missing) return fail("A device that was asked for cannot transcode.");
    if (devices.length === 0 && !named) wantsCpu = true;
    if (wantsCpu) {
      const usable = proof.encoders.h264 !== undefined;
      findings.push({ device: "cpu", usable, text: usable ? "works" : proof.why });
      const { id, kind, name, uuid } = cpuCandidate();
      if (usable) {
        devices.unshift({
          id,
          kind,
          name,
          uuid,
          path: { ...software, encoders: proof.encoders, decodes: undefined },
          anySourcePath: undefined,
          capabilities: capabilitiesOf(build, proof.encoders, proof.decodes),
        });
      }
    }
    const [first, ...others] = devices;
    if (!first) return fail("Nothing on this machine can transcode H.264.");
    return { ffmpeg: build, devices: [first, ...others], findings };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
