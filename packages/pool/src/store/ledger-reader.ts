import { type Clock, createBackoff, errorText, type Logger, PoolError } from "@openpool/base";
import { Client, type ClientBase } from "pg";
import { bookCredits, hookedCredits } from "../ledger/book-credits.ts";
import type { TermsBook } from "../ledger/terms.ts";
import { type BookJob, type HookVerdict, type HookVerdicts, type NewEntry, workerAccount } from "../ledger/types.ts";
import type { WorkerAddress } from "@openpool/protocol";
import { postEntries } from "./ledger-store.ts";
import { writeVerdicts } from "./hook-verdicts.ts";
import { type CreditPage, readCredits, WorkerNumbers, writeHolds, writeLines } from "./ledger-writer.ts";
import { locks } from "./locks.ts";
import { clientConfig, type PgConnection } from "./pg-connection.ts";
import { createUuidV7 } from "./uuid.ts";

/** Jobs booked in one transaction. */
const MAX_JOBS = 1_000;
/** Hooks are asked about so many jobs in one go, and about no more once that took so long: the rest is the next run. */
const ASKED_AT_ONCE = 50;
const ASK_MS = 3_000;
/** Whatever keeps the books from going on for so long halts payouts. */
const STUCK_MS = 60_000;
/** Booking waits so long for more to book along: the price of fewer transactions is a later line. */
const GATHER_MS = 150;
/** The longest rest: what another node appended or a hold that ended is seen by then. */
const REST_MS = 1_000;
/** A clock that goes back by less was only corrected a little: the latest moment stays. */
const CLOCK_BACK_MS = 60_000;

/** What the ledger did in one transaction. */
export interface LedgerStep {
  readonly jobs: number;
  /** Of the log, booked up to here, and its end at that moment. */
  readonly position: bigint;
  readonly head: bigint;
  /** When the last of the jobs happened; unix ms. */
  readonly lastAtMs: number | undefined;
  /** Holds released: workers and versions of the terms. */
  readonly released: number;
}

/** How far the ledger is, for pages and metrics. */
export interface LedgerProgress {
  readonly position: bigint;
  readonly head: bigint;
  readonly jobsBooked: number;
  /** Of the last job booked: from its event to its line. Undefined before the first. */
  readonly lagMs: number | undefined;
  /** Why it does not go on. */
  readonly stuck: string | undefined;
}

export interface LedgerReaderDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly terms: TermsBook;
  readonly bookJob: BookJob;
  /** Says that there is something new in the log; returns how to stop. */
  onAppended(callback: () => void): () => void;
  /** Halts payouts: something in the log cannot be booked, or nothing was for a while. */
  onStuck?(reason: string): Promise<void>;
  /** It is booked after all, or this process has begun: takes that halt back. */
  onMoving?(): Promise<void>;
}

/**
 * Books one run of events in one transaction: reads on from the cursor, posts, moves the cursor, releases what was held
 * long enough. Whoever does it holds the cursor's lock, so several nodes take turns and every event is booked once.
 * What need not wait for an answer is sent together: the client must be a pipelining one. Hooks are asked before, while
 * nothing is locked, and what they said is kept.
 */
