import { expect, test } from "vitest";
import { PgPool } from "./pg-pool.ts";
import { openTestDatabase } from "./testing/test-store.ts";

test("a connection that the server ends in the middle of a transaction fails that transaction and nothing else", async () => {
  await using database = await openTestDatabase({ empty: true });
  await using pool = new PgPool(database.connection, { name: "test", max: 2, about: "a test" });
  const cut = pool.transaction(async (client) => {
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    const ended = new Promise<void>((resolve) => client.once("end", resolve));
    // Nothing is asked of it at that moment: its end is told to nobody but its owner.
    await pool.query("select pg_terminate_backend($1)", [rows[0]?.pid]);
    await ended;
    await client.query("select 1");
  });
  await expect(cut).rejects.toMatchObject({ info: { code: "store/unavailable" } });
  expect(await pool.query("select 1 as one")).toEqual([{ one: 1 }]);
});
