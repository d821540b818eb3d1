import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { stoppedClock } from "@openpool/base";
import { Client } from "pg";
import { expect, test, vi } from "vitest";
import { TermsBook } from "../ledger/terms.ts";
import { createJobBooker } from "../ledger/schemes/index.ts";
import { hashOfHook } from "../hooks/read-module.ts";
import { closePeriods } from "./ledger-periods.ts";
import { clientConfig } from "./pg-connection.ts";
import { pruneMonth } from "./retention.ts";
import { PgSchemeStore } from "./scheme-store.ts";
import { openLedgerWorld, termsVersion } from "./testing/ledger-world.ts";
import { ada, bob, creditOf } from "./testing/sample-credit.ts";
import { unguarded } from "./testing/unguarded.ts";

const t0 = Date.parse("2026-01-30T00:00:00Z");
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

test("needs no events of months that were closed and taken out of the log", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: 3 * DAY })]));
  const { store, ledger, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  await expect(client.query("select openpool.drop_events_month('2026-01-01')")).rejects.toThrow(/not closed/);
  expect(await closePeriods(client, clock.now())).toEqual([]);
  clock.advance(2 * DAY + 2 * HOUR);
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  expect(await closePeriods(client, clock.now())).toEqual(["2026-01"]);
  expect(await client.query("select * from openpool.ledger_closings order by account")).toMatchObject({
    rows: [
      { account: "pool:commission", balance_wei: "1000" },
      { account: "source:gateway", balance_wei: "-4000" },
      { account: `worker:${ada}:held`, balance_wei: "3000" },
    ],
  });
  await expect(client.query("select openpool.drop_events_month('2026-01-01')")).rejects.toThrow(/not exported/);
  const dir = await mkdtemp(join(tmpdir(), "openpool-exports-"));
  try {
    await store.append([{ type: "fact", data: { n: 1 } }]);
    const { file, rows } = await pruneMonth(world.connection, "2026-01", dir, clock.now());
    expect(rows).toBe(1);
    await expect(pruneMonth(world.connection, "2026-01", dir, clock.now())).rejects.toThrow(/store\/not-prunable/);
    expect(await ledger.closedPeriods()).toMatchObject([
      { period: "2026-01", lines: 1, droppedAtMs: expect.any(Number) },
    ]);
    const kept = await store.events({ limit: 10 });
    expect(kept.map((event) => event.type)).toEqual(["job.credited", "fact"]);
    expect(await store.checkTotals()).toEqual([]);
    await store.rebuildTotals();
    expect(await store.checkTotals()).toEqual([]);
    clock.advance(DAY);
    await world.catchUp();
    expect(await ledger.balance(ada)).toMatchObject({ heldWei: 3_000n, owedWei: 3_000n });
    const right = async (jobs: number): Promise<void> => {
      expect(await world.rebuild(false)).toMatchObject({ jobs, differences: [] });
      expect((await world.rebuild(true)).differences).toEqual([]);
      expect((await world.check()).violations).toEqual([]);
    };
    await right(2);
    // Of a file that was changed nothing is used; one that is gone is not needed, and the month is what it was sealed as.
    const whole = await readFile(file);
    await writeFile(file, gzipSync(gunzipSync(whole).toString().replace('"segments":1', '"segments":2')));
    await expect(world.rebuild(true)).rejects.toThrow(/store\/export-damaged/);
    await rm(file);
    await right(1);
    await client.query(unguarded("update openpool.ledger_lines set rig = 'other' where at < '2026-02-01'"));
    expect((await world.rebuild(true)).differences).toMatchObject([{ what: "the closed month 2026-01" }]);
    expect((await world.check()).violations).toMatchObject([{ check: "closed" }]);
    await writeFile(file, whole);
    // From the file again the books are what they were.
    expect((await world.rebuild(false)).differences).toMatchObject([{ what: `statement of ${ada}` }]);
    await right(2);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test("books nothing into a closed month: what comes late stands in the next one", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, ledger, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  await closePeriods(client, t0 + 5 * DAY);
  // The clock of the node that says so is behind.
  await store.credit(creditOf(ada, "one", 8n));
  await world.catchUp();
  const february = Date.parse("2026-02-01T00:00:00Z");
  const { rows } = await ledger.statement(ada, { fromMs: february }, undefined, 10);
  expect(rows.map((row) => [row.atMs, row.amountWei])).toEqual([[february, 6_000n]]);
  expect((await world.rebuild(true)).differences).toEqual([]);
});

test("lets a month go whose late credits stand in a later one, once that is closed, and finds all of them again", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: 20 * DAY })]));
  const { store, ledger, client, connection } = world;
  const dir = await mkdtemp(join(tmpdir(), "openpool-exports-"));
  const prune = (month: string) => pruneMonth(connection, month, dir, clock.now());
  const right = async (jobs: number): Promise<void> => {
    expect(await world.rebuild(false)).toMatchObject({ jobs, differences: [] });
    expect((await world.rebuild(true)).differences).toEqual([]);
    expect((await world.check()).violations).toEqual([]);
  };
  try {
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    expect(await closePeriods(client, t0 + 5 * DAY)).toEqual(["2026-01"]);
    // The clock of the node that says so is behind; beside it one goes right.
    await store.credit(creditOf(ada, "one", 8n));
    await store.credit(creditOf(bob, "one", 1n));
    clock.advance(3 * DAY);
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    await expect(prune("2026-01")).rejects.toThrow(/booked into a month that is not closed yet/);
    clock.advance(40 * DAY);
    await store.credit(creditOf(bob, "one", 4n));
    await world.catchUp();
    expect(await closePeriods(client, clock.now())).toEqual(["2026-02"]);
    // Books of before, which mixed what came late with what did not.
    await client.query(
      unguarded(`update openpool.ledger_entries set data = '{"jobs":2}' where data->>'late' is not null`),
    );
    await expect(prune("2026-01")).rejects.toThrow(/run openpool ledger rebuild once/);
    await right(5);
    const january = await prune("2026-01");
    expect(january.rows).toBe(3);
    await right(5);
    const february = await prune("2026-02");
    expect(february.rows).toBe(1);
    const balances = [await ledger.balance(ada), await ledger.balance(bob)];
    expect(balances).toMatchObject([{ owedWei: 12_000n }, { owedWei: 750n, heldWei: 3_000n }]);
    // Whichever of the files is there: what came late is booked once.
    for (const gone of [[], [january], [february], [january, february]]) {
      const files = await Promise.all(gone.map(async ({ file }) => ({ file, bytes: await readFile(file) })));
      for (const { file } of files) await rm(file);
      await right(5 - gone.reduce((sum, { rows }) => sum + rows, 0));
      expect([await ledger.balance(ada), await ledger.balance(bob)]).toEqual(balances);
      for (const { file, bytes } of files) await writeFile(file, bytes);
    }
    expect(await store.checkTotals()).toEqual([]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test("a clock that jumps ahead closes no month that goes on, and makes nobody wait; load keeps no month open", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: HOUR })]));
  const { store, ledger, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  expect(await closePeriods(client, t0 + 150 * DAY)).toEqual([]);
  await world.catchUp();
  // The log ends in January: that month may be over, but nothing after it.
  expect(await closePeriods(client, t0 + 150 * DAY)).toEqual(["2026-01"]);
  expect(await closePeriods(client, t0 + 150 * DAY)).toEqual([]);
  // Booked into February, held from when it was earned.
  await store.credit(creditOf(ada, "one", 8n));
  await world.catchUp();
  clock.advance(HOUR + 60_000);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 9_000n });
  clock.advance(30 * DAY);
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  clock.advance(5 * DAY);
  // Not booked yet, and of March.
  await store.credit(creditOf(ada, "one", 4n));
  expect(await closePeriods(client, clock.now())).toEqual(["2026-02"]);
  await world.catchUp();
  expect((await world.check()).violations).toEqual([]);
  expect((await world.rebuild(true)).differences).toEqual([]);
});

