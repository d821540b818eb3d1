import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { calls, deployBatchPayer, openChain, parseKey, signerOfKey } from "../chain/index.ts";
import { type LocalChain, startLocalChain } from "../chain/local-chain.ts";
import { deployTestContract } from "../chain/testing/deploy-test-contract.ts";
import { TermsBook } from "../ledger/terms.ts";
import { poolAccounts, workerAccount } from "../ledger/types.ts";
import { createJobBooker } from "../ledger/schemes/index.ts";
import { restoreBackup, writeBackup } from "../store/backup.ts";
import { compareWithChain, paidTransactions } from "../store/chain-check.ts";
import { checkLedger } from "../store/ledger-check.ts";
import { PgLedgerStore, postEntries } from "../store/ledger-store.ts";
import { PgPayoutStore } from "../store/payout-store.ts";
import { termsVersion } from "../store/testing/ledger-world.ts";
import { newJob } from "../store/testing/sample-credit.ts";
import { openSqlClient } from "../store/testing/sql-client.ts";
import { openTestDatabase, type TestDatabase } from "../store/testing/test-store.ts";
import { PayoutEngine } from "./engine.ts";
import type { PriceOf } from "./gather.ts";
import { paymentsReader } from "./payments-of.ts";
import type { Asset, Hex } from "./types.ts";

