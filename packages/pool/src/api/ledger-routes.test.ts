import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import fastify from "fastify";
import { expect, test } from "vitest";
import { addLedgerRoutes } from "./ledger-routes.ts";
import type { LedgerPort } from "./types.ts";

const ada = parseAddress(`0x${"11".repeat(20)}`) as WorkerAddress;

test("a statement as JSON comes to what its own rows come to, also when rows are booked while it is read", async () => {
  const row = (id: number, amountWei: bigint) => ({ id: String(id), atMs: id, kind: "job", amountWei, data: {} });
  const ledger = {
    // Of before the second page was booked.
    statementSums: async () => ({ openingWei: 100n, closingWei: 130n, byKind: {} }),
    statement: async (_worker: WorkerAddress, _range: unknown, after: string | undefined) =>
      after === undefined ? { rows: [row(1, 30n)], next: "1" } : { rows: [row(2, 7n), row(3, -2n)], next: undefined },
  } as unknown as LedgerPort;
  await using app = fastify();
  addLedgerRoutes(app, ledger, {
    json: (reply, value) => reply.send(value),
    parse: (schema, value) => schema.parse(value),
  });
  const answer = await app.inject(`/ledger/statements/${ada}`);
  const { opening_wei, closing_wei, rows } = answer.json<Record<string, unknown> & { rows: unknown[] }>();
  expect([opening_wei, rows.length, closing_wei]).toEqual(["100", 3, "135"]);
});