test("keeps a month whose fees wait for a hook, and writes no file of it, until they are shared", async () => {
  const clock = stoppedClock(t0);
  const hash = hashOfHook("export {}");
  const terms = new TermsBook([termsVersion(1, { scheme: "hook", schemeOptions: { hook: hash } })]);
  const bookJob = createJobBooker(terms, {
    share: async (_hash, jobs) => jobs.map(() => ({ kind: "failed", hash, why: "a test" })),
    notes: async (_hash, jobs) => jobs.map(() => undefined),
  });
  await using world = await openLedgerWorld(clock, terms, bookJob);
  await using schemes = new PgSchemeStore(world.connection, { clock });
  const dir = await mkdtemp(join(tmpdir(), "openpool-exports-"));
  try {
    await world.store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    expect(await closePeriods(world.client, t0 + 5 * DAY)).toEqual(["2026-01"]);
    await expect(pruneMonth(world.connection, "2026-01", dir, clock.now())).rejects.toThrow(/wait for a hook/);
    expect(await readdir(dir)).toEqual([]);
    const [held] = await schemes.heldJobs(10);
    expect(held && (await schemes.releaseHeld(held, undefined, { nowMs: t0, terms: terms.version(1) }))).toBe(true);
    expect(await pruneMonth(world.connection, "2026-01", dir, clock.now())).toMatchObject({ month: "2026-01" });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test("waits for who reads the log and keeps nobody from appending meanwhile; an export that fits is not made again", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, client, connection } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  clock.advance(5 * DAY);
  await closePeriods(client, clock.now());
  const dir = await mkdtemp(join(tmpdir(), "openpool-exports-"));
  const prune = () => pruneMonth(connection, "2026-01", dir, clock.now());
  const reader = new Client(clientConfig(connection, "openpool test reader"));
  await reader.connect();
  try {
    await reader.query("begin");
    await reader.query("select count(*) from openpool.events");
    const pruning = prune().then(
      () => "pruned",
      (error: unknown) => String(error),
    );
    const first = await Promise.race([
      pruning,
      vi
        .waitFor(
          async () => {
            const { rowCount } = await client.query(
              "select from pg_locks where mode = 'AccessExclusiveLock' and not granted and relation = 'openpool.events'::regclass",
            );
            expect(rowCount).toBe(1);
          },
          { timeout: 20_000, interval: 20 },
        )
        .then(() => store.append([{ type: "fact", data: { n: 1 } }]))
        .then(() => "appended"),
    ]);
    expect(first).toBe("appended");
    expect(await pruning).toMatch(/store\/not-prunable.*read without a break/);
    const { ino } = await stat(join(dir, "events-2026-01.jsonl.gz"));
    await reader.query("rollback");
    const { file } = await prune();
    expect((await stat(file)).ino).toBe(ino);
  } finally {
    await reader.end();
    await rm(dir, { recursive: true, force: true });
  }
});
