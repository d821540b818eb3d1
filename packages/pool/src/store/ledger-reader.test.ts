import { silentLogger, type StoppedClock, stoppedClock, systemClock } from "@openpool/base";
import { expect, test, vi } from "vitest";
import { createJobBooker } from "../ledger/schemes/index.ts";
import { TermsBook } from "../ledger/terms.ts";
import { checkLedger } from "./ledger-check.ts";
import { LedgerReader } from "./ledger-reader.ts";
import { rebuildLedger } from "./ledger-rebuild.ts";
import { openLedgerWorld, termsVersion } from "./testing/ledger-world.ts";
import { ada, bob, creditOf } from "./testing/sample-credit.ts";

const t0 = "2026-01-01T00:00:00Z";
const HOUR = 3_600_000;

test("credits become balances and rows of statements, once, however the log is cut", async () => {
  await using world = await openLedgerWorld(stoppedClock(t0));
  const { store, ledger, client } = world;
  const credits = [creditOf(ada, "one", 1n), creditOf(bob, "two", 3n), creditOf(ada, "two", 10n)];
  for (const credit of credits) await store.credit(credit);
  await store.append([{ type: "fact", data: {} }]);
  expect(await world.step(2)).toMatchObject({ jobs: 2 });
  expect(await world.step(2)).toMatchObject({ jobs: 1, position: 4n, head: 4n });
  expect(await world.step(2)).toMatchObject({ jobs: 0 });
  expect(Object.fromEntries(await ledger.accounts())).toEqual({
    "source:gateway": -14_000n,
    "pool:commission": 3_500n,
    [`worker:${ada}:held`]: 0n,
    [`worker:${bob}:held`]: 0n,
    [`worker:${ada}:owed`]: 8_250n,
    [`worker:${bob}:owed`]: 2_250n,
  });
  const { rows } = await ledger.statement(ada, {}, undefined, 10);
  expect(rows.map((row) => [row.kind, row.job, row.rig, row.amountWei, row.feeWei, row.scheme, row.state])).toEqual([
    ["credit", credits[0]?.job, "one", 750n, 1_000n, "unit", "owed"],
    ["credit", credits[2]?.job, "two", 7_500n, 10_000n, "unit", "owed"],
  ]);
  const { rows: entries } = await client.query("select source, rule from openpool.ledger_entries order by id");
  expect(entries.filter((entry) => entry.rule === "credit")).toHaveLength(2);
});

test("work that is worth nothing, at a price of zero, stands in its worker's statement and stops no books", async () => {
  const terms = new TermsBook([termsVersion(1)]);
  const bookJob = createJobBooker(terms);
  await using world = await openLedgerWorld(stoppedClock(t0), terms, bookJob);
  const { store, ledger, client, connection } = world;
  const free = { ...creditOf(ada, "one", 100n), feeWei: 0n, commissionWei: 0n, earnedWei: 0n };
  await store.credit(free);
  expect(await world.catchUp()).toBe(1);
  await store.credit(creditOf(bob, "two", 3n));
  expect(await world.catchUp()).toBe(1);
  const { rows } = await ledger.statement(ada, {}, undefined, 10);
  expect(rows.map((row) => [row.kind, row.job, row.amountWei, row.pixels])).toEqual([["credit", free.job, 0n, 100n]]);
  expect((await checkLedger(client, { terms, bookJob }, undefined)).violations).toEqual([]);
  for (const verify of [true, false]) {
    expect((await rebuildLedger(connection, { terms, bookJob, verify, nowMs: () => 0 })).differences).toEqual([]);
  }
  expect((await checkLedger(client, { terms, bookJob }, undefined)).violations).toEqual([]);
});

test("what was earned is held for the hold time, then owed", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(
    clock,
    new TermsBook([termsVersion(1, { holdMs: 2 * HOUR, overrides: [{ name: "partner", workers: [bob], holdMs: 0 }] })]),
  );
  const { store, ledger } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await store.credit(creditOf(bob, "one", 4n));
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 3_000n, owedWei: 0n });
  expect(await ledger.balance(bob)).toMatchObject({ heldWei: 0n, owedWei: 3_000n });
  expect((await ledger.statement(ada, {}, undefined, 1)).rows[0]?.state).toBe("held");
  clock.advance(2 * HOUR - 1);
  await world.step();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 3_000n });
  clock.advance(1);
  await world.step();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 3_000n });
  expect((await ledger.statement(ada, {}, undefined, 1)).rows[0]?.state).toBe("owed");
  expect((await ledger.payable()).map((one) => one.worker).toSorted()).toEqual([ada, bob].toSorted());
});

