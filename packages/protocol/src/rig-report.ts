import { z } from "zod";
import { type Facts, isReasonCode, type ReasonCode } from "./http-api/sentences.ts";

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
    .describe("the code of a reason without `problem-`; a newer rig may know others"),
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

type Named<Code> = Code extends `problem-${infer Name}` ? Name : never;

/** Why a test fails. Rigs send the key and what it names, never FFmpeg's own text: pools show this to everybody. */
export type PreflightProblem = Named<ReasonCode>;

/** The reason for a problem that a rig told; a newer rig's own problem is `other`. */
export function problemReason(
  problem: string,
  subject: string,
): { readonly code: `problem-${PreflightProblem}`; readonly facts: Facts } {
  const facts: Facts = subject === "" ? {} : { subject };
  const code = `problem-${problem}` as const;
  return isProblemCode(code) ? { code, facts } : { code: "problem-other", facts };
}

function isProblemCode(code: `problem-${string}`): code is `problem-${PreflightProblem}` {
  return isReasonCode(code);
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
