import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import { Client } from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { RESTORED_HALT, restoreBackup, writeBackup } from "./backup.ts";
import { createBackupFile, verifyBackupFile } from "./backup-file.ts";
import { openStore } from "./open-store.ts";
import { locks } from "./locks.ts";
import { clientConfig } from "./pg-connection.ts";
import { openLedgerWorld } from "./testing/ledger-world.ts";
import { ada, bob, creditOf } from "./testing/sample-credit.ts";
import { openSqlClient } from "./testing/sql-client.ts";
import { openTestDatabase, openTestStore, type TestDatabase } from "./testing/test-store.ts";

const deps = { logger: silentLogger, clock: systemClock };
let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), "openpool-backup-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Everything in the books, table by table, as text. */
async function contents(database: TestDatabase): Promise<Record<string, string>> {
  const tables = await database.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'openpool'::regnamespace and relkind in ('r', 'p')
       and not relispartition and relname not in ('schema_migrations', 'halts', 'rebuilt_lines') order by 1`,
  );
  const each = tables.map(
    ({ name }) =>
      `select '${name}' as name, string_agg(t::text, e'\\n' order by t::text) as rows from openpool."${name}" t`,
  );
  const found = await database.query<{ name: string; rows: string | null }>(each.join(" union all "));
  return Object.fromEntries(found.map(({ name, rows }) => [name, rows ?? ""]));
}

async function code(work: Promise<unknown>): Promise<unknown> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  return error instanceof Error && "info" in error ? (error.info as { code: string }).code : error;
}

describe("a backup", () => {
  test("brings back every row as it was: odd text, old months, numbers given out; and goes on from there", async () => {
    await using store = await openTestStore();
    await Promise.all(
      Array.from({ length: 300 }, (_, i) =>
        store.credit(creditOf(i % 2 ? ada : bob, `rig${i % 7}`, BigInt(i) * 10n ** 15n)),
      ),
    );
    const odd = 'tab\t line\n back\\slash \\. quote\' "double" \u2028 ключ \u{1F600}';
    await store.append([{ type: "fact", data: { odd } }]);
    await store.changeWorker(ada, { locked: true, note: odd });
    await store.putSnapshot("s", { odd });
    // A month that no program makes any more.
    await store.database.query("select openpool.add_events_partition('2021-03-01')");
    await store.database.query(
      "insert into openpool.events select -1, gen_random_uuid(), '2021-03-05T00:00:00Z', 'old', null, null, '{}'",
    );
    const file = join(dir, "one");
    const before = await contents(store.database);
    // What a rebuild of the books leaves behind that is killed.
    await store.database.query("create table openpool.rebuilt_lines (like openpool.ledger_lines including all)");
    const written = await writeBackup(store.database.connection, file, "test", deps);
    expect(await verifyBackupFile(file)).toMatchObject({ rows: written.rows, tables: written.tables });
    expect((await stat(file)).mode & 0o777).toBe(0o600);

    await using empty = await openTestDatabase({ empty: true });
    expect(await restoreBackup(empty.connection, file, deps)).toEqual(written);
    expect(await contents(empty)).toEqual(before);
    expect(await empty.query("select name, details->>'takenAt' as at from openpool.halts")).toEqual([
      { name: RESTORED_HALT, at: written.takenAt },
    ]);
    // What is append only is so there too, the old month by its own name as well.
    for (const month of ["events", "events_2021_03"]) {
      await expect(empty.query(`delete from openpool.${month}`)).rejects.toThrow(`${month} is append only`);
    }
    await using again = await openStore(empty.connection, deps);
    expect(await again.balances()).toEqual(await store.balances());
    expect(await again.checkTotals()).toEqual([]);
    const [last] = await again.events({ after: written.position - 1n, limit: 10 });
    expect(last?.data).toEqual({ odd });
    expect(await again.credit(creditOf(ada, "rig1", 5n))).toBe("credited");
    const [next] = await again.events({ after: written.position, limit: 10 });
    expect(next?.position).toBe(written.position + 1n);
    // Nobody has said yet what was paid since the first backup: a second one still asks for all of that time.
    await writeBackup(empty.connection, join(dir, "of the restored"), "test", deps);
    await using third = await openTestDatabase({ empty: true });
    await restoreBackup(third.connection, join(dir, "of the restored"), deps);
    expect(await third.query("select name, details->>'takenAt' as at from openpool.halts")).toEqual([
      { name: RESTORED_HALT, at: written.takenAt },
    ]);
  }, 120_000);

  test("of a pool at work is of one moment: all that was credited before it, and a credit with all that belongs to it", async () => {
    await using store = await openTestStore();
    let stop = false;
    const confirmed: string[] = [];
    const work = Array.from({ length: 8 }, async (_, n) => {
      while (!stop) {
        const credit = creditOf(n % 2 ? ada : bob, `rig${n}`, 1_000n);
        await store.credit(credit);
        confirmed.push(credit.job);
      }
    });
    while (confirmed.length < 500) await new Promise((resolve) => setImmediate(resolve));
    const sure = new Set(confirmed);
    const file = join(dir, "busy");
    await writeBackup(store.database.connection, file, "test", deps);
    stop = true;
    await Promise.all(work);
    await using empty = await openTestDatabase({ empty: true });
    await restoreBackup(empty.connection, file, deps);
    await using again = await openStore(empty.connection, deps);
    expect(await again.checkTotals()).toEqual([]);
    const jobs = new Set(
      (await empty.query<{ job: string }>("select job from openpool.credits")).map(({ job }) => job),
    );
    expect([...sure].filter((job) => !jobs.has(job))).toEqual([]);
    expect([...jobs].filter((job) => !confirmed.includes(job))).toEqual([]);
    const total = (await again.balances()).reduce((sum, { segments }) => sum + segments, 0n);
    expect(total).toBe(BigInt(jobs.size));
  });

  test("is of tables that stay what they are: it waits for a rebuild, and until it is written there is none, nor does a month leave the log", async () => {
    await using world = await openLedgerWorld(systemClock);
    const { store, client, connection } = world;
    const other = await openSqlClient(connection, "test other");
    await store.credit(creditOf(ada, "rig", 1n));
    const isAtWork = async (where: string): Promise<void> => {
      await expect
        .poll(
          () => client.query(`select from pg_stat_activity where application_name like 'openpool backup%' ${where}`),
          { timeout: 20_000 },
        )
        .toMatchObject({ rowCount: 1 });
    };
    await client.query("select pg_advisory_lock($1)", [locks.rebuild]);
    const file = join(dir, "steady");
    const writing = writeBackup(connection, file, "test", deps);
    await isAtWork("and query like '%pg_sleep%'");
    await store.credit(creditOf(ada, "rig", 2n));
    await world.catchUp();
    // It comes as far as the first of the tables that another holds.
    await other.query("begin; lock table openpool.credits in access exclusive mode");
    await client.query("select pg_advisory_unlock($1)", [locks.rebuild]);
    await isAtWork("and wait_event_type = 'Lock'");
    expect(await code(world.rebuild(false))).toBe("ledger/rebuild-running");
    // As who takes a month out of the log wants it.
    const lock = "lock table openpool.events in access exclusive mode nowait";
    await expect(client.query(`do $$ begin ${lock}; end $$`)).rejects.toThrow("could not obtain lock");
    await other.query("commit");
    await other.end();
    await writing;
    await using empty = await openTestDatabase({ empty: true });
    await restoreBackup(empty.connection, file, deps);
    expect(await empty.query("select count(*)::integer as lines from openpool.ledger_lines")).toEqual([{ lines: 2 }]);
    expect(await world.rebuild(false)).toMatchObject({ replaced: true, differences: [] });
  });

  test("that is cut short, changed or something else is refused before anything is touched", async () => {
    await using store = await openTestStore();
    await Promise.all(Array.from({ length: 50 }, () => store.credit(creditOf(ada, "rig", 1_000n))));
    const file = join(dir, "good");
    await writeBackup(store.database.connection, file, "test", deps);
    const bytes = await readFile(file);
    await using empty = await openTestDatabase({ empty: true });
    const refused = async (what: Uint8Array): Promise<void> => {
      const bad = join(dir, "bad");
      await writeFile(bad, what);
      expect(await code(restoreBackup(empty.connection, bad, deps))).toBe("store/backup-damaged");
    };
    for (const share of [0, 0.1, 0.5, 0.9]) await refused(bytes.subarray(0, Math.floor(bytes.length * share)));
    await refused(bytes.subarray(0, bytes.length - 1));
    for (const at of [0.2, 0.6, 0.95]) {
      const changed = Buffer.from(bytes);
      changed[Math.floor(changed.length * at)]! ^= 0x10;
      await refused(changed);
    }
    await refused(Buffer.from("not a backup"));
    expect(await code(restoreBackup(empty.connection, join(dir, "none"), deps))).toBe("store/backup-damaged");
    expect(await empty.query("select to_regnamespace('openpool') as schema")).toEqual([{ schema: null }]);
  });

  test("that cannot be written, or was not finished, leaves no file that looks like one", async () => {
    await using store = await openTestStore();
    await store.credit(creditOf(ada, "rig", 1_000n));
    const given = new AbortController();
    given.abort(new Error("enough"));
    await expect(
      writeBackup(store.database.connection, join(dir, "stopped"), "test", deps, given.signal),
    ).rejects.toThrow("enough");
    await expect(writeBackup(store.database.connection, join(dir, "no", "where"), "test", deps)).rejects.toThrow(
      "ENOENT",
    );
    const writer = await createBackupFile(join(dir, "half"));
    await writer.table({ table: "t", columns: ["c"] });
    await expect(writer.finish()).rejects.toThrow("out of order");
    await writer.discard();
    expect(await readdir(dir)).toEqual([]);
    await using nothing = await openTestDatabase({ empty: true });
    expect(await code(writeBackup(nothing.connection, join(dir, "none"), "test", deps))).toBe("store/no-books");
  });
});

describe("a restore", () => {
  test("never touches books that are there", async () => {
    await using store = await openTestStore();
    await store.credit(creditOf(ada, "rig", 1_000n));
    const file = join(dir, "one");
    await writeBackup(store.database.connection, file, "test", deps);
    const before = await contents(store.database);
    expect(await code(restoreBackup(store.database.connection, file, deps))).toBe("store/restore-not-empty");
    expect(await contents(store.database)).toEqual(before);
  });

  test("of a newer pool's backup is refused", async () => {
    const file = join(dir, "newer");
    const writer = await createBackupFile(file);
    await writer.header({
      takenAt: new Date(0).toISOString(),
      program: "99.0.0",
      schema: [1, 99],
      position: "0",
      partitions: [],
      sequences: [],
    });
    await writer.finish();
    await using empty = await openTestDatabase({ empty: true });
    expect(await code(restoreBackup(empty.connection, file, deps))).toBe("store/schema-newer");
  });

  test("whose rows do not arrive as they were keeps nothing", async () => {
    await using store = await openTestStore();
    await store.credit(creditOf(ada, "rig", 1_000n));
    const file = join(dir, "one");
    await writeBackup(store.database.connection, file, "test", deps);
    await using empty = await openTestDatabase({ empty: true });
    const { header } = await verifyBackupFile(file);
    const lying = join(dir, "lying");
    const writer = await createBackupFile(lying);
    await writer.header(header);
    await writer.table({ table: "workers", columns: ["worker", "locked", "banned", "note"] });
    await writer.rows(Buffer.from("0x1\tf\t\\N\t\\N\n"));
    await writer.tableEnd({ rows: "1", checksum: "12345" });
    await writer.finish();
    expect(await code(restoreBackup(empty.connection, lying, deps))).toBe("store/restore-differs");
    expect(await empty.query("select to_regnamespace('openpool') as schema")).toEqual([{ schema: null }]);
    await restoreBackup(empty.connection, file, deps);
  });

  test("that was killed lets no pool start on what there is, and begins again", async () => {
    await using store = await openTestStore();
    await store.credit(creditOf(ada, "rig", 1_000n));
    const file = join(dir, "one");
    await writeBackup(store.database.connection, file, "test", deps);
    await using empty = await openTestDatabase({ empty: true });
    const client = new Client(clientConfig(empty.connection, "test"));
    await client.connect();
    await client.query("create schema openpool; create table openpool.restoring (since timestamptz)");
    await client.end();
    expect(await code(openStore(empty.connection, deps))).toBe("store/restore-unfinished");
    await restoreBackup(empty.connection, file, deps);
    await using again = await openStore(empty.connection, deps);
    expect(await again.balances()).toEqual(await store.balances());
  });
});
