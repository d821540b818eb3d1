import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "@openpool/base";
import { deployPayoutContract, type LocalChain, newPayoutKey, startLocalChain } from "@openpool/pool";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openOperatedPool, type OperatedPool } from "./testing/pool.ts";
import type { Ran } from "./testing/run.ts";

// A database, a chain and dozens of commands, on a machine that may be busy.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

/** Commands run in this process, and reach a pool that pays on a chain of its own. */
let chain: LocalChain;
let pool: OperatedPool;
let payer: string;
/** The pool's clock, before the machine's: terms count from a minute on. */
let aheadMs = 0;

beforeAll(async () => {
  chain = await startLocalChain();
  await deployPayoutContract(chain.url, { plain: chain.richKeys[0] ?? "" });
  const made = await newPayoutKey("a password", { n: 1024 });
  payer = made.address;
  await chain.request("anvil_setBalance", [payer, `0x${(10n ** 18n).toString(16)}`]);
  pool = await openOperatedPool(
    async (dataDir) => {
      const [keystore, password] = [join(dataDir, "payer.json"), join(dataDir, "payer.password")];
      await writeFile(keystore, made.keystore);
      await writeFile(password, "a password\n");
      return {
        "rpc-url": chain.url,
        "chain-id": String(chain.chainId),
        "payout-finality": "1",
        "payout-keystore": keystore,
        "payout-password-file": password,
        "payout-method": "batch",
        "payout-fiat": "fixed:EUR:2500.50",
        "payout-approval-above": "250000000000000000",
        "payto-delay": "0s",
        "minimum-payout": "0",
      };
    },
    { ...systemClock, now: () => systemClock.now() + aheadMs },
  );
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
  await chain[Symbol.asyncDispose]();
});

function operate(...args: readonly string[]): Promise<Ran> {
  return pool.operate(...args);
}

let workers = 0;
/** Somebody whom the pool owes something. */
async function owe(wei: bigint, worker?: string): Promise<string> {
  workers += 1;
  const address = worker ?? `0x${workers.toString().padStart(40, "8")}`;
  const done = await operate("ledger", "adjust", "--worker", address, `--wei=${wei}`, "--reason", "for the test");
  if (done.code !== 0) throw new Error(done.err);
  return address;
}
const balance = async (address: string): Promise<bigint> =>
  BigInt(String(await chain.request("eth_getBalance", [address, "latest"])));

interface Planned {
  readonly run?: { readonly id: string; readonly state: string };
  readonly lines: readonly { readonly id: string; readonly worker: string; readonly state: string }[];
  readonly refused?: string;
}
/** `payouts run`, and which run that made. */
async function begin(): Promise<string> {
  const { run: made, refused } = JSON.parse((await operate("payouts", "run", "--json")).out) as Planned;
  if (!made) throw new Error(refused);
  return made.id;
}
async function untilDone(id: string): Promise<void> {
  await expect
    .poll(async () => (JSON.parse((await operate("payouts", "show", id, "--json")).out) as Planned).run?.state, {
      timeout: 100_000,
      interval: 200,
    })
    .toBe("done");
}

