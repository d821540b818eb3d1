import { type Backoff, type Clock, createBackoff, errorCode, errorText, type Logger, PoolError } from "@openpool/base";
import { Client, type ClientBase, DatabaseError } from "pg";
import { clientConfig, type PgConnection } from "./pg-connection.ts";
import type { NewCredit, NewEvent } from "./types.ts";
import { createUuidV7 } from "./uuid.ts";

/** Events in one transaction: more gain nothing, and one commit stays short. */
const MAX_BATCH_EVENTS = 500;
/** What may wait for the database; beyond it the caller is told at once. */
const MAX_WAITING_EVENTS = 100_000;
const MAX_WAITING_BYTES = 64 << 20;
/** A batch that takes longer makes the log count as not writable. */
const STALL_MS = 1_000;
/** A batch that takes longer is sent again over a new connection; the database takes it once. */
const BATCH_TIMEOUT_MS = 10_000;
/** How often a quiet connection is tried: often while the log is not writable, seldom while it is. */
const PROBE_SICK_MS = 500;
const PROBE_WELL_MS = 5_000;
/** How long closing waits for what is still to be written. */
const CLOSE_MS = 2_500;

interface Row {
  readonly id: string;
  readonly timeMs: number;
  readonly type: string;
  readonly worker: string | null;
  readonly rig: string | null;
  readonly data: string;
}

/** What one caller gave and waits for; it is written whole, in one batch. */
interface Entry {
  readonly rows: readonly Row[];
  readonly credit: NewCredit | undefined;
  readonly bytes: number;
  /** Nobody waits for it any more; it is left out as soon as that is certain to work. */
  abandoned: boolean;
  /** It was sent, and what became of it is not known. */
  onItsWay: boolean;
  settle(outcome: { readonly refused: boolean } | PoolError): void;
}

interface Batch {
  readonly number: bigint;
  entries: readonly Entry[];
  /** It may have been applied although we saw no answer. */
  ambiguous: boolean;
}

/** Postgres takes no NUL in text. */
function cleanText(text: string): string {
  return text.includes("\0") ? text.replaceAll("\0", "\uFFFD") : text;
}

function unavailable(message: string, written: "no" | "unknown"): PoolError {
  return new PoolError({ code: "store/unavailable", written }, message);
}

/** What the database's answer to a failed batch means for it. */
type Failure =
  /** The connection is of no use any more; whether the batch was applied is not known. */
  | "lost"
  /** No partition for a time in it. */
  | "no-partition"
  /** The database does not know our last batch: it was set back to an earlier state. */
  | "out-of-step"
  /** Something in the batch can never be stored. */
  | "unstorable"
  /** Not now: the disk is full, it only reads, its schema is not ours. */
  | "not-now";

function classify(error: unknown): Failure {
  const code = errorCode(error);
  // A SQLSTATE means that the server said so and rolled back. Anything else is the connection.
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || /^(08|57P)/.test(code)) return "lost";
  if (code === "OP001") return "out-of-step";
  // Also raised by checks of ours; those name their constraint.
  if (code === "23514" && !(error instanceof DatabaseError && error.constraint)) return "no-partition";
  if (/^(22|23)/.test(code)) return "unstorable";
  // A server that became read-only was replaced by another: ask for the address again.
  return code === "25006" ? "lost" : "not-now";
}

/**
 * The one writer of the event log in this process: group commit with one batch in flight, over a connection of its own.
 * What arrives while a batch is on its way goes into the next. A batch is never given up on because a connection broke:
 * it is sent again under its number, and the database applies it once.
 */
export class EventWriter implements AsyncDisposable {
  readonly #connection: PgConnection;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #newId: () => string;
  readonly #onAppended: () => void;
  readonly #queue = new Set<Entry>();
  #waitingEvents = 0;
  #waitingBytes = 0;
  #writer: string;
  #lastBatch = 0n;
  /** In flight, or to be sent again. */
  #batch: Batch | undefined;
  #client: Client | undefined;
  #healthy = false;
  /** Why the database takes nothing although it can be reached, and since when; only a real write ends it. */
  #sick: { readonly reason: string; readonly since: string } | undefined;
  #inFlightSinceMs: number | undefined;
  /** So many entries at the head of the queue travel alone: one of them cannot be stored. */
  #alone = 0;
  #closed = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #backoff: Backoff = createBackoff({ initialMs: 50, factor: 1.5, maxMs: 500, jitter: 0.2 });
  #ended = new AbortController();

