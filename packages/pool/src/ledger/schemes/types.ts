/**
 * What a worker earns. Amounts are wei, rates parts per million.
 *
 * - `unit`: its part of the job's own fee, at once.
 * - `segment`: a fixed amount a segment or a rendition-second, out of a pot that the job's fee goes into.
 * - `proportional`: the work is counted; at the end of a period the income realised in it is shared by it.
 * - `blend`: `lambdaPpm` of the job as `unit`, the rest as `proportional`.
 * - `hook`: what the operator's own function says.
 */
export type PayScheme =
  | { readonly kind: "unit" }
  | SegmentScheme
  | { readonly kind: "proportional"; readonly periodMs: number }
  | { readonly kind: "blend"; readonly lambdaPpm: bigint; readonly periodMs: number }
  /** `hash`: `sha256:` and 64 hex digits of the module that runs. */
  | { readonly kind: "hook"; readonly hash: string };

export interface SegmentScheme {
  readonly kind: "segment";
  readonly per: "segment" | "rendition-second";
  readonly amountWei: bigint;
}

/** On top of any scheme: a budget a day, over the workers that were ready in each slot of it. */
export interface UptimeBonus {
  readonly budgetWeiPerDay: bigint;
  /** Length of a slot; a whole number of them is a day. */
  readonly slotMs: number;
}
