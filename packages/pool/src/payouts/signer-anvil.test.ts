import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { stoppedClock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Signer } from "./ports.ts";
import { AnvilWorld } from "./testing/anvil-pool.ts";
import type { Hex } from "./types.ts";

// A process that has to start, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let world: AnvilWorld;
beforeAll(async () => {
  world = await AnvilWorld.start();
});
afterAll(() => world[Symbol.asyncDispose]());

const program = fileURLToPath(new URL("testing/signing-process.ts", import.meta.url));

/** The signer of a key that only another process has. */
async function openDevice(): Promise<Signer & AsyncDisposable> {
  const execArgv = ["--conditions=source", "--import", "tsx"];
  const child = fork(program, { execArgv, serialization: "advanced" });
  const gone = new AbortController();
  const exit = once(child, "exit").then(() => gone.abort());
  const said = async <T>(): Promise<T> => {
    const [message] = (await once(child, "message", { signal: gone.signal })) as [T];
    return message;
  };
  const { address } = await said<{ readonly address: WorkerAddress }>();
  return {
    address,
    async sign(transaction) {
      const answer = said<{ readonly raw: Hex; readonly hash: Hex } | { readonly refused: string }>();
      child.send(transaction);
      const signed = await answer;
      if ("refused" in signed) throw new Error(signed.refused);
      return signed;
    },
    async [Symbol.asyncDispose]() {
      child.kill();
      await exit;
    },
  };
}

test("a payout is signed by a key in another process, slow and locked at first, and outbid by it too: paid once", async () => {
  const clock = stoppedClock("2026-01-01T00:00:00Z");
  await using device = await openDevice();
  await world.local.request("anvil_setBalance", [device.address, `0x${(10n ** 18n).toString(16)}`]);
  await using pool = await world.openPool({ clock, rules: { method: "transfers" }, deps: { signer: device } });
  const [ada, bob] = [await pool.owe(world.newWorker(), 5_000n), await pool.owe(world.newWorker(), 6_000n)];
  await world.local.request("evm_setAutomine", [false]);
  const { run } = await pool.engine.plan({ dryRun: false });
  const intents = async () => (await pool.engine.run(run?.id ?? ""))?.intents ?? [];
  await pool.engine.step();
  expect(await intents()).toEqual([]);
  expect((await pool.engine.status()).waitingFor).toBe(`${device.address} did not sign: the device is locked`);
  await pool.engine.step();
  const begun = await intents();
  expect(begun.map(({ payer, nonce }) => [payer, nonce])).toEqual([
    [device.address, 0],
    [device.address, 1],
  ]);
  // Its transaction is lost, and one for a higher price takes its place.
  clock.advance(61_000);
  await world.local.request("anvil_dropTransaction", [begun[0]?.transactions[0]?.hash]);
  await world.mine();
  await pool.engine.step();
  expect((await intents())[0]?.transactions).toHaveLength(2);
  await world.local.request("evm_setAutomine", [true]);
  await pool.finish();
  expect([await pool.chain.balance(ada), await pool.chain.balance(bob)]).toEqual([5_000n, 6_000n]);
  expect((await pool.ledger.balance(ada)).paidWei).toBe(5_000n);
});

test("no look at what pays shows its key", async () => {
  const key = Buffer.from(world.local.richKeys[0]?.slice(2) ?? "", "hex");
  await using pool = await world.openPool({});
  await pool.owe(world.newWorker(), 7_000n);
  await pool.engine.plan({ dryRun: false });
  await pool.engine.step();
  const failure: unknown = await pool.signer
    .sign({
      chainId: 1,
      nonce: -1,
      to: pool.signer.address,
      valueWei: -1n,
      data: "0x",
      gasLimit: 1n,
      maxFeeWei: 1n,
      maxTipWei: 2n,
    })
    .then(
      () => expect.unreachable(),
      (error: unknown) => error,
    );
  const all = { depth: Infinity, showHidden: true, getters: true, maxArrayLength: Infinity, maxStringLength: Infinity };
  const json = (value: unknown): string =>
    JSON.stringify(value, (_name, one: unknown) => (typeof one === "bigint" ? `${one}` : one)) ?? "";
  const looks = [pool.signer, pool.engine, failure].flatMap((one) => [
    inspect(one, all),
    `${String(one)} ${one instanceof Error ? one.stack : ""}`,
  ]);
  looks.push(json(pool.signer), json(failure), json(Object.getOwnPropertyDescriptors(pool.signer)));
  expect(looks.join("")).toContain(pool.signer.address);
  for (const secret of [
    key.toString("hex"),
    key.toString("base64").slice(0, 40),
    String(BigInt(`0x${key.toString("hex")}`)),
    [...key.subarray(0, 8)].join(", "),
  ]) {
    expect(looks.some((one) => one.toLowerCase().includes(secret.toLowerCase()))).toBe(false);
  }
  await pool.finish();
});
