import type { ServerResponse } from "node:http";
import { type Clock, errorText, type Logger } from "@openpool/base";
import type { Fact, FactsMessage, PoolLive, WorkerAddress } from "@openpool/protocol";
import type { EventQuery, StoredEvent } from "../../store/types.ts";
import { EVENTS_PAGE, EventTail } from "./event-tail.ts";
import { publicReason } from "./public-text.ts";

export interface EventHubDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly events: (query: EventQuery) => Promise<readonly StoredEvent[]>;
  readonly onEvents: (callback: () => void) => () => void;
  /** Position of the newest event. */
  readonly head: () => Promise<bigint>;
  readonly live: () => PoolLive;
}

/** What is new is told together this often; one message costs as much as one event would. */
const TELL_EVERY_MS = 500;
const LIVE_EVERY_MS = 1_000;
/** Positions that readers come back from for which the sums are kept until something new happens. */
const MAX_REPLAYS = 20;
/** Facts of one message; what is more is counted only. */
const MAX_FACTS = 200;
/** A reader that does not read: it comes back and goes on where it was. */
const MAX_UNREAD_BYTES = 1 << 20;
const RESET = Buffer.from("event: reset\ndata: {}\n\n");

interface Client {
  readonly response: ServerResponse;
  readonly worker: WorkerAddress | undefined;
}

/** What happens between two positions, as it adds up for everybody and for single workers. */
class Digest {
  to = 0n;
  jobs = 0;
  lostJobs = 0;
  pixels = 0n;
  feeWei = 0n;
  earnedWei = 0n;
  facts: Fact[] = [];
  left = 0;
  /** Segments of the workers that are asked for. */
  readonly jobsOf = new Map<WorkerAddress, Fact[]>();
  readonly #wanted: ReadonlySet<WorkerAddress> | undefined;

  /** @param wanted whose segments are listed; undefined: everybody's */
  constructor(wanted: ReadonlySet<WorkerAddress> | undefined) {
    this.#wanted = wanted;
  }

