import { PoolError, silentLogger, systemClock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { calls, openChain, parseKey, signerOfKey } from "../../chain/index.ts";
import { createUuidV7, type PgConnection, PgPayoutStore } from "../../store/index.ts";
import { PayoutEngine } from "../engine.ts";
import type { PlanRules } from "../planner.ts";
import { batchIdOf } from "../settlement.ts";
import type { Asset, Hex } from "../types.ts";

/** What a payer is to do, as JSON: it may be a process of its own. */
export interface PayerTask {
  readonly connection: PgConnection;
  readonly url: string;
  readonly chainId: number;
  readonly finality: number;
  readonly contract: WorkerAddress;
  readonly method: PlanRules["method"];
  readonly asset: Asset;
  readonly batchSize: number;
  /** The account that stands for a multisig, and that the chain signs for. */
  readonly safe?: WorkerAddress;
  readonly key: Hex;
  /** Dies of `kill -9` at this question to database, chain or key: before it is asked, or when it was and nobody has the answer. */
  readonly dies?: { readonly at: number; readonly when: "before" | "after" };
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** So often a payer goes on at most; a payout needs a dozen. */
const MAX_ROUNDS = 300;

/** Pays what is owed with one payout, from its plan to its last wei, beside others that try the same. Answers how much it asked. */
export async function payToTheEnd(task: PayerTask): Promise<number> {
  let asked = 0;
  const die = (): void => void process.kill(process.pid, "SIGKILL");
  const deadly = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(of, name) {
        const value: unknown = Reflect.get(of, name);
        if (typeof value !== "function") return value;
        return async (...args: unknown[]): Promise<unknown> => {
          asked += 1;
          const isLast = asked === task.dies?.at;
          if (isLast && task.dies.when === "before") die();
          const result: unknown = await Reflect.apply(value, of, args);
          if (isLast) die();
          return result;
        };
      },
    });
  const { url, chainId, finality, contract, method, asset, batchSize, safe } = task;
  const newId = createUuidV7(() => Date.now());
  await using store = new PgPayoutStore(task.connection, { clock: systemClock, newId });
  const { chain } = openChain({ rpcUrls: [url], chainId, quorum: 1, finality, maxGasPriceWei: undefined });
  const engine = new PayoutEngine(
    {
      rules: {
        method,
        asset,
        choices: [],
        dailyCapWei: undefined,
        approvalAboveWei: undefined,
        maxGasPriceWei: undefined,
        maxGasSharePpm: undefined,
        batchContract: contract,
      },
      poolName: "a pool",
      batchSize,
      bumpAfterMs: 600_000,
      maxBump: 10,
      payToDelayMs: 0,
      safe,
    },
    {
      terms: () => ({ minimumWei: 1n, gasBorneBy: "pool", schedule: undefined, timeZone: "UTC" }),
      store: deadly(store),
      chain: deadly(chain),
      signer: safe === undefined ? deadly(signerOfKey(parseKey(task.key))) : undefined,
      calls,
      clock: systemClock,
      logger: silentLogger,
      newId,
      // A unit of the token for each wei.
      price: async (token) => ({ token, unitsPerEth: 10n ** 18n, source: "a test", atBlock: undefined }),
    },
  );
  let ids = 0;
  const request = async (name: string, params: readonly unknown[]): Promise<void> => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: ++ids, method: name, params });
    const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    const { error } = (await answer.json()) as { readonly error?: { readonly message: string } };
    if (error) throw new Error(`${name}: ${error.message}`);
  };
  const mine = (blocks: number): Promise<void> => request("anvil_mine", [`0x${blocks.toString(16)}`]);

  /** What the people of the multisig do: they hand the payout out, execute it once, and say so. */
  async function payByMultisig(run: string, from: WorkerAddress): Promise<void> {
    const text = await engine.exportRun(run, "safe");
    const { transactions } = JSON.parse(text) as {
      readonly transactions: readonly { readonly to: string; readonly value: string; readonly data: Hex }[];
    };
    if (!(await chain.isBatchDone(contract, from, batchIdOf(run, asset)))) {
      for (const { to, value, data } of transactions) {
        const call = { from, to, value: `0x${BigInt(value).toString(16)}`, data, gas: "0x4c4b40" };
        await request("eth_sendTransaction", [call]);
      }
    }
    await mine(finality);
    const done = (await chain.batchesSince(contract, Date.now() - DAY_MS)).find(
      ({ payer, batch }) => payer === from && batch === batchIdOf(run, asset),
    );
    if (done) await engine.reconcile(run, done.hash);
  }

  for (let round = 0; round < MAX_ROUNDS; round++) {
    try {
      // Waits here while another one leads; that is no question of the engine's.
      await store.openRuns();
      const [last] = await store.runs(1);
      if (last?.state === "done") return asked;
      if (last === undefined) await engine.plan({ dryRun: false });
      await engine.step();
      const [now] = await store.runs(1);
      if (safe !== undefined && (now?.state === "approved" || now?.state === "exported")) {
        await payByMultisig(now.id, safe);
      }
    } catch (error) {
      // As the pool's own runner: nothing was decided, again.
      if (!(error instanceof PoolError)) throw error;
      if (error.info.code === "payout/not-leader") {
        round -= 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
        continue;
      }
    }
    await mine(1);
  }
  throw new Error(`the payout does not end: ${(await engine.status()).waitingFor}`);
}
