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
  readonly #drained = new Map<string, RigName>();
  /** Written one after the other, so that the last word stays. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(deps: DrainedRigsDeps) {
    this.#deps = deps;
  }

  /** Drains those that were drained before this process. */
  static async open(deps: DrainedRigsDeps): Promise<DrainedRigs> {
    const rigs = new DrainedRigs(deps);
    for (const rig of parseSnapshot(await deps.store.getSnapshot(SNAPSHOT))) {
      rigs.#drained.set(formatRig(rig), rig);
      deps.desk.drainRig(rig);
    }
    return rigs;
  }

  /** Resolves when a restart would not forget it. */
  async drain(rig: RigName): Promise<void> {
    this.#drained.set(formatRig(rig), rig);
    this.#deps.desk.drainRig(rig);
    await this.#save();
  }

  async undrain(rig: RigName): Promise<void> {
    this.#drained.delete(formatRig(rig));
    this.#deps.desk.undrainRig(rig);
    await this.#save();
  }

  #save(): Promise<void> {
    const write = (): Promise<void> =>
      this.#deps.store.putSnapshot(SNAPSHOT, { v: 1, rigs: [...this.#drained.keys()] });
    const written = this.#writing.then(write);
    this.#writing = written.catch(() => {});
    return written;
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
