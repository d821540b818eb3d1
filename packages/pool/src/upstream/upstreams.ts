import { readFile } from "node:fs/promises";
import { errorText, PoolError, type Price } from "@openpool/base";
import type { Store } from "../store/types.ts";
import type { AttachedOptions } from "../options.ts";
import { TAKEN_OUT, UpstreamDoor, type UpstreamDoorDeps, type UpstreamStatus } from "./door.ts";
import { type LastPrices, openLastPrices } from "./last-prices.ts";
import { capacityFor, capacityOf, type Offer, offerOf, offersOf } from "./offers.ts";
import { secretFor } from "./secret-file.ts";
import { limitFor, type Room, type Sharer, shareFor } from "./share.ts";
import { Telling } from "./telling.ts";

export interface UpstreamsOptions {
  readonly attached: AttachedOptions | undefined;
  /** What their work pays where they do not say it themselves. */
  readonly price: Price;
}

export interface UpstreamsDeps extends UpstreamDoorDeps {
  readonly store: Pick<Store, "append" | "upstreams" | "putUpstream" | "getSnapshot" | "putSnapshot">;
  /** What there is to offer now. */
  readonly room: () => Room;
}

const SNAPSHOT = "upstream-offers";
/** Rigs of a pool that is back sooner than this are on their way to it. */
const SNAPSHOT_VALID_MS = 120_000;
const RIGS_RETURN_MS = 5_000;
const SAVE_AFTER_MS = 500;

interface Told {
  readonly door: UpstreamDoor;
  readonly telling: Telling;
  /** What the process before this one offered, until its rigs had the time to come. */
  expected: readonly Offer[];
}

/** All orchestrators that the pool works for. */
export class Upstreams implements AsyncDisposable {
  readonly #deps: UpstreamsDeps;
  readonly #told: readonly Told[];
  #expectedUntilMs = 0;
  #left = false;
  #saveDue = false;
  /** How often this process was told to drain or to come back. */
  #drainedTold = 0;

