import { formatGwei } from "@openpool/base";
import {
  haltPayouts,
  type PayoutContext,
  type PayoutDeps,
  type PayoutSettings,
  signOrWait,
  type Waits,
} from "./context.ts";
import type { Receipt } from "./ports.ts";
import { settlementOf } from "./settlement.ts";
import type { PayoutIntent, PayoutLine, SignedTransaction } from "./types.ts";

/** Follows what was signed until the chain has decided: sends it, offers more for it, and books what became of it. */
export class IntentFollower {
  readonly #settings: PayoutSettings;
  readonly #deps: PayoutDeps;
  readonly #waits: Waits;
  /** When each intent's latest version was handed out, by our own clock that does not jump, and the newest block then. */
  readonly #sentAt = new Map<string, { readonly ms: number; readonly block: number }>();
  readonly #takenOnce = new Set<string>();

  constructor({ settings, deps, waits }: PayoutContext) {
    this.#settings = settings;
    this.#deps = deps;
    this.#waits = waits;
  }

  /**
   * Looks what the chain made of an intent and acts on it. `first`: it is the next one of its account; `stopped`: nothing
   * is sent. True: payouts were halted.
   */
  async follow(
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
        if (fate.final) return this.settle(intent, lines, fate.receipt);
        if (intent.state !== "confirmed" || intent.minedHash !== hash || intent.minedBlock !== block) {
          await store.setIntentState(intent.id, "confirmed", clock.now(), { hash, block });
        }
        this.#waits.because(`transaction ${hash} is in block ${block}; waiting until that is final`);
        return false;
      }
      case "taken":
        return this.#taken(intent);
      case "open":
        if (intent.state === "confirmed") await store.setIntentState(intent.id, "sent", clock.now());
        if (!stopped) await this.#offer(intent, first);
        return false;
      case "unsure":
        this.#waits.because(fate.why);
        // It may be known to nobody. Sending the same bytes again can do no harm.
        if (!stopped && intent.state === "signed") await this.send(intent);
        return false;
    }
  }

  async #taken(intent: PayoutIntent): Promise<boolean> {
    // Balanced nodes can contradict themselves for a moment: what is so serious must be seen twice.
    if (!this.#takenOnce.has(intent.id)) {
      this.#takenOnce.add(intent.id);
      this.#waits.because(`nonce ${intent.nonce} seems to be used by another transaction; looking again`);
      return false;
    }
    await haltPayouts(this.#deps, {
      code: "payout/nonce-taken",
      message: `Another transaction took nonce ${intent.nonce} of ${intent.payer}: something else signs with the pool's key. Find out what; then \`openpool payouts resume\`, which books what it paid to workers and makes the payments behind that nonce again.`,
      atMs: this.#deps.clock.now(),
      intent: intent.id,
      nonce: undefined,
    });
    return true;
  }

  /** Hands the newest version of an intent out again, or a better paid one when it has waited for long. */
  async #offer(intent: PayoutIntent, first: boolean): Promise<void> {
    const since = this.#sentAt.get(intent.id);
    let current = intent;
    // Later ones wait for the first, not for a better price. Where no block is made, no price helps.
    const isDue =
      first && since !== undefined && this.#deps.clock.monotonicMs() - since.ms >= this.#settings.bumpAfterMs;
    if (isDue && (await this.#deps.chain.lastBlock()) > since.block) {
      const better = await this.#outbid(intent);
      if (better) current = { ...intent, transactions: [...intent.transactions, better] };
    }
    await this.send(current);
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
      this.#waits.because(
        `transaction ${last.hash} is not mined, and --payout-max-bump allows no more than ${this.#settings.maxBump} times the first fee of ${formatGwei(begun.maxFeeWei)} gwei`,
      );
      return undefined;
    }
    const wantedWei = max(more(last.maxFeeWei), prices.maxFeeWei);
    const maxFeeWei = wantedWei > ceilingWei ? ceilingWei : wantedWei;
    const maxTipWei = max(more(last.maxTipWei), prices.maxTipWei);
    const limit = this.#settings.rules.maxGasPriceWei;
    if (limit !== undefined && maxFeeWei > limit * 2n) {
      this.#waits.because(`transaction ${last.hash} is not mined, and twice the gas price limit was offered already`);
      return undefined;
    }
    const { nonce, to, valueWei, data, gasLimit } = intent;
    const version = { maxFeeWei, maxTipWei: maxTipWei > maxFeeWei ? maxFeeWei : maxTipWei };
    const call = { chainId: intent.chainId, nonce, to, valueWei, data, gasLimit, ...version };
    const signed = await signOrWait(signer, call, this.#waits);
    if (!signed) return undefined;
    const transaction = { ...signed, ...version, signedAtMs: clock.now() };
    await store.addTransaction(intent.id, transaction);
    return transaction;
  }

  /** Hands an intent's newest version to the nodes, and those before it where the account cannot pay its fee any more. */
  async send(intent: PayoutIntent): Promise<void> {
    const { store, chain, clock, logger } = this.#deps;
    const last = intent.transactions.at(-1);
    if (!last) return;
    const ms = clock.monotonicMs();
    // Before: once it is out, nobody may believe that it never was.
    if (intent.state === "signed") await store.setIntentState(intent.id, "sent", clock.now());
    const mark = `${intent.id}/${intent.transactions.length}`;
    if (!this.#sentAt.has(mark)) {
      const at = { ms, block: await chain.lastBlock().catch(() => -1) };
      this.#sentAt.set(mark, at);
      this.#sentAt.set(intent.id, at);
    }
    const answers = await chain.send(last.raw);
    logger.debug("sent a payout transaction", { hash: last.hash, nonce: intent.nonce, answers });
    // Whatever the nodes say, this does no harm: the chain takes one of them at most.
    let refused = answers.some(isForFunds);
    for (const { raw } of intent.transactions.slice(0, -1).reverse()) {
      if (!refused) break;
      refused = (await chain.send(raw)).some(isForFunds);
    }
    this.#waits.because(`transaction ${last.hash} is not in a block yet (${answers.join("; ")})`);
  }

  /** Books what a final receipt means. True: payouts were halted for it. */
  async settle(intent: PayoutIntent, lines: readonly PayoutLine[], receipt: Receipt): Promise<boolean> {
    const { store, clock, logger } = this.#deps;
    const settlement = settlementOf(intent, lines, receipt, clock.now());
    await store.settle(settlement);
    for (const mark of this.#sentAt.keys()) if (mark.startsWith(intent.id)) this.#sentAt.delete(mark);
    logger.info("a payout transaction is final", {
      hash: receipt.hash,
      paid: settlement.paid.length,
      returned: settlement.returned.length,
    });
    const { halt } = settlement;
    if (halt) logger.error(`payouts are halted: ${halt.message}`, { code: halt.code });
    return halt !== undefined;
  }
}

/** Whether a node refused a transaction because its account has too little money for it, in the words that nodes have for that. */
function isForFunds(answer: string): boolean {
  return /insufficient ?(funds|balance)|exceeds (the )?(account )?balance/i.test(answer);
}
