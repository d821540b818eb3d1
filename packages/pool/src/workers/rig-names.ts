import { type Clock, errorText, type Logger } from "@openpool/base";
import { formatRig, type RigName, type WorkerAddress } from "@openpool/protocol";

export interface RigNameRecord {
  readonly name: RigName;
  /** Unix ms. */
  readonly seenAtMs: number;
  /** It did a job once. */
  readonly worked: boolean;
}

/** Where names are written down: sums, alerts, reports. */
export interface RigNameStore {
  /** All names, the longest unseen first. */
  read(): Promise<readonly RigNameRecord[]>;
  /**
   * Takes out what is kept of these, unless they did a job meanwhile, and of addresses without any rig that were last
   * heard of before (unix ms) and never did one.
   */
  forget(names: readonly RigName[], addressesBeforeMs: number): Promise<void>;
}

export interface RigNameLimits {
  /** Names without a job of one address, … */
  readonly perWorker: number;
  /** … and of all together. */
  readonly inAll: number;
  /** A name without a job that is not here is forgotten after so long. */
  readonly keptMs: number;
}

export const defaultRigNameLimits: RigNameLimits = { perWorker: 2_000, inAll: 50_000, keptMs: 7 * 86_400_000 };

export interface RigNamesDeps {
  readonly store: RigNameStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether a registration under the name is open. */
  readonly isHere: (name: RigName) => boolean;
}

const SWEEP_MS = 60_000;
/** Addresses under which nobody works are looked for so often. */
const ADDRESSES_EVERY_MS = 3_600_000;
/** Names in one transaction, while which nobody counts the log. */
const FORGOTTEN_AT_ONCE = 2_000;
/** How many are looked at to find one that may go; with so many here, one after the other, there is no room. */
const LOOKED_AT = 2_000;

interface Unproven {
  readonly name: RigName;
  seenAtMs: number;
}

/**
 * Names cost nothing where anybody may join under any: those that never did a job are counted. A new one takes the place of
 * the longest unseen one of its address, or of all, so that nobody can use up the names of somebody else, and rigs that are
 * here keep theirs. What did a job is never forgotten: it has earned something.
 */
export class RigNames implements AsyncDisposable {
  readonly #deps: RigNamesDeps;
  readonly #limits: RigNameLimits;
  /** `<address>.<rig>` of those that did a job. */
  readonly #worked = new Set<string>();
  /** All others, the longest unseen first, by `<address>.<rig>`; … */
  readonly #unproven = new Map<string, Unproven>();
  /** … and those of each address. */
  readonly #byWorker = new Map<WorkerAddress, Map<string, Unproven>>();
  /** Their place is taken, and their rows are still there. */
  readonly #replaced: RigName[] = [];
  #forgotAtMs = 0;
  #cancel = (): void => {};
  #sweeping: Promise<void> | undefined;
  #closed = false;

  private constructor(deps: RigNamesDeps, limits: RigNameLimits) {
    this.#deps = deps;
    this.#limits = limits;
  }

  static async open(deps: RigNamesDeps, limits = defaultRigNameLimits): Promise<RigNames> {
    const names = new RigNames(deps, limits);
    for (const { name, seenAtMs, worked } of await deps.store.read()) {
      if (worked) names.#worked.add(formatRig(name));
      else names.#remember({ name, seenAtMs });
    }
    names.#sweepSoon();
    return names;
  }

  /** Names without a job that are known now. */
  get unproven(): number {
    return this.#unproven.size;
  }

  /** A rig wants to register. False: its address, or all together, has as many new rigs here as it may. */
  admit(name: RigName): boolean {
    const key = formatRig(name);
    if (this.#worked.has(key)) return true;
    const known = this.#unproven.get(key);
    if (!known) {
      const { perWorker, inAll } = this.#limits;
      const own = this.#byWorker.get(name.worker);
      if (own && own.size >= perWorker && !this.#replaceOne(own)) return false;
      if (this.#unproven.size >= inAll && !this.#replaceOne(this.#unproven)) return false;
    }
    this.#drop(key, name.worker);
    this.#remember({ name, seenAtMs: this.#deps.clock.now() });
    return true;
  }

  /** It did a job: it is known for good. */
  worked(name: RigName): void {
    const key = formatRig(name);
    if (this.#worked.has(key)) return;
    this.#worked.add(key);
    this.#drop(key, name.worker);
  }

  #replaceOne(among: ReadonlyMap<string, Unproven>): boolean {
    // So many wait to be taken out already: new ones wait until they are.
    if (this.#replaced.length >= this.#limits.inAll) return false;
    let looks = LOOKED_AT;
    for (const [key, { name }] of among) {
      if (looks-- <= 0) return false;
      if (this.#deps.isHere(name)) continue;
      this.#drop(key, name.worker);
      this.#replaced.push(name);
      return true;
    }
    return false;
  }

  #remember(one: Unproven): void {
    const key = formatRig(one.name);
    this.#unproven.set(key, one);
    let own = this.#byWorker.get(one.name.worker);
    if (!own) this.#byWorker.set(one.name.worker, (own = new Map()));
    own.set(key, one);
  }

  #drop(key: string, worker: WorkerAddress): void {
    this.#unproven.delete(key);
    const own = this.#byWorker.get(worker);
    own?.delete(key);
    if (own?.size === 0) this.#byWorker.delete(worker);
  }

  #sweepSoon(): void {
    if (this.#closed) return;
    this.#cancel = this.#deps.clock.after(SWEEP_MS, () => void this.sweep().then(() => this.#sweepSoon()));
  }

  /** Forgets those whose time is over or whose place was taken. Never throws: what failed is tried again. */
  sweep(): Promise<void> {
    const all = async (): Promise<void> => {
      while ((await this.#forgetSome()) && this.#replaced.length > 0 && !this.#closed);
    };
    return (this.#sweeping ??= all().finally(() => (this.#sweeping = undefined)));
  }

  /** False: it failed. */
  async #forgetSome(): Promise<boolean> {
    const { clock, logger, store, isHere } = this.#deps;
    const beforeMs = clock.now() - this.#limits.keptMs;
    const over: RigName[] = [];
    // In the order of their last registrations; one that stayed since then is as good as new.
    for (const [key, one] of this.#unproven) {
      if (one.seenAtMs >= beforeMs || over.length >= FORGOTTEN_AT_ONCE) break;
      this.#drop(key, one.name.worker);
      if (isHere(one.name)) this.#remember({ name: one.name, seenAtMs: clock.now() });
      else over.push(one.name);
    }
    const names = [...over, ...this.#replaced.splice(0, FORGOTTEN_AT_ONCE)].filter(
      (name) => !this.#unproven.has(formatRig(name)),
    );
    if (names.length === 0 && clock.now() - this.#forgotAtMs < ADDRESSES_EVERY_MS) return true;
    try {
      await store.forget(names, beforeMs);
      this.#forgotAtMs = clock.now();
      if (names.length > 0) logger.debug("rigs that never did a job were forgotten", { rigs: names.length });
      return true;
    } catch (error) {
      this.#replaced.push(...names);
      if (!this.#closed) logger.debug("rigs could not be forgotten", { error: errorText(error) });
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#sweeping;
  }
}