const FINALITY = 2;
const deps = { logger: silentLogger, clock: systemClock };
// Dozens of transactions each, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let local: LocalChain;
let contract: WorkerAddress;
let dir: string;
beforeAll(async () => {
  local = await startLocalChain();
  dir = await mkdtemp(join(tmpdir(), "openpool-restore-"));
  contract = (await deployBatchPayer(local.url, signerOfKey(parseKey(local.richKeys[1] ?? "")), { pollMs: 20 }))
    .address;
});
afterAll(async () => {
  await local[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

let made = 0;
const newWorker = (): WorkerAddress => parseAddress(`0x${(++made).toString(16).padStart(40, "8")}`) as WorkerAddress;
/** An account of the test's own, with money. */
async function newKey(): Promise<Hex> {
  const key: Hex = `0x${(++made).toString(16).padStart(64, "9")}`;
  await local.request("anvil_setBalance", [signerOfKey(parseKey(key)).address, "0x8ac7230489e80000"]);
  return key;
}
const mine = (): Promise<unknown> => local.request("anvil_mine", ["0x1"]);

/** Payouts and books on a database. */
async function openPayouts(
  database: TestDatabase,
  key: Hex,
  method: "batch" | "transfers" | "safe" = "batch",
  {
    asset = "eth",
    price,
    safe,
  }: { readonly asset?: Asset; readonly price?: PriceOf; readonly safe?: WorkerAddress } = {},
) {
  const client = await openSqlClient(database.connection, "test books");
  const ledger = new PgLedgerStore(database.connection, deps);
  const store = new PgPayoutStore(database.connection, { ...deps, newId: newJob });
  const { chain } = openChain({
    rpcUrls: [local.url],
    chainId: local.chainId,
    quorum: undefined,
    finality: FINALITY,
    maxGasPriceWei: undefined,
  });
  const engine = new PayoutEngine(
    {
      rules: {
        method,
        asset,
        dailyCapWei: undefined,
        approvalAboveWei: undefined,
        maxGasPriceWei: undefined,
        maxGasSharePpm: undefined,
        choices: [],
        batchContract: contract,
      },
      poolName: "pool.example.com",
      batchSize: 100,
      bumpAfterMs: 60_000,
      maxBump: 10,
      payToDelayMs: 0,
      safe,
    },
    {
      ...deps,
      terms: () => ({ minimumWei: 1n, gasBorneBy: "pool", schedule: undefined, timeZone: "UTC" }),
      store,
      chain,
      signer: signerOfKey(parseKey(key)),
      calls,
      newId: newJob,
      price,
    },
  );
  return {
    engine,
    ledger,
    chain,
    async owe(worker: WorkerAddress, amountWei: bigint): Promise<void> {
      const id = newJob();
      const postings = [
        { account: poolAccounts.gateway, amountWei: -amountWei },
        { account: workerAccount(worker, "owed"), amountWei },
      ];
      await postEntries(client, [
        { id, source: `${id}/test`, rule: "test", termsVersion: 1, atMs: Date.now(), postings, data: {} },
      ]);
    },
    async payAll(): Promise<void> {
      const planned = await engine.plan({ dryRun: false });
      expect(planned.refused).toBeUndefined();
      for (let i = 0; i < 80; i++) {
        await engine.step();
        if ((await store.runs(1))[0]?.state === "done") return;
        await mine();
      }
      throw new Error(`it does not end: ${(await engine.status()).waitingFor}`);
    },
    async settleBlocks(): Promise<void> {
      for (let i = 0; i < FINALITY; i++) await mine();
    },
    async expectBooksAreChain(workers: readonly WorkerAddress[]): Promise<void> {
      for (const worker of workers) {
        expect([worker, (await ledger.balance(worker)).paidWei]).toEqual([worker, await chain.balance(worker)]);
      }
      const terms = new TermsBook([termsVersion(1)]);
      const rules = { terms, bookJob: createJobBooker(terms) };
      expect((await checkLedger(client, rules, undefined)).violations).toEqual([]);
    },
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await ledger[Symbol.asyncDispose]();
      await client.end();
    },
  };
}

/** Loses a database and brings its backup back. */
async function backup(database: TestDatabase): Promise<() => Promise<TestDatabase>> {
  const file = join(dir, newJob());
  await writeBackup(database.connection, file, "test", deps);
  return async () => {
    const restored = await openTestDatabase({ empty: true });
    await restoreBackup(restored.connection, file, deps);
    return restored;
  };
}

test("what was paid after the backup is read from the chain and booked, what nobody can explain stops it, and nobody is paid twice", async () => {
  const [ada, bob, carl] = [newWorker(), newWorker(), newWorker()];
  const key = await newKey();
  const database = await openTestDatabase();
  let restore;
  {
    await using before = await openPayouts(database, key);
    await before.owe(ada, 1_000n);
    await before.payAll();
    await before.owe(ada, 500n);
    await before.owe(bob, 700n);
    restore = await backup(database);
    // Of what comes now the restored books know nothing: a credit, a new worker, a payout.
    await before.owe(ada, 100n);
    await before.owe(carl, 900n);
    await before.payAll();
    await before.settleBlocks();
  }
  await using pool = await openPayouts(await restore(), key);
  expect((await pool.engine.plan({ dryRun: false })).refused).toContain("openpool payouts resume");
  await expect(pool.engine.resume({ noOtherPayer: true })).rejects.toMatchObject({
    info: {
      code: "payout/unexplained",
      unexplained: [expect.stringMatching(`paid 900 wei to ${carl} .*where no worker of these books is paid`)],
    },
  });
  expect((await pool.engine.status()).halted?.code).toBe("payout/restored");
  expect(await pool.ledger.balance(bob)).toMatchObject({ owedWei: 700n, paidWei: 0n });

  const { found, notOwed } = await pool.engine.resume({
    paidFor: new Map([[carl, carl]]),
    noOtherPayer: true,
  });
  expect(found.map(({ worker, amountWei }) => [worker, amountWei])).toEqual([
    [ada, 600n],
    [bob, 700n],
    [carl, 900n],
  ]);
  expect(notOwed).toEqual([
    { worker: ada, wei: 100n },
    { worker: carl, wei: 900n },
  ]);
  expect(await pool.engine.status()).toMatchObject({ halted: undefined });
  await pool.expectBooksAreChain([ada, bob, carl]);
  expect((await pool.engine.plan({ dryRun: true })).run).toBeUndefined();
  const { rows } = await pool.ledger.statement(ada, {}, undefined, 20);
  expect(rows.map((row) => row.amountWei).reduce((a, b) => a + b, 0n)).toBe(0n);
  expect(rows.find((row) => row.kind === "adjusted")?.data).toMatchObject({
    reason: expect.stringContaining("beyond what these books owe"),
  });

  await pool.owe(bob, 55n);
  await pool.payAll();
  expect(await pool.chain.balance(bob)).toBe(755n);
  await pool.expectBooksAreChain([ada, bob, carl]);
  // The nonces that may have been handed out before the loss do nothing any more.
  const detail = await pool.engine.run((await pool.engine.runs({ limit: 1 }))[0]?.id ?? "");
  expect(detail?.intents.filter((one) => one.lines.length === 0)).toHaveLength(16);
});

test("a payout that the backup had planned and that was made afterwards is found as its lines, by batch and by transfer", async () => {
  for (const method of ["batch", "transfers"] as const) {
    const workers = [newWorker(), newWorker()];
    const key = await newKey();
    const database = await openTestDatabase();
    let restore;
    {
      await using before = await openPayouts(database, key, method);
      for (const worker of workers) await before.owe(worker, 2_000n);
      const { run } = await before.engine.plan({ dryRun: false });
      restore = await backup(database);
      for (let i = 0; (await before.engine.run(run?.id ?? ""))?.run.state !== "done"; i++) {
        expect(i).toBeLessThan(60);
        await before.engine.step();
        await mine();
      }
    }
    await using pool = await openPayouts(await restore(), key, method);
    const { found, notOwed } = await pool.engine.resume({ noOtherPayer: true });
    expect([found.length, notOwed]).toEqual([2, []]);
    expect((await pool.engine.runs({}))[0]?.state).toBe("done");
    await pool.expectBooksAreChain(workers);
  }
});

test("where no node keeps what was paid, the operator holds who was paid, takes it off by hand, and nobody is paid twice", async () => {
  const [ada, bob] = [newWorker(), newWorker()];
  const key = await newKey();
  const database = await openTestDatabase();
  let restore;
  {
    await using before = await openPayouts(database, key);
    await before.owe(ada, 700n);
    restore = await backup(database);
    await before.payAll();
    await before.settleBlocks();
  }
  await using pool = await openPayouts(await restore(), key);
  await pool.owe(bob, 300n);
  await pool.engine.hold(ada, "paid after the backup");
  expect(await pool.engine.resume({ foreign: "all" })).toMatchObject({ found: [], notOwed: [] });
  await pool.payAll();
  expect([await pool.chain.balance(ada), await pool.chain.balance(bob)]).toEqual([700n, 300n]);
  const entry = { worker: ada, termsVersion: 1, reason: "paid before the database was lost" };
  await pool.ledger.adjust({ ...entry, amountWei: -700n });
  await pool.engine.release(ada);
  await pool.owe(ada, 50n);
  await pool.payAll();
  expect([await pool.chain.balance(ada), await pool.chain.balance(bob)]).toEqual([750n, 300n]);
  await pool.expectBooksAreChain([bob]);
});

test("a transaction of the account that pays nobody in a way that is known has to be named, and then only costs nothing more", async () => {
  const ada = newWorker();
  const key = await newKey();
  const signer = signerOfKey(parseKey(key));
  const database = await openTestDatabase();
  let restore;
  {
    await using before = await openPayouts(database, key);
    await before.owe(ada, 10n);
    restore = await backup(database);
  }
  const { raw, hash } = await signer.sign({
    chainId: local.chainId,
    nonce: 0,
    to: newWorker(),
    valueWei: 123n,
    data: "0x",
    gasLimit: 21_000n,
    maxFeeWei: 10n ** 12n,
    maxTipWei: 1n,
  });
  await local.request("eth_sendRawTransaction", [raw]);
  await using pool = await openPayouts(await restore(), key);
  await expect(pool.engine.resume({ noOtherPayer: true })).rejects.toThrow(/payout\/not-final/);
  await pool.settleBlocks();
  await expect(pool.engine.resume({ noOtherPayer: true })).rejects.toThrow(/paid 123 wei/);
  expect(await pool.engine.resume({ foreign: [hash], noOtherPayer: true })).toEqual({
    found: [],
    notOwed: [],
    handedOut: [],
  });
  await pool.payAll();
  expect(await pool.chain.balance(ada)).toBe(10n);
  await pool.expectBooksAreChain([ada]);
});

test.each(["batch", "transfers"] as const)(
  "payments in a token (%s) are found with what they were worth, by the price of their block or as the operator says",
  async (method) => {
    const [ada, bob] = [newWorker(), newWorker()];
    const key = await newKey();
    const token = await deployTestContract(local, "Token", "POOL");
    await token.send("give", signerOfKey(parseKey(key)).address, 10n ** 30n);
    // 2.5 tokens for one ETH: then; a source that knows nothing more costs a word of the operator.
    const unitsPerEth = 25n * 10n ** 17n;
    const asked: (number | undefined)[] = [];
    const price: PriceOf = async (of, atBlock) => {
      asked.push(atBlock);
      return { token: of, unitsPerEth, source: "fixed", atBlock };
    };
    const way = { asset: token.address, price };
    const database = await openTestDatabase();
    let restore;
    {
      await using before = await openPayouts(database, key, method, way);
      await before.owe(ada, 1_000n);
      await before.owe(bob, 700n);
      restore = await backup(database);
      await before.payAll();
      await before.settleBlocks();
    }
    const restored = await restore();
    {
      await using blind = await openPayouts(restored, key, method, {
        ...way,
        price: async () => ({ problem: "its feed forgets" }),
      });
      await expect(blind.engine.resume({ noOtherPayer: true })).rejects.toThrow(
        /nobody knows what that was worth: its feed forgets/,
      );
      expect(await blind.ledger.balance(ada)).toMatchObject({ owedWei: 1_000n, paidWei: 0n });
    }
    await using pool = await openPayouts(restored, key, method, way);
    const how = method === "batch" ? {} : { unitsPerEth: new Map([[token.address, unitsPerEth]]) };
    asked.length = 0;
    const { found, notOwed } = await pool.engine.resume({ ...how, noOtherPayer: true });
    expect(new Map(found.map(({ worker, amountWei }) => [worker, amountWei]))).toEqual(
      new Map([
        [ada, 1_000n],
        [bob, 700n],
      ]),
    );
    expect(notOwed).toEqual([]);
    if (method === "batch") expect(asked).toEqual([expect.any(Number)]);
    else expect(asked).toEqual([]);
    expect((await pool.engine.linesOf(ada))[0]).toMatchObject({
      asset: token.address,
      sendAmount: 2_500n,
      amountWei: 1_000n,
      state: "final",
    });
    expect((await pool.engine.plan({ dryRun: true })).run).toBeUndefined();
    expect(await pool.ledger.balance(bob)).toMatchObject({ owedWei: 0n, paidWei: 700n });
  },
);

test("what a key paid that is lost with the books' newest part is found, too, and so is who paid in batches and is in no book", async () => {
  const [ada, bob, carl] = [newWorker(), newWorker(), newWorker()];
  const [lost, later, key] = [await newKey(), await newKey(), await newKey()];
  const database = await openTestDatabase();
  let restore;
  {
    await using before = await openPayouts(database, lost);
    for (const worker of [ada, bob, carl]) await before.owe(worker, 1_000n);
    // The key has paid nothing yet, it was only to.
    await before.engine.plan({ dryRun: false });
    restore = await backup(database);
    for (let i = 0; (await before.engine.runs({ limit: 1 }))[0]?.state !== "done"; i++) {
      expect(i).toBeLessThan(60);
      await before.engine.step();
      await mine();
    }
    await before.owe(ada, 50n);
  }
  {
    await using after = await openPayouts(database, later);
    await after.payAll();
    await after.settleBlocks();
  }
  await using pool = await openPayouts(await restore(), key);
  const laterAddress = signerOfKey(parseKey(later)).address;
  await expect(pool.engine.resume()).rejects.toMatchObject({ info: { code: "payout/name-payers" } });
  await expect(pool.engine.resume()).rejects.toThrow(signerOfKey(parseKey(lost)).address);
  await expect(pool.engine.resume({ noOtherPayer: true })).rejects.toMatchObject({
    info: {
      code: "payout/unexplained",
      unexplained: [expect.stringContaining(`if it paid for this pool, say --also-payer ${laterAddress}`)],
    },
  });
  const { found, notOwed } = await pool.engine.resume({ alsoPayers: [laterAddress] });
  expect(found.map((one) => one.amountWei).toSorted()).toEqual([1_000n, 1_000n, 1_000n, 50n].toSorted());
  expect(notOwed).toEqual([{ worker: ada, wei: 50n }]);
  await pool.expectBooksAreChain([ada, bob, carl]);
  expect((await pool.engine.plan({ dryRun: true })).run).toBeUndefined();
});

test("what a key of before handed out and nobody has mined stops a resume; mined after all it halts, and is booked", async () => {
  const ada = newWorker();
  const [lost, key] = [await newKey(), await newKey()];
  const database = await openTestDatabase();
  let restore;
  let raws: readonly Hex[] = [];
  onTestFinished(async () => void (await local.request("evm_setAutomine", [true])));
  {
    await using before = await openPayouts(database, lost, "transfers");
    await before.owe(ada, 10n);
    await before.payAll();
    await before.owe(ada, 1_000n);
    restore = await backup(database);
    await local.request("evm_setAutomine", [false]);
    const { run } = await before.engine.plan({ dryRun: false });
    await before.engine.step();
    const intents = (await before.engine.run(run?.id ?? ""))?.intents ?? [];
    raws = intents.flatMap(({ transactions }) => transactions.map(({ raw }) => raw));
    expect(raws).toHaveLength(1);
  }
  await using pool = await openPayouts(await restore(), key);
  await expect(pool.engine.resume({ noOtherPayer: true })).rejects.toMatchObject({
    info: { code: "payout/still-pending" },
    message: expect.stringContaining(signerOfKey(parseKey(lost)).address),
  });
  const held = { noOtherPayer: true, despitePending: true };
  expect(await pool.engine.resume(held)).toEqual({ found: [], notOwed: [], handedOut: [] });
  // The nodes forget it, and everybody is paid by the new key.
  await local.request("anvil_dropAllTransactions");
  await local.request("evm_setAutomine", [true]);
  await pool.payAll();
  expect(await pool.chain.balance(ada)).toBe(1_010n);

  await pool.owe(ada, 5n);
  await pool.engine.plan({ dryRun: false });
  for (const raw of raws) await local.request("eth_sendRawTransaction", [raw]);
  await pool.engine.step();
  expect((await pool.engine.status()).halted?.code).toBe("payout/nonce-ahead");
  await pool.settleBlocks();
  const { found, notOwed } = await pool.engine.resume();
  expect(found).toMatchObject([{ worker: ada, amountWei: 1_000n }]);
  expect(notOwed).toEqual([{ worker: ada, wei: 995n }]);
  expect((await pool.engine.plan({ dryRun: true })).run).toBeUndefined();
  await pool.expectBooksAreChain([ada]);
});

test("a payment of another key than its plan's, to two addresses of one worker, is booked as the chain has it", async () => {
  const [ada, bob, first, second] = [newWorker(), newWorker(), newWorker(), newWorker()];
  const [planned, key] = [await newKey(), await newKey()];
  const database = await openTestDatabase();
  let restore;
  let run;
  {
    await using before = await openPayouts(database, planned);
    await before.owe(ada, 1_000n);
    ({ run } = await before.engine.plan({ dryRun: false }));
    restore = await backup(database);
  }
  {
    await using after = await openPayouts(database, key);
    await after.engine.cancel(run?.id ?? "");
    await after.owe(first, 10n);
    await after.owe(second, 20n);
    await after.payAll();
    await after.settleBlocks();
  }
  const restored = await restore();
  await using pool = await openPayouts(restored, key);
  await pool.engine.resume({
    noOtherPayer: true,
    paidFor: new Map([
      [first, bob],
      [second, bob],
    ]),
  });
  await pool.expectBooksAreChain([ada]);
  expect((await pool.ledger.balance(bob)).paidWei).toBe(30n);
  expect((await pool.engine.run(run?.id ?? ""))?.lines).toMatchObject([{ state: "returned" }]);
  // Where it wants its money by now is lost with the database.
  await pool.owe(bob, 5n);
  expect((await pool.engine.plan({ dryRun: true })).waiting).toMatchObject([
    { worker: bob, code: "stopped", reason: expect.stringContaining(`it was paid at ${first} after the backup`) },
  ]);
  const client = await openSqlClient(restored.connection, "test check");
  const { chain } = pool;
  const read = paymentsReader({ chain, calls });
  const which = { recent: true, also: [], setAside: [] };
  const paid = await paidTransactions(client, chain.chainId, which);
  await client.end();
  expect(paid).toMatchObject([{ payer: signerOfKey(parseKey(key)).address, lines: { length: 3 } }]);
  const compared = await compareWithChain(paid, {
    chainId: chain.chainId,
    transaction: (hash, of) => read(hash as Hex, of),
    hashesIn: async () => [],
  });
  expect(compared).toMatchObject({ wrong: [], unread: [], right: [paid[0]?.hash], chainProblem: undefined });
});

/** Calls with what is in its data: an address, an amount, and the data of the call. As a multisig it has no nonces to read. */
const FORWARDER = "0x60403603806040600037600060009160006020356000355af15000";

test("a payout of a multisig that was executed after the backup is decided by what the multisig did alone", async () => {
  const [ada, bob] = [newWorker(), newWorker()];
  const key = await newKey();
  const relay = await newKey();
  const safe = newWorker();
  await local.request("anvil_setCode", [safe, FORWARDER]);
  await local.request("anvil_setNonce", [safe, "0x1"]);
  await local.request("anvil_setBalance", [safe, "0x8ac7230489e80000"]);
  const database = await openTestDatabase();
  let restore;
  let hash: Hex;
  let id: string;
  {
    await using before = await openPayouts(database, key, "safe", { safe });
    for (const worker of [ada, bob]) await before.owe(worker, 2_000n);
    const { run, refused } = await before.engine.plan({ dryRun: false });
    expect(refused).toBeUndefined();
    id = run?.id ?? "";
    restore = await backup(database);
    const file = JSON.parse(await before.engine.exportRun(id, "safe")) as {
      transactions: readonly { to: string; value: string; data: Hex }[];
    };
    const [call] = file.transactions;
    const word = (value: bigint): string => value.toString(16).padStart(64, "0");
    const signed = await signerOfKey(parseKey(relay)).sign({
      chainId: local.chainId,
      nonce: 0,
      to: safe,
      valueWei: 0n,
      data: `0x${word(BigInt(call?.to ?? 0))}${word(BigInt(call?.value ?? 0))}${call?.data.slice(2)}`,
      gasLimit: 1_000_000n,
      maxFeeWei: 10n ** 12n,
      maxTipWei: 1n,
    });
    await local.request("eth_sendRawTransaction", [signed.raw]);
    ({ hash } = signed);
    await before.settleBlocks();
    expect(await before.chain.balance(ada)).toBe(2_000n);
  }
  // From another account now: the multisig of the books is looked at all the same.
  await using pool = await openPayouts(await restore(), key);
  expect(await pool.engine.resume({ noOtherPayer: true })).toEqual({ found: [], notOwed: [], handedOut: [id] });
  await expect(pool.engine.cancel(id)).rejects.toThrow(/cannot be cancelled/);
  expect((await pool.engine.plan({ dryRun: false })).run).toBeUndefined();
  expect((await pool.engine.reconcile(id, hash)).state).toBe("done");
  await pool.expectBooksAreChain([ada, bob]);
});
