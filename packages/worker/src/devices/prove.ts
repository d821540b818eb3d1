import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, silentLogger } from "@openpool/base";
import {
  Capability,
  type CapabilitySet,
  capabilitySet,
  DEFAULT_CAPABILITIES,
  type Profile,
  type ProfileCodec,
} from "@openpool/protocol";
import { createByteBudget } from "../byte-budget.ts";
import type { EncodingPath } from "../transcode/arguments.ts";
import { createFfmpegTranscoder } from "../transcode/ffmpeg-transcoder.ts";
import type { TranscodeOutcome } from "../transcode/transcoder.ts";
import { type Candidate, software, softwareEncoders } from "./candidates.ts";
import type { Device, Encoders } from "./device.ts";
import { explainFailure } from "./explain.ts";
import type { FfmpegBuild } from "./ffmpeg-build.ts";
import { decodableSamples, decodeCapability, type Sample, SAMPLE_FRAMES, type SampleName } from "./samples.ts";

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
export interface Bench {
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

export function capabilitiesOf(
  build: FfmpegBuild,
  encoders: Encoders,
  decodes: ReadonlySet<SampleName>,
): CapabilitySet {
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
export interface SoftwareProof {
  readonly encoders: Encoders;
  readonly decodes: ReadonlySet<SampleName>;
  readonly why: string;
}

export async function proveSoftware(bench: Bench, sample: Sample): Promise<SoftwareProof> {
  const [decodes, { encoders, why }] = await Promise.all([
    decodableSamples(bench.build, bench.dir, bench.samples, software, undefined, bench.signal),
    provedEncoders(bench, { ...software, encoders: softwareEncoders, decodes: undefined }, sample),
  ]);
  return { encoders, decodes, why };
}

export async function proveDevice(
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
    const decodes = await decodableSamples(bench.build, bench.dir, simple, bare, "scale_cuda=160:120", bench.signal);
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
