import { stoppedClock, systemClock } from "@openpool/base";
import { expect, test } from "vitest";
import { TermsBook } from "../ledger/terms.ts";
import { closePeriods } from "./ledger-periods.ts";
import { PgPayoutStore } from "./payout-store.ts";
import { openLedgerWorld, termsVersion } from "./testing/ledger-world.ts";
import { pay, wrongClosings } from "./testing/payments.ts";
import { ada, bob, creditOf, newJob } from "./testing/sample-credit.ts";
import { unguarded } from "./testing/unguarded.ts";

const t0 = Date.parse("2026-01-30T00:00:00Z");
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

test("finds what was changed behind the pool's back, leaves it when only verifying, and puts it right when not", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, ledger, client } = world;
  for (let i = 1n; i <= 5n; i++) await store.credit(creditOf(i === 5n ? bob : ada, "one", i));
  await world.catchUp();
  await ledger.adjust({ worker: bob, amountWei: 10n, reason: "a gift", termsVersion: 1 });
  await client.query(unguarded("update openpool.ledger_lines set amount_wei = amount_wei + 1 where fee_wei = 1000"));
  await client.query("update openpool.ledger_accounts set balance_wei = balance_wei + 1 where account like '%:owed'");
  const found = await world.rebuild(true);
  expect(found).toMatchObject({ jobs: 5, replaced: false });
  expect(found.differences.map((one) => one.what).toSorted()).toEqual(
    [`statement of ${ada}`, `worker:${ada}:owed`, `worker:${bob}:owed`].toSorted(),
  );
  expect((await world.rebuild(true)).differences).toHaveLength(3);
  expect(await world.rebuild(false)).toMatchObject({ replaced: true });
  expect((await world.rebuild(true)).differences).toEqual([]);
  expect((await world.check()).violations).toEqual([]);
  expect(await ledger.balance(bob)).toMatchObject({ owedWei: 3_760n });
  // What comes next is booked into the rebuilt books.
  await store.credit(creditOf(ada, "one", 1n));
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ owedWei: 8_250n });
});

test("dates releases as they were: months that are closed say the same afterwards, and so do those that come", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
  const { store, ledger, client } = world;
  const closings = async (): Promise<unknown> =>
    (await client.query("select * from openpool.ledger_closings order by period, account")).rows;
  for (let day = 0; day < 70; day += 5) {
    await store.credit(creditOf(day % 10 === 0 ? ada : bob, "one", BigInt(4 + day)));
    clock.advance(DAY + HOUR);
    await world.catchUp();
    const { owedWei } = await ledger.balance(ada);
    if (day % 15 === 0) await pay(world, ada, owedWei, clock.now(), true);
    clock.advance(4 * DAY - HOUR);
    await world.catchUp();
    if (day === 35) {
      expect(await closePeriods(client, clock.now())).toEqual(["2026-01", "2026-02"]);
      const before = await closings();
      expect(await world.rebuild(false)).toMatchObject({ replaced: true, differences: [] });
      expect(await closings()).toEqual(before);
    }
  }
  expect(await closePeriods(client, clock.now())).toEqual(["2026-03"]);
  expect(await wrongClosings(client)).toEqual([]);
  const { rows } = await client.query("select * from openpool.ledger_closings where balance_wei < 0");
  expect(rows.map((row: { account: string }) => row.account)).toEqual([
    "source:gateway",
    "source:gateway",
    "source:gateway",
  ]);
});

test("the books are rebuilt beside a process that pays", async () => {
  await using world = await openLedgerWorld(systemClock);
  await using payer = new PgPayoutStore(world.connection, { clock: systemClock, newId: newJob });
  await payer.openRuns();
  await world.store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  expect(await world.rebuild(true)).toMatchObject({ jobs: 1, differences: [] });
  expect(await world.rebuild(false)).toMatchObject({ replaced: true });
});
