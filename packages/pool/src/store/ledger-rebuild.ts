import { errorText, PoolError } from "@openpool/base";
import { Client, type ClientBase } from "pg";
import { bookCredits, type Hold, monthOf } from "../ledger/book-credits.ts";
import type { CreditEvent } from "../ledger/decode-credit.ts";
import type { TermsBook } from "../ledger/terms.ts";
import { type BookJob, type NewEntry, workerAccount } from "../ledger/types.ts";
import type { WorkerAddress } from "@openpool/protocol";
import { readCredits, WorkerNumbers, writeLines } from "./ledger-writer.ts";
import type { ExportedEvent } from "./event-export.ts";
import { exportedCredits } from "./retention.ts";
import { readVerdicts } from "./hook-verdicts.ts";
import { locks } from "./locks.ts";
import { clientConfig, type PgConnection } from "./pg-connection.ts";
import { createUuidV7 } from "./uuid.ts";

/** Something that the books say and the log does not, or the other way round. */
export interface RebuildDifference {
  /** An account, or `statement of <worker>`. */
  readonly what: string;
  readonly kept: string;
  readonly rebuilt: string;
}

export interface RebuildResult {
  /** Credits read from the log. */
  readonly jobs: number;
  /** Of the log, read up to here. */
  readonly position: bigint;
  /** Between the books as they were and what the log says; at most {@link MAX_DIFFERENCES}. */
  readonly differences: readonly RebuildDifference[];
  /** The rebuilt books are the books now. */
  readonly replaced: boolean;
}

export interface RebuildOptions {
  readonly terms: TermsBook;
  readonly bookJob: BookJob;
  /** Only compares; the books stay as they are. */
  readonly verify: boolean;
  readonly nowMs: () => number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: { readonly jobs: number; readonly position: bigint }) => void) | undefined;
}

const MAX_DIFFERENCES = 100;
/** A page of them is decoded without a break: streams that are served meanwhile wait so long. */
const JOBS_AT_ONCE = 500;
const TABLES = ["lines", "entries", "postings"] as const;

/**
 * Makes the books anew from the event log, beside those that are in use, and compares the two. What does not follow from
 * the log, as payouts and adjustments, is kept as it was posted. Memory does not grow with the log; the disk must have room
 * for the books a second time. Payouts and work go on meanwhile.
 *
 * @throws PoolError `ledger/rebuild-running` when another one is at it, or a backup.
 */
export async function rebuildLedger(connection: PgConnection, options: RebuildOptions): Promise<RebuildResult> {
  const client = new Client(clientConfig(connection, `openpool ledger rebuild ${process.pid}`));
  client.on("error", () => {});
  try {
    await client.connect();
    // What is written beside the books need not be durable before it becomes the books.
    await client.query("set synchronous_commit = off");
    const { rows } = await client.query<{ got: boolean }>("select pg_try_advisory_lock($1) as got", [locks.rebuild]);
    if (!rows[0]?.got) {
      throw new PoolError(
        { code: "ledger/rebuild-running" },
        "The books are being rebuilt already, or a backup is being written; wait for its end.",
      );
    }
    return await new Rebuild(client, options).run();
  } catch (cause) {
    if (cause instanceof PoolError) throw cause;
    throw new PoolError(
      { code: "ledger/rebuild-failed" },
      `The books could not be rebuilt and stay as they were: ${errorText(cause)}.`,
      { cause },
    );
  } finally {
    await dropTables(client).catch(() => {});
    await client.end().catch(() => {});
  }
}

async function dropTables(client: ClientBase): Promise<void> {
  for (const name of TABLES) await client.query(`drop table if exists openpool.rebuilt_${name}`);
}

/**
 * What a row of a statement says, as a number. A sum of these does not depend on their order, and nothing in it depends
 * on how jobs were batched.
 */
export const LINE_DIGEST = `hashtextextended(concat_ws('|', worker, extract(epoch from at), id, kind, amount_wei,
  terms_version, extract(epoch from release_at), rig, job, segments, pixels, price_per_unit, pixels_per_unit, fee_wei,
  commission_wei, shape, scheme, data), 0)::numeric`;