  constructor(
    connection: PgConnection,
    { logger, clock, onAppended }: { logger: Logger; clock: Clock; onAppended: () => void },
  ) {
    this.#connection = connection;
    this.#logger = logger;
    this.#clock = clock;
    this.#onAppended = onAppended;
    this.#newId = createUuidV7(() => clock.now());
    this.#writer = this.#newId();
  }

  /** Connects, or rejects with what the driver said. */
  async start(): Promise<void> {
    await this.#connect();
    this.#running = this.#run();
  }

  get writable(): boolean {
    if (!this.#healthy || this.#closed) return false;
    return this.#inFlightSinceMs === undefined || this.#clock.monotonicMs() - this.#inFlightSinceMs < STALL_MS;
  }

  async append(events: readonly NewEvent[]): Promise<void> {
    if (events.length === 0) return;
    const rows = events.map((event) => this.#row(event));
    await new Promise<void>((resolve, reject) => {
      this.#enqueue(rows, undefined, (outcome) => (outcome instanceof PoolError ? reject(outcome) : resolve()));
    });
  }

  async credit(credit: NewCredit, signal?: AbortSignal): Promise<"credited" | "already-credited"> {
    if (credit.commissionWei + credit.earnedWei !== credit.feeWei) {
      throw new PoolError(
        { code: "store/credit-does-not-add-up" },
        `The credit for job ${credit.job} splits ${credit.feeWei} wei into ${credit.commissionWei} and ${credit.earnedWei}.`,
      );
    }
    if (signal?.aborted) throw unavailable("The credit was given up before it was written.", "no");
    const row = this.#row({
      type: "job.credited",
      worker: credit.earner.worker,
      rig: credit.earner.rig,
      data: {
        ...credit.data,
        job: credit.job,
        segments: credit.segments,
        pixels: String(credit.pixels),
        price: {
          pricePerUnitWei: String(credit.price.pricePerUnitWei),
          pixelsPerUnit: String(credit.price.pixelsPerUnit),
        },
        commissionPpm: String(credit.commissionPpm),
        feeWei: String(credit.feeWei),
        commissionWei: String(credit.commissionWei),
        earnedWei: String(credit.earnedWei),
      },
    });
    return new Promise((resolve, reject) => {
      const entry = this.#enqueue([row], credit, (outcome) => {
        signal?.removeEventListener("abort", onAbort);
        if (outcome instanceof PoolError) reject(outcome);
        else resolve(outcome.refused ? "already-credited" : "credited");
      });
      const onAbort = (): void => {
        if (!entry) return;
        entry.abandoned = true;
        this.#dequeue(entry);
        entry.settle(
          entry.onItsWay
            ? unavailable(
                "The database did not confirm the credit in time; it may have been written, and if so once.",
                "unknown",
              )
            : unavailable("The database did not take the credit in time; it will not be written.", "no"),
        );
      };
      if (entry) signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  #row({ type, worker, rig, data }: NewEvent): Row {
    return {
      id: this.#newId(),
      timeMs: this.#clock.now(),
      type: cleanText(type),
      worker: worker ?? null,
      rig: rig === undefined ? null : cleanText(rig),
      data: JSON.stringify(data),
    };
  }

