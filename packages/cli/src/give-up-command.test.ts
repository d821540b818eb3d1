import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deployPayoutContract, type LocalChain, newPayoutKey, startLocalChain } from "@openpool/pool";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openOperatedPool, type OperatedPool } from "./testing/pool.ts";

// A database, a chain and a pool that is started three times, on a machine that may be busy.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let chain: LocalChain;
let pool: OperatedPool;
/** Accounts of the chain that stand for multisigs. */
let burnt: string;
let moved: string;
let common: Readonly<Record<string, string>>;

beforeAll(async () => {
  chain = await startLocalChain();
  await deployPayoutContract(chain.url, { plain: chain.richKeys[0] ?? "" });
  [, , moved = "", burnt = ""] = (await chain.request("eth_accounts")) as readonly string[];
  common = {
    "rpc-url": chain.url,
    "chain-id": String(chain.chainId),
    "payout-finality": "1",
    "minimum-payout": "0",
  };
  pool = await openOperatedPool(() => ({ ...common, "payout-safe": moved }));
});
afterAll(async () => {
  await pool?.[Symbol.asyncDispose]();
  await chain?.[Symbol.asyncDispose]();
});

const ada = `0x${"8".repeat(40)}`;

async function beginPayout(wei: bigint): Promise<string> {
  const owed = await pool.operate("ledger", "adjust", "--worker", ada, `--wei=${wei}`, "--reason", "for the test");
  expect(owed).toMatchObject({ code: 0 });
  const { run } = JSON.parse((await pool.operate("payouts", "run", "--json")).out) as { run?: { id: string } };
  return run?.id ?? "";
}

/** What is exported for a multisig, and what that is executed with. */
async function handOut(id: string): Promise<{ readonly execute: (from: string) => Promise<string> }> {
  const exported = await pool.operate("payouts", "export", id, "--format", "safe");
  expect(exported).toMatchObject({ code: 0 });
  const { transactions } = JSON.parse(exported.out) as {
    readonly transactions: readonly { readonly to: string; readonly value: string; readonly data: string }[];
  };
  const [call] = transactions;
  const value = `0x${BigInt(call?.value ?? 0).toString(16)}`;
  return {
    execute: async (from) =>
      String(
        await chain.request("eth_sendTransaction", [{ from, to: call?.to, value, data: call?.data, gas: "0x4c4b40" }]),
      ),
  };
}

const giveUp = (id: string, safe: string) =>
  pool.operate("payouts", "give-up", id, "--safe", safe, "--reason", "two of three keys burnt", "--by", "Ada");

test("a payout is taken back from a lost multisig only, by a pool that pays otherwise, and never when it was executed", async () => {
  expect(await giveUp("nothing", moved)).toMatchObject({
    code: 4,
    err: expect.stringContaining("There is no payout run nothing"),
  });
  const executed = await beginPayout(5_000n);
  expect(await giveUp(executed, moved)).toMatchObject({
    code: 4,
    err: expect.stringContaining("was not exported for a multisig"),
  });
  const file = await handOut(executed);
  expect(await giveUp(executed, moved)).toMatchObject({
    code: 4,
    err: expect.stringContaining("start the pool with another --payout-safe or --payout-keystore first"),
  });
  const hash = await file.execute(moved);

  await pool.restart({ ...common, "payout-safe": burnt });
  expect(await giveUp(executed, moved)).toMatchObject({ code: 4, err: expect.stringContaining("payouts reconcile") });
  expect(await pool.operate("payouts", "reconcile", executed, hash)).toMatchObject({ code: 0 });
  expect(await giveUp(executed, moved)).toMatchObject({ code: 4, err: expect.stringContaining("was not exported") });
  const lost = await beginPayout(7_000n);
  await handOut(lost);

  const made = await newPayoutKey("a password", { n: 1024 });
  await chain.request("anvil_setBalance", [made.address, `0x${(10n ** 18n).toString(16)}`]);
  const [keystore, password] = [join(pool.dataDir, "payer.json"), join(pool.dataDir, "payer.password")];
  await writeFile(keystore, made.keystore);
  await writeFile(password, "a password\n");
  await pool.restart({ ...common, "payout-keystore": keystore, "payout-password-file": password });
  expect(await pool.operate("payouts", "run")).toMatchObject({
    code: 1,
    out: `nothing is paid: run ${lost} is not done yet (exported)\n`,
  });
  expect(await giveUp(lost, moved)).toMatchObject({
    code: 4,
    err: expect.stringContaining("name the multisig that is lost"),
  });
  expect((await giveUp(lost, "burnt")).code).not.toBe(0);
  expect((await pool.operate("payouts", "give-up", lost, "--safe", burnt)).code).toBe(2);
  expect(await pool.operate("payouts", "give-up", lost, "--reason", "burnt")).toMatchObject({
    err: expect.stringContaining("either safe or payer"),
  });
  expect(await giveUp(lost, burnt)).toMatchObject({
    code: 0,
    out: `${lost} is cancelled: what was not decided of it is owed again\n`,
  });
  expect(await giveUp(lost, burnt)).toMatchObject({ code: 4, err: expect.stringContaining("was not exported") });
  expect((await pool.operate("events", "--type", "payout.given-up")).out).toContain("Ada");

  // It is paid otherwise, and what was not a multisig's is not given up.
  const { run } = JSON.parse((await pool.operate("payouts", "run", "--json")).out) as { run?: { id: string } };
  const ours = run?.id ?? "";
  await expect
    .poll(async () => BigInt(String(await chain.request("eth_getBalance", [ada, "latest"]))), { timeout: 100_000 })
    .toBe(12_000n);
  expect(await giveUp(ours, made.address)).toMatchObject({
    code: 4,
    err: expect.stringContaining("was not exported for a multisig"),
  });
  expect((await pool.operate("ledger", "check")).code).toBe(0);
});
