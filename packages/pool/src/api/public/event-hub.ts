import type { ServerResponse } from "node:http";
import { type Clock, errorText, type Logger } from "@openpool/base";
import type { PoolLive, WorkerAddress } from "@openpool/protocol";
import type { EventQuery, StoredEvent } from "../../store/types.ts";
import type { Digest } from "./event-digest.ts";
import { EVENTS_PAGE, EventTail } from "./event-tail.ts";

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
/** A reader that does not read: it comes back and goes on where it was. */
const MAX_UNREAD_BYTES = 1 << 20;
const RESET = Buffer.from("event: reset\ndata: {}\n\n");

interface Client {
  readonly response: ServerResponse;
  readonly worker: WorkerAddress | undefined;
}

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
      while (after !== undefined && this.#tail.reaches(after) && !this.#tail.has(after)) await this.#tail.fill(after);
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
    let digest = this.#replays.get(after);
    if (digest === undefined) {
      digest = this.#tail.reaches(after) ? this.#tail.since(after) : undefined;
      if (digest === undefined) return this.#send(client, RESET);
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
      more = page.length === EVENTS_PAGE;
      if (fresh.isNews) this.#broadcast(fresh);
    }
  }

  #broadcast(digest: Digest): void {
    const common = digest.message(undefined);
    const own = new Map<WorkerAddress, Buffer>();
    for (const client of this.#clients) {
      const { worker } = client;
      let message = common;
      if (worker !== undefined && digest.hasJobsOf(worker)) {
        message = own.get(worker) ?? digest.message(worker);
        own.set(worker, message);
      }
      this.#send(client, message);
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
