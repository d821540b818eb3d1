import { systemClock } from "@openpool/base";
import { expect, test } from "vitest";
import { PgPayoutReader } from "./payout-reader.ts";
import { ada, bob } from "./testing/sample-credit.ts";
import { openTestStore } from "./testing/test-store.ts";

test("runs and a worker's payments are paged to the last one, those of one moment too, and paid ones are counted", async () => {
  await using store = await openTestStore({ clock: systemClock });
  await using reader = new PgPayoutReader(store.database.connection, systemClock);
  // 25 of ada, five to a moment, the last one returned.
  await store.database.query(
    `insert into openpool.payout_runs (id, state, created_at, chain_id, payer, asset, total_wei, details)
     select md5('run' || i)::uuid, 'done', to_timestamp(i / 5), 1, $1, 'eth', 1, '{"prices": [], "waiting": [], "notes": []}'
     from generate_series(1, 25) i`,
    [bob],
  );
  await store.database.query(
    `insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount, asset, method,
       method_reason, state, planned_at)
     select md5('line' || i)::uuid, md5('run' || i)::uuid, 0, $1, $1, i, 0, i, 'eth', 'batch', '',
       case i when 25 then 'returned' else 'final' end, to_timestamp(i / 5)
     from generate_series(1, 25) i`,
    [ada],
  );
  const all = async (page: (before: string | undefined) => Promise<readonly { readonly id: string }[]>) => {
    const ids: string[] = [];
    for (;;) {
      const found = await page(ids.at(-1));
      if (found.length === 0) return ids;
      ids.push(...found.map((one) => one.id));
    }
  };
  for (const page of [
    (before: string | undefined) => reader.linesOf(ada, 4, before),
    (before: string | undefined) => reader.runs(4, before),
  ]) {
    const ids = await all(page);
    expect([ids.length, new Set(ids).size]).toEqual([25, 25]);
  }
  // One run with eight lines more, two of one transaction, and an intent that was outbid once.
  const run = (await reader.runs(1))[0]!;
  const hash = (digit: string): string => `0x${digit.repeat(64)}`;
  await store.database.query(
    `insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount, asset, method,
       method_reason, state, tx_hash, planned_at)
     select md5('more' || i)::uuid, $1, i, 'w' || i, $2, 10, 0, 10, 'eth', 'batch', '', case when i > 6 then 'sent' else 'final' end,
       case when i < 3 then $3 end, to_timestamp(9) from generate_series(1, 8) i`,
    [run.id, ada, hash("c")],
  );
  await store.database.query(
    `insert into openpool.payout_intents (id, run, kind, chain_id, payer, nonce, to_address, value_wei, data, gas_limit, lines, state)
     values (md5('intent')::uuid, $1, 'batch', 1, $2, 7, $2, 0, '0x', 1, '{}', 'sent')`,
    [run.id, bob],
  );
  await store.database.query(
    `insert into openpool.payout_transactions (hash, intent, version, raw, max_fee_wei, max_tip_wei, signed_at)
     select h, md5('intent')::uuid, v, '0x', 1, 1, now() from unnest($1::text[]) with ordinality as u (h, v)`,
    [[hash("a"), hash("b")]],
  );
  const places = await all((after) => reader.linesOfRun(run.id, 4, after));
  expect([places.length, new Set(places).size]).toEqual([9, 9]);
  expect(await reader.linesOfRun(run.id, 4, "00000000-0000-4000-8000-000000000000")).toEqual([]);
  const own = (await reader.linesOfRun(run.id, 1))[0]!;
  const finalWei = 60n + (own.state === "final" ? own.amountWei : 0n);
  expect(await reader.runSums([run.id])).toEqual(
    new Map([[run.id, { paidWei: finalWei, sendAmount: 80n + own.sendAmount, transactions: [hash("b"), hash("c")] }]]),
  );
  expect((await reader.runHead(run.id))?.lines).toBe(9);
  expect(await reader.runHead("x")).toBeUndefined();
  expect([await reader.finalLines(ada), await reader.finalLines(bob)]).toEqual([24, 0]);
  // What is no payment, or none of anybody, has nothing behind it.
  expect(await reader.linesOf(ada, 4, "x")).toEqual([]);
  expect(await reader.linesOf(ada, 4, "00000000-0000-4000-8000-000000000000")).toEqual([]);
});
