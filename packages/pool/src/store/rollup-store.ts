import { type Clock, errorText, type Logger } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { PgConnection } from "./pg-connection.ts";
import { PgPool } from "./pg-pool.ts";
import type {
  IncidentEvent,
  JobCursor,
  KnownSubject,
  RollupLine,
  RollupPoint,
  Rollups,
  RollupStep,
  RollupSubject,
  RollupSums,
} from "./rollup-types.ts";
import { LATENCY_BOUNDS_MS } from "./schema/4-rollups.ts";
import type { StoredEvent } from "./types.ts";

export interface RollupDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Calls back after new events are readable; returns how to stop. */
  readonly onAppended: (callback: () => void) => () => void;
}

export const MINUTES_KEPT_MS = 48 * 3_600_000;
export const HOURS_KEPT_MS = 400 * 86_400_000;

/** How soon after an event its sums are there, at the latest; more events a step cost less each. */
const COUNT_EVERY_MS = 1_000;
const RETRY_MS = 2_000;
/** Events a step: a step holds its locks for well under a second. */
const STEP_EVENTS = 5_000;
/** Steps of a rebuild; nobody waits for the rows. */
const REBUILD_EVENTS = 50_000;
const DROP_EVERY_MS = 600_000;
const MINUTE_MS = 60_000;

const TABLE: Record<RollupStep, string> = { minute: "rollup_minutes", hour: "rollup_hours", day: "rollup_days" };
const SUMS = ["jobs", "lost", "rescued", "failed", "pixels", "claimed", "fee", "earned", "source_ms", "work_ms"];
const sumOf = (of: string): string => SUMS.map((c) => `coalesce(sum(${of}.${c}), 0) as ${c}`).join(", ");
const LATENCY = Array.from({ length: LATENCY_BOUNDS_MS.length + 1 }, (_, i) => `l${i}`);

interface SumsRow {
  readonly jobs: string;
  readonly lost: string;
  readonly rescued: string;
  readonly failed: string;
  readonly pixels: string;
  readonly claimed: string;
  readonly fee: string;
  readonly earned: string;
  readonly source_ms: string;
  readonly work_ms: string;
}

function toSums(row: SumsRow): RollupSums {
  return {
    jobs: BigInt(row.jobs),
    lostJobs: BigInt(row.lost),
    rescuedJobs: BigInt(row.rescued),
    failedAttempts: BigInt(row.failed),
    pixels: BigInt(row.pixels),
    claimedPixels: BigInt(row.claimed),
    feeWei: BigInt(row.fee),
    earnedWei: BigInt(row.earned),
    sourceMs: BigInt(row.source_ms),
    workMs: BigInt(row.work_ms),
  };
}

/** `hour:jobs hour:jobs`, taken apart when it is first asked for. */
function hourlyOf(text: string | null): RollupLine["hourly"] {
  let hours: ReadonlyMap<number, number> | undefined;
  return () => (hours ??= new Map(text?.split(" ").map((one) => one.split(":").map(Number) as [number, number])));
}

const names = (subject: RollupSubject): [string, string] => [subject.worker ?? "", subject.rig ?? ""];

/**
 * Opens the sums of a pool's database, which must have been migrated, and goes on counting where the last one stopped.
 * It has connections of its own, so that no page takes one from the work.
 */
export async function openRollups(connection: PgConnection, deps: RollupDeps): Promise<Rollups> {
  const rollups = new PgRollups(connection, deps);
  try {
    await rollups.start();
    return rollups;
  } catch (cause) {
    await rollups[Symbol.asyncDispose]();
    throw cause;
  }
}

class PgRollups implements Rollups {
  readonly #deps: RollupDeps;
  readonly #readers: PgPool;
  /** One connection, so that a heavy page never waits in front of the counting, nor the other way round. */
  readonly #counter: PgPool;
  #position = 0n;
  #closed = false;
  #stop = (): void => {};
  #cancel = (): void => {};
  #cancelDrop = (): void => {};
  #working: Promise<boolean> | undefined;
  #due = false;
  #failing = false;

  constructor(connection: PgConnection, deps: RollupDeps) {
    this.#deps = deps;
    this.#readers = new PgPool(connection, { name: "pages", max: 3, timeoutMs: 10_000, about: "sums", prepared: true });
    this.#counter = new PgPool(connection, { name: "counting", max: 1, timeoutMs: 300_000, about: "sums" });
  }

