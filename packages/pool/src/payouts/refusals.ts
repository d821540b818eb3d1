import { PoolError } from "@openpool/base";

/** What a run cannot be asked for as it stands. `what` goes on after its name: `is not approved`. */
export function notIn(id: string, what: string): PoolError {
  return new PoolError({ code: "payout/wrong-state" }, `Run ${id} ${what}.`);
}