test("what is released next is the first whose time has come, not the oldest", async () => {
  const clock = stoppedClock(t0);
  const terms = new TermsBook([
    termsVersion(1, { holdMs: 48 * HOUR }),
    termsVersion(2, { holdMs: 2 * HOUR, effectiveAtMs: clock.now() + 1 }),
  ]);
  await using world = await openLedgerWorld(clock, terms);
  expect(await world.ledger.nextReleaseMs(ada)).toBeUndefined();
  await world.store.credit(creditOf(ada, "one", 4n));
  clock.advance(1);
  await world.store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  expect(await world.ledger.nextReleaseMs(ada)).toBe(Date.parse(t0) + 2 * HOUR + 60_000);
});

test("a clock that ran ahead releases what it must, is not believed for longer, and the books stay the same made anew", async () => {
  let nowMs = Date.parse(t0) + 1_000;
  const clock = { ...systemClock, now: () => nowMs };
  const terms = new TermsBook([termsVersion(1, { holdMs: 2 * HOUR })]);
  // Holds of hours end with a minute.
  const endsMs = Date.parse(t0) + 2 * HOUR + 60_000;
  await using world = await openLedgerWorld(clock, terms);
  const { store, ledger, client, connection } = world;
  const [first, second] = [creditOf(ada, "one", 4n), creditOf(ada, "one", 8n)];
  await store.credit(first);
  await world.catchUp();
  // A day ahead, long enough for a step.
  nowMs += 24 * HOUR;
  await world.step();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 3_000n });
  nowMs -= 24 * HOUR - 1_000;
  await world.step();
  // What comes now is held for its time, also where it ends in the same moment as what was released.
  await store.credit(second);
  await store.credit(creditOf(bob, "one", 4n));
  await world.catchUp();
  const books = async () => ({
    ada: await ledger.balance(ada),
    states: (await ledger.statement(ada, {}, undefined, 10)).rows.map((row) => row.state),
    next: await ledger.nextReleaseMs(ada),
    violations: (await checkLedger(client, { terms, bookJob: createJobBooker(terms) }, undefined)).violations,
    differences: (
      await rebuildLedger(connection, { terms, bookJob: createJobBooker(terms), verify: true, nowMs: clock.now })
    ).differences,
  });
  const expected = {
    ada: { heldWei: 6_000n, owedWei: 3_000n, payingWei: 0n, paidWei: 0n },
    states: ["owed", "held"],
    next: endsMs,
    violations: [],
    differences: [],
  };
  expect(await books()).toEqual(expected);
  await rebuildLedger(connection, { terms, bookJob: createJobBooker(terms), verify: false, nowMs: clock.now });
  expect(await books()).toEqual(expected);
  // Corrections go where the money is.
  const correct = (job: string) =>
    ledger.adjust({ worker: ada, amountWei: -1n, reason: "a test", corrects: job, termsVersion: 1 });
  expect((await correct(first.job)).balance).toMatchObject({ heldWei: 6_000n, owedWei: 2_999n });
  expect((await correct(second.job)).balance).toMatchObject({ heldWei: 5_999n, owedWei: 2_999n });
  nowMs = endsMs;
  await world.step();
  expect(await books()).toMatchObject({ ada: { heldWei: 0n, owedWei: 8_998n }, violations: [], differences: [] });
  const early = await client.query("select from openpool.ledger_released_early");
  expect(early.rowCount).toBe(0);
});

test("a credit is booked under the terms that it names, whatever is in force when the ledger reads it", async () => {
  const clock = stoppedClock(t0);
  const terms = new TermsBook([termsVersion(1), termsVersion(2, { effectiveAtMs: clock.now() + HOUR, holdMs: HOUR })]);
  await using world = await openLedgerWorld(clock, terms);
  const { store, ledger } = world;
  await store.credit(creditOf(ada, "one", 1n));
  clock.advance(HOUR);
  await store.credit({ ...creditOf(ada, "one", 1n), data: { termsVersion: 1 } });
  await store.credit({ ...creditOf(ada, "one", 1n), data: { termsVersion: 2 } });
  await world.catchUp();
  const { rows } = await ledger.statement(ada, {}, undefined, 10);
  expect(rows.map((row) => [row.termsVersion, row.state])).toEqual([
    [1, "owed"],
    [1, "owed"],
    [2, "held"],
  ]);
});

test("two that read the same log book every credit once", async () => {
  await using world = await openLedgerWorld(systemClock);
  const { store, ledger, connection, terms } = world;
  const open = (): LedgerReader =>
    new LedgerReader(connection, {
      logger: silentLogger,
      clock: systemClock,
      terms,
      bookJob: createJobBooker(terms),
      onAppended: (callback) => store.onAppended(callback),
    });
  await using one = open();
  await using two = open();
  for (let i = 0; i < 20; i++) {
    await Promise.all(Array.from({ length: 10 }, () => store.credit(creditOf(ada, "one", 4n))));
  }
  await vi.waitFor(
    async () => {
      expect((await ledger.balance(ada)).owedWei).toBe(600_000n);
      // Who booked the last of them notes that behind the commit.
      expect(one.progress.jobsBooked + two.progress.jobsBooked).toBe(200);
    },
    { timeout: 30_000 },
  );
});

