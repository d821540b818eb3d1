import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorText, PoolError } from "@openpool/base";
import { deployPayoutContract, type LocalChain, newPayoutKey, startLocalChain } from "@openpool/pool";
import { type AdminClient } from "../admin-client.ts";
import { payoutPlanSchema, payoutRunSchema, payoutsSchema } from "../commands/payouts.ts";

/** What the demo shows of its payouts. */
export interface DemoPayoutState {
  readonly chainUrl: string;
  readonly payer: string;
  readonly payerWei: bigint;
  readonly waitingFor: string | undefined;
  readonly last:
    | {
        readonly id: string;
        readonly state: string;
        readonly totalWei: bigint;
        readonly intents: readonly { readonly nonce: number; readonly hash: string; readonly state: string }[];
        readonly workers: readonly { readonly worker: string; readonly beforeWei: bigint; readonly afterWei: bigint }[];
      }
    | undefined;
}

/** What one payout of everything came to, as the chain says. */
export interface PaidAll {
  readonly paidWei: bigint;
  readonly workers: number;
  readonly hash: string;
}

/** On the demo's chain this is a lot of play money. */
const FUNDS_WEI = 100_000n * 10n ** 18n;
const PATIENCE_MS = 30_000;

/** The chain of play money that the demo's pool pays on, and what happens there. */
export class DemoPayouts implements AsyncDisposable {
  readonly #chain: LocalChain;
  readonly #payer: string;
  readonly #args: readonly string[];
  #state: DemoPayoutState;

  private constructor(chain: LocalChain, payer: string, args: readonly string[]) {
    this.#chain = chain;
    this.#payer = payer;
    this.#args = args;
    this.#state = { chainUrl: chain.url, payer, payerWei: FUNDS_WEI, waitingFor: undefined, last: undefined };
  }

  /**
   * Starts the chain, puts the batch contract on it and makes a funded account for the pool. `undefined` with a reason
   * where this machine has no chain to run: the demo then goes on without paying.
   */
  static async start(
    dataDir: string,
    { live }: { readonly live: boolean },
  ): Promise<DemoPayouts | { readonly none: string }> {
    let chain: LocalChain;
    try {
      chain = await startLocalChain();
    } catch (error) {
      return { none: errorText(error) };
    }
    try {
      const passwordFile = join(dataDir, "payout-password");
      const keystoreFile = join(dataDir, "payout-key.json");
      const password = crypto.randomUUID();
      const { address, keystore } = await newPayoutKey(password, { n: 2 ** 14 });
      await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
      await writeFile(keystoreFile, keystore, { mode: 0o600 });
      await chain.request("anvil_setBalance", [address, `0x${FUNDS_WEI.toString(16)}`]);
      const [plain = ""] = chain.richKeys;
      await deployPayoutContract(chain.url, { plain });
      const args = ["--rpc-url", chain.url, "--chain-id", String(chain.chainId), "--payout-finality", "1"];
      args.push("--payout-keystore", keystoreFile, "--payout-password-file", passwordFile);
      args.push("--payout-method", "batch", "--hold-time", "0s", "--minimum-payout", "0");
      // One that ends pays once, at its end; a leap day is far enough away.
      args.push("--payout-schedule", live ? "* * * * *" : "0 0 29 2 *");
      return new DemoPayouts(chain, address, args);
    } catch (error) {
      await chain[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What the pool has to be told. */
  get poolArgs(): readonly string[] {
    return this.#args;
  }

  get state(): DemoPayoutState {
    return this.#state;
  }

  /** Pays now what is owed; what comes of it shows in the state. */
  async payNow(pool: AdminClient): Promise<string> {
    const { run, refused } = payoutPlanSchema.parse(await pool.change("POST", "/payouts/plan", { dryRun: false }));
    return run ? `paying ${run.lines} workers` : `nothing is paid: ${refused ?? "no reason given"}`;
  }

  /** Pays everything that was credited and waits until that is final. */
  async payAll(pool: AdminClient, creditedWei: bigint): Promise<PaidAll> {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    const dry = async (): Promise<bigint> =>
      payoutPlanSchema.parse(await pool.change("POST", "/payouts/plan", { dryRun: true })).run?.totalWei ?? 0n;
    // The books follow the log within moments.
    while ((await dry()) < creditedWei && !patience.aborted) await sleep(50);
    const planned = payoutPlanSchema.parse(await pool.change("POST", "/payouts/plan", { dryRun: false }));
    if (!planned.run) throw unpaid(planned.refused ?? "no reason given");
    const before = await this.#balances(planned.lines.map((line) => line.payTo));
    for (;;) {
      const { run, lines, intents } = payoutRunSchema.parse(await pool.get(`/payouts/${planned.run.id}`));
      if (run.state === "done") {
        const after = await this.#balances(lines.map((line) => line.payTo));
        const paidWei = [...after].reduce((sum, [address, wei]) => sum + wei - (before.get(address) ?? 0n), 0n);
        return { paidWei, workers: lines.length, hash: intents.at(-1)?.transactions.at(-1)?.hash ?? "" };
      }
      if (patience.aborted) {
        const { status } = payoutsSchema.parse(await pool.get("/payouts?limit=1"));
        throw unpaid(status.halted?.message ?? status.waitingFor ?? `run ${run.id} is ${run.state}`);
      }
      await sleep(50);
    }
  }

  /** Reads how things stand. */
  async refresh(pool: AdminClient, workers: readonly string[]): Promise<void> {
    const { status, runs } = payoutsSchema.parse(await pool.get("/payouts?limit=1"));
    const balances = await this.#balances(workers);
    const payerWei = (await this.#balances([this.#payer])).get(this.#payer) ?? 0n;
    const [latest] = runs;
    const detail = latest && payoutRunSchema.parse(await pool.get(`/payouts/${latest.id}`));
    this.#state = {
      ...this.#state,
      payerWei,
      waitingFor: status.halted?.message ?? status.waitingFor,
      last: detail && {
        id: detail.run.id,
        state: detail.run.state,
        totalWei: detail.run.totalWei,
        intents: detail.intents.map(({ nonce, state, transactions }) => ({
          nonce,
          state,
          hash: transactions.at(-1)?.hash ?? "",
        })),
        workers: detail.lines.map(({ worker, amountWei, state }) => {
          const afterWei = balances.get(worker) ?? 0n;
          return { worker, afterWei, beforeWei: state === "final" ? afterWei - amountWei : afterWei };
        }),
      },
    };
  }

  async #balances(addresses: readonly string[]): Promise<Map<string, bigint>> {
    const found = new Map<string, bigint>();
    for (const address of addresses) {
      found.set(address, BigInt(String(await this.#chain.request("eth_getBalance", [address, "latest"]))));
    }
    return found;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#chain[Symbol.asyncDispose]());
  }
}

function unpaid(why: string): PoolError {
  return new PoolError({ code: "demo/not-paid" }, `the demo's workers were not paid: ${why}`);
}
