import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import type { Client } from "pg";
import { expect, test, vi } from "vitest";
import { TermsBook } from "../ledger/terms.ts";
import { type PaidChain, paidTransactions } from "./chain-check.ts";
import { CHECK_HALT, checkLedger, LedgerChecker, type LedgerCheckerDeps } from "./ledger-check.ts";
import { type LedgerWorld, openLedgerWorld, termsVersion } from "./testing/ledger-world.ts";
import { pay } from "./testing/payments.ts";
import { ada, bob, creditOf } from "./testing/sample-credit.ts";
import { unguarded } from "./testing/unguarded.ts";

const t0 = Date.parse("2026-01-30T00:00:00Z");
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** The check that never ends, of these books. */
function openChecker(
  { connection, rules, ledger }: LedgerWorld,
  deps: Pick<LedgerCheckerDeps, "clock"> & Partial<Pick<LedgerCheckerDeps, "chain" | "record">>,
): LedgerChecker {
  return new LedgerChecker(connection, { ...rules, logger: silentLogger, ledger, record: async () => {}, ...deps });
}

/** The end of the log. */
async function head(client: Client): Promise<bigint> {
  return BigInt((await client.query<{ position: string }>("select position from openpool.log_head")).rows[0]!.position);
}

const wrongs: [string, string, string][] = [
  [
    "an account",
    "update openpool.ledger_accounts set balance_wei = balance_wei + 1 where account = 'pool:commission'",
    "sum",
  ],
  ["a row's amount", "update openpool.ledger_lines set amount_wei = 7", "log"],
  ["a row that is gone", "delete from openpool.ledger_lines", "log"],
  [
    "a row for no job",
    "insert into openpool.ledger_lines select worker, at, gen_random_uuid(), entry, kind, 0, terms_version, release_at, rig, gen_random_uuid() from openpool.ledger_lines",
    "job",
  ],
  ["a posting", unguarded("update openpool.ledger_postings set amount_wei = amount_wei + 1"), "postings"],
  ["a hold", "update openpool.ledger_holds set amount_wei = 1", "holds"],
  // As if more had been shared of what hooks held back than ever waited.
  [
    "what waits for its hook",
    "insert into openpool.ledger_accounts (account, balance_wei) values ('pool:unshared', -1)",
    "negative",
  ],
];
test.each(wrongs)(
  "finds %s that was changed, halts payouts, and lifts the halt once it is right again",
  async (_what, sql, check) => {
    await using world = await openLedgerWorld(systemClock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
    const { store, ledger, client } = world;
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    await using checker = openChecker(world, { clock: systemClock, record: (event) => store.append([event]) });
    expect(await checker.check(true)).toMatchObject({ violations: [], jobs: 1, whole: true });
    await client.query(sql);
    const { violations } = await checker.check(true);
    expect(violations.map((one) => one.check)).toContain(check);
    expect(await ledger.halts()).toMatchObject([
      { name: CHECK_HALT, reason: expect.stringContaining(violations[0]!.message) },
    ]);
    expect(await store.events({ types: ["ledger.violated"], limit: 5 })).toHaveLength(1);
    await world.rebuild(false);
    expect((await checker.check(true)).violations).toEqual([]);
    expect(await ledger.halts()).toEqual([]);
  },
);

test("finds a payout that is final and not booked, and one that is booked and was never made", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, ledger, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  await pay(world, ada, 1_000n, clock.now(), true);
  await pay(world, ada, 500n, clock.now(), false);
  const look = async (): Promise<readonly string[]> =>
    (await checkLedger(client, world.rules, await head(client))).violations.map((one) => one.message);
  expect(await look()).toEqual([]);
  expect(await ledger.balance(ada)).toMatchObject({ owedWei: 2_000n, payingWei: 0n, paidWei: 1_000n });
  await client.query("update openpool.payout_lines set amount_wei = 999 where state = 'final'");
  expect(await look()).toEqual([
    expect.stringContaining("paid 999 wei (sent 1000) in transaction 0x12; booked are 1000"),
  ]);
  await client.query("delete from openpool.payout_lines where state = 'final'");
  expect(await look()).toEqual([expect.stringContaining("pays a line that does not exist")]);
  await client.query("update openpool.payout_lines set state = 'final'");
  expect(await look()).toHaveLength(2);
});

