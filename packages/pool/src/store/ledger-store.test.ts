import { stoppedClock } from "@openpool/base";
import { Client } from "pg";
import { expect, test } from "vitest";
import type { NewEntry } from "../ledger/types.ts";
import { PgLedgerStore, postEntries } from "./ledger-store.ts";
import { clientConfig } from "./pg-connection.ts";
import { ada, bob, newJob } from "./testing/sample-credit.ts";
import { openTestDatabase } from "./testing/test-store.ts";

const t0 = Date.parse("2026-01-01T00:00:00Z");

async function openBooks() {
  const database = await openTestDatabase();
  const client = new Client(clientConfig(database.connection, "test"));
  await client.connect();
  const ledger = new PgLedgerStore(database.connection, { clock: stoppedClock(t0) });
  return {
    client,
    ledger,
    async [Symbol.asyncDispose]() {
      await client.end();
      await ledger[Symbol.asyncDispose]();
    },
  };
}

function entry(source: string, postings: Record<string, bigint>, more: Partial<NewEntry> = {}): NewEntry {
  return {
    id: newJob(),
    source,
    rule: "test",
    termsVersion: 1,
    atMs: t0,
    postings: Object.entries(postings).map(([account, amountWei]) => ({ account, amountWei })),
    data: {},
    ...more,
  };
}

test("entries move money between accounts, once per source, and become rows of statements", async () => {
  await using books = await openBooks();
  const { client, ledger } = books;
  const earn = entry(
    "e1/other",
    { "pool:adjustments": -100n, [`worker:${ada}:owed`]: 100n },
    { data: { why: "a gift" } },
  );
  expect(await postEntries(client, [earn])).toBe(1);
  expect(await postEntries(client, [earn, { ...earn, id: newJob() }])).toBe(0);
  const plan = entry(
    "p1/plan",
    { [`worker:${ada}:owed`]: -70n, [`worker:${ada}:paying`]: 70n },
    { rule: "plan", atMs: t0 + 1 },
  );
  const paid = entry(
    "p1/paid",
    { [`worker:${ada}:paying`]: -70n, [`worker:${ada}:paid`]: 70n },
    { rule: "paid", atMs: t0 + 2 },
  );
  expect(await postEntries(client, [plan, paid, earn])).toBe(2);
  expect(await ledger.balance(ada)).toEqual({ heldWei: 0n, owedWei: 30n, payingWei: 0n, paidWei: 70n });
  expect(await ledger.balance(bob)).toEqual({ heldWei: 0n, owedWei: 0n, payingWei: 0n, paidWei: 0n });
  expect(await ledger.payable()).toEqual([{ worker: ada, owedWei: 30n, oldestOwedAtMs: t0 }]);
  const { rows } = await ledger.statement(ada, {}, undefined, 10);
  expect(rows.map((row) => [row.kind, row.amountWei, row.data])).toEqual([
    ["test", 100n, { why: "a gift" }],
    ["paid", -70n, {}],
  ]);
  expect(await ledger.statementSums(ada, { fromMs: t0 + 1 })).toEqual({
    openingWei: 100n,
    closingWei: 30n,
    byKind: { paid: { rows: 1, amountWei: -70n } },
  });
});

test("what does not sum to zero, names no account or takes more than a worker has is refused whole", async () => {
  await using books = await openBooks();
  const { client, ledger } = books;
  const fine = entry("e1/x", { "pool:adjustments": -5n, [`worker:${ada}:owed`]: 5n });
  const refusals: [NewEntry, string][] = [
    [entry("e2/x", { "pool:adjustments": -5n, [`worker:${ada}:owed`]: 6n }), "ledger/unbalanced"],
    [entry("e3/x", {}), "ledger/unbalanced"],
    [entry("e4/x", { "wallet:mine": -5n, [`worker:${ada}:owed`]: 5n }), "ledger/bad-account"],
    [entry("e5/x", { "pool:adjustments": 6n, [`worker:${ada}:owed`]: -6n }), "ledger/negative-balance"],
  ];
  for (const [bad, code] of refusals) {
    await client.query("begin");
    await expect(postEntries(client, [fine, bad])).rejects.toMatchObject({ info: { code } });
    await client.query("rollback");
  }
  expect(await ledger.accounts()).toEqual(new Map());
});

test("pages of a statement join up in both directions", async () => {
  await using books = await openBooks();
  const { client, ledger } = books;
  await postEntries(
    client,
    Array.from({ length: 25 }, (_, i) =>
      entry(`e${i}/x`, { "pool:adjustments": -1n, [`worker:${ada}:owed`]: 1n }, { atMs: t0 + Math.floor(i / 4) }),
    ),
  );
  for (const order of ["oldest-first", "newest-first"] as const) {
    const ids: string[] = [];
    let next: string | undefined;
    do {
      const page = await ledger.statement(ada, {}, next, 7, order);
      ids.push(...page.rows.map((row) => row.id));
      next = page.next;
    } while (next !== undefined);
    expect(ids).toHaveLength(25);
    expect(ids).toEqual(order === "oldest-first" ? ids.toSorted() : ids.toSorted().toReversed());
  }
  await expect(ledger.statement(ada, {}, "x", 1)).rejects.toMatchObject({ info: { code: "ledger/bad-cursor" } });
});

test("a halt says its last reason, and since when there was one, until it is lifted", async () => {
  await using books = await openBooks();
  const { ledger } = books;
  await ledger.halt("ledger", "one", { a: 1 });
  await ledger.halt("ledger", "two", {});
  expect(await ledger.halts()).toEqual([{ name: "ledger", reason: "two", details: {}, sinceMs: t0 }]);
  await ledger.liftHalt("ledger");
  expect(await ledger.halts()).toEqual([]);
});