  #enqueue(rows: readonly Row[], credit: NewCredit | undefined, settle: Entry["settle"]): Entry | undefined {
    const bytes = rows.reduce((sum, row) => sum + row.data.length + 200, 0);
    if (this.#closed) {
      settle(unavailable("The event log is closed.", "no"));
      return undefined;
    }
    if (this.#waitingEvents + rows.length > MAX_WAITING_EVENTS || this.#waitingBytes + bytes > MAX_WAITING_BYTES) {
      settle(unavailable("Too much waits for the database already; look at why it does not take events.", "no"));
      return undefined;
    }
    const entry: Entry = { rows, credit, bytes, abandoned: false, onItsWay: false, settle };
    this.#queue.add(entry);
    this.#waitingEvents += rows.length;
    this.#waitingBytes += bytes;
    this.#wakeUp();
    return entry;
  }

  #dequeue(entry: Entry): void {
    if (!this.#queue.delete(entry)) return;
    this.#waitingEvents -= entry.rows.length;
    this.#waitingBytes -= entry.bytes;
  }

  #wakeUp(): void {
    this.#wake?.();
  }

  /** Waits for something to do, at most `ms`. */
  #rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#wake = undefined;
        resolve();
      };
      const cancel = this.#clock.after(ms, done);
      this.#wake = done;
    });
  }

  async #run(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      if (this.#closed && !this.#batch && this.#queue.size === 0) return;
      if (!this.#client) {
        await this.#reconnect();
        continue;
      }
      if (!this.#batch && this.#queue.size === 0) {
        await this.#rest(this.#healthy ? PROBE_WELL_MS : PROBE_SICK_MS);
        if (this.#queue.size === 0 && !this.#closed) await this.#probe();
        continue;
      }
      // What else arrives in this turn of the event loop goes along.
      await new Promise((resolve) => setImmediate(resolve));
      this.#batch ??= this.#take();
      if (this.#batch) this.#batch = await this.#write(this.#batch);
    }
    const left = [...(this.#batch?.entries ?? []), ...this.#queue];
    this.#batch = undefined;
    this.#queue.clear();
    for (const entry of left) {
      if (entry.abandoned) continue;
      const why = "The event log was closed before the database took this.";
      entry.settle(unavailable(why, entry.onItsWay ? "unknown" : "no"));
    }
  }

  async #reconnect(): Promise<void> {
    try {
      await this.#connect();
      this.#logger.info("the event log has its database again");
    } catch (error) {
      this.#logger.debug("the event log cannot reach its database yet", { error: errorText(error) });
      await this.#sleep(this.#backoff.next());
    }
  }

  #take(): Batch | undefined {
    if (this.#queue.size === 0) return undefined;
    const entries: Entry[] = [];
    let events = 0;
    for (const entry of this.#queue) {
      if (entries.length > 0 && (this.#alone > 0 || events + entry.rows.length > MAX_BATCH_EVENTS)) break;
      entries.push(entry);
      events += entry.rows.length;
    }
    if (this.#alone > 0) this.#alone--;
    for (const entry of entries) this.#dequeue(entry);
    return { number: this.#lastBatch + 1n, entries, ambiguous: false };
  }

  /** Sends a batch; returns what is still to be sent of it. */
  async #write(batch: Batch): Promise<Batch | undefined> {
    // The number decides which of two versions of a batch counts, so one that may have been applied must not grow.
    batch.entries = batch.entries.filter((entry) => !entry.abandoned);
    if (batch.entries.length === 0 && this.#sick && !batch.ambiguous) batch.entries = [this.#resumed(this.#sick)];
    for (const entry of batch.entries) entry.onItsWay = true;
    try {
      const refused = await this.#send(batch);
      this.#lastBatch = batch.number;
      if (batch.entries.length > 0) this.#sick = undefined;
      this.#healthy = !this.#sick;
      this.#backoff.reset();
      let at = 0;
      for (const entry of batch.entries) {
        at += entry.rows.length;
        if (!entry.abandoned) entry.settle({ refused: refused.has(at) });
      }
      this.#onAppended();
      return undefined;
    } catch (error) {
      const failure = classify(error);
      if (failure === "lost") batch.ambiguous = true;
      for (const entry of batch.entries) entry.onItsWay = batch.ambiguous;
      return this.#afterFailure(batch, failure, error);
    }
  }

  /** What tells whether the database takes events again, when nobody has anything to say: that it does. */
  #resumed(sick: { readonly reason: string; readonly since: string }): Entry {
    const row = this.#row({ type: "log.resumed", data: sick });
    // Abandoned from the start: the next try makes a new one, with its own time.
    return { rows: [row], credit: undefined, bytes: 0, abandoned: true, onItsWay: false, settle: () => {} };
  }

  async #afterFailure(batch: Batch, failure: Failure, error: unknown): Promise<Batch | undefined> {
    switch (failure) {
      case "lost":
        this.#dropClient(error);
        return batch;
      case "no-partition":
        try {
          await addPartitions(
            this.#mustHaveClient(),
            batch.entries.flatMap((entry) => entry.rows.map((row) => row.timeMs)),
          );
        } catch (cause) {
          if (classify(cause) === "lost") this.#dropClient(cause);
          else await this.#fallSick(cause);
        }
        return batch;
      case "out-of-step":
        this.#logger.error(
          "the database does not know this pool's last batch: it was set back to an earlier state. Answers since then may lack their credit",
          { error: errorText(error) },
        );
        this.#writer = this.#newId();
        this.#lastBatch = 0n;
        this.#dropClient(error);
        return { ...batch, number: 1n };
      case "unstorable":
        if (batch.entries.length > 1) {
          this.#requeue(batch.entries);
          return undefined;
        }
        this.#logger.error("an event cannot be stored", {
          error: errorText(error),
          types: batch.entries.flatMap((entry) => entry.rows.map((row) => row.type)),
        });
        for (const entry of batch.entries) {
          entry.settle(
            new PoolError(
              { code: "store/unstorable" },
              `The database refuses what should be stored: ${errorText(error)}.`,
              {
                cause: error,
              },
            ),
          );
        }
        return undefined;
      case "not-now":
        await this.#fallSick(error);
        return batch;
    }
  }

  async #fallSick(error: unknown): Promise<void> {
    if (!this.#sick) {
      this.#logger.error("the database does not take events", { error: errorText(error), code: errorCode(error) });
      this.#sick = { reason: errorText(error), since: new Date(this.#clock.now()).toISOString() };
    }
    this.#healthy = false;
    await this.#sleep(this.#backoff.next());
  }

  /** Back to the head of the queue, to be tried one by one. */
  #requeue(entries: readonly Entry[]): void {
    const later = [...this.#queue];
    this.#queue.clear();
    for (const entry of entries) {
      this.#waitingEvents += entry.rows.length;
      this.#waitingBytes += entry.bytes;
      this.#queue.add(entry);
    }
    for (const entry of later) this.#queue.add(entry);
    this.#alone = entries.length;
  }

  /** The last rows (1-based) of the entries whose job had its credit already. */
  async #send(batch: Batch): Promise<ReadonlySet<number>> {
    const client = this.#mustHaveClient();
    const rows = batch.entries.flatMap((entry) => entry.rows);
    const at: number[] = [];
    const credits: NewCredit[] = [];
    let row = 0;
    for (const entry of batch.entries) {
      row += entry.rows.length;
      if (!entry.credit) continue;
      at.push(row);
      credits.push(entry.credit);
    }
    const values = [
      this.#writer,
      batch.number,
      rows.map((r) => r.id),
      rows.map((r) => r.timeMs),
      rows.map((r) => r.type),
      rows.map((r) => r.worker),
      rows.map((r) => r.rig),
      rows.map((r) => r.data),
      at,
      credits.map((c) => c.job),
      credits.map((c) => c.segments),
      credits.map((c) => c.pixels),
      credits.map((c) => c.feeWei),
      credits.map((c) => c.commissionWei),
      credits.map((c) => c.earnedWei),
    ];
    const refused = await this.#timed(client, async () => {
      const answer = await client.query<{ refused: number[] | null }>({ name: "append", text: APPEND, values });
      return answer.rows[0]?.refused ?? null;
    });
    if (refused) return new Set(refused);
    // Applied the first time, when its answer got lost, with the answer who had a credit already.
    const { rows: booked } = await client.query<{ event: string }>(
      "select event from openpool.credits where event = any ($1) and job = any ($2)",
      [at.map((i) => rows[i - 1]?.id), credits.map((c) => c.job)],
    );
    const kept = new Set(booked.map((b) => b.event));
    return new Set(at.filter((i) => !kept.has(rows[i - 1]?.id ?? "")));
  }

  /** Breaks the connection under a batch that takes too long: it is then sent again. */
  async #timed<T>(client: Client, work: () => Promise<T>): Promise<T> {
    this.#inFlightSinceMs = this.#clock.monotonicMs();
    const cancel = this.#clock.after(BATCH_TIMEOUT_MS, () => destroy(client));
    try {
      return await work();
    } finally {
      cancel();
      this.#inFlightSinceMs = undefined;
    }
  }

  /** Tries a quiet connection; while the log is not writable by writing, because reading may still work. */
  async #probe(): Promise<void> {
    const client = this.#client;
    if (!client) return;
    if (!this.#healthy) {
      this.#batch = { number: this.#lastBatch + 1n, entries: [], ambiguous: false };
      return;
    }
    try {
      await this.#timed(client, () => client.query("select 1"));
    } catch (error) {
      this.#dropClient(error);
    }
  }

  #mustHaveClient(): Client {
    if (!this.#client) throw new Error("not connected");
    return this.#client;
  }

  async #connect(): Promise<void> {
    const client = new Client(clientConfig(this.#connection, `openpool writer ${process.pid}`));
    // The end of the connection is what counts; an error always comes with it.
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("set session characteristics as transaction isolation level read committed");
      // Never weaker than durable, whatever the server's default; a stronger one (replicas) stays.
      await client.query(
        "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'",
      );
      // A commit is then broken off when we are gone; otherwise it could wait for a lock, and hold a slot, for ever.
      await client.query("set client_connection_check_interval = '2s'").catch(() => {});
      // Always a write: being connected is not enough to call the log writable.
      await client.query(
        "insert into openpool.log_writers (writer, batch) values ($1, $2) on conflict (writer) do update set seen_at = now()",
        [this.#writer, this.#lastBatch],
      );
    } catch (error) {
      destroy(client);
      throw error;
    }
    client.once("end", () => {
      if (this.#client !== client) return;
      this.#dropClient(new Error("the connection ended"));
      this.#wakeUp();
    });
    this.#client = client;
    this.#healthy = !this.#sick;
  }

  #dropClient(error: unknown): void {
    const client = this.#client;
    this.#client = undefined;
    this.#healthy = false;
    if (!client) return;
    if (!this.#closed)
      this.#logger.warn("the event log lost its database; connecting again", { error: errorText(error) });
    destroy(client);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#ended.signal.removeEventListener("abort", done);
        resolve();
      };
      const cancel = this.#clock.after(ms, done);
      this.#ended.signal.addEventListener("abort", done);
      if (this.#ended.signal.aborted) done();
    });
  }

  /** Writes what waits, for a short while; what is left is rejected. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#wakeUp();
    const end = (): void => {
      this.#ended.abort();
      if (this.#client) destroy(this.#client);
    };
    const idle = !this.#batch && this.#queue.size === 0;
    if (idle && !this.#client) end();
    const deadline = setTimeout(end, CLOSE_MS);
    await this.#running;
    clearTimeout(deadline);
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => {});
  }
}

const APPEND =
  "select openpool.append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) as refused";

/** Ends a connection at once, also one whose server does not answer. */
function destroy(client: Client): void {
  // The driver's types leave out the socket; `end()` alone would wait for a server that may be frozen.
  const { connection } = client as unknown as { connection: { stream: { destroy(): void } } };
  connection.stream.destroy();
}

/** Makes sure that there are partitions for these times (unix ms). */
export async function addPartitions(client: ClientBase, timesMs: readonly number[]): Promise<void> {
  const months = new Set(timesMs.map((ms) => `${new Date(ms).toISOString().slice(0, 7)}-01`));
  for (const month of months) await client.query("select openpool.add_events_partition($1)", [month]);
}