interface HoldRow {
  readonly worker: WorkerAddress;
  readonly terms_version: number;
  readonly ms: string;
  /** When the last of it was booked, unix ms. */
  readonly since: string;
  readonly wei: string;
}

const HOLD_COLUMNS = `w.worker, l.terms_version, floor(extract(epoch from l.release_at) * 1000)::bigint as ms,
  floor(extract(epoch from max(l.at)) * 1000)::bigint as since, sum(l.amount_wei) as wei`;

/** What is held, or was released. */
interface RebuiltHold extends Hold {
  amountWei: bigint;
  /** The moment of its release in the books: none before the month that it was booked into. */
  datedMs: number;
}

interface DroppedMonth {
  readonly month: string;
  readonly starts_at: Date;
  readonly ends_at: Date;
  readonly position: string;
  readonly lines: string;
  readonly digest: string;
  /** Its export, where one was made. */
  readonly file: string | null;
  readonly sha256: string | null;
}

function toHold(row: HoldRow): Hold {
  return {
    releaseAtMs: Number(row.ms),
    worker: row.worker,
    termsVersion: row.terms_version,
    amountWei: BigInt(row.wei),
  };
}

class Rebuild {
  readonly #client: Client;
  readonly #options: RebuildOptions;
  readonly #numbers = new WorkerNumbers();
  readonly #accounts = new Map<string, number>();
  readonly #newId: () => string;
  /** What was released by month, and what is still held by moment, of each worker and terms. */
  readonly #holds = new Map<string, RebuiltHold>();
  #releasedBeforeMs = -1;
  readonly #closedDifferences: RebuildDifference[] = [];
  #jobs = 0;
  #position = 0n;
  /** Ends of closed periods and the positions at which they were closed, in order. */
  #seals: readonly { readonly endsMs: number; readonly position: bigint }[] = [];

  constructor(client: Client, options: RebuildOptions) {
    this.#client = client;
    this.#options = options;
    this.#newId = createUuidV7(options.nowMs);
  }

  async run(): Promise<RebuildResult> {
    const client = this.#client;
    await dropTables(client);
    for (const name of TABLES) {
      // What is thrown away afterwards need not survive a crash.
      await client.query(
        `create ${this.#options.verify ? "unlogged" : ""} table openpool.rebuilt_${name} (like openpool.ledger_${name} including all)`,
      );
    }
    this.#releasedBeforeMs = (await this.#cursor()).releasedThroughMs;
    await this.#readSeals();
    await this.#bookDropped();
    // Up to where the books are; what is booked meanwhile comes next, and the last of it while nobody books.
    for (;;) {
      const cursor = await this.#cursor();
      if (cursor.position - this.#position < BigInt(JOBS_AT_ONCE)) break;
      await this.#readUpTo(cursor.position);
    }
    await client.query(this.#options.verify ? "begin isolation level repeatable read" : "begin");
    try {
      await client.query("set local synchronous_commit to default");
      const result = await this.#finish();
      await client.query("commit");
      return result;
    } catch (error) {
      await client.query("rollback").catch(() => {});
      throw error;
    }
  }

  async #cursor(lock = ""): Promise<{ readonly position: bigint; readonly releasedThroughMs: number }> {
    const { rows } = await this.#client.query<{ position: string; ms: string | null }>(
      `select position, case when released_through > '-infinity' then
         floor(extract(epoch from released_through) * 1000)::bigint end as ms from openpool.ledger_cursor ${lock}`,
    );
    return { position: BigInt(rows[0]?.position ?? 0), releasedThroughMs: Number(rows[0]?.ms ?? -1) };
  }

