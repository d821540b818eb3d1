import { type Clock, errorText, type Logger, PoolError } from "@openpool/base";
import { isAddressProblem, parseAddress, type WorkerAddress } from "@openpool/protocol";
import { type Draft, draftTransactions } from "./drafts.ts";
import { exportRun } from "./export.ts";
import { floatsOf, gather, type Gathered, type PriceOf } from "./gather.ts";
import { gasTakesTooMuch, makePlan, type PlanRules } from "./planner.ts";
import type { Calls, Chain, GasPrices, PayoutStore, Receipt, Settlement, Signer } from "./ports.ts";
import { findUnknownPayments, RECONCILED_HALTS, WINDOW } from "./reconcile.ts";
import { nextTime } from "./schedule.ts";
import { batchIdOf, groupByAsset, settlementOf, unpaidPlaces } from "./settlement.ts";
import type {
  ExportFormat,
  FiatPrice,
  FloatNow,
  Halt,
  Hex,
  NextPayout,
  PayoutIntent,
  PayoutLine,
  PayoutPort,
  PayoutRun,
  PayoutStatus,
  PayToChange,
  PayeeStanding,
  PayToRequest,
  PlannedPayout,
  ResumeHow,
  ResumeReport,
  RunDetail,
  SignedTransaction,
} from "./types.ts";

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
  /** What a token is worth, for this plan. */
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
  /** Tells the event log. A fact that gets lost here is still in the books. */
  readonly tell?: ((event: PayoutEvent) => Promise<void>) | undefined;
  /** Checks the signature of a change; see `chain/`. */
  readonly signedBy?: ((request: PayToRequest) => Promise<boolean>) | undefined;
}

export interface PayoutEvent {
  readonly type: string;
  readonly worker?: WorkerAddress;
  readonly data: Readonly<Record<string, unknown>>;
}

const DAY_MS = 24 * 60 * 60 * 1000;
/** How often the account's float and the price of the day are looked at. */
const LOOK_MS = 5 * 60 * 1000;
/** What was decided longer ago is in the books, and not worth an alert any more. */
const TOLD_WITHIN_MS = 3 * DAY_MS;
/** So many payouts back tell what one usually comes to. */
const USUAL_RUNS = 10;

/**
 * Pays, exactly once. Every step reads where things stand from the store and the chain, does one thing, and writes it
 * down; it can be cut off anywhere and begun again.
 *
 * Why nobody is paid twice: a line belongs to one intent at most. All transactions of an intent are written down before
 * they are sent and have one nonce, so that the chain takes one of them at most. And a line is owed again only when the
 * chain has finally decided about that nonce against it.
 */
export class PayoutEngine implements PayoutPort {
  readonly #settings: PayoutSettings;
  readonly #deps: PayoutDeps;
  /** One thing at a time: steps, and what people ask for. */
  #last: Promise<unknown> = Promise.resolve();
  #waitingFor: string | undefined;
  #busy = false;
  #floats: readonly FloatNow[] = [];
  /** When float and day's price were looked at last, by the clock that does not jump. */
  #lookedAtMs = -Infinity;
  #balanceWei: bigint | undefined;
  /** When each intent's latest version was handed out, by our own clock that does not jump, and the newest block then. */
  readonly #sentAt = new Map<string, { readonly ms: number; readonly block: number }>();
  readonly #takenOnce = new Set<string>();
  #toldOfBefore = false;

  constructor(settings: PayoutSettings, deps: PayoutDeps) {
    this.#settings = settings;
    this.#deps = deps;
  }

  get payer(): WorkerAddress | undefined {
    return this.#settings.rules.method === "safe" ? this.#settings.safe : this.#deps.signer?.address;
  }