test("a plan shows who would be paid, how and why, and writes nothing", async () => {
  expect((await operate("payouts", "plan")).out).toBe("nothing is paid: nobody is owed anything\n");
  const ada = await owe(10n ** 17n);
  const bob = await owe(10n ** 17n);
  const { code, out } = await operate("payouts", "plan");
  expect(code).toBe(0);
  expect(out).toMatch(/^run [0-9a-f-]{36}: 0\.2 ETH to 2 workers, approved\n/);
  expect(out).toContain("worth  1 ETH = 2500.50 EUR (configured)\n");
  for (const worker of [ada, bob]) expect(out).toMatch(new RegExp(`${worker} .*0\\.1 .*batch .*gas in a batch of 2`));
  const listed = await operate("payouts", "list");
  expect(listed.out).toContain(`payer  ${payer} on chain 31337, 1 ETH\n`);
  expect(listed.out).toMatch(/pays   ETH\n/);
  expect(listed.out).toContain("no payout was made yet\n");
  const id = await begin();
  await untilDone(id);
  expect([await balance(ada), await balance(bob)]).toEqual([10n ** 17n, 10n ** 17n]);
  const shown = await operate("payouts", "show", id);
  expect(shown.out).toMatch(/^run .*: 0\.2 ETH to 2 workers, done, gas 0\.0\d+ ETH\n/);
  expect(shown.out).toMatch(/0 +batch +final +2 +0x[0-9a-f]{64}/);
  expect((await operate("payouts", "list")).out).toMatch(new RegExp(`${id} .* done +2 +0\\.2 +0\\.0`));
  const csv = (await operate("payouts", "export", id)).out.split("\n");
  expect(csv[0]).toBe("run,line,worker,pay_to,amount_wei,gas_share_wei,asset,send_amount,method,state,tx_hash,reason");
  expect(csv.filter((row) => row.includes(",100000000000000000,0,eth,100000000000000000,batch,final,0x"))).toHaveLength(
    2,
  );
  const json = JSON.parse((await operate("payouts", "export", id, "--format", "json")).out) as Planned;
  expect(json.lines).toHaveLength(2);
  expect(await operate("payouts", "export", id, "--format", "safe")).toMatchObject({
    code: 4,
    err: expect.stringContaining("is not paid by a multisig"),
  });
  expect((await operate("payouts", "export", id, "--format", "xml")).code).toBe(2);
  // The statement of a payout has what ETH was worth.
  expect((await operate("statements", ada)).out).toMatch(/,paid,.*,-?100000000000000000,.*,2500\.50,EUR\r\n/);
});

test("a payout above the limit waits for a person, who takes it back or lets it go", async () => {
  const ada = await owe(3n * 10n ** 17n);
  const { out } = await operate("payouts", "run");
  const [, first = ""] = /^run ([0-9a-f-]{36}): 0\.3 ETH to 1 worker, planned\n/.exec(out) ?? [];
  expect(out).toContain(
    `it waits for \`openpool payouts approve ${first}\`: 0.3 ETH are more than 0.25 ETH, which a person has to approve\n`,
  );
  expect(await operate("payouts", "run")).toMatchObject({
    code: 1,
    out: `nothing is paid: run ${first} is not done yet (planned)\n`,
  });
  expect(await operate("payouts", "cancel", first)).toMatchObject({ code: 0, out: `${first} is cancelled\n` });
  expect(await operate("payouts", "approve", first)).toMatchObject({
    code: 4,
    err: expect.stringContaining("is not waiting for approval"),
  });
  const second = await begin();
  expect(await operate("payouts", "approve", second, "--by", "Ada")).toMatchObject({ code: 0 });
  await untilDone(second);
  expect(await balance(ada)).toBe(3n * 10n ** 17n);
  expect(await operate("payouts", "cancel", second)).toMatchObject({ code: 4 });
  expect(await operate("payouts", "show", "nothing")).toMatchObject({
    code: 4,
    err: expect.stringContaining("There is no payout run nothing"),
  });
});

test("a pause holds everything until it is ended", async () => {
  await owe(1_000n);
  await operate("payouts", "pause", "--reason", "moving house");
  expect(await operate("payouts", "run")).toMatchObject({
    code: 1,
    out: "nothing is paid: payouts are paused: moving house\n",
  });
  expect((await operate("payouts", "list")).out).toContain("state  paused: moving house\n");
  expect((await operate("payouts", "resume")).out).toContain("payouts go on");
  await untilDone(await begin());
});