  add(event: StoredEvent): void {
    this.to = event.position;
    if (event.type === "job.credited") {
      this.jobs++;
      this.pixels += amount(event.data["pixels"]);
      this.feeWei += amount(event.data["feeWei"]);
      this.earnedWei += amount(event.data["earnedWei"]);
      if (event.worker === undefined || this.#wanted?.has(event.worker) === false) return;
      const own = this.jobsOf.get(event.worker) ?? [];
      if (own.length < MAX_FACTS) own.push(factOf(event, jobFacts(event.data)));
      this.jobsOf.set(event.worker, own);
      return;
    }
    if (event.type === "job.failed") {
      this.lostJobs++;
      return;
    }
    const data = PUBLIC_FACTS[event.type]?.(event.data);
    if (data === undefined) return;
    if (this.facts.length < MAX_FACTS) this.facts.push(factOf(event, data));
    else this.left++;
  }

  /** Something that a reader would care for. */
  get isNews(): boolean {
    return this.jobs + this.lostJobs + this.facts.length + this.left > 0;
  }

  message(worker: WorkerAddress | undefined): Buffer {
    const own = worker === undefined ? [] : (this.jobsOf.get(worker) ?? []);
    const facts = own.length === 0 ? this.facts : [...this.facts, ...own].toSorted(byPosition);
    const data: FactsMessage = {
      to: this.to.toString(),
      jobs: this.jobs,
      lostJobs: this.lostJobs,
      pixels: this.pixels.toString(),
      feeWei: this.feeWei.toString(),
      earnedWei: this.earnedWei.toString(),
      facts,
      left: this.left,
    };
    return Buffer.from(`id: ${data.to}\nevent: facts\ndata: ${JSON.stringify(data)}\n\n`);
  }
}

function byPosition(a: Fact, b: Fact): number {
  return a.position.length - b.position.length || (a.position < b.position ? -1 : 1);
}

function amount(value: unknown): bigint {
  return typeof value === "string" && /^\d+$/.test(value)
    ? BigInt(value)
    : typeof value === "number"
      ? BigInt(Math.trunc(value))
      : 0n;
}

function factOf(event: StoredEvent, data: Record<string, unknown>): Fact {
  return {
    position: event.position.toString(),
    at: event.time,
    type: event.type,
    worker: event.worker ?? null,
    rig: event.rig ?? null,
    data,
  };
}

type Data = Readonly<Record<string, unknown>>;
const pick =
  (...names: readonly string[]) =>
  (data: Data): Record<string, unknown> =>
    Object.fromEntries(names.filter((name) => data[name] !== undefined).map((name) => [name, data[name]]));

const jobFacts = pick(
  "job",
  "pixels",
  "feeWei",
  "commissionWei",
  "earnedWei",
  "durationMs",
  "tookMs",
  "attempts",
  "hedged",
);

/** What everybody may know of an event, by its type; a type that is missing here is nobody's business. */
export const PUBLIC_FACTS: Readonly<Record<string, (data: Data) => Record<string, unknown>>> = {
  "attempt.failed": pick("kind", "tookMs"),
  "claim.differed": pick("degree", "claimedPixels", "measuredPixels"),
  "rig.joined": pick("capacity", "version"),
  "rig.left": () => ({}),
  "rig.standing": (data) => ({
    standing: data["standing"],
    reason: publicReason(typeof data["reason"] === "string" ? data["reason"] : ""),
  }),
  "rig.drained": () => ({}),
  "rig.undrained": () => ({}),
  "worker.changed": pick("locked", "banned"),
  "pool.started": pick("version"),
  "pool.stopped": () => ({}),
  "pool.no-rigs": pick("since"),
  "pool.has-rigs": () => ({}),
  "log.resumed": () => ({}),
  "terms.announced": pick("version", "effectiveAt"),
  "payout.planned": pick("run", "lines", "totalWei"),
  "payout.approved": pick("run"),
  "payout.cancelled": pick("run"),
  "payout.signed": pick("run", "hash", "lines"),
  "payout.outbid": pick("hash", "replaces"),
  "payout.reorged": pick("hash"),
  "payout.paid": pick("line", "run", "amountWei", "payTo", "hash"),
  "payout.returned": pick("line", "run", "amountWei"),
  "payout.halted": () => ({}),
  "payout.paused": () => ({}),
  "payout.resumed": () => ({}),
  "payto.requested": pick("payTo", "effectiveAtMs"),
  "payto.changed": pick("payTo"),
  "payto.cancelled": () => ({}),
};

/**
 * Tells everybody who listens what happens. Events are read and put into words once, however many listen; a reader that
 * was away is told what it missed; one that does not read is let go.
 */
export class EventHub {
  readonly #deps: EventHubDeps;
  /** Who is told what happens. */
  readonly #clients = new Set<Client>();
  /** These, and who is still being told what it missed. */
  readonly #open = new Set<Client>();
  readonly #tail: EventTail;
  /** What happened since a position. Readers that were cut off together come back together, from the same one. */
  readonly #replays = new Map<bigint, Digest>();
  #stop: (() => void) | undefined;
  #cancelTell = (): void => {};
  #cancelLive = (): void => {};
  #due = false;
  #telling: Promise<void> | undefined;
  #starting: Promise<void> | undefined;
  #closed = false;

  constructor(deps: EventHubDeps) {
    this.#deps = deps;
    this.#tail = new EventTail(deps.events);
  }

  get size(): number {
    return this.#open.size;
  }

