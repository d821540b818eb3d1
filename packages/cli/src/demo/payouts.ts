import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errorText, PoolError } from "@openpool/base";
import { deployPayoutContract, type LocalChain, newPayoutKey, startLocalChain } from "@openpool/pool";
import type { z } from "zod";
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

/** What the payouts came to in all. */
export interface PaidAll {
  /** As the chain says. */
  readonly paidWei: bigint;
  /** As the pool says. */
  readonly creditedWei: bigint;
  readonly workers: number;
  /** Of the transaction that paid the last of them. */
  readonly hash: string;
}
type PayoutRun = z.infer<typeof payoutRunSchema>;

/** On the demo's chain this is a lot of play money. */
const FUNDS_WEI = 100_000n * 10n ** 18n;

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
      // After Ctrl-C the last payouts still need it.
      chain = await startLocalChain({ detached: true });
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

  /**
   * Pays everything that was credited, and waits until the chain says that all of it has arrived.
   *
   * @throws PoolError `demo/not-paid` with what it waited for, when `patience` is over first.
   */
  async payAll(
    pool: AdminClient,
    {
      workers,
      creditedWei,
      patience,
    }: {
      readonly workers: readonly string[];
      readonly creditedWei: () => Promise<bigint>;
      readonly patience: AbortSignal;
    },
  ): Promise<PaidAll> {
    for (;;) {
      const [creditedNowWei, received] = await Promise.all([creditedWei(), this.#received(workers)]);
      const paidWei = received.reduce((sum, wei) => sum + wei, 0n);
      const { status, runs } = payoutsSchema.parse(await pool.get("/payouts?limit=1"));
      const [latest] = runs;
      const over = latest === undefined || latest.state === "done" || latest.state === "cancelled";
      if (over && paidWei >= creditedNowWei) {
        const paidWorkers = received.filter((wei) => wei > 0n).length;
        return {
          paidWei,
          creditedWei: creditedNowWei,
          workers: paidWorkers,
          hash: await this.#lastHash(pool, latest?.id),
        };
      }
      let why = status.halted?.message ?? status.waitingFor ?? `the last payout is ${latest?.state ?? "not planned"}`;
      if (over) {
        const dry = payoutPlanSchema.parse(await pool.change("POST", "/payouts/plan", { dryRun: true }));
        // The books follow the log within moments: then one payout is enough.
        if ((dry.run?.totalWei ?? 0n) + paidWei >= creditedNowWei) await this.payNow(pool);
        else why = dry.refused ?? "the books are behind the log";
      }
      if (patience.aborted) throw unpaid(why);
      await sleep(50);
    }
  }

  /** What each has got since the chain's first block. */
  async #received(addresses: readonly string[]): Promise<readonly bigint[]> {
    const [before, now] = await Promise.all([this.#balances(addresses, 0), this.#balances(addresses)]);
    return addresses.map((address) => (now.get(address) ?? 0n) - (before.get(address) ?? 0n));
  }

  async #lastHash(pool: AdminClient, run: string | undefined): Promise<string> {
    if (run === undefined) return "";
    const { lines } = payoutRunSchema.parse(await pool.get(`/payouts/${run}`));
    return lines.findLast(({ txHash }) => txHash !== undefined)?.txHash ?? "";
  }

  /** Reads how things stand. */
  async refresh(pool: AdminClient): Promise<void> {
    const { status, runs } = payoutsSchema.parse(await pool.get("/payouts?limit=1"));
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
        workers: await Promise.all(detail.lines.map((line) => this.#change(line, detail.intents))),
      },
    };
  }

  /** What a worker had in the block before its payment, and in that of it; before it is mined, what it has now. */
  async #change(
    { id, worker, payTo }: PayoutRun["lines"][number],
    intents: PayoutRun["intents"],
  ): Promise<{ readonly worker: string; readonly beforeWei: bigint; readonly afterWei: bigint }> {
    const block = intents.find((intent) => intent.lines.includes(id))?.minedBlock;
    const wei = async (at?: number): Promise<bigint> => (await this.#balances([payTo], at)).get(payTo) ?? 0n;
    const [beforeWei, afterWei] = await Promise.all([wei(block === undefined ? undefined : block - 1), wei(block)]);
    return { worker, beforeWei, afterWei };
  }

  /** As the chain says, in a block or now. */
  async #balances(addresses: readonly string[], block?: number): Promise<Map<string, bigint>> {
    const at = block === undefined ? "latest" : `0x${block.toString(16)}`;
    const found = new Map<string, bigint>();
    for (const address of addresses) {
      found.set(address, BigInt(String(await this.#chain.request("eth_getBalance", [address, at]))));
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
