import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, silentLogger } from "@openpool/base";
import {
  Capability,
  type CapabilitySet,
  capabilitySet,
  DEFAULT_CAPABILITIES,
  type PreflightTest,
  plainProfile,
  type Profile,
  type ProfileCodec,
} from "@openpool/protocol";
import { createByteBudget } from "../byte-budget.ts";
import type { EncodingPath } from "../transcode/arguments.ts";
import { createFfmpegTranscoder } from "../transcode/ffmpeg-transcoder.ts";
import type { TranscodeOutcome } from "../transcode/transcoder.ts";
import { type Candidate, software, softwareEncoders } from "./candidates.ts";
import type { Device, Encoders, Finding } from "./device.ts";
import { explainFailure, type Trouble, troubleText } from "./explain.ts";
import type { FfmpegBuild } from "./ffmpeg-build.ts";
import { decodableSamples, decodeCapability, type Sample, SAMPLE_FRAMES, type SampleName } from "./samples.ts";

const testProfile = (codec: ProfileCodec): Profile =>
  plainProfile({
    name: "test",
    width: 256,
    height: 192,
    bitrate: 200_000,
    container: codec === "vp9" ? "mp4" : "mpegts",
    codec,
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

/** Undefined: it passed. */
async function testEncode(
  bench: Bench,
  path: EncodingPath,
  sample: Sample,
  codecs: readonly ProfileCodec[],
): Promise<Trouble | undefined> {
  for (const codec of codecs) {
    const encoder = path.encoders[codec] ?? codec;
    if (!bench.build.encoders.has(encoder)) return { problem: "no-encoder", subject: encoder };
  }
  const outcome = await tryTranscode(bench, path, sample, codecs);
  if (outcome.kind === "stopped") return { problem: "stopped", subject: "" };
  if (outcome.kind !== "done") return explainFailure("stderrTail" in outcome ? outcome.stderrTail : outcome.text);
  outcome.release();
  const complete = outcome.renditions.every(({ frames }) => frames === SAMPLE_FRAMES);
  return complete ? undefined : { problem: "frames-lost", subject: "" };
}

/** One encoder that was tried. */
interface EncoderTest {
  readonly codec: ProfileCodec;
  readonly encoder: string;
  /** Undefined: it passed. */
  readonly trouble: Trouble | undefined;
}

/** Tries the encoders of a path; all at once first, one by one when that fails. */
async function testEncoders(bench: Bench, path: EncodingPath, sample: Sample): Promise<EncoderTest[]> {
  const known = Object.entries(path.encoders) as [ProfileCodec, string][];
  const codecs = known.map(([codec]) => codec);
  const allPass = (await testEncode(bench, path, sample, codecs)) === undefined;
  const tests: EncoderTest[] = [];
  for (const [codec, encoder] of known) {
    tests.push({ codec, encoder, trouble: allPass ? undefined : await testEncode(bench, path, sample, [codec]) });
  }
  return tests;
}

/** Those that passed. */
function proved(tests: readonly EncoderTest[]): Encoders {
  return Object.fromEntries(tests.flatMap(({ codec, encoder, trouble }) => (trouble ? [] : [[codec, encoder]])));
}

/** As the pool is told. */
function preflight(device: string, tests: readonly EncoderTest[]): PreflightTest[] {
  return tests.map(({ encoder, trouble }) => ({
    device,
    test: "encode",
    of: encoder,
    passed: trouble === undefined,
    problem: trouble?.problem ?? null,
    subject: trouble?.subject || null,
  }));
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
  /** Why there is no H.264; undefined when there is. */
  readonly trouble: Trouble | undefined;
  readonly tests: readonly PreflightTest[];
}

export async function proveSoftware(bench: Bench, sample: Sample): Promise<SoftwareProof> {
  const [decodes, tests] = await Promise.all([
    decodableSamples(bench.build, bench.dir, bench.samples, software, undefined, bench.signal),
    testEncoders(bench, { ...software, encoders: softwareEncoders, decodes: undefined }, sample),
  ]);
  const trouble = tests.find(({ codec }) => codec === "h264")?.trouble;
  return { encoders: proved(tests), decodes, trouble, tests: preflight("cpu", tests) };
}

export async function proveDevice(
  candidate: Candidate,
  bench: Bench,
  sample: Sample,
  fallback: SoftwareProof,
): Promise<{ readonly device: Device | undefined; readonly finding: Finding }> {
  const { paths, encoders: offered, node: _, ...hardware } = candidate;
  const { id } = hardware;
  const problems = new Set<string>();
  let tests: EncoderTest[] = [];
  for (const [i, bare] of paths.entries()) {
    tests = await testEncoders(bench, { ...bare, encoders: offered, decodes: undefined }, sample);
    const own = proved(tests);
    if (own.h264 === undefined) {
      const trouble = tests.find(({ codec }) => codec === "h264")?.trouble;
      if (trouble) problems.add(troubleText(trouble));
      continue;
    }
    // What the device lacks the processor makes, where it can.
    const encoders: Encoders = { ...fallback.encoders, ...own };
    const simple = bench.samples.filter((one) => one.name in sampleCodecs);
    const decodes =
      bare.frames === "cuda"
        ? await decodableSamples(bench.build, bench.dir, simple, bare, "scale_cuda=160:120", bench.signal)
        : undefined;
    const upload = decodes && paths[i + 1];
    const device: Device = {
      ...hardware,
      path: {
        ...bare,
        encoders,
        decodes:
          decodes &&
          Object.entries(sampleCodecs).flatMap(([of, codec]) => (decodes.has(of as SampleName) ? [codec] : [])),
      },
      anySourcePath: upload && { ...upload, encoders, decodes: undefined },
      capabilities: capabilitiesOf(bench.build, encoders, fallback.decodes),
      proved: { encoders: Object.values(own), decoders: [...(decodes ?? [])] },
    };
    const text = `works${bare.frames === "cuda-upload" ? ", decoding on the processor" : ""}`;
    return { device, finding: { device: id, usable: true, text, tests: preflight(id, tests) } };
  }
  const text = [...problems].join("; ") || "it did not pass its test encode";
  return { device: undefined, finding: { device: id, usable: false, text, tests: preflight(id, tests) } };
}