  async start(): Promise<void> {
    const [row] = await this.#readers.query<{ position: string }>("select position from openpool.rollup_cursor");
    this.#position = BigInt(row?.position ?? 0);
    this.#stop = this.#deps.onAppended(() => this.#countSoon());
    this.#countSoon(0);
    this.#dropSoon();
  }

  get position(): bigint {
    return this.#position;
  }

  // ---- counting

  #countSoon(delayMs = COUNT_EVERY_MS): void {
    if (this.#due || this.#closed) return;
    this.#due = true;
    this.#cancel = this.#deps.clock.after(delayMs, () => {
      this.#due = false;
      void this.#count().then((more) => {
        if (more === "failed") this.#countSoon(RETRY_MS);
        else if (more) this.#countSoon(0);
      });
    });
  }

  /** Whether there is more to count. */
  async #count(): Promise<boolean | "failed"> {
    try {
      const more = await (this.#working ??= this.#step(STEP_EVENTS).finally(() => (this.#working = undefined)));
      if (this.#failing) this.#deps.logger.info("the sums of the pages are counted again");
      this.#failing = false;
      return more;
    } catch (error) {
      if (this.#closed) return false;
      if (!this.#failing) {
        this.#deps.logger.warn("the sums of the pages cannot be counted now; trying again", {
          error: errorText(error),
        });
      }
      this.#failing = true;
      return "failed";
    }
  }

  async #step(limit: number): Promise<boolean> {
    const now = this.#deps.clock.now();
    const [row] = await this.#counter.query<{ counted: string; behind: string }>(
      "select * from openpool.rollup_step($1, $2, $3)",
      [limit, new Date(now - MINUTES_KEPT_MS), new Date(now - HOURS_KEPT_MS)],
    );
    // Another node counts: it tells nobody how far it is, so the next look does.
    if (!row) {
      const [seen] = await this.#readers.query<{ position: string }>("select position from openpool.rollup_cursor");
      this.#position = BigInt(seen?.position ?? 0);
      return false;
    }
    this.#position = BigInt(row.counted);
    return row.behind !== "0";
  }

  async head(): Promise<bigint> {
    const [head] = await this.#readers.query<{ position: string }>("select position from openpool.log_head");
    return BigInt(head?.position ?? 0);
  }

  async catchUp(): Promise<void> {
    const wanted = await this.head();
    while (this.#position < wanted && !this.#closed) {
      await (this.#working ??= this.#step(STEP_EVENTS).finally(() => (this.#working = undefined)));
    }
  }

  async rebuild(): Promise<void> {
    await this.#counter.transaction(async (client) => {
      await client.query("select from openpool.rollup_cursor for update");
      // Events are dropped by whole months: what is older than the first that is left cannot be counted again.
      const { rows } = await client.query<{ from: Date | null; position: string | null }>(
        `select date_trunc('month', min(time), 'UTC') as from, min(position) as position from openpool.events`,
      );
      const from = rows[0]?.from ?? new Date(0);
      for (const table of Object.values(TABLE)) {
        await client.query(`delete from openpool.${table} where at >= $1`, [from]);
      }
      await client.query("update openpool.rollup_cursor set position = $1", [
        rows[0]?.position ? BigInt(rows[0].position) - 1n : 0n,
      ]);
    });
    this.#position = 0n;
    while (!this.#closed && (await this.#step(REBUILD_EVENTS))) {
      // Step by step, so that each is committed.
    }
  }

  #dropSoon(): void {
    if (this.#closed) return;
    this.#cancelDrop = this.#deps.clock.after(DROP_EVERY_MS, () => {
      void this.#drop().then(() => this.#dropSoon());
    });
  }

  /** Drops minutes and hours that are past their time. */
  async #drop(): Promise<void> {
    const now = this.#deps.clock.now();
    try {
      for (const [table, keptMs] of [
        ["rollup_minutes", MINUTES_KEPT_MS],
        ["rollup_hours", HOURS_KEPT_MS],
      ] as const) {
        // By subject: a few rows each by the primary key, no index of its own.
        await this.#counter.query(
          `delete from openpool.${table} t using openpool.rollup_subjects s where t.subject = s.id and t.at < $1`,
          [new Date(now - keptMs)],
        );
      }
      await this.#counter.query("delete from openpool.incident_events where at < $1", [new Date(now - HOURS_KEPT_MS)]);
    } catch (error) {
      if (!this.#closed) this.#deps.logger.warn("old sums could not be dropped", { error: errorText(error) });
    }
  }

  // ---- reading

  async sums(
    subject: RollupSubject,
    since: readonly { readonly step: RollupStep; readonly fromMs: number }[],
  ): Promise<readonly RollupSums[]> {
    const parts = since.map(
      ({ step }, i) => `select ${i} as i, ${sumOf("r")} from openpool.rollup_subjects s
        join openpool.${TABLE[step]} r on r.subject = s.id and r.at >= $${i + 3}
        where s.worker = $1 and s.rig = $2`,
    );
    const rows = await this.#readers.query<SumsRow & { i: number }>(`${parts.join(" union all ")} order by i`, [
      ...names(subject),
      ...since.map(({ fromMs }) => new Date(fromMs)),
    ]);
    return rows.map(toSums);
  }

  async totals(subject: RollupSubject): Promise<RollupSums> {
    const [sums] = await this.sums(subject, [{ step: "day", fromMs: 0 }]);
    // An aggregate without groups always has its row.
    return sums!;
  }

  async series(subject: RollupSubject, step: RollupStep, fromMs: number): Promise<readonly RollupPoint[]> {
    const rows = await this.#readers.query<SumsRow & { at: Date }>(
      `select r.at, ${SUMS.map((c) => `r.${c}`).join(", ")} from openpool.rollup_subjects s
        join openpool.${TABLE[step]} r on r.subject = s.id and r.at >= $3
        where s.worker = $1 and s.rig = $2 order by r.at`,
      [...names(subject), new Date(fromMs)],
    );
    return rows.map((row) => ({ atMs: row.at.getTime(), ...toSums(row) }));
  }

  async latency(subject: RollupSubject, fromMs: number): Promise<readonly number[]> {
    const [row] = await this.#readers.query<Record<string, string>>(
      `select ${LATENCY.map((l) => `coalesce(sum(r.${l}), 0) as ${l}`).join(", ")} from openpool.rollup_subjects s
        join openpool.rollup_hours r on r.subject = s.id and r.at >= $3
        where s.worker = $1 and s.rig = $2`,
      [...names(subject), new Date(fromMs)],
    );
    return LATENCY.map((l) => Number(row?.[l] ?? 0));
  }

  async lines(step: RollupStep, fromMs: number): Promise<readonly RollupLine[]> {
    // Hours of thousands of rigs as one text each, and times as numbers: a hundred thousand values that the driver would
    // make one by one, in the process that serves.
    const hours = `string_agg((extract(epoch from t.at - $1)::bigint / 3600) || ':' || t.jobs, ' ') filter (where t.jobs > 0)`;
    const ms = (of: string): string => `(extract(epoch from ${of}) * 1000)::float8`;
    const rows = await this.#readers.query<
      SumsRow & {
        worker: WorkerAddress;
        rig: string;
        first_ms: number;
        seen_ms: number | null;
        last_ms: number;
        hours: string | null;
      }
    >(
      `select s.worker, s.rig, ${ms("s.first_at")} as first_ms, ${ms("s.seen_at")} as seen_ms, r.*, ${ms(`coalesce(
          (select m.at from openpool.rollup_minutes m where m.subject = s.id and m.jobs > 0 order by m.at desc limit 1),
          (select h.at from openpool.rollup_hours h where h.subject = s.id and h.jobs > 0 order by h.at desc limit 1), d.at)`)} as last_ms
        from openpool.rollup_subjects s
        cross join lateral (select at from openpool.rollup_days where subject = s.id and jobs > 0
          order by at desc limit 1) d
        cross join lateral (select ${sumOf("t")}, ${step === "hour" ? hours : "null"} as hours
          from openpool.${TABLE[step]} t where t.subject = s.id and t.at >= $1) r
        where s.worker <> ''`,
      [new Date(fromMs)],
    );
    return rows.map((row) => ({
      worker: row.worker,
      rig: row.rig,
      firstAtMs: row.first_ms,
      seenAtMs: row.seen_ms ?? undefined,
      lastJobAtMs: row.last_ms,
      sums: toSums(row),
      hourly: hourlyOf(row.hours),
    }));
  }

  async known(worker: WorkerAddress): Promise<readonly KnownSubject[]> {
    const rows = await this.#readers.query<{
      rig: string;
      first_at: Date;
      seen_at: Date | null;
      refused_at: Date | null;
      refused_reason: string | null;
      last_at: Date | null;
    }>(
      `select s.rig, s.first_at, s.seen_at, s.refused_at, s.refused_reason, coalesce(
          (select at from openpool.rollup_minutes where subject = s.id and jobs > 0 order by at desc limit 1),
          (select at from openpool.rollup_hours where subject = s.id and jobs > 0 order by at desc limit 1),
          (select at from openpool.rollup_days where subject = s.id and jobs > 0 order by at desc limit 1)) as last_at
        from openpool.rollup_subjects s where s.worker = $1 order by s.rig limit 5000`,
      [worker],
    );
    return rows.map((row) => ({
      rig: row.rig,
      firstAtMs: row.first_at.getTime(),
      seenAtMs: row.seen_at?.getTime(),
      lastJobAtMs: row.last_at?.getTime(),
      refused:
        row.refused_at === null ? undefined : { atMs: row.refused_at.getTime(), reason: row.refused_reason ?? "" },
    }));
  }

  async incidents(fromMs: number, limit: number): Promise<readonly IncidentEvent[]> {
    const rows = await this.#readers.query<{
      position: string;
      at: Date;
      type: string;
      data: Record<string, unknown>;
    }>("select position, at, type, data from openpool.incident_events where at >= $1 order by position desc limit $2", [
      new Date(fromMs),
      limit,
    ]);
    return rows
      .map((row) => ({ position: BigInt(row.position), atMs: row.at.getTime(), type: row.type, data: row.data }))
      .toReversed();
  }

  async jobs(
    subject: RollupSubject & { readonly worker: WorkerAddress },
    before: JobCursor | undefined,
    limit: number,
  ): Promise<{ readonly events: readonly StoredEvent[]; readonly next: JobCursor | undefined }> {
    // How far back the page goes, the worker's own minutes say (or the one rig's): they count what its rigs did, and of
    // hundreds of rigs nothing older is looked at. What is left of the minute that the cursor is in nobody counts.
    const rows = await this.#readers.query<{ at: Date; positions: string[] }>(
      `with newest as materialized (
          select at, jobs from openpool.rollup_minutes
            where subject = (select id from openpool.rollup_subjects where worker = $1 and rig = $2)
              and jobs > 0 and at <= $3 order by at desc limit $4 + 1
        ), enough as materialized (
          select min(at) as since from (
            select at, sum(jobs) filter (where at < $3) over (order by at desc rows between unbounded preceding and 1 preceding) as newer
            from newest) n where coalesce(newer, 0) < $4
        )
        select m.at, m.positions from openpool.rollup_subjects s cross join enough
        cross join lateral (select at, positions from openpool.rollup_minutes
          where subject = s.id and jobs > 0 and at between enough.since and $3 order by at desc limit $4 + 1) m
        where s.worker = $1 and s.rig <> '' and ($2 = '' or s.rig = $2)`,
      [...names(subject), new Date(before?.minuteMs ?? this.#deps.clock.now() + MINUTE_MS), limit + 1],
    );
    const found: JobCursor[] = [];
    for (const { at, positions } of rows) {
      for (const position of positions) found.push({ minuteMs: at.getTime(), position: BigInt(position) });
    }
    const order = (a: JobCursor, b: JobCursor): number =>
      b.minuteMs - a.minuteMs || (a.position < b.position ? 1 : a.position > b.position ? -1 : 0);
    const page = found
      .filter((one) => before === undefined || order(before, one) < 0)
      .toSorted(order)
      .slice(0, limit + 1);
    const wanted = page.slice(0, limit);
    const last = wanted.at(-1);
    const [first] = wanted;
    if (!first || !last) return { events: [], next: undefined };
    const events = await this.#readers.query<{
      position: string;
      id: string;
      time: Date;
      rig: string;
      data: Record<string, unknown>;
    }>(
      // The times leave out partitions.
      `select position, id, time, rig, data from openpool.events
        where position = any ($1::bigint[]) and time >= $2 and time < $3`,
      [wanted.map((one) => one.position), new Date(last.minuteMs), new Date(first.minuteMs + MINUTE_MS)],
    );
    const byPosition = new Map(events.map((row) => [row.position, row]));
    return {
      events: wanted.flatMap(({ position }) => {
        const row = byPosition.get(position.toString());
        if (!row) return [];
        return {
          v: 1 as const,
          id: row.id,
          position,
          time: row.time.toISOString(),
          type: "job.credited",
          worker: subject.worker,
          rig: row.rig,
          data: row.data,
        };
      }),
      next: page.length > limit ? last : undefined,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop();
    this.#cancel();
    this.#cancelDrop();
    await this.#working?.catch(() => {});
    await Promise.all([this.#readers[Symbol.asyncDispose](), this.#counter[Symbol.asyncDispose]()]);
  }
}
