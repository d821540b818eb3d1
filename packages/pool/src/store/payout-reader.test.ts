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
  expect([await reader.finalLines(ada), await reader.finalLines(bob)]).toEqual([24, 0]);
  // What is no payment, or none of anybody, has nothing behind it.
  expect(await reader.linesOf(ada, 4, "x")).toEqual([]);
  expect(await reader.linesOf(ada, 4, "00000000-0000-4000-8000-000000000000")).toEqual([]);
});
