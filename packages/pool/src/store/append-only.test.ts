import { stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { openLedgerWorld } from "./testing/ledger-world.ts";
import { ada, creditOf } from "./testing/sample-credit.ts";

test("the database itself refuses to change events, entries and postings, also of a month by its own name, and after a rebuild", async () => {
  await using world = await openLedgerWorld(stoppedClock("2026-01-30T00:00:00Z"));
  const { store, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  const guarded = ["events", "events_2026_01", "ledger_entries", "ledger_postings"];
  const refuseAll = async (): Promise<void> => {
    for (const table of guarded) {
      for (const sql of [
        `update openpool.${table} set ${table.startsWith("events") ? "type = 'other'" : table === "ledger_entries" ? "rule = 'other'" : "amount_wei = 0"}`,
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