test("of another process's halt looks at everything soon after its start, and lifts it", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, ledger, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  await ledger.halt(CHECK_HALT, "something was wrong", []);
  await client.query("update openpool.ledger_checks set position = $1", [await head(client)]);
  await using checker = openChecker(world, { clock });
  await vi.waitFor(
    () => {
      clock.advance(20_000);
      expect(checker.last?.whole).toBe(true);
    },
    { timeout: 20_000, interval: 100 },
  );
  expect(clock.now() - t0).toBeLessThan(HOUR);
  await vi.waitFor(async () => expect(await ledger.halts()).toEqual([]));
});

test("asks the chain about what was paid: a transaction that is not there, did nothing, moved or paid something else is told", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  await pay(world, ada, 1_000n, clock.now(), true);
  await client.query("update openpool.payout_lines set block = 7");
  let blockHolds: readonly string[] | undefined = ["0x11"];
  type Receipt = Awaited<ReturnType<PaidChain["receiptOf"]>>;
  let payments: Awaited<ReturnType<PaidChain["paymentsOf"]>> = [{ to: ada, asset: "eth", amount: 1_000n }];
  const look = (receipt: Receipt | Error, { chainId = 1 }: { chainId?: number } = {}) => {
    const receiptOf = async (): Promise<Receipt> => {
      if (receipt instanceof Error) throw receipt;
      return receipt;
    };
    const hashesIn = async (block: number): Promise<readonly string[]> => {
      if (block !== 7 || blockHolds === undefined) throw new Error(`no block ${block}`);
      return blockHolds;
    };
    const paymentsOf = async () => payments;
    return checkLedger(
      client,
      { ...world.rules, chain: () => ({ chainId, receiptOf, hashesIn, paymentsOf }) },
      undefined,
    );
  };
  const fine = { blockNumber: 7, succeeded: true };
  const unknown = { none: "the chain does not know it", agreed: true };
  expect(await look(fine)).toMatchObject({ violations: [], transactions: 1 });
  for (const [receipt, why] of [
    [unknown, "it is not in block 7, and was there"],
    [{ ...fine, succeeded: false }, "it did nothing"],
    [{ ...fine, blockNumber: 8 }, "it is in block 8 and was in 7"],
  ] as const) {
    const message = `1 payments are booked as made in transaction 0x12, and by the chain: ${why}`;
    expect((await look(receipt)).violations).toEqual([{ check: "chain", message }]);
  }
  for (const [made, why] of [
    [[{ to: ada, asset: "eth", amount: 999n }], `${ada} got 999 wei, and booked for ${ada} are 1000`],
    [[], `${ada} got 0 wei, and booked for ${ada} are 1000`],
    [
      [{ to: bob, asset: "eth", amount: 1_000n }],
      `${ada} got 0 wei, and booked for ${ada} are 1000; ${bob} got 1000 wei, and booked are 0`,
    ],
    [
      [{ to: ada, asset: bob, amount: 1_000n }],
      `${ada} got 0 wei, and booked for ${ada} are 1000; ${ada} got 1000 of token ${bob}, and booked are 0`,
    ],
    [`it is no transaction of ${ada}`, `it is no transaction of ${ada}`],
  ] as const) {
    payments = made;
    const message = `1 payments are booked as made in transaction 0x12, and by the chain: ${why}`;
    expect(await look(fine)).toMatchObject({ violations: [{ check: "chain", message }], rightTransactions: [] });
  }
  // Another chain's payments are none of its business, and nodes that do not answer prove nothing.
  expect(await look(unknown, { chainId: 2 })).toMatchObject({ violations: [], transactions: 0 });
  expect(await look(new Error("no quorum"))).toMatchObject({ violations: [], chainProblem: "no quorum" });
  // Nor do nodes that lag, disagree, or have thrown receipts away.
  const unsure = { violations: [], transactions: 0 };
  expect(await look({ none: "they do not agree", agreed: false })).toMatchObject({
    ...unsure,
    chainProblem: "transaction 0x12: they do not agree",
  });
  blockHolds = undefined;
  expect(await look(unknown)).toMatchObject({ ...unsure, chainProblem: "no block 7" });
  blockHolds = ["0x11", "0x12"];
  expect(await look(unknown)).toMatchObject({ violations: [], transactions: 1, chainProblem: undefined });
  await client.query("update openpool.payout_lines set block = null");
  expect(await look(unknown)).toMatchObject({ ...unsure, chainProblem: `transaction 0x12: ${unknown.none}` });
});

