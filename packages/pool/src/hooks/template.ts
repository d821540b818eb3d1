/** What `openpool hooks init` writes beside the module, so that editors know what a hook gets and gives. */
export const hookTypes = `// The hooks of a pool. Written by \`openpool hooks init\`; edit your module, not this file.

/** A worker's payout address, 0x and 40 hex digits. */
export type Address = string;

/** A verified and credited job. Amounts and pixels are BigInt: numbers lose wei. */
export interface Job {
  readonly job: string;
  readonly worker: Address;
  readonly rig: string;
  /** Where the fee comes from: "source:gateway", or "source:upstream:NAME". */
  readonly door: string;
  /** When it was credited: 2026-11-21T13:22:19.103Z. */
  readonly at: string;
  readonly segments: number;
  /** Output pixels, as measured by the pool. */
  readonly pixels: bigint;
  readonly durationMs: number;
  readonly renditions: readonly { readonly width: number; readonly height: number; readonly frames: number }[];
  /** commissionWei + earnedWei: what there is to share. */
  readonly feeWei: bigint;
  readonly commissionWei: bigint;
  readonly earnedWei: bigint;
}

/** "pool" is the pool's commission. \`wei\` is a BigInt or a decimal string. */
export interface Line {
  readonly to: Address | "pool";
  readonly wei: bigint | string;
}

export interface Opinion {
  /** Why not. */
  readonly veto?: string;
  /** To be remembered. */
  readonly note?: string;
}

/** Who gets what of a job's fee. At most 64 lines, and they must sum to \`feeWei\`, or the fee is held and you are told. */
export type Share = (job: Job) => readonly Line[] | { readonly lines: readonly Line[]; readonly note?: string };

/** A job was credited: a note stands beside it in the worker's statement. A veto changes nothing here. */
export type JobCredited = (job: Job) => Opinion | undefined | void;

/** A rig joined: a veto lets it go again. */
export type WorkerJoined = (joining: {
  readonly worker: Address;
  readonly rig: string;
  readonly version: string;
  readonly capacity: number;
}) => Opinion | undefined | void;

/** A payout is about to be made: a veto stops the whole run, a note is kept with it. */
export type PayoutPlanned = (payout: {
  readonly run: string;
  readonly worker: Address;
  readonly payTo: Address;
  readonly amountWei: bigint;
  /** "eth", or the address of a token. */
  readonly asset: string;
}) => Opinion | undefined | void;
`;

const head = `// The hooks of a pool. Try them on what happened:  openpool hooks test FILE --last 1000
// then keep them:  openpool hooks add FILE   and announce terms that name the hash that this prints:
//   openpool terms set --scheme hook --scheme-option hook=sha256:… --effective …
//
// This runs in an engine of its own: no network, no files, no clock, no chance, nothing remembered between calls. The same
// job must always be shared alike, because the books can be made anew from the log. Amounts are BigInt: 1n, not 1.
`;

const shareBody = `  // As the terms say, but large renditions earn a part of the commission.
  const large = job.renditions.some((one) => one.height >= 1080);
  const commission = large ? job.commissionWei / 2n : job.commissionWei;
  // By subtraction, so that the lines always sum to the fee.
  return [
    { to: "pool", wei: commission },
    { to: job.worker, wei: job.feeWei - commission },
  ];
`;

/** The module that `openpool hooks init` writes, as TypeScript or JavaScript; `types` is the name of the file beside it. */
export function hookTemplate(language: "ts" | "js", types: string): string {
  if (language === "ts") {
    return `${head}
import type { PayoutPlanned, Share } from "./${types}";

export const share: Share = (job) => {
${shareBody}};

export const payoutPlanned: PayoutPlanned = ({ amountWei }) =>
  amountWei > 10n ** 19n ? { veto: "more than 10 ETH at once: look at it first" } : undefined;
`;
  }
  return `// @ts-check
${head}
/** @type {import("./${types}").Share} */
export const share = (job) => {
${shareBody}};

/** @type {import("./${types}").PayoutPlanned} */
export const payoutPlanned = ({ amountWei }) =>
  amountWei > 10n ** 19n ? { veto: "more than 10 ETH at once: look at it first" } : undefined;
`;
}
