import { formatEth } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import {
  haltPayouts,
  type PayoutContext,
  type PayoutDeps,
  type PayoutSettings,
  signOrWait,
  type Waits,
} from "./context.ts";
import { type Draft, type Drafted, draftTransactions } from "./drafts.ts";
import { gasIsDear, gasTakesTooMuch, whyNotAsPlanned } from "./planner.ts";
import type { AccountNonces, GasPrices, Signer } from "./ports.ts";
import type { PayoutIntent, PayoutLine, RunDetail } from "./types.ts";

/** The nonce behind all that the books know of an account. */
export function nextKnown({ last, floor }: AccountNonces): number {
  return Math.max(last === undefined ? 0 : last + 1, floor ?? 0);
}

/** What waits for longer is given back: a run that does not end keeps everybody from the next. */
const PATIENCE_MS = 60 * 60 * 1000;

/** Turns approved runs into signed transactions with pinned nonces. */
export class RunSigner {
  readonly #settings: PayoutSettings;
  readonly #deps: PayoutDeps;
  readonly #waits: Waits;
  /** Since when lines wait that nothing can be signed for, by the monotonic clock. */
  #waitingSince: ReadonlyMap<string, number> = new Map();

  constructor({ settings, deps, waits }: PayoutContext) {
    this.#settings = settings;
    this.#deps = deps;
    this.#waits = waits;
  }