test("compares each payment with the chain until it was found right once, the newest ones again, and all of them when asked", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  for (let i = 0; i < 3; i++) await pay(world, ada, 100n + BigInt(i), clock.now() + i, true);
  await client.query("update openpool.payout_lines set tx_hash = '0x' || (amount_wei - 100)::text, block = 7");
  const asked: string[] = [];
  let silent = true;
  const chain: PaidChain = {
    chainId: 1,
    async receiptOf(hash) {
      asked.push(hash);
      if (silent) throw new Error("no quorum");
      return { blockNumber: 7, succeeded: true };
    },
    hashesIn: async () => [],
    paymentsOf: async (hash) => [{ to: ada, asset: "eth", amount: 100n + BigInt(hash) }],
  };
  const open = () => openChecker(world, { clock, chain: () => chain });
  const look = async (...how: [whole: boolean, everyTransaction?: boolean]): Promise<readonly string[]> => {
    asked.length = 0;
    // What was found right stands in the database: whoever looks next knows it.
    await using checker = open();
    expect((await checker.check(...how)).violations).toEqual([]);
    return [...asked];
  };
  expect(await look(false)).toEqual(["0x2"]);
  silent = false;
  expect(await look(false)).toEqual(["0x2", "0x1", "0x0"]);
  expect(await look(false)).toEqual([]);
  expect(await look(true)).toEqual(["0x2", "0x1", "0x0"]);
  expect(await look(true, true)).toEqual(["0x2", "0x1", "0x0"]);
  // More than a look at the newest ones holds.
  await client.query(`insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount,
       asset, method, method_reason, state, tx_hash, block, planned_at, finished_at, chain_checked_at)
     select gen_random_uuid(), run, 1 + n, n, pay_to, 1, 0, 1, 'eth', 'transfer', '', 'final', 'old' || n, 7, planned_at,
       planned_at - interval '1 day', case when n > 2 then planned_at end
     from (select * from openpool.payout_lines limit 1) one, generate_series(1, 150) n`);
  const counts = [];
  for (const scope of ["new", "recent", "all"] as const) counts.push((await paidTransactions(client, 1, scope)).length);
  expect(counts).toEqual([2, 102, 153]);
});

test("of what is new looks at that alone, and goes on where it was", async () => {
  await using world = await openLedgerWorld(systemClock);
  const { store } = world;
  const open = () => openChecker(world, { clock: systemClock });
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  {
    await using checker = open();
    expect(await checker.check(false)).toMatchObject({ jobs: 1, position: 1n, whole: false });
  }
  await store.credit(creditOf(ada, "one", 4n));
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  await using checker = open();
  await vi.waitFor(async () => expect(await checker.check(false)).toMatchObject({ jobs: 2, violations: [] }));
});

test("while payouts are halted everything is looked at again, but less and less often", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  await client.query("update openpool.ledger_accounts set balance_wei = balance_wei + 1 where account like 'worker:%'");
  await using checker = openChecker(world, { clock });
  const wholeAtMs = new Set<number>();
  await vi.waitFor(
    () => {
      if (checker.last?.whole) wholeAtMs.add(checker.last.atMs);
      clock.advance(5_000);
      expect(wholeAtMs.size).toBe(4);
    },
    { timeout: 30_000, interval: 20 },
  );
  const times = [...wholeAtMs];
  const gaps = times.slice(1).map((atMs, i) => atMs - (times[i] ?? 0));
  for (const [i, gap] of gaps.entries()) expect(gap).toBeGreaterThanOrEqual(20_000 * 2 ** (i + 1));
});
