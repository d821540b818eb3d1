import { type Clock, errorText, type Logger, openScope, PoolError } from "@openpool/base";
import type { RigName, RigReport, WorkerAddress } from "@openpool/protocol";
import { Client } from "pg";
import { addPartitions, EventWriter } from "./event-writer.ts";
import { migrate } from "./migrations.ts";
import { clientConfig, connectError, parseDatabaseUrl, type PgConnection } from "./pg-connection.ts";
import { databaseError, PgPool } from "./pg-pool.ts";
import type {
  CredentialRecord,
  CredentialRoom,
  EventQuery,
  NewCredit,
  NewEvent,
  PartitionSize,
  PoolTotals,
  RigBalance,
  RigReportRecord,
  RigReportSummary,
  Store,
  StoredEvent,
  TotalsDifference,
  WorkerBalance,
  UpstreamRecord,
  WorkerChange,
  WorkerRecord,
} from "./types.ts";
import { withClient } from "./with-client.ts";

export interface StoreDeps {
  readonly logger: Logger;
  readonly clock: Clock;
}

const MIN_SERVER = 150_000;
const MAX_EVENTS = 10_000;
/** Readers in one process; writing has a connection of its own. */
const MAX_READERS = 4;
/** What its questions are about, in words for errors. */
const ABOUT = "the event log";
/** How soon followers see what another node appended. */
const FOLLOW_MS = 500;
const DAY_MS = 24 * 60 * 60 * 1000;
/** Credentials of a worker that stay known after they were revoked, to say that they were. */
const REVOKED_KEPT = 50;
/** Partitions are made this long before they are needed. */
const AHEAD_MS = 10 * DAY_MS;

/**
 * Opens the pool's memory in a PostgreSQL database, a managed one or what `--database-url` says: brings the schema up to date and connects. Rejects with
 * `store/bad-database-url`, `store/no-database`, `store/server-too-old`, `store/schema-newer` or
 * `store/migration-failed`; later losses of the database are survived.
 */
export async function openStore(where: PgConnection | string, { logger, clock }: StoreDeps): Promise<Store> {
  const connection = typeof where === "string" ? parseDatabaseUrl(where) : where;
  await prepare(connection, logger, clock);
  const store = new PgStore(connection, logger, clock);
  try {
    await store.start();
    return store;
  } catch (cause) {
    await store[Symbol.asyncDispose]();
    throw connectError(connection, cause);
  }
}

/** Checks the server and migrates, over a connection for just that. */
async function prepare(connection: PgConnection, logger: Logger, clock: Clock): Promise<void> {
  const client = new Client(clientConfig(connection, `openpool migration ${process.pid}`));
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ version: number; fsync: string }>(
      "select current_setting('server_version_num')::int as version, current_setting('fsync') as fsync",
    );
    const { version = 0, fsync } = rows[0] ?? {};
    if (version < MIN_SERVER) {
      throw new PoolError(
        { code: "store/server-too-old" },
        `The database server is PostgreSQL ${Math.floor(version / 10_000)}; at least 15 is needed.`,
      );
    }
    if (fsync === "off")
      logger.warn("the database server runs with fsync off: a power cut can lose what was confirmed");
    await migrate(client, { logger });
    await addPartitions(client, [clock.now(), clock.now() + AHEAD_MS]);
    await client.query("delete from openpool.log_writers where seen_at < now() - interval '1 year'");
  } catch (error) {
    throw error instanceof PoolError ? error : connectError(connection, error);
  } finally {
    await client.end().catch(() => {});
  }
}

interface EventRow {
  readonly position: string;
  readonly id: string;
  readonly time: Date;
  readonly type: string;
  readonly worker: string | null;
  readonly rig: string | null;
  readonly data: Record<string, unknown>;
}

interface TotalsRow {
  readonly segments: string;
  readonly pixels: string;
  readonly fee_wei: string;
  readonly commission_wei: string;
  readonly credited_wei: string;
}

function toTotals(row: TotalsRow): PoolTotals {
  return {
    segments: BigInt(row.segments),
    pixels: BigInt(row.pixels),
    feeWei: BigInt(row.fee_wei),
    commissionWei: BigInt(row.commission_wei),
    creditedWei: BigInt(row.credited_wei),
  };
}

