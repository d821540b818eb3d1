import { type Clock, errorText, type Logger } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { PriceOf } from "./gather.ts";
import type { PlanRules } from "./planner.ts";
import type { Calls, Chain, PayoutStore, Signer, UnsignedTransaction } from "./ports.ts";
import type { FiatPrice, Halt, Hex, PayoutIntent, PayoutLine, PayoutRun, PayToRequest } from "./types.ts";

/** The part of the rules that the terms promise. */
type PromisedRules = "minimumWei" | "minimumOf" | "gasBorneBy";

export interface PayoutTerms extends Pick<PlanRules, PromisedRules> {
  /** Five fields of cron; undefined: a payout is planned only when asked. */
  readonly schedule: string | undefined;
  readonly timeZone: string;
}

export interface PayoutSettings {
  readonly rules: Omit<PlanRules, PromisedRules>;
  /** What workers know this pool by. */
  readonly poolName: string;
  /** Payees of one batch at most. */
  readonly batchSize: number;
  /** A transaction that is not mined for so long is offered again with a higher fee. */
  readonly bumpAfterMs: number;
  /** At most so many times its first fee. */
  readonly maxBump: number;
  /** A change of where money goes counts after this. */
  readonly payToDelayMs: number;
  /** The multisig that pays, where `rules.method` is `safe`. */
  readonly safe: WorkerAddress | undefined;
}

export interface PayoutDeps {
  /** What is promised now: asked again for every plan. */
  readonly terms: () => PayoutTerms;
  /** Something was asked for that a step has to go on with. */
  readonly wake?: (() => void) | undefined;
  readonly store: PayoutStore;
  readonly chain: Chain;
  /** Undefined: nothing is signed here (a multisig pays). */
  readonly signer: Signer | undefined;
  readonly calls: Calls;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly newId: () => string;
  /** What a token is worth, for this plan; or was worth, in a block. */
  readonly price?: PriceOf | undefined;
  /** What ETH is worth in money, or why nobody knows. For the record only: a failure stops nothing. */
  readonly fiat?: (() => Promise<FiatPrice | { readonly problem: string }>) | undefined;
  /** May stop a plan or add notes to it. */
  readonly review?:
    | ((plan: {
        readonly run: PayoutRun;
        readonly lines: readonly PayoutLine[];
      }) => Promise<{ readonly veto?: string | undefined; readonly notes: readonly string[] }>)
    | undefined;
  /** Checks the signature of a change; see `chain/`. */
  readonly signedBy?: ((request: PayToRequest) => Promise<boolean>) | undefined;
}

/** What the parts of the payouts share. */
export interface PayoutContext {
  readonly settings: PayoutSettings;
  readonly deps: PayoutDeps;
  readonly waits: Waits;
}

/** Why nothing moves although something should. Of several reasons the first is told. */
export class Waits {
  #first: string | undefined;

  get first(): string | undefined {
    return this.#first;
  }

  because(why: string | undefined): void {
    this.#first ??= why;
  }

  clear(): void {
    this.#first = undefined;
  }
}

/** The account that pays; undefined: there is none. */
export function payerOf({ settings, deps }: PayoutContext): WorkerAddress | undefined {
  return settings.rules.method === "safe" ? settings.safe : deps.signer?.address;
}

/** What the account's signer makes of a transaction; undefined: it would not, or could not. Why is said, and it is asked again. */
export async function signOrWait(
  signer: Signer,
  transaction: UnsignedTransaction,
  waits: Waits,
): Promise<{ readonly raw: Hex; readonly hash: Hex } | undefined> {
  try {
    return await signer.sign(transaction);
  } catch (error) {
    waits.because(`${signer.address} did not sign: ${errorText(error)}`);
    return undefined;
  }
}

/** Nothing is paid from here on until a person has looked. */
export async function haltPayouts({ store, logger }: PayoutDeps, halt: Halt): Promise<void> {
  await store.halt(halt);
  logger.error(`payouts are halted: ${halt.message}`, { code: halt.code });
}

/** The chain has not decided about it yet. */
export function isLive({ state }: PayoutIntent): boolean {
  return state === "signed" || state === "sent" || state === "confirmed";
}

/** So many intents are on their way at once: few nodes keep long queues for one account. */
export const WINDOW = 16;
