import type { Clock } from "@openpool/base";
import type { NewEvent } from "../store/types.ts";

/** Rigs that are away for less, as while the pool restarts or their way to it is broken for a moment, are no event. */
const AWAY_MS = 120_000;

/** Whether any rig is connected, as facts of the log: the first one that is, and that there has been none for a while. */
export class RigWatch {
  readonly #clock: Clock;
  #none: { readonly sinceMs: number; readonly since: string } | undefined;
  #told: "rigs" | "no rigs" | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** To be called every now and then with the number of connections; answers what is to be recorded, if anything. */
  look(connections: number): NewEvent | undefined {
    if (connections > 0) {
      this.#none = undefined;
      if (this.#told === "rigs") return undefined;
      this.#told = "rigs";
      return { type: "pool.has-rigs", data: {} };
    }
    const nowMs = this.#clock.monotonicMs();
    this.#none ??= { sinceMs: nowMs, since: new Date(this.#clock.now()).toISOString() };
    if (this.#told === "no rigs" || nowMs - this.#none.sinceMs < AWAY_MS) return undefined;
    this.#told = "no rigs";
    return { type: "pool.no-rigs", data: { since: this.#none.since } };
  }
}