interface WorkerRow {
  readonly worker: WorkerAddress;
  readonly locked: boolean;
  readonly banned: string | null;
  readonly note: string | null;
}
const WORKER = "worker, locked, banned, note";

const workerOf = ({ worker, locked, banned, note }: WorkerRow): WorkerRecord => ({
  worker,
  locked,
  banned: banned ?? undefined,
  note: note ?? undefined,
});

interface CredentialRow {
  readonly id: string;
  readonly secret_hash: string;
  readonly worker: WorkerAddress;
  readonly rig: string;
  readonly created_at: Date;
  readonly revoked_at: Date | null;
}
const CREDENTIAL = "id, secret_hash, worker, rig, created_at, revoked_at";

const credentialOf = (row: CredentialRow): CredentialRecord => ({
  id: row.id,
  secretHash: row.secret_hash,
  name: { worker: row.worker, rig: row.rig },
  createdAt: row.created_at.toISOString(),
  revokedAt: row.revoked_at?.toISOString(),
});

/** What the totals of every rig must be, from the events alone, and from what was kept of those that left the log. */
const TOTALS_FROM_EVENTS = `
  select worker, rig, sum(segments) as segments, sum(pixels) as pixels, sum(fee_wei) as fee_wei,
    sum(commission_wei) as commission_wei, sum(credited_wei) as credited_wei
  from (
    select worker, rig, d.segments, d.pixels, d."feeWei" as fee_wei, d."commissionWei" as commission_wei,
      d."earnedWei" as credited_wei
    from openpool.events, json_to_record(data)
      as d (segments numeric, pixels numeric, "feeWei" numeric, "commissionWei" numeric, "earnedWei" numeric)
    where type = 'job.credited'
    union all select worker, rig, segments, pixels, fee_wei, commission_wei, credited_wei from openpool.pruned_totals
  ) as all_credits group by worker, rig`;

class PgStore implements Store {
  readonly #connection: PgConnection;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #scope = openScope();
  readonly #writer: EventWriter;
  readonly #readers: PgPool;
  readonly #followers = new Set<() => void>();
  #seenPosition: string | undefined;
  #stopFollowing: (() => void) | undefined;
  #telling = false;

  constructor(connection: PgConnection, logger: Logger, clock: Clock) {
    this.#connection = connection;
    this.#logger = logger;
    this.#clock = clock;
    this.#readers = new PgPool(connection, { name: "reader", max: MAX_READERS, about: ABOUT });
    this.#writer = new EventWriter(connection, { logger, clock, onAppended: () => this.#tellFollowers() });
  }

  async start(): Promise<void> {
    await this.#writer.start();
    this.#keepPartitionsAhead();
  }

  get writable(): boolean {
    return this.#writer.writable;
  }

  append(events: readonly NewEvent[]): Promise<void> {
    return this.#writer.append(events);
  }

  credit(credit: NewCredit, signal?: AbortSignal): Promise<"credited" | "already-credited"> {
    return this.#writer.credit(credit, signal);
  }

