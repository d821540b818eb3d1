import { stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { openLedgerWorld } from "./testing/ledger-world.ts";
import { ada, creditOf } from "./testing/sample-credit.ts";

test("the database itself refuses to change events, credits, entries, postings and the rows of statements, also of a month by its own name, and after a rebuild", async () => {
  await using world = await openLedgerWorld(stoppedClock("2026-01-30T00:00:00Z"));
  const { store, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  const guarded = [
    ["events", "type = 'other'"],
    ["events_2026_01", "type = 'other'"],
    ["credits", "event = job"],
    ["ledger_entries", "rule = 'other'"],
    ["ledger_postings", "amount_wei = 0"],
    ["ledger_lines", "amount_wei = 0"],
  ] as const;
  const refuseAll = async (): Promise<void> => {
    for (const [table, change] of guarded) {
      for (const sql of [
        `update openpool.${table} set ${change}`,
        `delete from openpool.${table}`,
        `truncate openpool.${table}`,
        // Nothing is changed, and still nobody has any business to try.
        `delete from openpool.${table} where false`,
      ]) {
        await expect(client.query(sql), sql).rejects.toMatchObject({
          code: "OP005",
          message: expect.stringContaining(`${table} is append only`),
        });
      }
    }
  };
  await refuseAll();
  await world.rebuild(false);
  await refuseAll();
  // What is right goes on.
  await store.credit(creditOf(ada, "one", 5n));
  await world.catchUp();
  expect((await world.ledger.totals()).feesWei).toBe(9_000n);
});
