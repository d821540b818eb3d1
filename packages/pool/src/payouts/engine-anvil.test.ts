import { silentLogger, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { calls, deployBatchPayer, openChain, parseKey, signerOfKey } from "../chain/index.ts";
import { type LocalChain, startLocalChain } from "../chain/local-chain.ts";
import { poolAccounts, workerAccount } from "../ledger/types.ts";
import { PgLedgerStore, postEntries } from "../store/ledger-store.ts";
import { PgPayoutStore } from "../store/payout-store.ts";
import { clientConfig } from "../store/pg-connection.ts";
import { newJob } from "../store/testing/sample-credit.ts";
import { openTestDatabase } from "../store/testing/test-store.ts";
import { PayoutEngine, type PayoutSettings } from "./engine.ts";

let local: LocalChain;
beforeAll(async () => {
  local = await startLocalChain();
});
afterAll(() => local[Symbol.asyncDispose]());

const worker = (n: number): WorkerAddress =>
  parseAddress(`0x${n.toString(16).padStart(2, "0").repeat(20)}`) as WorkerAddress;

async function open(change: Partial<PayoutSettings["rules"]> = {}) {
  const database = await openTestDatabase();
  const client = new Client(clientConfig(database.connection, "test"));
  await client.connect();
  const ledger = new PgLedgerStore(database.connection, { logger: silentLogger, clock: systemClock });
  const store = new PgPayoutStore(database.connection, { clock: systemClock, newId: newJob });
  const { chain } = openChain({
    rpcUrls: [local.url],
    chainId: local.chainId,
    quorum: undefined,
    finality: 1,
    maxGasPriceWei: undefined,
  });
  const deployer = signerOfKey(parseKey(local.richKeys[1]!));
  const contract = (await deployBatchPayer(local.url, deployer, { pollMs: 20 })).address;
  const signer = signerOfKey(parseKey(local.richKeys[0]!));
  const settings: PayoutSettings = {
    rules: {
      method: "batch",
      asset: "eth",
      dailyCapWei: undefined,
      approvalAboveWei: undefined,
      maxGasPriceWei: undefined,
      maxGasSharePpm: undefined,
      batchContract: contract,
      ...change,
    },
    poolName: "https://pool.example.com:8935",
    batchSize: 100,
    bumpAfterMs: 60_000,
    payToDelayMs: 0,
    safe: undefined,
  };
  const engine = new PayoutEngine(settings, {
    terms: () => ({ minimumWei: 1n, gasBorneBy: "pool", schedule: undefined, timeZone: "UTC" }),
    store,
    chain,
    signer,
    calls,
    clock: systemClock,
    logger: silentLogger,
    newId: newJob,
  });
  return {
    engine,
    ledger,
    store,
    chain,
    async owe(amounts: ReadonlyMap<WorkerAddress, bigint>) {
      await postEntries(
        client,
        [...amounts].map(([one, amountWei]) => ({
          id: newJob(),
          source: `${newJob()}/test`,
          rule: "test",
          termsVersion: 1,
          atMs: Date.now(),
          postings: [
            { account: poolAccounts.gateway, amountWei: -amountWei },
            { account: workerAccount(one, "owed"), amountWei },
          ],
          data: {},
        })),
      );
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await ledger[Symbol.asyncDispose]();
      await client.end();
    },
  };
}

test("a batch pays every worker exactly what it is owed, in one transaction, and the books say the same", async () => {
  await using pool = await open();
  const owed = new Map([worker(0x11), worker(0x12), worker(0x13)].map((one, i) => [one, 10n ** 15n + BigInt(i)]));
  await pool.owe(owed);
  const planned = await pool.engine.plan({ dryRun: false });
  expect(planned.refused).toBeUndefined();
  expect(planned.lines).toHaveLength(3);
  await pool.engine.step();
  await pool.engine.step();
  const detail = await pool.engine.run(planned.run?.id ?? "");
  expect(detail?.run.state).toBe("done");
  expect(detail?.intents).toHaveLength(1);
  for (const [one, amount] of owed) {
    expect(await pool.chain.balance(one)).toBe(amount);
    expect(await pool.ledger.balance(one)).toEqual({ heldWei: 0n, owedWei: 0n, payingWei: 0n, paidWei: amount });
  }
  const totals = await pool.ledger.totals();
  expect(totals.gasWei).toBeGreaterThan(0n);
  expect(totals.gasWei).toBe(-totals.reserveWei);
});
