import { formatRig, parseOpenSecret, type RigName } from "@openpool/protocol";
import type { JobDesk } from "../jobs/desk.ts";
import type { Store } from "../store/types.ts";

export interface DrainedRigsDeps {
  readonly store: Pick<Store, "getSnapshot" | "putSnapshot">;
  readonly desk: Pick<JobDesk, "drainRig" | "undrainRig">;
}

const SNAPSHOT = "drained-rigs";

/** Rigs that the operator takes work from: also the next process of the pool will know. */
export class DrainedRigs {
  readonly #deps: DrainedRigsDeps;
  #known: ReadonlyMap<string, RigName> = new Map();
  /** Read and written one after the other, so that the last word stays. */
  #last: Promise<void> = Promise.resolve();

  private constructor(deps: DrainedRigsDeps) {
    this.#deps = deps;
  }

  /** Drains those that were drained before this process. */
  static async open(deps: DrainedRigsDeps): Promise<DrainedRigs> {
    const rigs = new DrainedRigs(deps);
    await rigs.follow();
    return rigs;
  }

  /**
   * Takes over what was said to another process of the pool: the one before this may have been asked while this one
   * started, and is asked still by who keeps a connection to it.
   */
  follow(): Promise<void> {
    return this.#inTurn(async () => {
      const saved = await this.#saved();
      for (const [name, rig] of saved) if (!this.#known.has(name)) this.#deps.desk.drainRig(rig);
      for (const [name, rig] of this.#known) if (!saved.has(name)) this.#deps.desk.undrainRig(rig);
      this.#known = saved;
    });
  }

  /** Resolves when a restart would not forget it. */
  async drain(rig: RigName): Promise<void> {
    this.#deps.desk.drainRig(rig);
    await this.#change((drained) => drained.set(formatRig(rig), rig));
  }

  async undrain(rig: RigName): Promise<void> {
    this.#deps.desk.undrainRig(rig);
    await this.#change((drained) => drained.delete(formatRig(rig)));
  }

  /** On what is saved, not on what this process knows: another one may have been told more. */
  #change(change: (drained: Map<string, RigName>) => void): Promise<void> {
    return this.#inTurn(async () => {
      const drained = await this.#saved();
      change(drained);
      await this.#deps.store.putSnapshot(SNAPSHOT, { v: 1, rigs: [...drained.keys()] });
      this.#known = drained;
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #saved(): Promise<Map<string, RigName>> {
    const rigs = parseSnapshot(await this.#deps.store.getSnapshot(SNAPSHOT));
    return new Map(rigs.map((rig) => [formatRig(rig), rig]));
  }
}

/** What a process of this pool saved; whatever else it is, nothing. */
function parseSnapshot(value: unknown): RigName[] {
  if (typeof value !== "object" || value === null || !("rigs" in value) || !Array.isArray(value.rigs)) return [];
  return (value.rigs as readonly unknown[]).flatMap((name) => {
    const parsed = typeof name === "string" ? parseOpenSecret(name) : "not a name";
    return typeof parsed === "string" ? [] : [{ worker: parsed.worker, rig: parsed.rig }];
  });
}