test("a payment that its address does not take is owed again, explained, and can be tried once more", async () => {
  const refuses = await owe(1_000n);
  await chain.request("anvil_setCode", [refuses, "0x60006000fd"]);
  const id = await begin();
  await untilDone(id);
  const shown = (await operate("payouts", "show", id)).out;
  expect(shown).toMatch(/failed .*its address did not take the payment/);
  const plan = await operate("payouts", "plan");
  expect(plan.out).toContain("nothing is paid: nobody can be paid now: see the reasons\n");
  expect(plan.out).toContain(`openpool payouts retry ${refuses}`);
  expect(await operate("payouts", "retry", "nonsense")).toMatchObject({
    code: 4,
    err: expect.stringContaining("There is no failed payment nonsense"),
  });
  await chain.request("anvil_setCode", [refuses, "0x"]);
  expect((await operate("payouts", "retry", refuses)).out).toContain("is paid again with the next payout\n");
  await untilDone(await begin());
  expect(await balance(refuses)).toBe(1_000n);
});

test("what the account paid behind the books' back is told; a person says what it was, and payouts go on", async () => {
  const ada = await owe(4_000n);
  const [stranger, landlord] = [`0x${"5".repeat(40)}`, `0x${"6".repeat(40)}`];
  await chain.request("anvil_impersonateAccount", [payer]);
  const send = async (to: string, wei: number): Promise<string> =>
    String(await chain.request("eth_sendTransaction", [{ from: payer, to, value: `0x${wei.toString(16)}` }]));
  await send(stranger, 1_500);
  const rent = await send(landlord, 77);
  await chain.request("anvil_stopImpersonatingAccount", [payer]);
  await operate("payouts", "run");
  await expect
    .poll(async () => (await operate("payouts", "list")).out, { timeout: 60_000 })
    .toContain("something else signs with the pool's key");
  const refused = await operate("payouts", "resume");
  expect(refused.code).toBe(4);
  expect(refused.err).toContain(`paid 1500 wei to ${stranger}`);
  expect(refused.err).toContain(rent);
  // One of the two is not enough.
  expect((await operate("payouts", "resume", "--foreign", rent)).err).not.toContain(rent);
  expect((await operate("payouts", "resume", "--paid-for", "somebody")).code).toBe(2);
  const resumed = await operate("payouts", "resume", "--foreign", rent, "--paid-for", `${stranger}=${ada}`);
  expect(resumed).toMatchObject({ code: 0, err: "" });
  expect(resumed.out).toMatch(
    new RegExp(`^found on the chain and booked:\\nWORKER.*\\n${ada} +0\\.0000000000000015 +0x`),
  );
  expect(resumed.out).toContain("payouts go on\n");
  expect((await operate("statements", ada)).out).toMatch(/,paid,.*,-1500,/);
  await untilDone(await begin());
  expect(await balance(ada)).toBe(2_500n);
  expect((await operate("ledger", "check")).code).toBe(0);
});

test("where money goes changes by the worker's signature alone, and at once where there is no delay", async () => {
  const [, , , , ada = ""] = (await chain.request("eth_accounts")) as readonly string[];
  const elsewhere = `0x${"9".repeat(40)}`;
  const change = ["--to", elsewhere, "--threshold", "500", "--max-gas-price", "0", "--max-gas-share", "50%"];
  expect((await operate("payto", "show", ada)).out).toContain("it is paid at its own address");
  const { out: document } = await operate("payto", "document", ada, ...change);
  expect(JSON.parse(document)).toMatchObject({
    primaryType: "PayTo",
    domain: { name: "Open Pool", chainId: 31_337 },
    message: { payTo: elsewhere, thresholdWei: "500", asset: "pool", maxGasSharePpm: "500000", nonce: "1" },
  });
  const signature = String(await chain.request("eth_signTypedData_v4", [ada, JSON.parse(document)]));
  expect(await operate("payto", "set", ada, "--to", ada, "--signature", signature)).toMatchObject({
    code: 4,
    err: expect.stringContaining("The signature is not one of"),
  });
  expect(await operate("payto", "set", ada, "--asset", `0x${"7".repeat(40)}`, "--signature", signature)).toMatchObject({
    code: 4,
    err: expect.stringContaining("It offers: pool, eth"),
  });
  expect(await operate("payto", "set", ada, ...change, "--signature", signature)).toMatchObject({
    code: 0,
    out: expect.stringContaining(`is paid at ${elsewhere} from `),
  });
  // Signed once is counted once.
  const again = ["--threshold", "1", "--nonce", "1"];
  const older = JSON.parse((await operate("payto", "document", ada, ...again)).out) as unknown;
  const late = String(await chain.request("eth_signTypedData_v4", [ada, older]));
  expect(await operate("payto", "set", ada, ...again, "--signature", late)).toMatchObject({
    code: 4,
    err: expect.stringContaining("sign one with a higher nonce"),
  });
  await expect
    .poll(async () => (await operate("payto", "show", ada)).out, { timeout: 60_000 })
    .toMatch(new RegExp(`1 +${elsewhere} +pool +0\\.0000000000000005 +50 % +in-force`));
  await owe(700n, ada);
  expect((await operate("payouts", "plan")).out).toMatch(
    /gas would take \d+ % of the amount, the limit is 50 %, as it wants/,
  );
  await owe(10n ** 17n, ada);
  await untilDone(await begin());
  expect(await balance(elsewhere)).toBe(10n ** 17n + 700n);
  expect((await operate("payto", "cancel", ada)).out).toMatch(/^nothing changes for /);
  expect((await operate("payto", "show", "0x12")).code).not.toBe(0);
});

