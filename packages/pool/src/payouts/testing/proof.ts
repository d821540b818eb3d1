import { appendFileSync } from "node:fs";

const file = process.env["TEST_PAYOUT_PROOF"];

/** With this file named, nothing is sampled: all that can be tried is, which takes long. `bench/payout-proof.ts` names it. */
export const triesAll = file !== undefined;

/** Writes down what was tried. */
export function noteProof(what: string, counts: Readonly<Record<string, number>>): void {
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ what, ...counts })}\n`);
}
