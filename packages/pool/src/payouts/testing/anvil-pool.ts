import { type Clock, silentLogger, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { calls, deployBatchPayer, openChain, parseKey, signerOfKey } from "../../chain/index.ts";
import { type LocalChain, startLocalChain } from "../../chain/local-chain.ts";
import { PgLedgerStore } from "../../store/ledger-store.ts";
import { PgPayoutStore } from "../../store/payout-store.ts";
import { openDebts } from "../../store/testing/debts.ts";
import { newJob } from "../../store/testing/sample-credit.ts";
import { openTestDatabase } from "../../store/testing/test-store.ts";
import type { PayoutDeps, PayoutSettings, PayoutTerms } from "../context.ts";
import { PayoutEngine } from "../engine.ts";
import type { Hex } from "../types.ts";

export const POOL_NAME = "https://pool.example.com:8935";
/** A block is final once it has so many, itself included. */
export const FINALITY = 3;

export interface AnvilPoolSetup {
  readonly rules?: Partial<PayoutSettings["rules"]>;
  readonly settings?: Partial<PayoutSettings>;
  readonly terms?: Partial<PayoutTerms>;
  readonly deps?: Partial<PayoutDeps>;
  readonly chainId?: number;
  readonly finality?: number;
  readonly clock?: Clock;
  readonly key?: Hex;
}

/** A chain with the batch contract, for tests that pay on it. */
export class AnvilWorld implements AsyncDisposable {
  readonly local: LocalChain;
  readonly contract: WorkerAddress;
  #made = 0;

  private constructor(local: LocalChain, contract: WorkerAddress) {
    this.local = local;
    this.contract = contract;
  }

  static async start(): Promise<AnvilWorld> {
    const local = await startLocalChain();
    const deployer = signerOfKey(parseKey(local.richKeys[1] ?? ""));
    return new AnvilWorld(local, (await deployBatchPayer(local.url, deployer, { pollMs: 20 })).address);
  }

  /** Nobody else is paid at it: every test looks at balances. */
  newWorker(): WorkerAddress {
    this.#made += 1;
    return parseAddress(`0x${this.#made.toString(16).padStart(40, "7")}`) as WorkerAddress;
  }

  async mine(blocks = 1): Promise<void> {
    await this.local.request("anvil_mine", [`0x${blocks.toString(16)}`]);
  }

  /** The payouts of a pool with books of its own. */
  async openPool({
    rules = {},
    settings: more = {},
    terms,
    deps,
    chainId,
    finality = FINALITY,
    ...setup
  }: AnvilPoolSetup) {
    const { local, contract } = this;
    const { clock = systemClock, key } = setup;
    const database = await openTestDatabase();
    const debts = await openDebts(database.connection);
    const ledger = new PgLedgerStore(database.connection, { clock });
    const settings: PayoutSettings = {
      rules: {
        method: "batch",
        asset: "eth",
        choices: [],
        dailyCapWei: undefined,
        approvalAboveWei: undefined,
        maxGasPriceWei: undefined,
        maxGasSharePpm: undefined,
        batchContract: contract,
        ...rules,
      },
      poolName: POOL_NAME,
      batchSize: 100,
      bumpAfterMs: 60_000,
      maxBump: 10,
      payToDelayMs: 0,
      safe: undefined,
      ...more,
    };
    const { chain, nodes } = openChain({
      rpcUrls: [local.url],
      chainId: chainId ?? local.chainId,
      quorum: undefined,
      finality,
      maxGasPriceWei: undefined,
    });
    const signer = signerOfKey(parseKey(key ?? local.richKeys[0] ?? ""));
    const openEngine = ({ deps: others, rules: changed }: Pick<AnvilPoolSetup, "deps" | "rules"> = {}) => {
      const store = new PgPayoutStore(database.connection, { clock, newId: newJob });
      const engine = new PayoutEngine(
        { ...settings, rules: { ...settings.rules, ...changed } },
        {
          terms: () => ({ minimumWei: 1n, gasBorneBy: "pool", schedule: undefined, timeZone: "UTC", ...terms }),
          store,
          chain,
          signer,
          calls,
          clock,
          logger: silentLogger,
          newId: newJob,
          ...deps,
          ...others,
        },
      );
      return { store, engine };
    };
    const { store, engine } = openEngine();
    const mine = (): Promise<void> => this.mine();
    return {
      database,
      engine,
      openEngine,
      ledger,
      store,
      chain,
      nodes,
      signer,
      /** What the event log has, from the oldest on. */
      events: () =>
        database.query<{ type: string; worker: WorkerAddress | null; data: Record<string, unknown> }>(
          "select type, worker, data from openpool.events order by position",
        ),
      owe: debts.owe,
      /** Steps and mines until nothing is under way, as a healthy world does. */
      async finish(steps: PayoutEngine = engine) {
        for (let i = 0; i < 60; i++) {
          await steps.step();
          if ((await steps.runs({ limit: 1 }))[0]?.state === "done") return;
          await mine();
        }
        throw new Error(`it does not end: ${(await steps.status()).waitingFor}`);
      },
      async [Symbol.asyncDispose]() {
        await store[Symbol.asyncDispose]();
        await ledger[Symbol.asyncDispose]();
        await debts[Symbol.asyncDispose]();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.local[Symbol.asyncDispose]();
  }
}
