import { isAddressProblem, parseAddress, type WorkerAddress } from "@openpool/protocol";
import { z } from "zod";
import type { HookShare } from "../ledger/schemes/index.ts";
import type { CreditedJob } from "../ledger/types.ts";
import type { SandboxAnswer } from "./sandbox.ts";

/** What a hook may export; every one of them is optional, but `share` where the terms say `hook`. */
export const hookNames = ["share", "jobCredited", "workerJoined", "payoutPlanned"] as const;
export type HookName = (typeof hookNames)[number];

const MAX_LINES = 64;
const MAX_NOTE = 200;

/** A registration of a rig, as `workerJoined` sees it. */
export interface JoiningWorker {
  readonly worker: WorkerAddress;
  readonly rig: string;
  readonly version: string;
  /** Sessions at once. */
  readonly capacity: number;
}

/** One line of a payout before it is made, as `payoutPlanned` sees it. */
export interface PlannedPayout {
  readonly run: string;
  readonly worker: WorkerAddress;
  readonly payTo: WorkerAddress;
  readonly amountWei: bigint;
  /** `eth`, or the address of a token. */
  readonly asset: string;
}

/** What a hook has to say about a fact. A veto says why. */
export interface HookOpinion {
  readonly veto: string | undefined;
  readonly note: string | undefined;
}

/** A job as hooks see it. Amounts and pixels are decimal strings here and BigInt inside. */
export function jobInput(work: CreditedJob): string {
  return JSON.stringify({
    job: work.job,
    worker: work.worker,
    rig: work.rig,
    door: work.source,
    at: new Date(work.atMs).toISOString(),
    segments: work.segments,
    pixels: String(work.pixels),
    durationMs: work.durationMs,
    renditions: work.renditions.map(({ width, height, frames }) => ({ width, height, frames })),
    feeWei: String(work.feeWei),
    commissionWei: String(work.commissionWei),
    earnedWei: String(work.earnedWei),
  });
}

export function joinedInput({ worker, rig, version, capacity }: JoiningWorker): string {
  return JSON.stringify({ worker, rig, version, capacity });
}

export function payoutInput({ run, worker, payTo, amountWei, asset }: PlannedPayout): string {
  return JSON.stringify({ run, worker, payTo, amountWei: String(amountWei), asset });
}

const note = z.string().max(MAX_NOTE, `is longer than ${MAX_NOTE} characters`).transform(plainLine).optional();
const line = z.strictObject({ to: z.string(), wei: z.unknown() });
const shareAnswer = z.union([
  z.array(line).transform((lines) => ({ lines, note: undefined })),
  z.strictObject({ lines: z.array(line), note }),
]);
const opinion = z.strictObject({
  veto: z.string().min(1).max(MAX_NOTE, `is longer than ${MAX_NOTE} characters`).transform(plainLine).optional(),
  note,
});

/** What `share` answered, if it is exact: its lines sum to the fee. */
export function readShare(hash: string, feeWei: bigint, answer: SandboxAnswer): HookShare {
  const failed = (why: string): HookShare => ({ kind: "failed", hash, why });
  if (answer.kind === "missing") return failed("the module exports no function share");
  if (answer.kind === "failed") return failed(answer.why);
  const parsed = shareAnswer.safeParse(parseJson(answer.json));
  if (!parsed.success) {
    return failed("it did not answer an array of lines { to, wei }, nor { lines, note }; it must not be async");
  }
  const { lines } = parsed.data;
  if (lines.length > MAX_LINES) return failed(`it answered ${lines.length} lines, more than ${MAX_LINES}`);
  const shares = new Map<WorkerAddress | "pool", bigint>();
  let sumWei = 0n;
  for (const { to, wei } of lines) {
    const payee = to === "pool" ? to : parseAddress(to);
    if (payee !== "pool" && isAddressProblem(payee))
      return failed(`it gave to ${quote(to)}, which is no address and not "pool"`);
    if (typeof wei === "number")
      return failed(`it gave a number of wei (${wei}): amounts are BigInt, numbers lose wei`);
    if (typeof wei !== "string" || !/^-?\d{1,78}$/.test(wei))
      return failed(`it gave ${quote(wei)}, which is no whole number of wei`);
    const amountWei = BigInt(wei);
    if (amountWei < 0n) return failed(`it gave ${wei} wei: nobody can be given less than nothing`);
    shares.set(payee, (shares.get(payee) ?? 0n) + amountWei);
    sumWei += amountWei;
  }
  if (sumWei !== feeWei) return failed(`its lines sum to ${sumWei} wei and the fee is ${feeWei} wei`);
  return {
    kind: "shared",
    hash,
    lines: [...shares].filter(([, wei]) => wei > 0n).map(([to, wei]) => ({ to, wei })),
    note: parsed.data.note,
  };
}

/** What `jobCredited`, `workerJoined` or `payoutPlanned` answered; a string in place of it: why that is no answer. */
export function readOpinion(answer: SandboxAnswer): HookOpinion | string {
  if (answer.kind === "missing") return { veto: undefined, note: undefined };
  if (answer.kind === "failed") return answer.why;
  const value = parseJson(answer.json);
  if (value === undefined || value === null) return { veto: undefined, note: undefined };
  const parsed = opinion.safeParse(value);
  if (!parsed.success) return "it answered something else than nothing or { veto, note } with short texts";
  return { veto: parsed.data.veto, note: parsed.data.note };
}

/** `undefined` for what is no JSON: no valid answer is. */
function parseJson(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return plainLine(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

/** What hooks say stands in logs, pages and terminals. */
function plainLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are exactly what is replaced
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ");
}
