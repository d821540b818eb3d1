import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import type { Client } from "pg";
import { expect, test, vi } from "vitest";
import { TermsBook } from "../ledger/terms.ts";
import {
  compareWithChain,
  pageOfPaid,
  type PaidChain,
  paidTransactions,
  type TransactionOnChain,
} from "./chain-check.ts";
import { checkLedger } from "./ledger-check.ts";
import { CHECK_HALT, LedgerChecker, type LedgerCheckerDeps } from "./ledger-checker.ts";
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
  ["a row's amount", unguarded("update openpool.ledger_lines set amount_wei = 7"), "log"],
  ["a row that is gone", unguarded("delete from openpool.ledger_lines"), "log"],
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

test("looks at everything every six hours, however often the pool was started again meanwhile", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  await world.store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  const firstLook = async (): Promise<boolean | undefined> => {
    await using checker = openChecker(world, { clock });
    await vi.waitFor(
      () => {
        clock.advance(20_000);
        expect(checker.last).toBeDefined();
      },
      { timeout: 20_000, interval: 100 },
    );
    return checker.last?.whole;
  };
  expect([await firstLook(), await firstLook()]).toEqual([true, false]);
  clock.advance(6 * HOUR);
  expect([await firstLook(), await firstLook()]).toEqual([true, false]);
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
      clock.advance(5_000);
      expect(checker.last?.whole).toBe(true);
    },
    { timeout: 20_000, interval: 100 },
  );
  expect(clock.now() - t0).toBeLessThan(HOUR);
  await vi.waitFor(async () => expect(await ledger.halts()).toEqual([]), { timeout: 20_000 });
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
  const look = async (found: TransactionOnChain | Error, { chainId = 1 }: { chainId?: number } = {}) => {
    const which = { recent: true, also: [], setAside: [] };
    const said = await compareWithChain(await paidTransactions(client, chainId, which), {
      chainId,
      async transaction() {
        if (found instanceof Error) throw found;
        return found;
      },
      async hashesIn(block) {
        if (block !== 7 || blockHolds === undefined) throw new Error(`no block ${block}`);
        return blockHolds;
      },
    });
    return { ...said, wrong: said.wrong.map(({ message }) => message) };
  };
  const fine = { block: 7, paid: [{ to: ada, asset: "eth", amount: 1_000n }] };
  const unknown = { none: "the chain does not know it", agreed: true };
  expect(await look(fine)).toMatchObject({ wrong: [], right: ["0x12"] });
  for (const [found, why] of [
    [unknown, "it is not in block 7, and was there"],
    [{ block: 7, wrong: "it did nothing" }, "it did nothing"],
    [{ ...fine, block: 8 }, "it is in block 8 and was in 7"],
    [
      { block: 7, paid: [{ to: ada, asset: "eth", amount: 999n }] },
      `${ada} got 999 wei, and booked for ${ada} are 1000`,
    ],
    [{ block: 7, paid: [] }, `${ada} got 0 wei, and booked for ${ada} are 1000`],
    [
      { block: 7, paid: [{ to: bob, asset: "eth", amount: 1_000n }] },
      `${ada} got 0 wei, and booked for ${ada} are 1000; ${bob} got 1000 wei, and booked are 0`,
    ],
    [
      { block: 7, paid: [{ to: ada, asset: bob, amount: 1_000n }] },
      `${ada} got 0 wei, and booked for ${ada} are 1000; ${ada} got 1000 of token ${bob}, and booked are 0`,
    ],
  ] as const) {
    const message = `1 payments are booked as made in transaction 0x12, and by the chain: ${why}`;
    expect(await look(found)).toMatchObject({ wrong: [message], right: [] });
  }
  // Another chain's payments are none of its business, and nodes that do not answer prove nothing.
  const nothing = { wrong: [], right: [], unread: [] };
  expect(await look(unknown, { chainId: 2 })).toMatchObject({ ...nothing, unanswered: [] });
  expect(await look(new Error("no quorum"))).toMatchObject({ ...nothing, chainProblem: "no quorum" });
  // Nor do nodes that lag, disagree, or have thrown receipts away; nor a call that nobody can read.
  expect(await look({ none: "they do not agree", agreed: false })).toMatchObject({
    ...nothing,
    chainProblem: "transaction 0x12: they do not agree",
  });
  blockHolds = undefined;
  expect(await look(unknown)).toMatchObject({ ...nothing, chainProblem: "no block 7" });
  blockHolds = ["0x11", "0x12"];
  const isThere = { hash: "0x12", forGood: false };
  expect(await look(unknown)).toMatchObject({ ...nothing, unread: [isThere], chainProblem: undefined });
  expect(await look({ block: 7, unreadable: "it called something" })).toMatchObject({
    ...nothing,
    unread: [{ hash: "0x12", message: "it called something", forGood: true }],
    chainProblem: undefined,
  });
  await client.query("update openpool.payout_lines set block = null");
  expect(await look(unknown)).toMatchObject({ ...nothing, chainProblem: `transaction 0x12: ${unknown.none}` });
});