test("an event that cannot be booked stops the books before it, and payouts, until it can", async () => {
  await using world = await openLedgerWorld(systemClock);
  const { store, ledger, connection, terms } = world;
  await store.credit(creditOf(ada, "one", 4n));
  let broken = true;
  const reader = new LedgerReader(connection, {
    logger: silentLogger,
    clock: systemClock,
    terms,
    bookJob(job, its) {
      const booking = createJobBooker(terms)(job, its);
      return broken ? { ...booking, postings: booking.postings.slice(1) } : booking;
    },
    onAppended: (callback) => store.onAppended(callback),
    onStuck: (reason) => ledger.halt("ledger-stuck", reason, {}),
  });
  await using _reader = reader;
  await vi.waitFor(async () => expect(await ledger.halts()).toHaveLength(1), { timeout: 30_000 });
  expect(await ledger.accounts()).toEqual(new Map());
  broken = false;
  await vi.waitFor(async () => expect((await ledger.balance(ada)).owedWei).toBe(3_000n), { timeout: 30_000 });
});

/** Lets time go by, and the reader do what it does then, until something is so. */
async function untilItIs(clock: StoppedClock, so: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await so())) {
    clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("books that do not go on for a minute, whatever the reason, halt payouts until they do", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, ledger, terms, connection } = world;
  if (connection.kind !== "socket") throw new Error("a test database has a socket");
  const place = { ...connection, socketDir: "/nowhere" };
  const halts: number[] = [];
  await using reader = new LedgerReader(place, {
    logger: silentLogger,
    clock,
    terms,
    bookJob: createJobBooker(terms),
    onAppended: (callback) => store.onAppended(callback),
    async onStuck(reason) {
      const atMs = clock.monotonicMs();
      await ledger.halt("ledger-stuck", reason, {});
      halts.push(atMs);
    },
    onMoving: () => ledger.liftHalt("ledger-stuck"),
  });
  await store.credit(creditOf(ada, "one", 4n));
  await vi.waitFor(() => expect(reader.progress.stuck).toMatch(/ENOENT/), { timeout: 30_000 });
  const failedMs = clock.monotonicMs();
  await untilItIs(clock, () => halts.length > 0);
  expect(halts[0]! - failedMs).toBeGreaterThanOrEqual(60_000);
  expect(await ledger.halts()).toMatchObject([
    { name: "ledger-stuck", reason: expect.stringContaining("The books do not go on") },
  ]);
  place.socketDir = connection.socketDir;
  await untilItIs(clock, async () => (await ledger.halts()).length === 0);
  expect((await ledger.balance(ada)).owedWei + (await ledger.balance(ada)).heldWei).toBe(3_000n);
  expect(reader.progress.stuck).toBeUndefined();
}, 120_000);

test("a run that is too much at once goes through in parts, and what comes before an event that cannot be booked is booked", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, ledger, terms, connection, client } = world;
  await client.query(`
    create function pg_temp_limit() returns trigger language plpgsql as $$ begin
      if (select count(*) from rows) > 3 then raise exception 'too much at once'; end if;
      return null;
    end $$;
    create trigger three_at_most after insert on openpool.ledger_lines referencing new table as rows
      for each statement execute function pg_temp_limit()`);
  const credits = Array.from({ length: 12 }, () => creditOf(ada, "one", 4n));
  for (const credit of credits) await store.credit(credit);
  let broken = credits[8]?.job;
  const stuck: string[] = [];
  await using _reader = new LedgerReader(connection, {
    logger: silentLogger,
    clock,
    terms,
    bookJob(job, its) {
      const booking = createJobBooker(terms)(job, its);
      return job.job === broken ? { ...booking, postings: booking.postings.slice(1) } : booking;
    },
    onAppended: (callback) => store.onAppended(callback),
    onStuck: async (reason) => void stuck.push(reason),
  });
  const booked = async (): Promise<readonly (string | undefined)[]> =>
    (await ledger.statement(ada, {}, undefined, 100)).rows.map((row) => row.job);
  await untilItIs(clock, async () => (await booked()).length >= 8 && stuck.some((why) => why.includes(broken ?? "")));
  expect(await booked()).toEqual(credits.slice(0, 8).map(({ job }) => job));
  broken = undefined;
  await untilItIs(clock, async () => (await booked()).length === 12);
  expect(await booked()).toEqual(credits.map(({ job }) => job));
  await client.query("drop trigger three_at_most on openpool.ledger_lines");
  expect((await checkLedger(client, { terms, bookJob: createJobBooker(terms) }, undefined)).violations).toEqual([]);
}, 120_000);