  /** Something is under way, so that the chain should be looked at often. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Moves everything on as far as it goes now. Errors of the database or the nodes: nothing was decided, try again. */
  step(): Promise<void> {
    return this.#alone(async () => {
      try {
        await this.#step();
      } catch (error) {
        // It may have been written down all the same.
        this.#toldOfBefore = false;
        throw error;
      }
    });
  }

  async #step(): Promise<void> {
    const { store, clock } = this.#deps;
    this.#waitingFor = undefined;
    for (const change of await store.applyPayToChanges(clock.now())) {
      const { worker, payTo, thresholdWei, asset, maxGasPriceWei, maxGasSharePpm } = change;
      const data = { payTo, thresholdWei, asset, maxGasPriceWei, maxGasSharePpm };
      await this.#tell({ type: "payto.changed", worker, data });
    }
    await this.#tellOfBefore();
    const control = await store.control();
    const [halted] = control.halts;
    const stopped = control.paused !== undefined || halted !== undefined;
    const open = await store.openRuns();
    if (await this.#isOfAnotherChain(open, control.halts)) return;
    this.#busy = open.some(({ run }) => run.state === "approved" || run.state === "sending");
    for (const { run, lines, intents } of open) {
      const live = intents.filter((one) => isLive(one)).sort((a, b) => a.nonce - b.nonce);
      // What the chain has decided is written down also while nothing may be paid.
      for (const [place, intent] of live.slice(0, WINDOW).entries()) {
        if (await this.#follow(intent, lines, { stopped, first: place === 0 })) return;
      }
      if (stopped || live.length > 0) continue;
      if (run.state === "approved" || run.state === "sending") await this.#sign({ run, lines, intents });
    }
    await this.#lookAround(open.length > 0);
    if (stopped) {
      this.#waitingFor = halted?.message ?? `payouts are paused: ${control.paused}`;
      return;
    }
    if (open.length === 0) await this.#watchForgotten(control.nonceGuard);
    await this.#keepSchedule();
  }

  /** At the start, and after trouble: who was cut off between writing down what became of a payment and telling it told nobody. */
  async #tellOfBefore(): Promise<void> {
    if (this.#toldOfBefore) return;
    const lines = await this.#deps.store.untold(this.#deps.clock.now() - TOLD_WITHIN_MS);
    this.#toldOfBefore = true;
    await this.#tellDecided(lines);
  }

  /** What became of lines, to the event log. */
  async #tellDecided(lines: readonly PayoutLine[]): Promise<void> {
    for (const { id: line, run, worker, amountWei, sendAmount, asset, payTo, state, reason, txHash: hash } of lines) {
      const data = { line, run, amountWei, sendAmount, asset, payTo };
      await this.#tell(
        state === "final"
          ? { type: "payout.paid", worker, data: { ...data, hash } }
          : { type: "payout.returned", worker, data: { ...data, reason } },
      );
    }
  }

  /** What was sent on another chain can be decided there alone. True: nothing may be done here. */
  async #isOfAnotherChain(open: readonly RunDetail[], halts: readonly Halt[]): Promise<boolean> {
    const { chain, clock } = this.#deps;
    const other = open.flatMap((one) => one.intents).find((one) => isLive(one) && one.chainId !== chain.chainId);
    if (!other) return false;
    const known = halts.find((one) => one.code === "payout/other-chain");
    const message = `Run ${other.run} has transactions on chain ${other.chainId} that are not decided, and the pool now pays on chain ${chain.chainId}: here nobody can say whether they were made. Start the pool with --chain-id ${other.chainId} and nodes of that chain, let the run come to its end, then change the chain.`;
    if (!known) {
      await this.#halt({ code: "payout/other-chain", message, atMs: clock.now(), intent: other.id, nonce: undefined });
    }
    this.#waitingFor = message;
    return true;
  }

  /** Books that were set back may have forgotten payments that are still to be mined: that halts as soon as it is seen. */
  async #watchForgotten(nonceGuard: number | undefined): Promise<void> {
    const { store, chain, signer } = this.#deps;
    if (nonceGuard === undefined || !signer) return;
    const last = await store.lastNonce(chain.chainId, signer.address);
    if ((last ?? -1) + 1 < nonceGuard) await this.#nextNonce(signer.address);
  }

  /** From time to time: keeps the price of the day, and looks whether the account holds what it needs. */
  async #lookAround(isPaying: boolean): Promise<void> {
    const { store, clock, logger } = this.#deps;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return;
    this.#lookedAtMs = nowMs;
    const fiat = await this.#fiat();
    if (fiat) await store.keepFiat(new Date(clock.now()).toISOString().slice(0, 10), fiat);
    // What is being paid is owed to nobody and still in the account.
    if (isPaying || this.payer === undefined) return;
    try {
      await this.#weigh(await gather(this.#rules, this.payer, this.#deps), this.payer);
    } catch (error) {
      logger.debug("the paying account could not be looked at", { error: errorText(error) });
    }
  }

  /** For the record only. */
  async #fiat(): Promise<FiatPrice | undefined> {
    const price = await this.#deps.fiat?.().catch((error: unknown) => ({ problem: errorText(error) }));
    if (price === undefined || !("problem" in price)) return price;
    this.#deps.logger.warn("no price in money for the record", { problem: price.problem });
    return undefined;
  }

  /** Notes what the account holds against what is owed. */
  async #weigh(gathered: Gathered, payer: WorkerAddress): Promise<void> {
    const runs = await this.#deps.store.runs(USUAL_RUNS);
    const usualWei = runs.reduce(
      (most, { state, totalWei }) => (state !== "cancelled" && totalWei > most ? totalWei : most),
      0n,
    );
    this.#balanceWei = gathered.gasBalanceWei;
    this.#floats = floatsOf(gathered, this.#settings.rules, usualWei, payer);
  }

  get #rules(): PlanRules {
    return { ...this.#settings.rules, ...this.#deps.terms() };
  }

  /** Looks what the chain made of an intent and acts on it. True: payouts were halted. */
  async #follow(
    intent: PayoutIntent,
    lines: readonly PayoutLine[],
    { stopped, first }: { readonly stopped: boolean; readonly first: boolean },
  ): Promise<boolean> {
    const { store, chain, clock } = this.#deps;
    const hashes = intent.transactions.map((one) => one.hash).reverse();
    const fate = await chain.fate(intent.payer, intent.nonce, hashes);
    if (fate.kind !== "taken") this.#takenOnce.delete(intent.id);
    switch (fate.kind) {
      case "mined": {
        const { hash, blockNumber: block } = fate.receipt;
        if (fate.final) return this.#settle(intent, lines, fate.receipt);
        if (intent.state !== "confirmed" || intent.minedHash !== hash || intent.minedBlock !== block) {
          await store.setIntentState(intent.id, "confirmed", clock.now(), { hash, block });
        }
        this.#waitingFor ??= `transaction ${hash} is in block ${block}; waiting until that is final`;
        return false;
      }
      case "taken":
        return this.#taken(intent);
      case "open":
        if (intent.state === "confirmed") {
          await store.setIntentState(intent.id, "sent", clock.now());
          await this.#tell({ type: "payout.reorged", data: { intent: intent.id, hash: intent.minedHash } });
        }
        if (!stopped) await this.#offer(intent, first);
        return false;
      case "unsure":
        this.#waitingFor ??= fate.why;
        // It may be known to nobody. Sending the same bytes again can do no harm.
        if (!stopped && intent.state === "signed") await this.#send(intent, clock.monotonicMs());
        return false;
    }
  }

  async #taken(intent: PayoutIntent): Promise<boolean> {
    const { clock } = this.#deps;
    // Balanced nodes can contradict themselves for a moment: what is so serious must be seen twice.
    if (!this.#takenOnce.has(intent.id)) {
      this.#takenOnce.add(intent.id);
      this.#waitingFor ??= `nonce ${intent.nonce} seems to be used by another transaction; looking again`;
      return false;
    }
    await this.#halt({
      code: "payout/nonce-taken",
      message: `Another transaction took nonce ${intent.nonce} of ${intent.payer}: something else signs with the pool's key. Find out what; then \`openpool payouts resume\`, which books what it paid to workers and makes the payments behind that nonce again.`,
      atMs: clock.now(),
      intent: intent.id,
      nonce: undefined,
    });
    return true;
  }

  /** Hands the newest version of an intent out again, or a better paid one when it has waited for long. */
  async #offer(intent: PayoutIntent, first: boolean): Promise<void> {
    const { clock } = this.#deps;
    const nowMs = clock.monotonicMs();
    const since = this.#sentAt.get(intent.id);
    let current = intent;
    // Later ones wait for the first, not for a better price. Where no block is made, no price helps.
    const isDue = first && since !== undefined && nowMs - since.ms >= this.#settings.bumpAfterMs;
    if (isDue && (await this.#deps.chain.lastBlock()) > since.block) {
      const better = await this.#outbid(intent);
      if (better) current = { ...intent, transactions: [...intent.transactions, better] };
    }
    await this.#send(current, nowMs);
  }

  async #outbid(intent: PayoutIntent): Promise<SignedTransaction | undefined> {
    const { chain, store, signer, clock } = this.#deps;
    const [begun] = intent.transactions;
    const last = intent.transactions.at(-1);
    if (!begun || !last || !signer || signer.address !== intent.payer) return undefined;
    const prices = await chain.gasPrices();
    // Nodes want a tenth more on both; an eighth leaves no doubt.
    const more = (wei: bigint): bigint => (wei * 9n) / 8n + 1n;
    const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
    const ceilingWei = begun.maxFeeWei * BigInt(this.#settings.maxBump);
    if (more(last.maxFeeWei) > ceilingWei) {
      this.#waitingFor ??= `transaction ${last.hash} is not mined, and --payout-max-bump allows no more than ${this.#settings.maxBump} times the first fee of ${begun.maxFeeWei} wei`;
      return undefined;
    }
    const wantedWei = max(more(last.maxFeeWei), prices.maxFeeWei);
    const maxFeeWei = wantedWei > ceilingWei ? ceilingWei : wantedWei;
    const maxTipWei = max(more(last.maxTipWei), prices.maxTipWei);
    const limit = this.#settings.rules.maxGasPriceWei;
    if (limit !== undefined && maxFeeWei > limit * 2n) {
      this.#waitingFor ??= `transaction ${last.hash} is not mined, and twice the gas price limit was offered already`;
      return undefined;
    }
    const { nonce, to, valueWei, data, gasLimit } = intent;
    const version = { maxFeeWei, maxTipWei: maxTipWei > maxFeeWei ? maxFeeWei : maxTipWei };
    const signed = await signer.sign({ chainId: intent.chainId, nonce, to, valueWei, data, gasLimit, ...version });
    const transaction = { ...signed, ...version, signedAtMs: clock.now() };
    await store.addTransaction(intent.id, transaction);
    await this.#tell({ type: "payout.outbid", data: { intent: intent.id, hash: signed.hash, replaces: last.hash } });
    return transaction;
  }

  async #send(intent: PayoutIntent, nowMs: number): Promise<void> {
    const { store, chain, clock, logger } = this.#deps;
    const last = intent.transactions.at(-1);
    if (!last) return;
    // Before: once it is out, nobody may believe that it never was.
    if (intent.state === "signed") await store.setIntentState(intent.id, "sent", clock.now());
    const known = intent.transactions.length;
    const mark = `${intent.id}/${known}`;
    if (!this.#sentAt.has(mark)) {
      const at = { ms: nowMs, block: await chain.lastBlock().catch(() => -1) };
      this.#sentAt.set(mark, at);
      this.#sentAt.set(intent.id, at);
    }
    const answers = await chain.send(last.raw);
    logger.debug("sent a payout transaction", { hash: last.hash, nonce: intent.nonce, answers });
    this.#waitingFor ??= `transaction ${last.hash} is not in a block yet (${answers.join("; ")})`;
  }

  async #settle(intent: PayoutIntent, lines: readonly PayoutLine[], receipt: Receipt): Promise<boolean> {
    const { store, clock, logger } = this.#deps;
    const settlement = settlementOf(intent, lines, receipt, clock.now());
    await store.settle(settlement);
    this.#sentAt.delete(intent.id);
    logger.info("a payout transaction is final", {
      hash: receipt.hash,
      paid: settlement.paid.length,
      returned: settlement.returned.length,
    });
    const paid = new Set(settlement.paid);
    await this.#tellDecided(
      lines.filter(({ id }) => paid.has(id)).map((line) => ({ ...line, state: "final", txHash: receipt.hash })),
    );
    await this.#tellReturned(lines, settlement.returned);
    if (settlement.halt) await this.#tellHalt(settlement.halt);
    return settlement.halt !== undefined;
  }

  async #tellReturned(lines: readonly PayoutLine[], returned: Settlement["returned"]): Promise<void> {
    const reasons = new Map(returned.map(({ line, reason }) => [line, reason]));
    await this.#tellDecided(
      lines.flatMap((line) => {
        const reason = reasons.get(line.id);
        return reason === undefined ? [] : [{ ...line, state: "returned", reason }];
      }),
    );
  }

  /** Turns an approved run into signed transactions with pinned nonces. */
  async #sign(detail: RunDetail): Promise<void> {
    const { run, lines } = detail;
    const { store, chain, signer, clock } = this.#deps;
    const open = lines.filter((line) => line.state === "planned" && line.method !== "safe");
    if (open.length === 0) return;
    if (!signer) {
      this.#waitingFor ??= "there is no key to sign with: name a keystore with --payout-keystore";
      return;
    }
    if (signer.address !== run.payer || chain.chainId !== run.chainId) {
      this.#waitingFor ??= `run ${run.id} was planned for ${run.payer} on chain ${run.chainId}: cancel it or go back to that key and chain`;
      return;
    }
    const prices = await chain.gasPrices();
    const { rules } = this.#settings;
    if (rules.maxGasPriceWei !== undefined && prices.nowWei > rules.maxGasPriceWei) {
      this.#waitingFor ??= `gas costs ${prices.nowWei} wei, the limit is ${rules.maxGasPriceWei}`;
      return;
    }
    const nonce = await this.#nextNonce(signer.address);
    if (nonce === undefined) return;
    const { nonceGuard = nonce } = await store.control();
    const drafts = nonce < nonceGuard ? await this.#spend(nonceGuard - nonce) : await this.#draft(detail, open, prices);
    if (drafts.length === 0) return;
    const needOf = (one: Draft): bigint => one.valueWei + one.gasLimit * prices.maxFeeWei;
    const haveWei = await chain.balance(signer.address);
    this.#balanceWei = haveWei;
    // What there is too little for keeps nothing else waiting.
    let leftWei = haveWei;
    const affordable = drafts.filter((one) => {
      const fits = needOf(one) <= leftWei;
      if (fits) leftWei -= needOf(one);
      return fits;
    });
    if (affordable.length < drafts.length) {
      const needWei = drafts.reduce((sum, one) => sum + needOf(one), 0n);
      this.#waitingFor ??= `${signer.address} holds ${haveWei} wei, the payout and its gas need ${needWei}`;
    }
    if (affordable.length === 0) return;
    const intents: PayoutIntent[] = [];
    for (const [place, draft] of affordable.entries()) {
      const { maxFeeWei, maxTipWei } = prices;
      const { to, valueWei, data, gasLimit } = draft;
      const unsigned = {
        chainId: run.chainId,
        nonce: nonce + place,
        to,
        valueWei,
        data,
        gasLimit,
        maxFeeWei,
        maxTipWei,
      };
      const signed = await signer.sign(unsigned);
      intents.push({
        id: draft.id,
        run: run.id,
        kind: draft.kind,
        chainId: run.chainId,
        payer: signer.address,
        nonce: nonce + place,
        to,
        valueWei,
        data,
        gasLimit,
        lines: draft.lines,
        state: "signed",
        transactions: [{ ...signed, maxFeeWei, maxTipWei, signedAtMs: clock.now() }],
        minedHash: undefined,
        minedBlock: undefined,
        gasWei: undefined,
      });
    }
    if (!(await store.commitIntents(run.id, intents))) return;
    for (const intent of intents) {
      const data = { run: run.id, intent: intent.id, nonce: intent.nonce, hash: intent.transactions[0]?.hash };
      await this.#tell({
        type: "payout.signed",
        data: { ...data, lines: intent.lines.length, valueWei: intent.valueWei },
      });
    }
    for (const intent of intents.slice(0, WINDOW)) await this.#send(intent, clock.monotonicMs());
  }

  async #draft(detail: RunDetail, lines: readonly PayoutLine[], prices: GasPrices): Promise<readonly Draft[]> {
    const { batchSize, rules } = this.#settings;
    const { batchContract } = rules;
    const records = new Map((await this.#deps.store.payees()).map((one) => [one.worker, one]));
    // Held back since the plan was made.
    const stopped = lines.flatMap(({ id: line, worker }) => {
      const reason = records.get(worker)?.stopped;
      return reason === undefined ? [] : [{ line, reason, hold: false }];
    });
    if (stopped.length > 0) await this.#drop(detail, stopped);
    const going = lines.filter((line) => records.get(line.worker)?.stopped === undefined);
    const tooDear = (line: PayoutLine, gas: bigint): string | undefined =>
      gasTakesTooMuch(gas * prices.nowWei, line.amountWei, rules, records.get(line.worker));
    const draftRules = { batchSize, batchContract, tooDear, maxFeeWei: prices.maxFeeWei };
    const { drafts, refused, waits } = await draftTransactions(detail, going, draftRules, this.#deps);
    if (refused.length > 0) await this.#drop(detail, refused);
    this.#waitingFor ??= waits[0];
    return drafts;
  }

  /** Transactions that do nothing but use up nonces, so that nothing that was handed out with them can happen any more. */
  async #spend(count: number): Promise<readonly Draft[]> {
    const { chain, signer, newId } = this.#deps;
    if (!signer) return [];
    const nothing = { to: signer.address, valueWei: 0n, data: "0x" } as const;
    const estimate = await chain.estimateGas({ from: signer.address, ...nothing });
    if ("refused" in estimate) {
      this.#waitingFor ??= `nonces from before the books were set back cannot be used up: ${estimate.refused}`;
      return [];
    }
    const gasLimit = (estimate.gas * 13n) / 10n;
    return Array.from({ length: count }, () => ({ id: newId(), kind: "transfer", ...nothing, gasLimit, lines: [] }));
  }

  /** Takes lines back before anything was signed of them. */
  async #drop({ run, lines }: RunDetail, dropped: Settlement["returned"]): Promise<void> {
    const { store, clock } = this.#deps;
    await store.dropLines(run.id, dropped, clock.now());
    await this.#tellReturned(lines, dropped);
  }

  /** The nonce to pin next; undefined: not now, and why is said. */
  async #nextNonce(payer: WorkerAddress): Promise<number | undefined> {
    const { store, chain, clock } = this.#deps;
    const last = await store.lastNonce(chain.chainId, payer);
    const { nonceFloor } = await store.control();
    const onChain = await chain.nextNonce(payer, "latest");
    const after = last === undefined ? nonceFloor : last + 1;
    // The first payout of an account takes it as it is; so does one behind foreign transactions that the operator knows.
    const adopted = after === undefined || (onChain > after && onChain <= (nonceFloor ?? 0));
    const ours = adopted ? onChain : after;
    if (adopted && (await chain.nextNonce(payer, "final")) !== onChain) {
      // Should they vanish, a payment behind them would wait for ever.
      this.#waitingFor ??= `the transactions of ${payer} before this payout are not final yet`;
      return undefined;
    }
    if (onChain > ours) {
      await this.#halt({
        code: "payout/nonce-ahead",
        message: `${payer} has made ${onChain} transactions, and the books know of ${ours}: something else signs with the pool's key, or the books were set back to a backup. \`openpool payouts resume\` reads what they were, books what they paid to workers, and tells what it cannot explain.`,
        atMs: clock.now(),
        intent: undefined,
        nonce: onChain,
      });
      return undefined;
    }
    if (onChain < ours) {
      this.#waitingFor ??= `the RPC nodes know of ${onChain} transactions of ${payer}, the books of ${ours}: they are behind, or show another chain`;
      return undefined;
    }
    return ours;
  }

  async #keepSchedule(): Promise<void> {
    const { store, clock } = this.#deps;
    const { schedule, timeZone } = this.#deps.terms();
    const control = await store.control();
    const nowMs = clock.now();
    if (schedule === undefined) {
      if (control.nextAtMs !== undefined) await store.setNextAt(undefined, undefined);
      return;
    }
    const key = `${schedule} ${timeZone}`;
    const next = nextTime(schedule, timeZone, nowMs);
    const { nextAtMs } = control;
    // Later than the next time there is: it was reckoned by a clock that had run ahead.
    if (nextAtMs === undefined || control.schedule !== key || (next !== undefined && nextAtMs > next)) {
      await store.setNextAt(next, key);
      return;
    }
    if (nowMs < nextAtMs) return;
    const planned = await this.#plan(false, next);
    if (planned.run === undefined) await store.setNextAt(next, key);
  }

  async #plan(dryRun: boolean, nextAtMs?: number): Promise<PlannedPayout> {
    const { store, chain, clock, newId } = this.#deps;
    let rules = this.#rules;
    const payer = this.payer;
    const none = (refused: string): PlannedPayout => ({ run: undefined, lines: [], waiting: [], refused });
    if (payer === undefined) return none("there is no account to pay from: name a keystore with --payout-keystore");
    const control = await store.control();
    const [halted] = control.halts;
    if (!dryRun && halted) return none(halted.message);
    if (!dryRun && control.paused !== undefined) return none(`payouts are paused: ${control.paused}`);
    const [open] = await store.openRuns();
    if (open) return none(`run ${open.run.id} is not done yet (${open.run.state})`);
    if (rules.batchContract !== undefined && rules.method !== "transfers") {
      if (await chain.hasBatchContract(rules.batchContract)) {
        // It is ours.
      } else if (rules.method === "auto") {
        rules = { ...rules, batchContract: undefined };
      } else {
        return none(
          `there is no batch contract of ours at ${rules.batchContract}: deploy it with \`openpool payouts deploy\``,
        );
      }
    }
    const gathered = await gather(rules, payer, this.#deps);
    await this.#weigh(gathered, payer);
    const plan = makePlan({
      ...gathered,
      rules,
      nowMs: clock.now(),
      newId,
      chainId: chain.chainId,
      payer,
      plannedWei: await store.plannedSince(clock.now() - DAY_MS),
      fiat: await this.#fiat(),
    });
    if (!plan.run) return plan;
    const reviewed = await this.#deps.review?.({ run: plan.run, lines: plan.lines });
    if (reviewed?.veto !== undefined) return { ...plan, run: undefined, refused: reviewed.veto };
    const run = { ...plan.run, notes: reviewed?.notes ?? [] };
    if (dryRun) return { ...plan, run };
    if (!(await store.commitPlan(run, plan.lines, nextAtMs))) {
      return none("the books moved while the plan was made: plan again");
    }
    const data = { run: run.id, totalWei: run.totalWei, lines: run.lines, waiting: run.waiting.length };
    await this.#tell({ type: "payout.planned", data: { ...data, approvalReason: run.approvalReason } });
    return { ...plan, run };
  }

  async #halt(halt: Halt): Promise<void> {
    await this.#deps.store.halt(halt);
    await this.#tellHalt(halt);
  }

  async #tellHalt(halt: Halt): Promise<void> {
    this.#deps.logger.error(`payouts are halted: ${halt.message}`, { code: halt.code });
    await this.#tell({ type: "payout.halted", data: { code: halt.code, message: halt.message } });
  }

  async #tell(event: PayoutEvent): Promise<void> {
    await this.#deps.tell?.(event).catch((error: unknown) => {
      this.#toldOfBefore = false;
      this.#deps.logger.warn("a payout event was not written", { type: event.type, error: errorText(error) });
    });
  }

  async #asked<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.#alone(work);
    } finally {
      this.#deps.wake?.();
    }
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => {});
    return result;
  }

  async status(): Promise<PayoutStatus> {
    const { paused, halts } = await this.#deps.store.control();
    return {
      chainId: this.#deps.chain.chainId,
      pool: this.#settings.poolName,
      payToDelayMs: this.#settings.payToDelayMs,
      payer: this.payer,
      asset: this.#settings.rules.asset,
      choices: this.#settings.rules.choices,
      balanceWei: this.#balanceWei,
      paused,
      halted: halts[0],
      waitingFor: this.#waitingFor,
      floats: this.#floats,
      warnings: this.#floats.flatMap((one) => one.text ?? []),
    };
  }

  async next(): Promise<NextPayout> {
    const { nextAtMs } = await this.#deps.store.control();
    const { schedule, timeZone, minimumWei } = this.#deps.terms();
    return { atMs: schedule === undefined ? undefined : nextAtMs, schedule, timeZone, minimumWei };
  }

  runs({ limit = 100 }: { readonly limit?: number } = {}): Promise<readonly PayoutRun[]> {
    return this.#deps.store.runs(limit);
  }

  run(id: string): Promise<RunDetail | undefined> {
    return this.#deps.store.run(id);
  }

  linesOf(worker: WorkerAddress, { limit = 100 }: { readonly limit?: number } = {}): Promise<readonly PayoutLine[]> {
    return this.#deps.store.linesOf(worker, limit);
  }

  plan({ dryRun }: { readonly dryRun: boolean }): Promise<PlannedPayout> {
    return this.#asked(() => this.#plan(dryRun));
  }

  approve(id: string, by: string): Promise<PayoutRun> {
    return this.#asked(async () => {
      if (!(await this.#deps.store.approve(id, by))) throw notIn(id, "is not waiting for approval");
      await this.#tell({ type: "payout.approved", data: { run: id, by } });
      return (await this.#mustFind(id)).run;
    });
  }

  cancel(id: string): Promise<PayoutRun> {
    return this.#asked(async () => {
      const { store, clock } = this.#deps;
      if (!(await store.cancel(id, clock.now()))) {
        const detail = await this.#mustFind(id);
        const left = detail.lines.filter((line) => line.state === "planned" && line.method !== "safe");
        if (detail.run.state !== "sending" || left.length === 0) {
          throw notIn(id, "cannot be cancelled: all of it was signed or exported, or it is done");
        }
        await this.#drop(
          detail,
          left.map((line) => ({ line: line.id, reason: "the rest of the run was cancelled", hold: false })),
        );
      }
      await this.#tell({ type: "payout.cancelled", data: { run: id } });
      return (await this.#mustFind(id)).run;
    });
  }

  pause(reason: string): Promise<void> {
    return this.#asked(async () => {
      await this.#deps.store.setPaused(reason);
      await this.#tell({ type: "payout.paused", data: { reason } });
    });
  }

  resume(how: ResumeHow = {}): Promise<ResumeReport> {
    return this.#asked(async () => {
      const { store } = this.#deps;
      const control = await store.control();
      if (await this.#isOfAnotherChain(await store.openRuns(), control.halts)) {
        throw new PoolError({ code: "payout/other-chain" }, this.#waitingFor ?? "");
      }
      const halts = control.halts.filter(({ code }) => RECONCILED_HALTS.has(code));
      const { payer } = this;
      let report: ResumeReport = { found: [], notOwed: [] };
      if (halts.length === 0) await store.clearHalts();
      else if (payer !== undefined) report = await this.#reconcile(payer, halts, how);
      else throw noAccount();
      await store.setPaused(undefined);
      for (const { worker, ...data } of report.found) await this.#tell({ type: "payout.found", worker, data });
      await this.#tell({ type: "payout.resumed", data: {} });
      return report;
    });
  }

  /** Books what the chain knows and the books do not, and ends the halts behind which that may be. */
  async #reconcile(payer: WorkerAddress, halts: readonly Halt[], how: ResumeHow): Promise<ResumeReport> {
    const { store, chain, calls, clock } = this.#deps;
    const { rules } = this.#settings;
    const booksOfMs = halts.find((one) => one.booksOfMs !== undefined)?.booksOfMs;
    const found = await findUnknownPayments(payer, booksOfMs, how, {
      store,
      chain,
      calls,
      nowMs: clock.now(),
      safeContract: rules.method === "safe" ? rules.batchContract : undefined,
      settle: (intent, lines, receipt) => this.#settle(intent, lines, receipt),
    });
    const lines = new Map((await store.openRuns()).flatMap((run) => run.lines.map((line) => [line.id, line])));
    const notOwed = await store.bookFound(found);
    for (const { intent } of found.lost) await this.#tell({ type: "payout.lost", data: { intent } });
    return {
      found: [
        ...found.lines.flatMap(({ line: id, hash }) => {
          const line = lines.get(id);
          return line ? [{ worker: line.worker, payTo: line.payTo, amountWei: line.amountWei, hash }] : [];
        }),
        ...found.payments.map(({ worker, payTo, amountWei, hash }) => ({ worker, payTo, amountWei, hash })),
      ],
      notOwed,
    };
  }

  retry(lineId: string): Promise<PayoutLine> {
    return this.#asked(async () => {
      const { store } = this.#deps;
      // Plans name the worker, lists its line: both are understood.
      const worker = parseAddress(lineId);
      const line = isAddressProblem(worker)
        ? await store.line(lineId)
        : (await store.linesOf(worker, 100)).find((one) => one.state === "failed");
      if (!line || (line.state !== "returned" && line.state !== "failed")) {
        throw new PoolError({ code: "payout/no-such-line" }, `There is no failed payment ${lineId}.`);
      }
      await store.retry(line.worker);
      return line;
    });
  }

  hold(worker: WorkerAddress, reason: string): Promise<void> {
    return this.#asked(async () => {
      await this.#deps.store.hold(worker, reason);
      await this.#tell({ type: "payout.held", worker, data: { reason } });
    });
  }

  release(worker: WorkerAddress): Promise<void> {
    return this.#asked(async () => {
      await this.#deps.store.hold(worker, undefined);
      await this.#tell({ type: "payout.released", worker, data: {} });
    });
  }

  exportRun(id: string, format: ExportFormat): Promise<string> {
    return this.#alone(async () => {
      const detail = await this.#mustFind(id);
      const { batchContract = this.#settings.rules.batchContract } = detail.run;
      const text = exportRun(detail, format, { calls: this.#deps.calls, batchContract });
      // Written down before anybody has it: from then on it may be executed, and nothing else may pay its lines.
      if (format === "safe") await this.#handOver(detail.run);
      if (format === "safe-cancel" && detail.run.state !== "exported") {
        throw notIn(id, "was not exported for a multisig: `openpool payouts cancel` takes it back");
      }
      return text;
    });
  }

  /** Makes a run the multisig's. */
  async #handOver({ id, state }: PayoutRun): Promise<void> {
    const { store } = this.#deps;
    if (state === "exported") return;
    if (state !== "approved") {
      throw notIn(
        id,
        state === "planned"
          ? "is not approved: `openpool payouts approve` comes first"
          : `is ${state}: there is nothing to be executed`,
      );
    }
    const { halts, paused } = await store.control();
    const why = halts[0]?.message ?? paused;
    if (why !== undefined) throw notIn(id, `is not handed out while payouts stand still: ${why}`);
    if (!(await store.markExported(id))) throw notIn(id, "is not approved any more");
  }

  reconcile(id: string, hash: Hex): Promise<PayoutRun> {
    return this.#asked(async () => {
      const { chain, store, clock } = this.#deps;
      const { run, lines } = await this.#mustFind(id);
      if (run.state !== "exported") throw notIn(id, "was not exported for a multisig");
      if (run.chainId !== chain.chainId) throw notIn(id, `is paid on chain ${run.chainId}, not on ${chain.chainId}`);
      const receipt = await chain.finalReceipt(hash);
      if ("none" in receipt) throw notIn(id, `is not paid by ${hash}: ${receipt.none}`);
      const returned: Settlement["returned"][number][] = [];
      const paid: string[] = [];
      for (const [asset, of] of groupByAsset(lines.filter((line) => line.method === "safe"))) {
        const unpaid = unpaidPlaces(receipt, {
          contract: run.batchContract ?? this.#settings.rules.batchContract ?? run.payer,
          payer: run.payer,
          batch: batchIdOf(id, asset),
        });
        if (!unpaid)
          throw notIn(id, `is not paid by ${hash}: the batch contract did not do its batch of ${asset} in it`);
        const isCancelled = unpaid.size > of.length;
        const reason = isCancelled
          ? "the multisig cancelled the payout"
          : asset === "eth"
            ? "its address did not take the payment"
            : "the token moved nothing to it";
        for (const [place, line] of of.entries()) {
          if (unpaid.has(place)) returned.push({ line: line.id, reason, hold: !isCancelled });
          else paid.push(line.id);
        }
      }
      await store.settleExported(id, paid, returned, hash, clock.now());
      const decided = await this.#mustFind(id);
      await this.#tellDecided(decided.lines);
      return decided.run;
    });
  }

  async payees(): Promise<readonly PayeeStanding[]> {
    return (await this.#deps.store.payees()).map(({ worker, thresholdWei, held, stopped }) => ({
      worker,
      thresholdWei,
      stopped: held !== undefined || stopped !== undefined,
    }));
  }

  payToChanges(worker: WorkerAddress): Promise<readonly PayToChange[]> {
    return this.#deps.store.payToChanges(worker);
  }

  requestPayTo(request: PayToRequest): Promise<PayToChange> {
    return this.#asked(async () => {
      const { store, clock, signedBy } = this.#deps;
      const { signature, ...wish } = request;
      const { worker, payTo, thresholdWei, asset, maxGasPriceWei, maxGasSharePpm } = wish;
      const { rules } = this.#settings;
      if (asset !== "pool" && asset !== rules.asset && !rules.choices.includes(asset)) {
        throw new PoolError(
          { code: "payto/not-offered" },
          `This pool does not pay in ${asset}. It offers: ${["pool", rules.asset, ...rules.choices].join(", ")}.`,
        );
      }
      if (!(await signedBy?.(request))) {
        throw new PoolError({ code: "payto/bad-signature" }, `The signature is not one of ${worker} for this change.`);
      }
      const inForce = (await store.payToChanges(worker)).find((one) => one.state === "in-force");
      const requestedAtMs = clock.now();
      const effectiveAtMs = requestedAtMs + this.#settings.payToDelayMs;
      const change: PayToChange = { ...wish, requestedAtMs, effectiveAtMs, state: "waiting" };
      if (!(await store.addPayToChange(change, signature))) {
        throw new PoolError(
          { code: "payto/old-nonce" },
          "A change with this nonce or a higher one was asked for before: sign one with a higher nonce.",
        );
      }
      const data = { payTo, thresholdWei, asset, maxGasPriceWei, maxGasSharePpm };
      const paidTo = inForce?.payTo ?? worker;
      await this.#tell({ type: "payto.requested", worker, data: { ...data, effectiveAtMs, paidTo } });
      return change;
    });
  }

  cancelPayTo(worker: WorkerAddress): Promise<void> {
    return this.#asked(async () => {
      await this.#deps.store.cancelPayToChanges(worker, this.#deps.clock.now());
      await this.#tell({ type: "payto.cancelled", worker, data: {} });
    });
  }

  async #mustFind(id: string): Promise<RunDetail> {
    const detail = await this.#deps.store.run(id);
    if (detail) return detail;
    throw new PoolError({ code: "payout/no-such-run" }, `There is no payout run ${id}: see \`openpool payouts list\`.`);
  }
}

function isLive({ state }: PayoutIntent): boolean {
  return state === "signed" || state === "sent" || state === "confirmed";
}

function noAccount(): PoolError {
  return new PoolError(
    { code: "payout/no-account" },
    "There is no account whose payments could be compared with the books: name its keystore with --payout-keystore.",
  );
}

function notIn(id: string, what: string): PoolError {
  return new PoolError({ code: "payout/wrong-state" }, `Run ${id} ${what}.`);
}