  /** Signs what of a run is left, as far as the account has money for it, and writes it down: nothing is sent before that. */
  async sign(detail: RunDetail): Promise<readonly PayoutIntent[]> {
    const { run, lines } = detail;
    const { store, chain, signer } = this.#deps;
    const open = lines.filter((line) => line.state === "planned" && line.method !== "safe");
    if (open.length === 0) return [];
    const prices = await this.#mayBegin(detail);
    if (!prices || !signer || (await this.watchForgotten())) return [];
    const account = (await store.accounts(chain.chainId)).get(signer.address) ?? {};
    const nonce = await this.#nextNonce(signer.address, account);
    if (nonce === undefined) return [];
    const { guard = nonce } = account;
    const wanted =
      nonce < guard
        ? { drafts: await this.#spend(signer, guard - nonce), waits: [] }
        : await this.#draft(detail, open, prices);
    const { drafts, waits } = await this.#affordable(signer, wanted.drafts, prices);
    await this.#giveBack(run.id, [...wanted.waits, ...waits]);
    if (drafts.length === 0) return [];
    const intents: PayoutIntent[] = [];
    for (const [place, draft] of drafts.entries()) {
      const intent = await this.#intent(run.id, signer, draft, nonce + place, prices);
      if (!intent) return [];
      intents.push(intent);
    }
    return (await store.commitIntents(run.id, intents)) ? intents : [];
  }

  /** What gas costs, unless a run has to wait. */
  async #mayBegin({ run }: RunDetail): Promise<GasPrices | undefined> {
    const { chain, signer } = this.#deps;
    if (!signer) {
      this.#waits.because("there is no key to sign with: name a keystore with --payout-keystore");
      return undefined;
    }
    if (signer.address !== run.payer || chain.chainId !== run.chainId) {
      this.#waits.because(
        `run ${run.id} was planned for ${run.payer} on chain ${run.chainId}: cancel it or go back to that key and chain`,
      );
      return undefined;
    }
    const prices = await chain.gasPrices();
    const limit = this.#settings.rules.maxGasPriceWei;
    if (limit === undefined || prices.nowWei <= limit) return prices;
    this.#waits.because(gasIsDear(prices.nowWei, limit));
    return undefined;
  }

  /** The first of them that the account has money for: what there is too little for keeps nothing else waiting. */
  async #affordable(
    signer: Signer,
    drafts: readonly Draft[],
    prices: GasPrices,
  ): Promise<Pick<Drafted, "drafts" | "waits">> {
    if (drafts.length === 0) return { drafts, waits: [] };
    const needOf = (one: Draft): bigint => one.valueWei + one.gasLimit * prices.maxFeeWei;
    const haveWei = await this.#deps.chain.balance(signer.address);
    let leftWei = haveWei;
    const affordable = drafts.filter((one) => {
      const fits = needOf(one) <= leftWei;
      if (fits) leftWei -= needOf(one);
      return fits;
    });
    const short = drafts.filter((one) => !affordable.includes(one));
    if (short.length === 0) return { drafts, waits: [] };
    const needWei = drafts.reduce((sum, one) => sum + needOf(one), 0n);
    const reason = `${signer.address} holds ${formatEth(haveWei)} ETH, the payout and its gas need ${formatEth(needWei)} ETH`;
    this.#waits.because(reason);
    const waits = short.flatMap((one) => one.lines.map((line) => ({ line, reason, hold: false })));
    return { drafts: affordable, waits };
  }

  /** Says what lines wait for, and gives back those that have for too long. */
  async #giveBack(run: string, waits: Drafted["waits"]): Promise<void> {
    const { store, clock } = this.#deps;
    const nowMs = clock.monotonicMs();
    const sinceMs = ({ line }: (typeof waits)[number]): number => this.#waitingSince.get(line) ?? nowMs;
    const late = waits.filter((one) => nowMs - sinceMs(one) >= PATIENCE_MS);
    this.#waitingSince = new Map(waits.map((one) => [one.line, sinceMs(one)]));
    this.#waits.because(waits[0]?.reason);
    if (late.length > 0) await store.dropLines(run, late, clock.now());
  }

  async #intent(
    run: string,
    signer: Signer,
    draft: Draft,
    nonce: number,
    prices: GasPrices,
  ): Promise<PayoutIntent | undefined> {
    const { chain, clock } = this.#deps;
    const { maxFeeWei, maxTipWei } = prices;
    const { id, kind, to, valueWei, data, gasLimit, lines } = draft;
    const call = { chainId: chain.chainId, nonce, to, valueWei, data, gasLimit };
    const signed = await signOrWait(signer, { ...call, maxFeeWei, maxTipWei }, this.#waits);
    if (!signed) return undefined;
    return {
      ...call,
      id,
      run,
      kind,
      payer: signer.address,
      lines,
      state: "signed",
      transactions: [{ ...signed, maxFeeWei, maxTipWei, signedAtMs: clock.now() }],
      minedHash: undefined,
      minedBlock: undefined,
      gasWei: undefined,
    };
  }

  async #draft(
    detail: RunDetail,
    lines: readonly PayoutLine[],
    prices: GasPrices,
  ): Promise<Pick<Drafted, "drafts" | "waits">> {
    const { store, clock } = this.#deps;
    const { batchSize, rules } = this.#settings;
    const { batchContract } = rules;
    const { id: run } = detail.run;
    const records = new Map((await store.payees()).map((one) => [one.worker, one]));
    // What changed since the plan was made is planned anew.
    const dropped = lines.flatMap((line) => {
      const reason = whyNotAsPlanned(line, records, rules);
      return reason === undefined ? [] : [{ line: line.id, reason, hold: false }];
    });
    if (dropped.length > 0) await store.dropLines(run, dropped, clock.now());
    const going = lines.filter(({ id }) => !dropped.some((one) => one.line === id));
    const tooDear = (line: PayoutLine, gas: bigint): string | undefined =>
      gasTakesTooMuch(gas * prices.nowWei, line.amountWei, rules, records.get(line.worker));
    const draftRules = { batchSize, batchContract, tooDear, maxFeeWei: prices.maxFeeWei };
    const { drafts, refused, waits } = await draftTransactions(detail, going, draftRules, this.#deps);
    if (refused.length > 0) await store.dropLines(run, refused, clock.now());
    return { drafts, waits };
  }

  /** Transactions that do nothing but use up nonces, so that nothing that was handed out with them can happen any more. */
  async #spend(signer: Signer, count: number): Promise<readonly Draft[]> {
    const { chain, newId } = this.#deps;
    const nothing = { to: signer.address, valueWei: 0n, data: "0x" } as const;
    const estimate = await chain.estimateGas({ from: signer.address, ...nothing });
    if ("refused" in estimate) {
      this.#waits.because(`nonces from before the books were set back cannot be used up: ${estimate.refused}`);
      return [];
    }
    const gasLimit = (estimate.gas * 13n) / 10n;
    return Array.from({ length: count }, () => ({ id: newId(), kind: "transfer", ...nothing, gasLimit, lines: [] }));
  }

  /** The nonce to pin next; undefined: not now, and why is said. */
  async #nextNonce(payer: WorkerAddress, account: AccountNonces): Promise<number | undefined> {
    const { chain } = this.#deps;
    const onChain = await chain.nextNonce(payer);
    // The first payout of an account takes it as it is.
    const adopted = account.last === undefined && account.floor === undefined;
    const ours = adopted ? onChain : nextKnown(account);
    if (adopted && (await chain.settledNonce(payer)) !== onChain) {
      // Should they vanish, a payment behind them would wait for ever; and one with a nonce that is used up never comes.
      this.#waits.because(`the transactions of ${payer} before this payout are not final yet`);
      return undefined;
    }
    if (onChain > ours) {
      await this.#haltAhead(payer, onChain, ours);
      return undefined;
    }
    if (onChain < ours) {
      this.#waits.because(
        `the RPC nodes know of ${onChain} transactions of ${payer}, the books of ${ours}: they are behind, or show another chain`,
      );
      return undefined;
    }
    return ours;
  }

  /**
   * Books that were set back may have forgotten payments that are still to be mined, of any account that they know: that
   * halts as soon as it is seen, which is answered.
   */
  async watchForgotten(): Promise<boolean> {
    const { store, chain } = this.#deps;
    for (const [payer, account] of await store.accounts(chain.chainId)) {
      const known = nextKnown(account);
      if (account.guard === undefined || known >= account.guard) continue;
      const onChain = await chain.nextNonce(payer);
      if (onChain <= known) continue;
      await this.#haltAhead(payer, onChain, known);
      return true;
    }
    return false;
  }

  async #haltAhead(payer: WorkerAddress, onChain: number, known: number): Promise<void> {
    await haltPayouts(this.#deps, {
      code: "payout/nonce-ahead",
      message: `${payer} has made ${onChain} transactions, and the books know of ${known}: something else signs with the pool's key, or the books were set back to a backup. \`openpool payouts resume\` reads what they were, books what they paid to workers, and tells what it cannot explain.`,
      atMs: this.#deps.clock.now(),
      intent: undefined,
      nonce: onChain,
    });
  }
}