export async function ledgerStep(
  client: ClientBase,
  {
    terms,
    bookJob,
    numbers,
    nowMs,
    newId,
    expected,
    maxJobs = MAX_JOBS,
    monotonicMs,
  }: {
    readonly terms: TermsBook;
    readonly bookJob: BookJob;
    readonly numbers: WorkerNumbers;
    readonly nowMs: number;
    readonly newId: () => string;
    /** Where the cursor will be, unless another node was faster: saves a look. */
    readonly expected?: bigint | undefined;
    readonly maxJobs?: number;
    readonly monotonicMs: () => number;
  },
): Promise<LedgerStep> {
  const asked = bookJob.hooks?.inUse()
    ? await askHooks(client, { terms, bookJob, monotonicMs, maxJobs, after: expected })
    : undefined;
  try {
    const [, , { rows }, ahead] = await Promise.all([
      client.query("begin"),
      // Before anything is looked at: no period is closed until this is committed.
      client.query({ name: "lock-periods", text: "select pg_advisory_xact_lock_shared($1)", values: [locks.periods] }),
      client.query<{ position: string; released_ms: string | null; open_since: Date | null }>({
        name: "ledger-cursor",
        text: `select position, case when isfinite(released_through) then
            floor(extract(epoch from released_through) * 1000)::bigint end as released_ms,
            (select max(ends_at) from openpool.ledger_periods) as open_since
          from openpool.ledger_cursor for update`,
      }),
      asked?.page ?? (expected === undefined ? undefined : readCredits(client, expected, maxJobs)),
    ]);
    const from = BigInt(rows[0]?.position ?? 0);
    if (asked && asked.after !== from) {
      // Another node was faster, and asked about other jobs: from there on with the next step.
      await client.query("rollback");
      return { jobs: 0, position: from, head: asked.page.head, lastAtMs: undefined, released: 0 };
    }
    const page = ahead && (asked || from === expected) ? ahead : await readCredits(client, from, maxJobs);
    const booking = bookCredits(page.events, {
      terms,
      bookJob,
      openSinceMs: rows[0]?.open_since?.getTime() ?? 0,
      verdicts: asked?.verdicts,
    });
    // Before anything is booked: that is held by the clock as it is now.
    const throughMs = await releaseThrough(client, Number(rows[0]?.released_ms ?? -Infinity), nowMs);
    const workers = await numbers.of(client, booking.lines);
    const [, , , release] = await Promise.all([
      writeLines(client, booking, workers, "ledger_lines"),
      writeHolds(client, booking.holds, workers),
      asked && writeVerdicts(client, asked.verdicts),
      takeDueHolds(client, throughMs, nowMs, newId),
    ]);
    await Promise.all([
      postEntries(client, [...booking.entries, ...release.entries], { derived: true, withoutLines: true }),
      client.query({
        name: "move-ledger-cursor",
        text: `with passed as (delete from openpool.ledger_released_early where release_at <= $2)
          update openpool.ledger_cursor set position = $1, released_through = $2`,
        values: [page.position, new Date(throughMs)],
      }),
    ]);
    // Not before all of them are known to be well: one that never left would be missing without an error.
    await client.query("commit");
    return {
      jobs: page.events.length,
      position: page.position,
      head: page.head,
      lastAtMs: page.events.at(-1)?.atMs,
      released: release.holds,
    };
  } catch (error) {
    numbers.forget();
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

/** What is booked next, as far as hooks said what they make of it in the time that they have. */
async function askHooks(
  client: ClientBase,
  {
    after,
    maxJobs,
    monotonicMs,
    ...rules
  }: {
    readonly terms: TermsBook;
    readonly bookJob: BookJob;
    readonly after: bigint | undefined;
    readonly maxJobs: number;
    readonly monotonicMs: () => number;
  },
): Promise<{ readonly after: bigint; readonly page: CreditPage; readonly verdicts: HookVerdicts }> {
  const { rows } = await client.query<{ position: string }>("select position from openpool.ledger_cursor");
  const from = after ?? BigInt(rows[0]?.position ?? 0);
  const page = await readCredits(client, from, maxJobs);
  const verdicts = new Map<string, HookVerdict>();
  const startedMs = monotonicMs();
  let done = 0;
  while (done < page.events.length && (done === 0 || monotonicMs() - startedMs < ASK_MS)) {
    const some = page.events.slice(done, done + ASKED_AT_ONCE);
    const said = await rules.bookJob.hooks?.ask(hookedCredits(some, rules));
    for (const [event, verdict] of said ?? []) verdicts.set(event, verdict);
    done += some.length;
  }
  // The log never changes: read again only to learn where the shorter run ends.
  return { after: from, page: done === page.events.length ? page : await readCredits(client, from, done), verdicts };
}

/**
 * The moment, unix ms, by which every hold is released that ends by then. It does not believe a clock that had run ahead for
 * longer than that: what it released is written down one by one, as no moment says it any more, and all else is held again
 * until its time.
 */
async function releaseThrough(client: ClientBase, lastMs: number, nowMs: number): Promise<number> {
  if (lastMs - nowMs < CLOCK_BACK_MS) return Math.max(lastMs, nowMs);
  await client.query(
    `insert into openpool.ledger_released_early (id, worker, release_at)
     select id, worker, release_at from openpool.ledger_lines where release_at > $1 and release_at <= $2
     on conflict do nothing`,
    [new Date(nowMs), new Date(lastMs)],
  );
  return nowMs;
}

/** Takes what was held until `throughMs` at most, as the entries that release it. */
async function takeDueHolds(
  client: ClientBase,
  throughMs: number,
  nowMs: number,
  newId: () => string,
): Promise<{ readonly entries: readonly NewEntry[]; readonly holds: number }> {
  const { rows } = await client.query<{ terms_version: number; worker: WorkerAddress; amount: string }>({
    name: "take-due-holds",
    text: `with due as (
        delete from openpool.ledger_holds where release_at <= $1 returning worker, terms_version, amount_wei
      )
      select d.terms_version, w.worker, sum(d.amount_wei) as amount
      from due d join openpool.ledger_workers w on w.id = d.worker group by 1, 2 order by 1, 2`,
    values: [new Date(throughMs)],
  });
  const versions = new Map<number, { readonly worker: WorkerAddress; readonly amount: string }[]>();
  for (const row of rows) {
    const due = versions.get(row.terms_version);
    if (due) due.push(row);
    else versions.set(row.terms_version, [row]);
  }
  const entries = [...versions].map(([termsVersion, due]): NewEntry => {
    const id = newId();
    return {
      id,
      source: `${id}/release`,
      rule: "release",
      termsVersion,
      atMs: nowMs,
      postings: due.flatMap(({ worker, amount }) => [
        { account: workerAccount(worker, "held"), amountWei: -BigInt(amount) },
        { account: workerAccount(worker, "owed"), amountWei: BigInt(amount) },
      ]),
      data: {},
    };
  });
  return { entries, holds: rows.length };
}

/**
 * Keeps the books up with the event log, on a connection of its own. It may be stopped or killed anywhere: the next one
 * goes on from the cursor. What cannot be booked stops it, and it says so and tries again: nothing is ever passed over.
 */
export class LedgerReader implements AsyncDisposable {
  readonly #connection: PgConnection;
  readonly #deps: LedgerReaderDeps;
  readonly #numbers = new WorkerNumbers();
  readonly #newId: () => string;
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;
  #client: Client | undefined;
  #news = true;
  #wake: (() => void) | undefined;
  #position = 0n;
  #head = 0n;
  #jobsBooked = 0;
  #lagMs: number | undefined;
  #stuck: string | undefined;
  /** Fewer after a failure: what takes too long at once, or comes before what cannot be booked, goes through in parts. */
  #most = MAX_JOBS;
  #failingSinceMs: number | undefined;
  /** Whoever halts payouts for us knows that we go on. */
  #told = false;

  constructor(connection: PgConnection, deps: LedgerReaderDeps) {
    this.#connection = connection;
    this.#deps = deps;
    this.#newId = createUuidV7(() => deps.clock.now());
    this.#running = this.#run();
  }

  get progress(): LedgerProgress {
    return {
      position: this.#position,
      head: this.#head,
      jobsBooked: this.#jobsBooked,
      lagMs: this.#lagMs,
      stuck: this.#stuck,
    };
  }

  async #run(): Promise<void> {
    const { logger, clock } = this.#deps;
    const backoff = createBackoff({ initialMs: 100, factor: 2, maxMs: 10_000, jitter: 0.2 });
    const stopListening = this.#deps.onAppended(() => {
      this.#news = true;
      this.#wake?.();
    });
    while (!this.#stopped.signal.aborted) {
      try {
        this.#client ??= await this.#connect();
        this.#news = false;
        const nowMs = clock.now();
        const step = await ledgerStep(this.#client, {
          terms: this.#deps.terms,
          bookJob: this.#deps.bookJob,
          numbers: this.#numbers,
          nowMs,
          newId: this.#newId,
          expected: this.#position,
          maxJobs: this.#most,
          monotonicMs: () => clock.monotonicMs(),
        });
        this.#position = step.position;
        this.#head = step.head;
        this.#jobsBooked += step.jobs;
        if (step.lastAtMs !== undefined) this.#lagMs = Math.max(0, clock.now() - step.lastAtMs);
        if (this.#stuck !== undefined) logger.info("the ledger goes on");
        this.#stuck = undefined;
        this.#failingSinceMs = undefined;
        this.#most = Math.min(MAX_JOBS, this.#most * 2);
        if (!this.#told) await this.#deps.onMoving?.();
        this.#told = true;
        backoff.reset();
        if (step.position < step.head) continue;
        if (!this.#news) await this.#rest(REST_MS);
        // What was appended just now has company soon.
        if (this.#news) await this.#rest(GATHER_MS, true);
      } catch (error) {
        if (this.#stopped.signal.aborted) break;
        this.#drop();
        const ours = error instanceof PoolError && error.info.code !== "store/unavailable";
        if (this.#stuck !== errorText(error)) {
          logger[ours ? "error" : "warn"]("the ledger does not go on", { error: errorText(error) });
        }
        this.#stuck = errorText(error);
        this.#most = Math.max(1, Math.floor(this.#most / 2));
        this.#failingSinceMs ??= clock.monotonicMs();
        if (ours || clock.monotonicMs() - this.#failingSinceMs >= STUCK_MS) {
          this.#told = false;
          const reason = ours ? error.message : `The books do not go on: ${errorText(error)}.`;
          await this.#deps.onStuck?.(reason).catch((failure: unknown) => {
            logger.warn("payouts could not be halted", { error: errorText(failure) });
          });
        }
        await this.#rest(backoff.next(), true);
      }
    }
    stopListening();
    this.#drop();
  }

  async #connect(): Promise<Client> {
    const client = new Client({
      ...clientConfig(this.#connection, `openpool ledger writer ${process.pid}`),
      pipeline: true,
    });
    client.on("error", () => {});
    try {
      await client.connect();
      // A transaction whose process was frozen must not keep the cursor from others for ever.
      await client.query("set idle_in_transaction_session_timeout = '30s'");
      // What follows from the log is booked again if a crash takes its last moments away, with the cursor that was in the
      // same transaction; whatever is built on it is a transaction after it, durable only together with it.
      await client.query("set synchronous_commit = off");
      // The same statements for ever: planning them for their values would cost more than it saves.
      await client.query("set plan_cache_mode = force_generic_plan");
      return client;
    } catch (error) {
      void client.end().catch(() => {});
      throw error;
    }
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    void client?.end().catch(() => {});
  }

  /** Waits, at most `ms`; unless `deaf`, only until there is something new. */
  #rest(ms: number, deaf = false): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#wake = undefined;
        this.#stopped.signal.removeEventListener("abort", done);
        resolve();
      };
      const cancel = this.#deps.clock.after(ms, done);
      this.#stopped.signal.addEventListener("abort", done);
      if (!deaf) this.#wake = done;
      if (this.#stopped.signal.aborted) done();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }
}