  async #readSeals(): Promise<void> {
    const { rows } = await this.#client.query<{ ends_at: Date; position: string }>(
      "select ends_at, position from openpool.ledger_periods order by ends_at",
    );
    this.#seals = rows.map((row) => ({ endsMs: row.ends_at.getTime(), position: BigInt(row.position) }));
  }

  /** Books the months whose events are no longer in the log: from their exports, or else as they were closed. */
  async #bookDropped(): Promise<void> {
    const { rows } = await this.#client.query<DroppedMonth>(
      `select p.period as month, p.starts_at, p.ends_at, p.position, p.lines, p.digest, x.file, x.sha256
       from openpool.ledger_periods p left join openpool.event_exports x on x.month = p.period
       where p.dropped_at is not null order by p.ends_at`,
    );
    for (const month of rows) {
      const { file, sha256 } = month;
      const exported =
        file === null || sha256 === null ? undefined : await exportedCredits({ month: month.month, file, sha256 });
      if (exported) await this.#readExport(exported);
      else await this.#copyClosed(month);
      await this.#compareClosed(month);
    }
    const last = rows.at(-1);
    if (!last) return;
    // What is left of the log may begin in the middle of a later month's positions: those are read from its first one.
    const { rows: left } = await this.#client.query<{ lowest: string | null }>(
      "select min(position) as lowest from openpool.events",
    );
    const lowest = left[0]?.lowest ?? null;
    this.#position = lowest === null ? BigInt(last.position) : BigInt(lowest) - 1n;
  }

  async #readExport(pieces: AsyncIterable<readonly ExportedEvent[]>): Promise<void> {
    for await (const piece of pieces) {
      this.#options.signal?.throwIfAborted();
      // As with the log: no run reaches over the moment at which a period was closed.
      const runs = new Map<number, CreditEvent[]>();
      for (const { position, id, time, worker = "", rig = "", data } of piece) {
        const openSinceMs = this.#openSince(BigInt(position) - 1n);
        const run = runs.get(openSinceMs) ?? [];
        run.push({ id, atMs: Date.parse(time), worker, rig, data });
        runs.set(openSinceMs, run);
      }
      for (const [openSinceMs, run] of runs) await this.#book(run, openSinceMs);
    }
  }

  /** What followed from the month's own events: not what came late into it, but what came late of it into later ones. */
  async #copyClosed({ month, starts_at, ends_at }: DroppedMonth): Promise<void> {
    const { rows: holds } = await this.#client.query<HoldRow>(
      `with entries as (
         insert into openpool.rebuilt_entries select * from openpool.ledger_entries
           where derived and rule = 'credit' and time >= $1
             and coalesce(data->>'late' = $3, time < $2)
           returning id
       ), postings as (
         insert into openpool.rebuilt_postings select p.* from openpool.ledger_postings p join entries e on e.id = p.entry
       ), l as (
         insert into openpool.rebuilt_lines select l.* from openpool.ledger_lines l join entries e on e.id = l.entry
           where l.kind = 'credit' and l.at >= $1
           returning worker, terms_version, release_at, at, amount_wei
       )
       select ${HOLD_COLUMNS} from l join openpool.ledger_workers w on w.id = l.worker group by 1, 2, 3`,
      [starts_at, ends_at, month],
    );
    this.#holdRows(holds);
  }

  /** A month that was closed says the same for ever. */
  async #compareClosed({ month, starts_at, ends_at, lines, digest }: DroppedMonth): Promise<void> {
    const { rows } = await this.#client.query<{ lines: string; digest: string }>(
      `select count(*) as lines, coalesce(sum(${LINE_DIGEST}), 0) as digest from openpool.rebuilt_lines
       where kind = 'credit' and at >= $1 and at < $2`,
      [starts_at, ends_at],
    );
    const [now] = rows;
    if (now?.lines === lines && now.digest === digest) return;
    this.#closedDifferences.push({
      what: `the closed month ${month}`,
      kept: `${lines} rows, digest ${digest}`,
      rebuilt: `${now?.lines} rows, digest ${now?.digest}`,
    });
  }

  async #readUpTo(end: bigint): Promise<void> {
    while (this.#position < end) {
      this.#options.signal?.throwIfAborted();
      // A run never reaches over the moment at which a period was closed.
      const seal = this.#seals.find((one) => one.position > this.#position);
      const upTo = seal && seal.position < end ? seal.position : end;
      const page = await readCredits(this.#client, this.#position, JOBS_AT_ONCE, upTo);
      await this.#book(page.events, this.#openSince(this.#position));
      this.#position = page.position;
      this.#options.onProgress?.({ jobs: this.#jobs, position: this.#position });
    }
  }

  /** When the last period was closed that was before the event behind this position, unix ms. */
  #openSince(position: bigint): number {
    return this.#seals.findLast((one) => one.position <= position)?.endsMs ?? 0;
  }

  async #book(events: readonly CreditEvent[], openSinceMs: number): Promise<void> {
    const { terms, bookJob } = this.#options;
    const verdicts = await readVerdicts(this.#client, events, { terms, bookJob });
    const booking = bookCredits(events, { terms, bookJob, openSinceMs, verdicts });
    const numbers = await this.#numbers.of(this.#client, booking.lines);
    await writeLines(this.#client, booking, numbers, "rebuilt_lines");
    await this.#writeEntries(booking.entries);
    this.#hold(booking.holds, openSinceMs);
    this.#jobs += events.length;
  }

  #holdRows(rows: readonly HoldRow[]): void {
    for (const row of rows) this.#hold([toHold(row)], Number(row.since));
  }

  /** @param sinceMs when they were booked, at the earliest: nothing of them is released before. */
  #hold(holds: readonly Hold[], sinceMs: number): void {
    for (const hold of holds) {
      const datedMs = Math.max(hold.releaseAtMs, sinceMs);
      // What was released before we began needs no moment of its own, only its month, at whose end the books say what is
      // owed: so this stays small, however long the log is.
      const moment = hold.releaseAtMs <= this.#releasedBeforeMs ? monthOf(datedMs) : hold.releaseAtMs;
      const key = `${moment} ${hold.worker} ${hold.termsVersion}`;
      const known = this.#holds.get(key);
      if (known) {
        known.amountWei += hold.amountWei;
        known.datedMs = Math.max(known.datedMs, datedMs);
      } else this.#holds.set(key, { ...hold, datedMs });
    }
  }

  async #writeEntries(entries: readonly NewEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const postings = entries.flatMap((entry) => entry.postings.map((posting) => ({ entry: entry.id, ...posting })));
    const missing = [...new Set(postings.map((one) => one.account))].filter((account) => !this.#accounts.has(account));
    if (missing.length > 0) {
      await this.#client.query(
        "insert into openpool.ledger_accounts (account) select unnest($1::text[]) order by 1 on conflict (account) do nothing",
        [missing],
      );
      const { rows } = await this.#client.query<{ id: number; account: string }>(
        "select id, account from openpool.ledger_accounts where account = any ($1)",
        [missing],
      );
      for (const { id, account } of rows) this.#accounts.set(account, id);
    }
    await this.#client.query(
      `insert into openpool.rebuilt_entries (id, source, rule, terms_version, time, derived, data)
       select e.id, e.source, e.rule, e.terms, timestamptz 'epoch' + e.time * interval '1 millisecond', true, e.data::json
       from unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::text[])
         as e (id, source, rule, terms, time, data)`,
      [
        entries.map((entry) => entry.id),
        entries.map((entry) => entry.source),
        entries.map((entry) => entry.rule),
        entries.map((entry) => entry.termsVersion),
        entries.map((entry) => entry.atMs),
        entries.map((entry) => JSON.stringify(entry.data)),
      ],
    );
    await this.#client.query(
      `insert into openpool.rebuilt_postings (entry, account, amount_wei)
       select * from unnest($1::uuid[], $2::integer[], $3::numeric[])`,
      [
        postings.map((one) => one.entry),
        postings.map((one) => this.#accounts.get(one.account)),
        postings.map((one) => one.amountWei),
      ],
    );
  }

  async #finish(): Promise<RebuildResult> {
    const client = this.#client;
    const { verify } = this.#options;
    // Nobody posts from here on, or, when only comparing, all that follows sees one moment.
    if (!verify) await client.query("select pg_advisory_xact_lock($1)", [locks.periods]);
    const { position, releasedThroughMs } = await this.#cursor(verify ? "" : "for update");
    await this.#readSeals();
    await this.#readUpTo(position);
    await client.query("insert into openpool.rebuilt_entries select * from openpool.ledger_entries where not derived");
    await client.query(
      `insert into openpool.rebuilt_postings select p.* from openpool.ledger_postings p
       join openpool.ledger_entries e on e.id = p.entry where not e.derived`,
    );
    await client.query("insert into openpool.rebuilt_lines select * from openpool.ledger_lines where kind <> 'credit'");
    const { rows: otherHolds } = await client.query<HoldRow>(
      `select ${HOLD_COLUMNS} from (
         select l.worker, l.terms_version, l.release_at, l.at, p.amount_wei
         from openpool.rebuilt_lines l
           join openpool.ledger_workers w on w.id = l.worker
           join openpool.ledger_accounts a on a.account = 'worker:' || w.worker || ':held'
           join openpool.rebuilt_postings p on p.entry = l.entry and p.account = a.id
         where l.kind <> 'credit' and l.release_at is not null
       ) l join openpool.ledger_workers w on w.id = l.worker group by 1, 2, 3`,
    );
    this.#holdRows(otherHolds);
    if (releasedThroughMs < this.#releasedBeforeMs) {
      throw new PoolError(
        { code: "ledger/rebuild-failed" },
        "The clock was set back while the books were rebuilt; they stay as they were. Rebuild them again.",
      );
    }
    const { released, held } = this.#splitHolds(releasedThroughMs, await this.#releasedEarly());
    await this.#writeEntries(released);
    const differences = [
      ...this.#closedDifferences,
      ...(await this.#compareAccounts()),
      ...(await this.#compareLines()),
    ];
    if (!verify) await this.#replace(held);
    return { jobs: this.#jobs, position: this.#position, differences, replaced: !verify };
  }

  /** What was released before its time, by a clock that had run ahead: no rule says it, only the record of it. */
  async #releasedEarly(): Promise<readonly Hold[]> {
    const { rows } = await this.#client.query<HoldRow>(
      `select ${HOLD_COLUMNS} from (
         select l.worker, l.terms_version, l.release_at, l.at,
           case when l.kind = 'credit' then l.amount_wei else p.amount_wei end as amount_wei
         from openpool.ledger_released_early x
           join openpool.rebuilt_lines l on l.id = x.id and l.worker = x.worker
           join openpool.ledger_workers w on w.id = l.worker
           left join openpool.ledger_accounts a on a.account = 'worker:' || w.worker || ':held' and l.kind <> 'credit'
           left join openpool.rebuilt_postings p on p.entry = l.entry and p.account = a.id
       ) l join openpool.ledger_workers w on w.id = l.worker group by 1, 2, 3`,
    );
    return rows.map(toHold);
  }

  /** What was released by now, as entries, and what is still held. */
  #splitHolds(
    releasedThroughMs: number,
    early: readonly Hold[],
  ): { readonly released: readonly NewEntry[]; readonly held: readonly Hold[] } {
    const keyOf = (hold: Hold): string => `${hold.releaseAtMs} ${hold.worker} ${hold.termsVersion}`;
    const releasedEarly = new Map(early.map((hold) => [keyOf(hold), hold.amountWei]));
    const held: Hold[] = [];
    interface Release {
      readonly termsVersion: number;
      readonly workers: Map<WorkerAddress, bigint>;
      atMs: number;
    }
    const releases = new Map<string, Release>();
    for (const hold of this.#holds.values()) {
      const { worker, termsVersion, amountWei } = hold;
      const isDue = hold.releaseAtMs <= releasedThroughMs;
      const releasedWei = isDue ? amountWei : (releasedEarly.get(keyOf(hold)) ?? 0n);
      if (releasedWei < amountWei) held.push({ ...hold, amountWei: amountWei - releasedWei });
      if (releasedWei === 0n) continue;
      const datedMs = isDue ? hold.datedMs : Math.min(hold.datedMs, releasedThroughMs);
      const key = `${monthOf(datedMs)} ${termsVersion}`;
      const release: Release = releases.get(key) ?? { termsVersion, workers: new Map(), atMs: 0 };
      releases.set(key, release);
      release.atMs = Math.max(release.atMs, datedMs);
      release.workers.set(worker, (release.workers.get(worker) ?? 0n) + releasedWei);
    }
    const released = [...releases.values()].map(({ termsVersion, workers, atMs }): NewEntry => {
      const id = this.#newId();
      return {
        id,
        source: `${id}/release`,
        rule: "release",
        termsVersion,
        atMs,
        postings: [...workers].flatMap(([worker, amountWei]) => [
          { account: workerAccount(worker, "held"), amountWei: -amountWei },
          { account: workerAccount(worker, "owed"), amountWei },
        ]),
        data: { rebuilt: true },
      };
    });
    return { released, held };
  }

  async #compareAccounts(): Promise<readonly RebuildDifference[]> {
    const { rows } = await this.#client.query<{ what: string; kept: string; rebuilt: string }>(
      `select a.account as what, a.balance_wei::text as kept, coalesce(r.wei, 0)::text as rebuilt
       from openpool.ledger_accounts a
         left join (select account, sum(amount_wei) as wei from openpool.rebuilt_postings group by 1) r on r.account = a.id
       where a.balance_wei <> coalesce(r.wei, 0) order by 1 limit ${MAX_DIFFERENCES}`,
    );
    return rows;
  }

  async #compareLines(): Promise<readonly RebuildDifference[]> {
    const sums = (table: string): string =>
      `select worker, count(*) as lines, sum(amount_wei) as wei, sum(${LINE_DIGEST}) as digest
       from openpool.${table} group by 1`;
    const say = (side: string): string =>
      `coalesce(${side}.lines, 0) || ' rows, ' || coalesce(${side}.wei, 0) || ' wei, digest ' || coalesce(${side}.digest, 0)`;
    const { rows } = await this.#client.query<{ what: string; kept: string; rebuilt: string }>(
      `select 'statement of ' || w.worker as what, ${say("k")} as kept, ${say("r")} as rebuilt
       from (${sums("ledger_lines")}) k full join (${sums("rebuilt_lines")}) r on r.worker = k.worker
         join openpool.ledger_workers w on w.id = coalesce(k.worker, r.worker)
       where (k.lines, k.wei, k.digest) is distinct from (r.lines, r.wei, r.digest)
       order by 1 limit ${MAX_DIFFERENCES}`,
    );
    return rows;
  }

  async #replace(held: readonly Hold[]): Promise<void> {
    const client = this.#client;
    for (const name of TABLES) {
      await client.query(`alter table openpool.ledger_${name} rename to replaced_${name}`);
      await client.query(`alter table openpool.rebuilt_${name} rename to ledger_${name}`);
    }
    for (const name of TABLES) {
      await client.query(`drop table openpool.replaced_${name}`);
      await client.query(`select openpool.guard('openpool.ledger_${name}')`);
    }
    await client.query(
      `update openpool.ledger_accounts a set balance_wei = r.wei,
         since = case when r.wei = 0 then null else coalesce(a.since, now()) end
       from (
         select a.id, coalesce(sum(p.amount_wei), 0) as wei from openpool.ledger_accounts a
           left join openpool.ledger_postings p on p.account = a.id group by 1
       ) r where r.id = a.id and r.wei <> a.balance_wei`,
    );
    await this.#closeAgain();
    await client.query("delete from openpool.ledger_holds");
    const known = await this.#numbers.of(client, held);
    await client.query(
      `insert into openpool.ledger_holds (release_at, worker, terms_version, amount_wei)
       select timestamptz 'epoch' + h.release * interval '1 millisecond', h.worker, h.terms, h.amount
       from unnest($1::bigint[], $2::integer[], $3::integer[], $4::numeric[]) as h (release, worker, terms, amount)`,
      [
        held.map((hold) => hold.releaseAtMs),
        held.map((hold) => known.get(hold.worker)),
        held.map((hold) => hold.termsVersion),
        held.map((hold) => hold.amountWei),
      ],
    );
  }

  /** Months that are closed say at their ends what the rebuilt books say: the next one is reckoned from them. */
  async #closeAgain(): Promise<void> {
    await this.#client.query("delete from openpool.ledger_closings");
    await this.#client.query(
      `with moved as (
         select width_bucket(e.time, (select array_agg(ends_at order by ends_at) from openpool.ledger_periods)) as months,
           p.account, sum(p.amount_wei) as wei
         from openpool.ledger_entries e join openpool.ledger_postings p on p.entry = e.id
         where exists (select from openpool.ledger_periods) group by 1, 2
       )
       insert into openpool.ledger_closings (period, account, balance_wei)
       select c.period, a.account, sum(m.wei)
       from (select period, row_number() over (order by ends_at) as number from openpool.ledger_periods) c
         join moved m on m.months < c.number join openpool.ledger_accounts a on a.id = m.account group by 1, 2`,
    );
  }
}