  /** Serves a stream whose headers are sent, until its reader leaves. `after`: the last position that it saw. */
  async serve(response: ServerResponse, worker: WorkerAddress | undefined, after: bigint | undefined): Promise<void> {
    if (this.#closed) {
      response.end();
      return;
    }
    const client: Client = { response, worker };
    let gone = false;
    this.#open.add(client);
    response.once("close", () => {
      gone = true;
      this.#open.delete(client);
      this.#clients.delete(client);
      if (this.#open.size === 0) this.#rest();
    });
    // Comments keep proxies from waiting for the first words.
    response.write("retry: 2000\n: open\n\n");
    try {
      await (this.#starting ??= this.#start().finally(() => (this.#starting = undefined)));
      if (after !== undefined && this.#tail.reaches(after) && !this.#tail.since(after)) await this.#tail.fill();
    } catch (error) {
      this.#deps.logger.debug("a reader of events could not be served", { error: errorText(error) });
      response.end();
      return;
    }
    if (gone || this.#closed) {
      response.end();
      return;
    }
    // In one go: what is told afterwards begins where what was missed ends.
    if (after !== undefined) this.#tellMissed(client, after);
    this.#clients.add(client);
    this.#send(client, this.#liveMessage());
  }

  /** Begins to read at the newest event, if nobody reads. */
  async #start(): Promise<void> {
    if (this.#stop) return;
    await this.#tail.catchUp(await this.#deps.head());
    this.#replays.clear();
    if (this.#closed || this.#open.size === 0) return;
    this.#stop = this.#deps.onEvents(() => this.#tellSoon());
    this.#tellLive();
  }

  /** Nobody listens: nothing is read. */
  #rest(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#cancelTell();
    this.#cancelLive();
    this.#due = false;
  }

  #tellMissed(client: Client, after: bigint): void {
    const events = this.#tail.reaches(after) ? this.#tail.since(after) : undefined;
    if (events === undefined) return this.#send(client, RESET);
    let digest = this.#replays.get(after);
    if (digest === undefined) {
      digest = new Digest(undefined);
      for (const event of events) digest.add(event);
      if (this.#replays.size >= MAX_REPLAYS) this.#replays.clear();
      this.#replays.set(after, digest);
    }
    if (digest.isNews) this.#send(client, digest.message(client.worker));
  }

  #tellSoon(): void {
    if (this.#due || this.#closed) return;
    this.#due = true;
    this.#cancelTell = this.#deps.clock.after(TELL_EVERY_MS, () => {
      this.#due = false;
      if (this.#telling) return this.#tellSoon();
      this.#telling = this.#tell()
        .catch((error: unknown) => this.#deps.logger.debug("news could not be read", { error: errorText(error) }))
        .finally(() => (this.#telling = undefined));
    });
  }

  async #tell(): Promise<void> {
    let more = true;
    while (more && this.#stop && this.#clients.size > 0) {
      const page = await this.#tail.next();
      // Nobody is left; whoever comes next catches up.
      if (page.length === 0 || !this.#stop) return;
      // From here on in one go: who comes now is told of these as missed, or with everybody, and never both.
      const fresh = this.#tail.add(page);
      this.#replays.clear();
      const wanted = new Set<WorkerAddress>();
      for (const { worker } of this.#clients) if (worker !== undefined) wanted.add(worker);
      const digest = new Digest(wanted);
      for (const event of fresh) digest.add(event);
      more = page.length === EVENTS_PAGE;
      if (digest.isNews) this.#broadcast(digest);
    }
  }

  #broadcast(digest: Digest): void {
    const common = digest.message(undefined);
    const own = new Map([...digest.jobsOf.keys()].map((worker) => [worker, digest.message(worker)]));
    for (const client of this.#clients) {
      this.#send(client, (client.worker === undefined ? undefined : own.get(client.worker)) ?? common);
    }
  }

  #liveMessage(): Buffer {
    return Buffer.from(`event: live\ndata: ${JSON.stringify({ live: this.#deps.live() })}\n\n`);
  }

  #tellLive(): void {
    this.#cancelLive = this.#deps.clock.after(LIVE_EVERY_MS, () => {
      if (this.#clients.size > 0) {
        const message = this.#liveMessage();
        for (const client of this.#clients) this.#send(client, message);
      }
      if (this.#stop) this.#tellLive();
    });
  }

  #send({ response }: Client, message: Buffer): void {
    if (response.writableLength > MAX_UNREAD_BYTES) {
      response.destroy();
      return;
    }
    response.write(message);
  }

  /** Ends every stream; browsers come back by themselves and go on where they were. */
  close(): void {
    this.#closed = true;
    const open = [...this.#open];
    this.#rest();
    for (const { response } of open) response.end();
  }
}
