import { formatRig, type RigName } from "@openpool/protocol";
import type { SettingsStore } from "./ports.ts";

/** What another process of the pool wrote is seen after this. */
const FRESH_MS = 10_000;
/** Of one worker: as many rigs as anybody has, and no place to keep a book. */
const MOST = 200;

/** What workers call their rigs, by `<address>.<name>`. Pages ask for it all the time: it is kept in memory. */
export class RigLabels {
  readonly #store: Pick<SettingsStore, "labels" | "putLabel">;
  readonly #clock: { monotonicMs(): number };
  #kept: ReadonlyMap<string, string> = new Map();
  #readAtMs = -Infinity;
  /** How often one was put. */
  #puts = 0;
  #reading: Promise<void> | undefined;

  constructor(store: Pick<SettingsStore, "labels" | "putLabel">, clock: { monotonicMs(): number }) {
    this.#store = store;
    this.#clock = clock;
  }

  /** The names as they are known; reads them anew in the background where that is due. */
  get current(): ReadonlyMap<string, string> {
    if (this.#clock.monotonicMs() - this.#readAtMs > FRESH_MS) this.load().catch(() => {});
    return this.#kept;
  }

  load(): Promise<void> {
    return (this.#reading ??= this.#read().finally(() => (this.#reading = undefined)));
  }

  async #read(): Promise<void> {
    // While the database is away nobody is in a hurry to ask it again.
    this.#readAtMs = this.#clock.monotonicMs();
    const puts = this.#puts;
    const read = new Map((await this.#store.labels()).map(({ label, ...name }) => [formatRig(name), label]));
    // What was read may be older than what was put meanwhile; it is read again with the next look.
    if (puts === this.#puts) this.#kept = read;
    else this.#readAtMs = -Infinity;
  }

  /** False: the worker has too many. */
  async put(name: RigName, label: string | undefined): Promise<boolean> {
    if (label !== undefined && !this.#kept.has(formatRig(name))) {
      const own = [...this.#kept.keys()].filter((key) => key.startsWith(`${name.worker}.`)).length;
      if (own >= MOST) return false;
    }
    await this.#store.putLabel(name.worker, name.rig, label);
    this.#puts++;
    const changed = new Map(this.#kept);
    if (label === undefined) changed.delete(formatRig(name));
    else changed.set(formatRig(name), label);
    this.#kept = changed;
    return true;
  }
}