/** Books that paid Ada three times, in 0x0, 0x1 and 0x2, and a chain that says what it is told to say. */
async function openPaid() {
  const clock = stoppedClock(t0);
  const world = await openLedgerWorld(clock);
  const { store, client, ledger } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  for (let i = 0; i < 3; i++) await pay(world, ada, 100n + BigInt(i), clock.now() + i, true);
  await client.query("update openpool.payout_lines set tx_hash = '0x' || (amount_wei - 100)::text, block = 7");
  const asked: string[] = [];
  const says = new Map<string, TransactionOnChain | Error>();
  const chain: PaidChain = {
    chainId: 1,
    async transaction(hash) {
      asked.push(hash);
      const said = says.get(hash) ?? { block: 7, paid: [{ to: ada, asset: "eth", amount: 100n + BigInt(hash) }] };
      if (said instanceof Error) throw said;
      return said;
    },
    hashesIn: async () => ["0x0", "0x1", "0x2"],
  };
  const events: string[] = [];
  const open = (deps: Partial<LedgerCheckerDeps> = {}) =>
    openChecker(world, {
      clock,
      chain: () => chain,
      record: async ({ type }) => {
        events.push(type);
      },
      ...deps,
    });
  return {
    client,
    asked,
    says,
    open,
    events,
    haltReasons: async () => (await ledger.halts()).map(({ reason }) => reason),
    /** What a check that opens anew asks about: what it knows of those before stands in the database. */
    async look(...how: [whole: boolean, everyTransaction?: boolean]) {
      asked.length = 0;
      await using checker = open();
      return { ...(await checker.check(...how)), asked: [...asked] };
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

test("a payment that the chain contradicts halts until the chain says otherwise: nodes that do not answer lift nothing", async () => {
  await using books = await openPaid();
  const { says, look } = books;
  await look(true);
  says.set("0x1", { block: 7, wrong: "it did nothing" });
  // What was found right before is only asked about again among the newest, or with all.
  expect((await look(true, true)).violations).toMatchObject([{ check: "chain", transaction: "0x1" }]);
  expect(await books.haltReasons()).toEqual([expect.stringContaining("it did nothing")]);
  for (const silent of [new Error("no quorum"), { none: "they do not agree", agreed: false }]) {
    says.set("0x1", silent);
    const { violations, chainProblem } = await look(true);
    expect(violations).toMatchObject([{ check: "chain", transaction: "0x1" }]);
    expect(chainProblem).toBeDefined();
    expect(await books.haltReasons()).toHaveLength(1);
  }
  {
    await using offline = books.open({ chain: () => undefined });
    expect((await offline.check(true)).violations).toHaveLength(1);
  }
  const { rows } = await books.client.query(
    "select checked_whole_at from openpool.ledger_checks where checked_whole_at is not null",
  );
  expect(rows).toHaveLength(1);
  says.delete("0x1");
  expect((await look(true)).violations).toEqual([]);
  expect(await books.haltReasons()).toEqual([]);
  expect(books.events).toEqual(["ledger.violated", "ledger.clean"]);
});

test("what the books contradict themselves in halts before the chain is asked, and whatever that answers", async () => {
  await using books = await openPaid();
  await books.client.query(
    "update openpool.ledger_accounts set balance_wei = balance_wei + 1 where account = 'pool:commission'",
  );
  let haltedWhenAsked: readonly string[] = [];
  const chain: PaidChain = {
    chainId: 1,
    async transaction() {
      haltedWhenAsked = await books.haltReasons();
      throw new Error("no quorum");
    },
    hashesIn: async () => [],
  };
  await using checker = books.open({ chain: () => chain });
  const { violations, chainProblem } = await checker.check(true);
  expect(violations[0]).toMatchObject({ check: "sum" });
  expect(chainProblem).toBe("no quorum");
  expect(haltedWhenAsked).toEqual([expect.stringContaining(violations[0]!.message)]);
  expect(books.events).toEqual(["ledger.violated"]);
  // A look at what is new alone does not lift what a look at everything found.
  await checker.check(false);
  expect(await books.haltReasons()).toHaveLength(1);
});

test("a payment that nobody can read, or that nodes have thrown away, never halts, is told once, and is not asked about all the time", async () => {
  await using books = await openPaid();
  books.says.set("0x0", { block: 7, unreadable: "it called something" });
  books.says.set("0x1", { none: "the chain does not know it", agreed: true });
  const told: unknown[] = [];
  const logger = { ...silentLogger, warn: (_text: string, data: unknown) => void told.push(data) };
  await using checker = books.open({ logger });
  const found = { violations: [], transactions: 1, chainProblem: undefined };
  expect(await checker.check(false)).toMatchObject({ ...found, unread: { length: 2 } });
  expect(books.asked).toEqual(["0x2", "0x1", "0x0"]);
  expect(await checker.check(false)).toMatchObject({ violations: [], transactions: 0, unread: [] });
  expect(books.asked).toHaveLength(3);
  expect(await checker.check(true)).toMatchObject({ ...found, unread: { length: 2 } });
  expect(told).toEqual([{ transactions: ["0x1", "0x0"], why: expect.any(String) }]);
  expect(await books.haltReasons()).toEqual([]);
  // It was not noted as right: whoever looks next asks again.
  expect((await books.look(false)).asked).toEqual(["0x1", "0x0"]);
});

test("one payment that nodes do not answer about keeps none of the others from being compared, and is warned of once", async () => {
  await using books = await openPaid();
  books.says.set("0x2", new Error("no such block"));
  const warned: unknown[] = [];
  const logger = { ...silentLogger, warn: (_text: string, data: unknown) => void warned.push(data) };
  await using checker = books.open({ logger });
  expect(await checker.check(false)).toMatchObject({ transactions: 2, chainProblem: "no such block" });
  // The next look has nothing else, and the one after it asks again.
  await checker.check(false);
  expect(await checker.check(false)).toMatchObject({ transactions: 0, chainProblem: "no such block" });
  expect(books.asked).toEqual(["0x2", "0x1", "0x0", "0x2"]);
  expect(warned).toEqual([{ error: "no such block" }]);
});

test("compares each payment with the chain until it was found right once, the newest ones again, and all of them when asked", async () => {
  await using books = await openPaid();
  const { client, look } = books;
  const all = ["0x2", "0x1", "0x0"];
  expect((await look(false)).asked).toEqual(all);
  expect((await look(false)).asked).toEqual([]);
  expect((await look(true)).asked).toEqual(all);
  expect((await look(true, true)).asked).toEqual([...all, ...all.toReversed()]);
  // More than a look at the newest ones, and more than a page, holds.
  await client.query(`insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount,
       asset, method, method_reason, state, tx_hash, block, planned_at, finished_at, chain_checked_at)
     select gen_random_uuid(), run, 1 + n, n, pay_to, 1, 0, 1, 'eth', 'transfer', '', 'final', 'old' || n, 7, planned_at,
       planned_at - (200 - n) * interval '1 hour', case when n > 2 then planned_at end
     from (select * from openpool.payout_lines limit 1) one, generate_series(1, 150) n`);
  const count = async (recent: boolean, setAside: readonly string[], also: readonly string[]): Promise<number> =>
    (await paidTransactions(client, 1, { recent, setAside, also })).length;
  expect([
    await count(false, [], []),
    await count(true, [], []),
    await count(true, ["old1"], ["old9", "none"]),
  ]).toEqual([2, 102, 102]);
  const pages: string[] = [];
  for (let page = await pageOfPaid(client, 1, ""); page.length > 0;) {
    pages.push(...page.map(({ hash }) => hash));
    page = await pageOfPaid(client, 1, pages.at(-1) ?? "");
  }
  expect(new Set(pages).size).toBe(153);
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
  let jobs = 0;
  await vi.waitFor(
    async () => {
      const checked = await checker.check(false);
      expect(checked.violations).toEqual([]);
      jobs += checked.jobs;
      expect(jobs).toBe(2);
    },
    { timeout: 20_000, interval: 20 },
  );
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
