import { stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { TermsBook } from "../ledger/terms.ts";
import { openLedgerWorld, termsVersion } from "./testing/ledger-world.ts";
import { ada, bob, creditOf, newJob } from "./testing/sample-credit.ts";

const t0 = Date.parse("2026-01-30T00:00:00Z");
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

test("an adjustment names its reason and what it corrects, and never takes more than is owed", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, ledger } = world;
  const credit = creditOf(ada, "one", 4n);
  await store.credit(credit);
  await world.catchUp();
  clock.advance(1);
  const { balance } = await ledger.adjust({
    worker: ada,
    amountWei: -1_000n,
    reason: "half of it was black",
    corrects: credit.job,
    termsVersion: 1,
  });
  expect(balance.owedWei).toBe(2_000n);
  const { rows } = await ledger.statement(ada, {}, undefined, 10, "newest-first");
  expect(rows[0]).toMatchObject({
    kind: "adjusted",
    amountWei: -1_000n,
    data: { reason: "half of it was black", corrects: credit.job },
  });
  const refused = (change: object): Promise<unknown> =>
    ledger.adjust({ worker: ada, amountWei: 1n, reason: "why not", termsVersion: 1, ...change });
  await expect(refused({ amountWei: -2_001n })).rejects.toMatchObject({ info: { code: "ledger/negative-balance" } });
  await expect(refused({ corrects: "that job" })).rejects.toMatchObject({ info: { code: "ledger/unknown-entry" } });
  await expect(refused({ corrects: newJob() })).rejects.toMatchObject({ info: { code: "ledger/unknown-entry" } });
  await expect(refused({ reason: " " })).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  expect((await ledger.balance(ada)).owedWei).toBe(2_000n);
  // The log has what was booked, and nothing of what was not.
  expect(await store.events({ types: ["ledger.adjusted"], limit: 10 })).toMatchObject([
    {
      worker: ada,
      data: { entry: rows[0]?.id, amountWei: "-1000", reason: "half of it was black", corrects: credit.job },
    },
  ]);
});

test("an adjustment with a key is booked once, however often it is asked for", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { ledger } = world;
  const ask = (change: object = {}) =>
    ledger.adjust({ worker: ada, amountWei: 500n, reason: "a gift", key: "gift-7", termsVersion: 1, ...change });
  const first = await ask();
  const again = await ask();
  expect([first.repeated, again.repeated, again.entry]).toEqual([false, true, first.entry]);
  expect(again.balance.owedWei).toBe(500n);
  await expect(ask({ amountWei: 501n })).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  await expect(ask({ worker: bob })).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  expect((await ask({ key: "gift-8" })).balance.owedWei).toBe(1_000n);
});

test("a credit that is held is corrected where it is: less of it is released, at its own moment, and the statement sums", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
  const { store, ledger } = world;
  const credit = creditOf(ada, "one", 4n);
  await store.credit(credit);
  await store.credit(creditOf(ada, "one", 8n));
  await world.catchUp();
  const correct = (amountWei: bigint) =>
    ledger.adjust({ worker: ada, amountWei, reason: "black pictures", corrects: credit.job, termsVersion: 1 });
  clock.advance(HOUR);
  expect((await correct(-2_000n)).balance).toMatchObject({ heldWei: 7_000n, owedWei: 0n });
  // The job has 1000 left, whatever else is held.
  await expect(correct(-1_001n)).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  await correct(500n);
  const { rows } = await ledger.statement(ada, {}, undefined, 10);
  expect(rows.map((row) => [row.kind, row.amountWei, row.state])).toEqual([
    ["credit", 3_000n, "held"],
    ["credit", 6_000n, "held"],
    ["adjusted", -2_000n, "held"],
    ["adjusted", 500n, "held"],
  ]);
  expect(rows[2]?.data).toMatchObject({ reason: "black pictures", corrects: credit.job });
  const right = async (): Promise<void> => {
    expect((await world.check()).violations).toEqual([]);
    expect((await world.rebuild(true)).differences).toEqual([]);
  };
  await right();
  expect((await world.rebuild(false)).differences).toEqual([]);
  await right();
  clock.advance(DAY);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 7_500n });
  await right();
  // Released: from here on it is what is owed that is corrected.
  expect((await correct(-100n)).balance).toMatchObject({ heldWei: 0n, owedWei: 7_400n });
});

test("to a credit of nothing that is held something can be added, which is released with it", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
  const { store, ledger } = world;
  const credit = { ...creditOf(ada, "one", 4n), feeWei: 0n, commissionWei: 0n, earnedWei: 0n };
  await store.credit(credit);
  await world.catchUp();
  const correct = (amountWei: bigint) =>
    ledger.adjust({ worker: ada, amountWei, reason: "the price was wrong", corrects: credit.job, termsVersion: 1 });
  expect((await correct(500n)).balance).toMatchObject({ heldWei: 500n, owedWei: 0n });
  await expect(correct(-501n)).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  // All of it taken back again: nothing is released, and nothing is left behind.
  expect((await correct(-500n)).balance).toMatchObject({ heldWei: 0n });
  await correct(1n);
  const right = async (): Promise<void> => {
    expect((await world.check()).violations).toEqual([]);
    expect((await world.rebuild(false)).differences).toEqual([]);
  };
  await right();
  clock.advance(2 * DAY);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 1n });
  await right();
});
