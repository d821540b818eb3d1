import { systemClock } from "@openpool/base";
import { probeOrchestrator } from "@openpool/pool";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StockOrchestrator, startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { parseHostPort } from "../peers/wire.ts";
import { SECRET } from "./pool.ts";

let orchestrator: StockOrchestrator;
beforeAll(async () => {
  orchestrator = await startStockOrchestrator({ secret: SECRET, price: "101/100" });
});
afterAll(() => orchestrator[Symbol.asyncDispose]());

const probe = (secret: string, address = orchestrator.addr) =>
  probeOrchestrator(
    { address: parseHostPort(address), secret, cli: parseHostPort(orchestrator.cliAddr ?? "127.0.0.1:1") },
    { clock: systemClock, signal: new AbortController().signal },
  );

test("says whether the secret is taken and what is paid, without a registration", async () => {
  expect(await probe(SECRET)).toMatchObject({
    unreachable: undefined,
    secretTaken: true,
    cli: { price: { pricePerUnitWei: 101n, pixelsPerUnit: 100n }, version: "0.9.1", transcoders: [] },
  });
  expect(orchestrator.transcoders).toEqual([]);
});

test("tells a wrong secret from a right one", async () => {
  expect(await probe("wrong")).toMatchObject({ secretTaken: false });
});

test("says why it cannot be reached", async () => {
  expect((await probe(SECRET, "127.0.0.1:1")).unreachable).toContain("ECONNREFUSED");
});