  async events({ after, since, types, limit }: EventQuery): Promise<readonly StoredEvent[]> {
    const where: string[] = [];
    const values: unknown[] = [];
    const add = (condition: string, value: unknown): void => {
      values.push(value);
      where.push(condition.replace("?", `$${values.length}`));
    };
    if (after !== undefined) add("position > ?", after);
    if (since !== undefined) add("time >= ?", new Date(since));
    if (types !== undefined) add("type = any (?)", types);
    values.push(Math.max(0, Math.min(limit, MAX_EVENTS)));
    // Not prepared by name: with the values in sight the planner leaves out partitions and finds the index on types.
    const rows = await this.#readers.query<EventRow>(
      `select position, id, time, type, worker, rig, data from openpool.events
       ${where.length > 0 ? `where ${where.join(" and ")}` : ""} order by position limit $${values.length}`,
      values,
    );
    return rows.map((row) => ({
      v: 1,
      position: BigInt(row.position),
      id: row.id,
      time: row.time.toISOString(),
      type: row.type,
      // Written by us as the address of a rig.
      ...(row.worker === null ? {} : { worker: row.worker as WorkerAddress }),
      ...(row.rig === null ? {} : { rig: row.rig }),
      data: row.data,
    }));
  }

  onAppended(callback: () => void): () => void {
    // Wrapped, so that one callback may follow twice.
    const follower = (): void => callback();
    this.#followers.add(follower);
    if (this.#followers.size === 1) this.#follow();
    return () => {
      this.#followers.delete(follower);
      if (this.#followers.size > 0) return;
      this.#stopFollowing?.();
      this.#stopFollowing = undefined;
    };
  }

  async balances(): Promise<readonly WorkerBalance[]> {
    const rows = await this.#readers.query<{ worker: WorkerAddress; rig: string } & TotalsRow>(
      "select * from openpool.rig_totals order by worker, rig",
    );
    const workers = new Map<WorkerAddress, { balance: Omit<WorkerBalance, "rigs">; rigs: RigBalance[] }>();
    for (const row of rows) {
      const { segments, pixels, creditedWei } = toTotals(row);
      const before = workers.get(row.worker);
      const sum = before?.balance ?? { segments: 0n, pixels: 0n, creditedWei: 0n };
      workers.set(row.worker, {
        balance: {
          worker: row.worker,
          segments: sum.segments + segments,
          pixels: sum.pixels + pixels,
          creditedWei: sum.creditedWei + creditedWei,
        },
        rigs: [...(before?.rigs ?? []), { name: row.rig, segments, pixels, creditedWei }],
      });
    }
    return [...workers.values()].map(({ balance, rigs }) => ({ ...balance, rigs }));
  }

  async totals(): Promise<PoolTotals> {
    const [row] = await this.#readers.query<TotalsRow>(
      `select coalesce(sum(segments), 0) as segments, coalesce(sum(pixels), 0) as pixels,
         coalesce(sum(fee_wei), 0) as fee_wei, coalesce(sum(commission_wei), 0) as commission_wei,
         coalesce(sum(credited_wei), 0) as credited_wei
       from openpool.rig_totals`,
    );
    return toTotals(row ?? { segments: "0", pixels: "0", fee_wei: "0", commission_wei: "0", credited_wei: "0" });
  }

  async checkTotals(): Promise<readonly TotalsDifference[]> {
    // One statement, so one moment: events and totals are compared as of the same commit.
    const columns = ["segments", "pixels", "fee_wei", "commission_wei", "credited_wei"];
    const both = columns.map((c) => `coalesce(k.${c}, 0) as k_${c}, coalesce(e.${c}, 0) as e_${c}`).join(", ");
    const differ = columns.map((c) => `coalesce(k.${c}, 0) <> coalesce(e.${c}, 0)`).join(" or ");
    const { rows } = await this.#atLength((client) =>
      client.query<Record<string, string>>(
        `with e as (${TOTALS_FROM_EVENTS})
         select worker, rig, ${both} from openpool.rig_totals k full join e using (worker, rig)
         where ${differ} order by worker, rig`,
      ),
    );
    const side = (row: Record<string, string>, prefix: string): PoolTotals => {
      const of = (column: string): string => row[`${prefix}_${column}`] ?? "0";
      return toTotals({
        segments: of("segments"),
        pixels: of("pixels"),
        fee_wei: of("fee_wei"),
        commission_wei: of("commission_wei"),
        credited_wei: of("credited_wei"),
      });
    };
    return rows.map((row) => ({
      worker: row["worker"] as WorkerAddress,
      rig: row["rig"] ?? "",
      kept: side(row, "k"),
      fromEvents: side(row, "e"),
    }));
  }

  async rebuildTotals(): Promise<void> {
    await this.#atLength(async (client) => {
      await client.query("begin");
      // The writers' own lock: nothing is appended between the sum and its writing.
      await client.query("select from openpool.log_head for update");
      await client.query("delete from openpool.rig_totals");
      await client.query(
        `insert into openpool.rig_totals (worker, rig, segments, pixels, fee_wei, commission_wei, credited_wei) ${TOTALS_FROM_EVENTS}`,
      );
      await client.query("commit");
    });
  }

  async workers(): Promise<readonly WorkerRecord[]> {
    return (await this.#readers.query<WorkerRow>(`select ${WORKER} from openpool.workers order by worker`)).map(
      workerOf,
    );
  }

  async worker(worker: WorkerAddress): Promise<WorkerRecord | undefined> {
    const [row] = await this.#readers.query<WorkerRow>(`select ${WORKER} from openpool.workers where worker = $1`, [
      worker,
    ]);
    return row && workerOf(row);
  }

  async changeWorker(worker: WorkerAddress, { locked, banned, note }: WorkerChange): Promise<WorkerRecord> {
    const [row] = await this.#readers.query<WorkerRow>(
      `insert into openpool.workers as w (worker, locked, banned, note)
       values ($1, coalesce($2::boolean, false), $4::text, $6::text)
       on conflict (worker) do update set
         locked = coalesce($2::boolean, w.locked),
         banned = case when $3::boolean then excluded.banned else w.banned end,
         note = case when $5::boolean then excluded.note else w.note end
       returning ${WORKER}`,
      [worker, locked, ...[banned, note].flatMap((value) => [value !== undefined, value])],
    );
    return workerOf(row!); // it was written just now
  }

  async credentials(worker?: WorkerAddress): Promise<readonly CredentialRecord[]> {
    const rows = await this.#readers.query<CredentialRow>(
      `select ${CREDENTIAL} from openpool.credentials where $1::text is null or worker = $1 order by created_at, id`,
      [worker],
    );
    return rows.map(credentialOf);
  }

  async credentialRoom(worker: WorkerAddress): Promise<CredentialRoom> {
    const [row] = await this.#readers.query<{ own: string; all: string; credited: boolean }>(
      `select count(*) filter (where worker = $1 and revoked_at is null) as own, count(*) as all,
         exists (select from openpool.rig_totals where worker = $1 and segments > 0) as credited
       from openpool.credentials`,
      [worker],
    );
    return { own: Number(row?.own), all: Number(row?.all), credited: row?.credited ?? false };
  }

  async addCredential({ id, secretHash, name, createdAt, revokedAt }: CredentialRecord): Promise<void> {
    await this.#readers.query(
      `with forgotten as (delete from openpool.credentials where id in (
         select id from openpool.credentials where worker = $3 and revoked_at is not null
         order by revoked_at desc, id offset $7))
       insert into openpool.credentials (id, secret_hash, worker, rig, created_at, revoked_at)
       values ($1, $2, $3, $4, $5, $6)`,
      [id, secretHash, name.worker, name.rig, createdAt, revokedAt, REVOKED_KEPT],
    );
  }

  async revokeCredential(id: string, at: number): Promise<CredentialRecord | undefined> {
    const [row] = await this.#readers.query<CredentialRow>(
      `update openpool.credentials set revoked_at = coalesce(revoked_at, $2) where id = $1 returning ${CREDENTIAL}`,
      [id, new Date(at)],
    );
    return row && credentialOf(row);
  }

  async upstreams(): Promise<readonly UpstreamRecord[]> {
    const rows = await this.#readers.query<{ name: string; drained_at: Date | null }>(
      "select name, drained_at from openpool.upstreams order by name",
    );
    return rows.map((row) => ({ name: row.name, drainedAt: row.drained_at?.toISOString() }));
  }

  async putUpstream({ name, drainedAt }: UpstreamRecord): Promise<void> {
    await this.#readers.query(
      `insert into openpool.upstreams (name, drained_at) values ($1, $2)
       on conflict (name) do update set drained_at = excluded.drained_at`,
      [name, drainedAt ?? null],
    );
  }

  async partitions(): Promise<readonly PartitionSize[]> {
    const rows = await this.#readers.query<{ name: string; bytes: string }>(
      `select inhrelid::regclass::text as name, pg_total_relation_size(inhrelid) as bytes
       from pg_inherits where inhparent = 'openpool.events'::regclass order by 1 desc`,
    );
    return rows.map(({ name, bytes }) => ({
      month: name.replace(/^.*events_(\d+)_(\d+)"?$/, "$1-$2"),
      bytes: Number(bytes),
    }));
  }

  async rigReports(): Promise<readonly RigReportSummary[]> {
    const rows = await this.#readers.query<{
      worker: WorkerAddress;
      rig: string;
      software: string;
      devices: RigReportSummary["devices"];
    }>(
      `select worker, rig, report->'software'->>'worker' as software,
         (select json_agg(json_build_object('kind', d->'kind', 'model', d->'model') order by n)
            from json_array_elements(report->'devices') with ordinality as one (d, n)) as devices
       from openpool.rig_reports order by reported_at`,
    );
    return rows.map(({ worker, rig, software, devices }) => ({ name: { worker, rig }, software, devices }));
  }

  async rigReport(name: RigName): Promise<RigReportRecord | undefined> {
    const [row] = await this.#readers.query<{ reported_at: Date; report: RigReport }>(
      "select reported_at, report from openpool.rig_reports where worker = $1 and rig = $2",
      [name.worker, name.rig],
    );
    return row && { name, reportedAt: row.reported_at.toISOString(), report: row.report };
  }

  async putRigReport({ name, reportedAt, report }: RigReportRecord): Promise<void> {
    await this.#readers.query(
      `insert into openpool.rig_reports (worker, rig, reported_at, report) values ($1, $2, $3, $4)
       on conflict (worker, rig) do update set reported_at = excluded.reported_at, report = excluded.report`,
      [name.worker, name.rig, reportedAt, JSON.stringify(report)],
    );
  }

  async dropRigReport({ worker, rig }: RigName): Promise<void> {
    await this.#readers.query("delete from openpool.rig_reports where worker = $1 and rig = $2", [worker, rig]);
  }

  async putSnapshot(name: string, value: unknown): Promise<void> {
    await this.#readers.query(
      `insert into openpool.snapshots (name, value, taken_at) values ($1, $2, $3)
       on conflict (name) do update set value = excluded.value, taken_at = excluded.taken_at`,
      [name, JSON.stringify(value), new Date(this.#clock.now())],
    );
  }

  async getSnapshot(name: string): Promise<unknown> {
    const [row] = await this.#readers.query<{ value: unknown }>(
      "select value from openpool.snapshots where name = $1",
      [name],
    );
    return row?.value;
  }

  /** Work that may take long, over a connection of its own; ending it undoes what was not committed. */
  async #atLength<T>(work: (client: Client) => Promise<T>): Promise<T> {
    try {
      return await withClient(this.#connection, "bookkeeping", work);
    } catch (cause) {
      throw databaseError(ABOUT, cause);
    }
  }

  #tellFollowers(): void {
    if (this.#telling || this.#followers.size === 0) return;
    this.#telling = true;
    setImmediate(() => {
      this.#telling = false;
      for (const follower of this.#followers) {
        try {
          follower();
        } catch (error) {
          this.#logger.error("a follower of the event log threw", { error: errorText(error) });
        }
      }
    });
  }

  /** While somebody follows, looks now and then for what other nodes appended. */
  #follow(): void {
    let stopped = false;
    let cancel = (): void => {};
    const look = async (): Promise<void> => {
      try {
        const [row] = await this.#readers.query<{ position: string }>("select position from openpool.log_head");
        if (this.#seenPosition !== undefined && row?.position !== this.#seenPosition) this.#tellFollowers();
        this.#seenPosition = row?.position;
      } catch {
        // The writer tells of a lost database; followers wait.
      }
      if (!stopped) cancel = this.#clock.after(FOLLOW_MS, () => void look());
    };
    this.#stopFollowing = () => {
      stopped = true;
      cancel();
    };
    void look();
  }

  #keepPartitionsAhead(): void {
    let cancel = (): void => {};
    const tick = async (): Promise<void> => {
      try {
        await this.#readers.use((client) => addPartitions(client, [this.#clock.now() + AHEAD_MS]));
      } catch (error) {
        // Tried again tomorrow, and made on demand by the writer at the latest.
        this.#logger.warn("could not add next month's partition", { error: errorText(error) });
      }
      schedule();
    };
    const schedule = (): void => {
      if (!this.#scope.signal.aborted) cancel = this.#clock.after(DAY_MS, () => void tick());
    };
    this.#scope.defer(() => cancel());
    schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#followers.clear();
    this.#stopFollowing?.();
    await this.#scope[Symbol.asyncDispose]();
    await this.#writer[Symbol.asyncDispose]();
    await this.#readers[Symbol.asyncDispose]();
  }
}