  private constructor(
    attached: AttachedOptions | undefined,
    price: Price,
    deps: UpstreamsDeps,
    drained: ReadonlySet<string>,
    lastPrices: LastPrices,
  ) {
    this.#deps = deps;
    const secretFile = attached?.secretFile ?? "";
    const names = (attached?.upstreams ?? []).map(({ name }) => name);
    this.#told = (attached?.upstreams ?? []).map((upstream) => {
      const door = new UpstreamDoor(
        {
          ...upstream,
          price,
          lastPrice: lastPrices.of(upstream.name),
          onPrice: (charged) => lastPrices.keep(upstream.name, charged),
          allowedHosts: new Set(attached?.allowedHosts.map((host) => host.toLowerCase())),
          secret: async () => secretFor(upstream.name, names, await readFile(secretFile, "utf8"), secretFile),
        },
        deps,
      );
      if (drained.has(upstream.name)) door.drained = true;
      return { door, telling: new Telling(), expected: [] };
    });
  }

  /** Begins to register. Resolves when those are registered that the process before this one was registered with, or soon. */
  static async open(options: UpstreamsOptions, deps: UpstreamsDeps): Promise<Upstreams> {
    const lastPrices = await openLastPrices(deps);
    if (!options.attached) return new Upstreams(undefined, options.price, deps, new Set(), lastPrices);
    const records = await deps.store.upstreams();
    const drained = records.filter((one) => one.drainedAt !== undefined).map((one) => one.name);
    const upstreams = new Upstreams(options.attached, options.price, deps, new Set(drained), lastPrices);
    upstreams.#expect(await deps.store.getSnapshot(SNAPSHOT));
    upstreams.refresh();
    for (const { name, cli } of deps.priceRule() === "upstream" ? options.attached.upstreams : []) {
      if (cli) continue;
      deps.logger.warn(
        "its price is not asked for: work is credited at --price-per-unit unless --upstream-cli names it",
        {
          upstream: name,
        },
      );
    }
    return upstreams;
  }

  #expect(snapshot: unknown): void {
    const { clock } = this.#deps;
    const saved = parseSnapshot(snapshot);
    if (!saved || Math.abs(clock.now() - saved.at) > SNAPSHOT_VALID_MS) return;
    this.#expectedUntilMs = clock.monotonicMs() + RIGS_RETURN_MS;
    for (const told of this.#told) told.expected = saved.offers.get(told.door.name) ?? [];
  }

  /**
   * Waits until every orchestrator that the process before this one was registered with has taken all that this one offers: then
   * that one may leave. False: `timeoutMs` came first.
   */
  async takenOver(timeoutMs: number): Promise<boolean> {
    const { clock } = this.#deps;
    const untilMs = clock.monotonicMs() + timeoutMs;
    const missing = (): boolean =>
      this.#told.some(({ door, expected }) => expected.length > 0 && !door.drained && !door.complete);
    while (missing()) {
      if (clock.monotonicMs() > untilMs) return false;
      await new Promise<void>((resolve) => void clock.after(20, resolve));
    }
    return true;
  }

  /** Workers can come from now on: those of the process before this one are on their way. */
  serving(): void {
    if (this.#expectedUntilMs > 0) this.#expectedUntilMs = this.#deps.clock.monotonicMs() + RIGS_RETURN_MS;
  }

  /** Streams of all orchestrators together. */
  get sessions(): number {
    return this.#told.reduce((sum, { door }) => sum + door.sessions(), 0);
  }

  get tasksInFlight(): number {
    return this.#told.reduce((sum, { door }) => sum + door.tasksInFlight, 0);
  }

  /** From some orchestrator a task may come, also when the pool has left: until that one has heard of it. */
  get listening(): boolean {
    return this.#told.some(({ door }) => door.listening);
  }

  status(): UpstreamStatus[] {
    return this.#told.map(({ door }) => door.status());
  }

  /** Whether a gateway's new session would leave the orchestrators their share. */
  leavesRoomForGateways(): boolean {
    const sharers = this.#sharers();
    if (!sharers.some(({ present }) => present)) return true;
    const { supplies, gateways, maxSessions = Infinity } = this.#deps.room();
    return gateways.sessions < limitFor(Math.min(capacityOf(supplies), maxSessions), gateways.sessions, sharers);
  }

  /** All orchestrators, or all but one. None uses more than it was told: what is beyond has ended unnoticed. */
  #sharers(except?: Told): Sharer[] {
    return this.#told
      .filter((told) => told !== except)
      .map(({ door, telling: { told } }) => ({
        sessions: Math.min(door.sessions(), told.length > 0 ? capacityOf(told) : Infinity),
        present: door.registered && !door.drained,
      }));
  }

  /** Tells each orchestrator what there is for it now, where that is worth telling. Call it every second, and when rigs change. */
  refresh(): void {
    if (this.#left) return;
    const now = this.#deps.clock.monotonicMs();
    const { supplies, gateways, maxSessions } = this.#deps.room();
    const expecting = now < this.#expectedUntilMs;
    for (const told of this.#told) {
      const { door, telling } = told;
      door.expire();
      if (door.drained) {
        telling.forget();
        continue;
      }
      const known = offersOf(supplies, telling.told.length > 0 ? telling.told : told.expected);
      const actual = shareFor(
        known.map((offer) => ({
          ...offer,
          sessions: Math.min(door.sessions(offer), capacityFor(offer, telling.told)),
        })),
        door.sessionsLately,
        [...this.#sharers(told), gateways],
        telling.told.length > 0 ? capacityOf(telling.told) : undefined,
        maxSessions,
      );
      const wanted = expecting ? larger(actual, told.expected) : actual;
      if (!telling.tell(wanted, known, now)) continue;
      door.offer(wanted);
      this.#saveSoon();
    }
  }

  /** Takes no more tasks from anybody; running ones are answered. `why` is for the operator. */
  leave(why: string): void {
    this.#left = true;
    for (const { door } of this.#told) door.leave(why);
  }

  /** Takes the pool out of an orchestrator, or puts it back; also the next process of the pool will know. */
  async setDrained(name: string, drained: boolean): Promise<void> {
    const told = this.#told.find(({ door }) => door.name === name);
    if (!told) {
      const known = this.#told.map(({ door }) => door.name).join(", ") || "none";
      throw new PoolError(
        { code: "upstream/unknown" },
        `The pool works for no orchestrator named "${name}"; it knows ${known}.`,
      );
    }
    const { store, clock, generation } = this.#deps;
    // One that was lost is missed no more.
    const missed = drained && !told.door.registered && !told.door.drained;
    await store.putUpstream({ name, drainedAt: drained ? new Date(clock.now()).toISOString() : undefined });
    const data = { upstream: name };
    await store.append([
      drained ? { type: "upstream.drained", data } : { type: "upstream.undrained", data },
      ...(missed ? [{ type: "upstream.left", data: { ...data, generation, why: TAKEN_OUT, drained } }] : []),
    ]);
    this.#drainedTold++;
    this.#setDrained(told, drained);
    this.refresh();
  }

  #setDrained(told: Told, drained: boolean): void {
    if (told.door.drained === drained) return;
    told.door.drained = drained;
    told.telling.forget();
  }

  /** Takes over what another process of the pool was told: the one that goes may be asked still. */
  async followDrained(): Promise<void> {
    if (this.#told.length === 0) return;
    const before = this.#drainedTold;
    const records = await this.#deps.store.upstreams();
    // What this one was told meanwhile may not be among them.
    if (before !== this.#drainedTold) return;
    const drained = new Set(records.filter((one) => one.drainedAt !== undefined).map((one) => one.name));
    for (const told of this.#told) this.#setDrained(told, drained.has(told.door.name));
    this.refresh();
  }

  #saveSoon(): void {
    if (this.#saveDue) return;
    this.#saveDue = true;
    this.#deps.clock.after(SAVE_AFTER_MS, () => {
      this.#saveDue = false;
      void this.save();
    });
  }

  /** Keeps what is offered now to those that have taken it, for the process after this one. */
  async save(): Promise<void> {
    // What it offers while it leaves is nothing; the process after it says more.
    if (this.#left) return;
    const offers = this.#told.flatMap(({ door, telling: { told } }) =>
      told
        .filter((offer) => door.has(offer))
        .map((offer) => ({ name: door.name, ...offer, capabilities: offer.capabilities.toString() })),
    );
    await this.#deps.store
      .putSnapshot(SNAPSHOT, { v: 1, at: this.#deps.clock.now(), offers })
      .catch((error: unknown) => {
        this.#deps.logger.debug("what is offered was not saved", { error: errorText(error) });
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // All at once: each has its last words, and a process that ends has little time.
    const closed = await Promise.allSettled(this.#told.map(({ door }) => door[Symbol.asyncDispose]()));
    for (const one of closed) if (one.status === "rejected") throw one.reason;
  }
}

/** Of each ability the larger of both. */
function larger(a: readonly Offer[], b: readonly Offer[]): readonly Offer[] {
  const both = [
    ...a.map((offer) => offerOf(offer, Math.max(offer.capacity, capacityFor(offer, b)))),
    ...b.filter((offer) => capacityFor(offer, a) === 0),
  ].map((offer) => ({ ...offer, staying: 0, trusted: 0 }));
  return offersOf(both, b).map((offer) => offerOf(offer, offer.capacity));
}

/** What a process of this pool saved; whatever else it is, undefined. */
function parseSnapshot(
  value: unknown,
): { readonly at: number; readonly offers: ReadonlyMap<string, readonly Offer[]> } | undefined {
  if (typeof value !== "object" || value === null || !("at" in value) || !("offers" in value)) return undefined;
  if (typeof value.at !== "number" || !Array.isArray(value.offers)) return undefined;
  const offers = new Map<string, Offer[]>();
  for (const one of value.offers as readonly unknown[]) {
    if (typeof one !== "object" || one === null) continue;
    const { name, capacity, capabilities, version } = one as Readonly<Record<string, unknown>>; // checked below
    if (typeof name !== "string" || typeof capacity !== "number" || !(capacity >= 1)) continue;
    if (typeof capabilities !== "string" || !/^\d{1,20}$/.test(capabilities)) continue;
    const offer = { capacity, capabilities: BigInt(capabilities), version: typeof version === "string" ? version : "" };
    offers.set(name, [...(offers.get(name) ?? []), offer]);
  }
  return { at: value.at, offers };
}
