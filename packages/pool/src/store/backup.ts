import { type Clock, errorText, type Logger, PoolError } from "@openpool/base";
import { Client } from "pg";
import {
  type BackupHeader,
  type BackupTable,
  type BackupTableEnd,
  createBackupFile,
  readBackupFile,
  verifyBackupFile,
} from "./backup-file.ts";
import { copyIn, copyOut } from "./copy.ts";
import { locks } from "./locks.ts";
import { knownMigrations, lockMigrations, migrate, RESTORING } from "./migrations.ts";
import { clientConfig, connectError, type PgConnection } from "./pg-connection.ts";

export interface BackupDeps {
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface BackupReport {
  readonly file: string;
  /** When the books looked like this, in ISO 8601. */
  readonly takenAt: string;
  /** The last position of the event log that is in it. */
  readonly position: bigint;
  readonly tables: number;
  readonly rows: bigint;
  /** Exported months of the event log, which are files of their own and not in it. */
  readonly exports: readonly string[];
}

/** Payouts stand still under this name until somebody has compared the restored books with the chain. */
export const RESTORED_HALT = "payout/restored";

/** How rows become text must not depend on the settings of a server. */
const SAME_TEXT = `
  set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres'; set extra_float_digits = 1;
  set bytea_output = 'hex'; set statement_timeout = 0; set idle_in_transaction_session_timeout = 0`;

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const tableName = ({ table }: BackupTable): string => `openpool.${quoted(table)}`;
const columnList = ({ columns }: BackupTable): string => columns.map(quoted).join(", ");

/**
 * Writes a backup of the pool's books, as they are at one moment, into a file. The pool goes on meanwhile: it is read in
 * one snapshot, no work waits for it. Only rebuilds of the books and taking months out of the log are not possible then, and
 * it waits for a rebuild that goes on. The file is read again before it takes its name.
 *
 * Rejects with `store/no-books` where no pool has its books, and with `store/no-database`.
 */
export async function writeBackup(
  connection: PgConnection,
  file: string,
  program: string,
  { logger, clock }: BackupDeps,
  signal?: AbortSignal,
): Promise<BackupReport> {
  return connected(connection, "backup", signal, async (client) => {
    await client.query(SAME_TEXT);
    const { rows: there } = await client.query<{ there: boolean }>(
      "select to_regclass('openpool.schema_migrations') is not null as there",
    );
    if (!there[0]?.there) {
      throw new PoolError(
        { code: "store/no-books" },
        "No pool keeps its books in this database: there is nothing to back up.",
      );
    }
    await keepTables(client, logger, signal);
    await client.query("begin isolation level repeatable read read only");
    // Before the first question, at whose moment all is read: no month leaves the log from here on.
    await client.query("lock table openpool.events in access share mode");
    const { rows: head } = await client.query<{ position: string }>("select position from openpool.log_head");
    const { rows: schema } = await client.query<{ version: number }>(
      "select version from openpool.schema_migrations order by version",
    );
    const header = {
      takenAt: new Date(clock.now()).toISOString(),
      program,
      schema: schema.map(({ version }) => version),
      position: head[0]?.position ?? "0",
      partitions: await partitionsOf(client),
      sequences: await sequencesOf(client),
    };
    const exports = await exportsIn(client);
    const writer = await createBackupFile(file);
    try {
      await writer.header(header);
      for (const table of await tablesOf(client)) {
        signal?.throwIfAborted();
        await writer.table(table);
        // A partitioned table cannot be copied by its name.
        await copyOut(client, `copy (select ${columnList(table)} from ${tableName(table)}) to stdout`, (piece) => {
          signal?.throwIfAborted();
          return writer.rows(piece);
        });
        await writer.tableEnd(await checksumOf(client, table));
      }
      await client.query("commit");
      const { tables, rows } = await writer.finish();
      const { takenAt, position } = header;
      logger.info("backed up the books", { file, position, tables, rows: rows.toString() });
      return { file, takenAt, position: BigInt(position), tables, rows, exports };
    } catch (error) {
      await writer.discard();
      throw error;
    }
  });
}

/**
 * Brings back the books of a backup into an empty database. All of it is there afterwards, compared row by row's checksum
 * with what was backed up, or nothing is. Payouts of the restored pool stand still until they were reconciled.
 *
 * Rejects with `store/backup-damaged`, `store/schema-newer`, `store/restore-not-empty` and `store/restore-differs`.
 */
export async function restoreBackup(
  connection: PgConnection,
  file: string,
  { logger, clock }: BackupDeps,
  signal?: AbortSignal,
  verified: { readonly header: BackupHeader } | undefined = undefined,
): Promise<BackupReport> {
  // All of it is read, before anything is touched.
  const { header } = verified ?? (await verifyBackupFile(file));
  const unknown = header.schema.filter((version) => !knownMigrations.some((one) => one.version === version));
  if (unknown.length > 0) {
    throw new PoolError(
      { code: "store/schema-newer" },
      `${file} has schema version ${unknown.join(", ")}, which this program does not know: a newer Open Pool wrote it (${header.program}). Restore it with that version or a later one.`,
    );
  }
  return connected(connection, "restore", signal, async (client) => {
    await client.query(SAME_TEXT);
    // A pool that starts on the same database meanwhile waits for us.
    await lockMigrations(client);
    const { rows: found } = await client.query<{ books: boolean; begun: boolean }>(
      "select to_regclass('openpool.schema_migrations') is not null as books, to_regclass($1) is not null as begun",
      [RESTORING],
    );
    if (found[0]?.begun) {
      logger.warn("an earlier restore was not finished: beginning again");
      await client.query("drop schema openpool cascade");
    } else if (found[0]?.books) {
      throw new PoolError(
        { code: "store/restore-not-empty" },
        "There are books in this database already, and a restore never touches those. Restore into a new data directory or an empty database.",
      );
    }
    await client.query(
      `create schema if not exists openpool; create table ${RESTORING} (since timestamptz not null default now())`,
    );
    try {
      const inForce = knownMigrations.filter(({ version }) => header.schema.includes(version));
      await migrate(client, { logger }, inForce, { restoring: true });
      const { tables, rows } = await load(client, file, signal);
      await migrate(client, { logger }, knownMigrations, { restoring: true });
      await client.query("select openpool.guard_months()");
      await client.query("begin");
      // A backup of books that were restored themselves, and not explained since, tells of what is older still.
      await client.query(
        `insert into openpool.halts (name, reason, details, since) values ($1, $2, $3, $4) on conflict (name) do nothing`,
        [
          RESTORED_HALT,
          `The books are a backup of ${header.takenAt}. What was paid since then is not in them: \`openpool payouts resume\` reads it from the chain, and goes on when it can explain all of it.`,
          JSON.stringify({ takenAt: header.takenAt, position: header.position }),
          new Date(clock.now()),
        ],
      );
      await client.query(`drop table ${RESTORING}`);
      await client.query("commit");
      await client.query("analyze");
      const { takenAt, position } = header;
      logger.info("restored the books", { file, takenAt, position, tables, rows: rows.toString() });
      const exports = await exportsIn(client);
      return { file, takenAt, position: BigInt(position), tables, rows, exports };
    } catch (error) {
      await client.query("rollback; drop schema if exists openpool cascade").catch((failure: unknown) => {
        logger.warn("could not clear away what was restored; the next restore does", { error: errorText(failure) });
      });
      throw error;
    }
  });
}

/**
 * Waits until nobody rebuilds the books, and keeps everybody from it. A snapshot holds rows, not names: tables that were put
 * in the place of others meanwhile would be copied without what was written into them after it.
 */
async function keepTables(client: Client, logger: Logger, signal: AbortSignal | undefined): Promise<void> {
  for (let waited = false; ; waited = true) {
    signal?.throwIfAborted();
    const { rows } = await client.query<{ got: boolean }>("select pg_try_advisory_lock_shared($1) as got", [
      locks.rebuild,
    ]);
    if (rows[0]?.got) return;
    if (!waited) logger.info("the books are being rebuilt or verified: the backup begins when that is done");
    await client.query("select pg_sleep(0.5)");
  }
}

/** Fills the tables from the file, in one transaction. */
async function load(
  client: Client,
  file: string,
  signal: AbortSignal | undefined,
): Promise<{ readonly tables: number; readonly rows: bigint }> {
  await client.query("begin");
  const known = await tablesOf(client);
  const parts = readBackupFile(file);
  const differs = (why: string): PoolError =>
    new PoolError(
      { code: "store/restore-differs" },
      `${file} could not be restored as it was: ${why}. Nothing was kept.`,
    );
  let table: BackupTable | undefined;
  for (;;) {
    const { value: part, done } = await parts.next();
    if (done) throw differs("it ended too early");
    switch (part.kind) {
      case "header": {
        const { partitions, sequences } = part.header;
        for (const { parent, name, bounds } of partitions) {
          const { rows } = await client.query<{ there: boolean }>("select to_regclass($1) is not null as there", [
            `openpool.${quoted(name)}`,
          ]);
          if (!rows[0]?.there) {
            await client.query(
              `create table openpool.${quoted(name)} partition of openpool.${quoted(parent)} ${bounds}`,
            );
          }
        }
        // Rows that were right once are put there as they were: nothing is to be done about them again.
        for (const one of known) await client.query(`alter table ${tableName(one)} disable trigger user`);
        // What the migrations themselves put there is in the backup too, as it was then.
        await client.query(`truncate ${known.map(tableName).join(", ")}`);
        for (const { name, value, called } of sequences) {
          await client.query("select setval($1::regclass, $2, $3)", [`openpool.${quoted(name)}`, value, called]);
        }
        break;
      }
      case "table": {
        table = part.table;
        const target = known.find((one) => one.table === part.table.table);
        if (!target || target.columns.join() !== table.columns.join()) {
          throw differs(`the table ${part.table.table} looks different in this version`);
        }
        let end: BackupTableEnd | undefined;
        const rowsOf = async function* (): AsyncGenerator<Uint8Array> {
          for (;;) {
            const { value: next, done: over } = await parts.next();
            signal?.throwIfAborted();
            if (over) throw differs("it ended too early");
            if (next.kind === "rows") yield next.bytes;
            else if (next.kind === "table-end") return void (end = next.end);
            else throw differs("its parts are out of order");
          }
        };
        await copyIn(client, `copy ${tableName(table)} (${columnList(table)}) from stdin`, rowsOf());
        const restored = await checksumOf(client, table);
        if (!end || end.rows !== restored.rows || end.checksum !== restored.checksum) {
          throw differs(`the table ${table.table} has other rows than were backed up`);
        }
        break;
      }
      case "end":
        for (const one of known) await client.query(`alter table ${tableName(one)} enable trigger user`);
        await client.query("commit");
        return { tables: part.tables, rows: part.rows };
      case "rows":
      case "table-end":
        throw differs("its parts are out of order");
    }
  }
}

/**
 * All tables of ours and their columns, those that others refer to before those. Not what a rebuild left behind that was
 * killed.
 */
async function tablesOf(client: Client): Promise<readonly BackupTable[]> {
  const { rows } = await client.query<{ table: string; columns: string[]; needs: string[] }>(`
    select c.relname as table,
      (select array_agg(a.attname::text order by a.attnum) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
      array(select f.relname::text from pg_constraint k join pg_class f on f.oid = k.confrelid
        where k.conrelid = c.oid and k.contype = 'f' and f.oid <> c.oid) as needs
    from pg_class c
    where c.relnamespace = 'openpool'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
      and c.relname not in ('schema_migrations', 'restoring') and c.relname !~ '^rebuilt_'
    order by c.relname`);
  const ordered: { table: string; columns: string[] }[] = [];
  const place = (one: (typeof rows)[number]): void => {
    if (ordered.some(({ table }) => table === one.table)) return;
    for (const name of one.needs) {
      const needed = rows.find(({ table }) => table === name);
      if (needed) place(needed);
    }
    ordered.push({ table: one.table, columns: one.columns });
  };
  for (const one of rows) place(one);
  return ordered;
}

/** Files that hold what is no longer in the log. */
async function exportsIn(client: Client): Promise<readonly string[]> {
  const { rows: there } = await client.query<{ there: boolean }>(
    "select to_regclass('openpool.event_exports') is not null as there",
  );
  if (!there[0]?.there) return [];
  const { rows } = await client.query<{ file: string }>(
    `select x.file from openpool.event_exports x join openpool.ledger_periods p on p.period = x.month
     where p.dropped_at is not null order by x.month`,
  );
  return rows.map(({ file }) => file);
}

async function partitionsOf(client: Client): Promise<{ parent: string; name: string; bounds: string }[]> {
  const { rows } = await client.query<{ parent: string; name: string; bounds: string }>(`
    select p.relname as parent, c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds
    from pg_class c join pg_inherits i on i.inhrelid = c.oid join pg_class p on p.oid = i.inhparent
    where c.relnamespace = 'openpool'::regnamespace and c.relispartition and c.relkind in ('r', 'p')
    order by c.oid`);
  return rows;
}

async function sequencesOf(client: Client): Promise<{ name: string; value: string; called: boolean }[]> {
  const { rows: names } = await client.query<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'openpool'::regnamespace and relkind = 'S' order by 1",
  );
  const found: { name: string; value: string; called: boolean }[] = [];
  for (const { name } of names) {
    const { rows } = await client.query<{ value: string; called: boolean }>(
      `select last_value as value, is_called as called from openpool.${quoted(name)}`,
    );
    if (rows[0]) found.push({ name, ...rows[0] });
  }
  return found;
}

/** Of all rows whatever their order, as the server that holds them sees them. */
async function checksumOf(client: Client, table: BackupTable): Promise<BackupTableEnd> {
  const { rows } = await client.query<BackupTableEnd>(
    `select count(*) as rows, coalesce(sum(hashtextextended(row(${columnList(table)})::text, 0)), 0)::text as checksum
     from ${tableName(table)}`,
  );
  return rows[0] ?? { rows: "0", checksum: "0" };
}

async function connected<T>(
  connection: PgConnection,
  what: "backup" | "restore",
  signal: AbortSignal | undefined,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client(clientConfig(connection, `openpool ${what} ${process.pid}`));
  client.on("error", () => {});
  try {
    await client.connect();
  } catch (cause) {
    await client.end().catch(() => {});
    throw connectError(connection, cause);
  }
  try {
    return await work(client);
  } catch (cause) {
    if (cause instanceof PoolError || signal?.aborted) throw cause;
    throw new PoolError(
      { code: what === "backup" ? "store/backup-failed" : "store/restore-failed" },
      `The ${what} failed: ${errorText(cause)}.`,
      { cause },
    );
  } finally {
    await client.end().catch(() => {});
  }
}
