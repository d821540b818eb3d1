/** A pool's payer as a process of its own, that kills itself at the n-th question to database, chain or key. */
import { silentLogger, systemClock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { calls, openChain, parseKey, signerOfKey } from "../../chain/index.ts";
import { createUuidV7, type PgConnection, PgPayoutStore } from "../../store/index.ts";
import { PayoutEngine } from "../engine.ts";

const { connection, url, chainId, contract, finality, dieAt } = JSON.parse(process.argv[2] ?? "{}") as {
  readonly connection: PgConnection;
  readonly url: string;
  readonly chainId: number;
  readonly contract: WorkerAddress;
  readonly finality: number;
  readonly dieAt: number;
};

let asked = 0;
/** Half of the deaths are after what was asked for has happened, when its answer is lost. */
function deadly<T extends object>(target: T): T {
  return new Proxy(target, {
    get(of, name) {
      const value: unknown = Reflect.get(of, name);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]): Promise<unknown> => {
        asked += 1;
        if (asked === dieAt && dieAt % 2 === 0) process.kill(process.pid, "SIGKILL");
        const result: unknown = await Reflect.apply(value, of, args);
        if (asked >= dieAt) process.kill(process.pid, "SIGKILL");
        return result;
      };
    },
  });
}

const newId = createUuidV7(() => Date.now());
const store = new PgPayoutStore(connection, { clock: systemClock, newId });
const { chain } = openChain({ rpcUrls: [url], chainId, quorum: 1, finality, maxGasPriceWei: undefined });
const engine = new PayoutEngine(
  {
    rules: {
      method: "batch",
      asset: "eth",
      choices: [],
      dailyCapWei: undefined,
      approvalAboveWei: undefined,
      maxGasPriceWei: undefined,
      maxGasSharePpm: undefined,
      batchContract: contract,
    },
    poolName: "a pool",
    batchSize: 1,
    bumpAfterMs: 1_000,
    maxBump: 10,
    payToDelayMs: 0,
    safe: undefined,
  },
  {
    terms: () => ({ minimumWei: 1n, gasBorneBy: "pool", schedule: undefined, timeZone: "UTC" }),
    store: deadly(store),
    chain: deadly(chain),
    signer: deadly(signerOfKey(parseKey(process.env["KEY"] ?? ""))),
    calls,
    clock: systemClock,
    logger: silentLogger,
    newId,
  },
);
for (;;) {
  // The one before may hold the lock until the database has noticed its death.
  await engine.plan({ dryRun: false }).catch(() => {});
  await engine.step().catch(() => {});
}