test("solvency says what is owed and paid, and what the account holds", async () => {
  const { out } = await operate("solvency");
  expect(out).toMatch(/ {2}paid +0\.6\d*\n/);
  expect(out).toMatch(/in the account that pays +0\.\d+\n/);
  const { creditedWei, paidWei } = JSON.parse((await operate("solvency", "--json")).out) as Record<string, string>;
  expect(BigInt(paidWei ?? 0)).toBe(BigInt(creditedWei ?? 0));
});

test("a hook is written to begin with, and tried on past jobs", async () => {
  const init = await operate("hooks", "init", "mine.ts");
  expect(init.out).toContain("next: openpool hooks test mine.ts\n");
  expect((await operate("hooks", "init", "mine.ts")).code).not.toBe(0);
  expect((await operate("hooks", "test", "mine.ts", "--last", "1000")).out).toMatch(
    /^sha256:[0-9a-f]{64}\n0 jobs, 0 on which it failed\n/,
  );
  expect((await operate("hooks", "test", "mine.ts", "--last", "0")).code).toBe(2);
});

test("a function of the operator's is kept, named by terms, and may refuse a payout", async () => {
  const [ada, bob] = [await owe(1_000n), await owe(2_000n)];
  await writeFile(
    join(pool.dataDir, "careful.mjs"),
    `export const payoutPlanned = ({ worker }) => (worker === "${bob}" ? { veto: "ask the treasurer" } : { note: "fine" });`,
  );
  const { code, out } = await operate("hooks", "add", "careful.mjs");
  expect([code, out]).toEqual([0, expect.stringMatching(/^sha256:[0-9a-f]{64}\n$/)]);
  const hash = out.trim();
  expect((await operate("hooks", "list")).out).toContain(`${hash} `);
  expect((await operate("hooks", "held")).out).toBe("nothing is held\n");
  expect((await operate("hooks", "release", "--by-fee")).out).toBe("0 jobs shared\n");
  expect((await operate("hooks", "release")).code).toBe(2);
  const announced = await operate(
    "terms",
    "set",
    "--effective",
    "2m",
    "--scheme",
    "unit",
    "--scheme-option",
    `hook=${hash}`,
  );
  expect(announced).toMatchObject({ code: 0 });
  // Not before its time.
  expect((await operate("payouts", "plan")).out).toContain(ada);
  aheadMs = 121_000;
  expect(await operate("payouts", "run")).toMatchObject({
    code: 1,
    out: expect.stringContaining(`nothing is paid: ${bob}: ask the treasurer\n`),
  });
  expect(await operate("ledger", "adjust", "--worker", bob, "--wei=-2000", "--reason", "asked")).toMatchObject({
    code: 0,
  });
  const id = await begin();
  await untilDone(id);
  expect((await operate("payouts", "show", id)).out).toContain("fine");
  expect(await balance(ada)).toBe(1_000n);
});
