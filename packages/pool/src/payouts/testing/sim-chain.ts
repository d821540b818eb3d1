import { createHash } from "node:crypto";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import type { Calls, Payment, ReadCall, Receipt, Signer, UnsignedTransaction } from "../ports.ts";
import type { Hex } from "../types.ts";

export const address = (n: number): WorkerAddress =>
  parseAddress(`0x${n.toString(16).padStart(40, "1")}`) as WorkerAddress;
export const PAYER = address(0xaaaa);
export const CONTRACT = address(0xcccc);
export const TOKEN = address(0x7070);
export const RUNTIME: Hex = "0xc0de";
/** A block is final once it has so many, itself included. */
export const DEPTH = 6;
const FOREIGN = address(0xf0f0);
const FOREIGN_CALL: Hex = "0xf0";
const GAS = 21_000n;

export const toHex = (value: unknown): Hex =>
  `0x${Buffer.from(JSON.stringify(value, (_key, one: unknown) => (typeof one === "bigint" ? `${one}n` : one))).toString("hex")}`;
export const fromHex = (hex: Hex): unknown =>
  JSON.parse(Buffer.from(hex.slice(2), "hex").toString(), (_key, one: unknown) =>
    typeof one === "string" && /^\d+n$/.test(one) ? BigInt(one.slice(0, -1)) : one,
  );
export const hashOf = (text: string): Hex => `0x${createHash("sha256").update(text).digest("hex")}`;

/** The bytes of a call: what it says, as JSON. */
type SimCall =
  | ReadCall
  | { readonly kind: "token-approve"; readonly spender: WorkerAddress; readonly amount: bigint }
  /** What a multisig does: all of it, or nothing. */
  | { readonly kind: "together"; readonly calls: readonly Called[] };
type Called = Pick<UnsignedTransaction, "to" | "valueWei" | "data">;
const bytesOf = (call: SimCall): Hex => toHex(call);
const callOf = (data: Hex): SimCall | undefined =>
  data === FOREIGN_CALL || data === "0x" ? undefined : (fromHex(data) as SimCall);

export const simCalls: Calls = {
  payEth: (batch, payments) => bytesOf({ kind: "pay-eth", batch, payments }),
  payToken: (batch, token, payments) => bytesOf({ kind: "pay-token", batch, token, payments }),
  tokenTransfer: (to, amount) => bytesOf({ kind: "token-transfer", to, amount }),
  tokenApprove: (spender, amount) => bytesOf({ kind: "token-approve", spender, amount }),
  keccak: hashOf,
  read(data) {
    const call = callOf(data);
    return call?.kind === "together" ? undefined : call;
  },
};

/** Calls of a multisig as one. */
export const together = (calls: readonly Called[]): Called =>
  calls.length === 1 ? calls[0]! : { to: PAYER, valueWei: 0n, data: bytesOf({ kind: "together", calls }) };

export const simSigner: Signer = {
  address: PAYER,
  async sign(transaction) {
    const raw = toHex(transaction);
    return { raw, hash: hashOf(raw) };
  },
};

/** Whom a transaction pays, where it is a transfer. */
export function payeeIn({ to, data }: { readonly to: WorkerAddress; readonly data: Hex }): WorkerAddress {
  const call = to === TOKEN ? callOf(data) : undefined;
  return call?.kind === "token-transfer" ? call.to : to;
}

interface State {
  readonly nonce: number;
  /** Batches that were done: the contract takes each once. */
  readonly spent: ReadonlySet<Hex>;
  /** In wei, or units of the token: one is worth the other. */
  readonly received: ReadonlyMap<WorkerAddress, bigint>;
  readonly balance: bigint;
  /** What the payer holds of the token, and lets the batch contract take. */
  readonly tokens: bigint;
  readonly allowance: bigint;
}
/** What a block changes as it is made. */
type NextState = Omit<{ -readonly [K in keyof State]: State[K] }, "received" | "spent"> & {
  received: Map<WorkerAddress, bigint>;
  spent: Set<Hex>;
};
const copyOf = (state: State): NextState => ({
  ...state,
  received: new Map(state.received),
  spent: new Set(state.spent),
});

interface Block {
  readonly number: number;
  readonly hash: Hex;
  readonly timeMs: number;
  readonly state: State;
  readonly receipts: ReadonlyMap<Hex, Receipt>;
}

const foreignTransaction: Omit<UnsignedTransaction, "nonce"> = {
  chainId: 1,
  to: FOREIGN,
  valueWei: 0n,
  data: FOREIGN_CALL,
  gasLimit: GAS,
  maxFeeWei: 1n,
  maxTipWei: 1n,
};

/** A chain with blocks that can vanish, a pool of waiting transactions that forgets, and a foreigner with our key. */
export class World {
  readonly chance: () => number;
  blocks: Block[];
  /** The highest block that is final for ever. */
  final = 0;
  readonly waiting = new Map<Hex, UnsignedTransaction>();
  /** Everything that any node was ever handed. */
  readonly sent = new Map<Hex, UnsignedTransaction>();
  readonly refusing: ReadonlySet<WorkerAddress>;
  baseFee = 100n;
  #salt = 0;
  #foreigners: number;
  #strikes = false;
  healthy = false;
  /** What a gas costs while the world is healthy. */
  calmFee = 10n;
  /** Nobody remembers what waits. */
  forgetful = false;
  /** Unlike the pool's clock it never jumps. */
  timeMs = 1_000_000_000;

  constructor(chance: () => number, refusing: ReadonlySet<WorkerAddress>, foreigners: number) {
    this.chance = chance;
    this.refusing = refusing;
    this.#foreigners = foreigners;
    const state = {
      nonce: Math.floor(chance() * 5),
      received: new Map(),
      spent: new Set<Hex>(),
      balance: 10n ** 24n,
      tokens: 10n ** 24n,
      allowance: 0n,
    };
    this.blocks = [{ number: 0, hash: hashOf("genesis"), timeMs: 0, state, receipts: new Map() }];
  }

  get tip(): Block {
    return this.blocks.at(-1)!;
  }

  tick(): void {
    const { chance } = this;
    if (!this.healthy) {
      this.baseFee = BigInt(Math.max(1, Math.floor(Number(this.baseFee) * (0.7 + 0.7 * chance()))));
      if (this.baseFee > 5_000n) this.baseFee = 500n;
      for (const hash of this.waiting.keys()) if (chance() < 0.08) this.waiting.delete(hash);
      if (chance() < 0.08) this.reorg(1 + Math.floor(chance() * (DEPTH - 1)), () => chance() < 0.5);
      if (chance() < 0.4) return;
    } else {
      this.baseFee = this.calmFee;
      if (this.forgetful) this.waiting.clear();
    }
    this.mine();
  }

  mine(): void {
    const { tip, chance } = this;
    let { nonce } = tip.state;
    const state = copyOf(tip.state);
    const receipts = new Map<Hex, Receipt>();
    const number = tip.number + 1;
    const blockHash = hashOf(`${number} ${tip.hash} ${this.#salt++}`);
    const isStruck = this.#strikes || (!this.healthy && this.#foreigners > 0 && chance() < 0.03);
    if (isStruck) {
      this.#strikes = false;
      this.#foreigners -= 1;
      const hash = hashOf(`foreign ${number} ${nonce} ${this.#salt}`);
      this.sent.set(hash, { ...foreignTransaction, nonce });
      const mined = { hash, blockNumber: number, blockHash, gasUsed: GAS, gasPriceWei: 1n, transfers: [] };
      receipts.set(hash, { ...mined, succeeded: true, batches: [] });
      nonce += 1;
    }
    for (;;) {
      const next = [...this.waiting].filter(([, one]) => one.nonce === nonce && one.maxFeeWei >= this.baseFee);
      // Not always the best paid: whoever makes the block decides.
      const [chosen] = next.sort(() => chance() - 0.5);
      if (!chosen || (!this.healthy && chance() < 0.3)) break;
      const [hash, transaction] = chosen;
      this.waiting.delete(hash);
      nonce += 1;
      state.balance -= GAS * this.baseFee;
      const mined = { hash, blockNumber: number, blockHash, gasUsed: GAS, gasPriceWei: this.baseFee };
      receipts.set(hash, { ...mined, ...this.#execute(transaction, state) });
    }
    this.blocks.push({ number, hash: blockHash, timeMs: this.timeMs, state: { ...state, nonce }, receipts });
    this.final = Math.max(this.final, number - DEPTH + 1);
  }

  #execute({ to, valueWei, data }: Called, state: NextState): Pick<Receipt, "succeeded" | "batches" | "transfers"> {
    const nothing = { succeeded: true, batches: [], transfers: [] };
    const failed = { ...nothing, succeeded: false };
    const give = (payment: Payment, asset: "balance" | "tokens"): void => {
      state.received.set(payment.to, (state.received.get(payment.to) ?? 0n) + payment.amount);
      state[asset] -= payment.amount;
    };
    const call = callOf(data);
    switch (call?.kind) {
      case "pay-eth":
      case "pay-token": {
        const { batch, payments } = call;
        const asset = call.kind === "pay-eth" ? "balance" : "tokens";
        const sum = payments.reduce((all, one) => all + one.amount, 0n);
        if (state.spent.has(batch) || (asset === "tokens" && sum > state.allowance)) return failed;
        state.spent.add(batch);
        const which = { contract: CONTRACT, payer: PAYER, batch };
        const refuses = (payee: WorkerAddress): boolean => payee === CONTRACT || this.refusing.has(payee);
        const unpaid = payments.flatMap((one, place) => (refuses(one.to) ? [place] : []));
        for (const [place, payment] of payments.entries()) {
          if (unpaid.includes(place)) continue;
          give(payment, asset);
          if (asset === "tokens") state.allowance -= payment.amount;
        }
        const said = unpaid.map((place) => ({ ...which, says: "unpaid" as const, place }));
        return { ...nothing, batches: [...said, { ...which, says: "done", unpaid: unpaid.length }] };
      }
      case "token-approve":
        if ("amount" in call) state.allowance = call.amount;
        return nothing;
      case "token-transfer":
        // It answers false, as some tokens do.
        if (this.refusing.has(call.to)) return nothing;
        give(call, "tokens");
        return { ...nothing, transfers: [{ token: TOKEN, from: PAYER, to: call.to, amount: call.amount }] };
      case "together": {
        const inner = copyOf(state);
        const done = call.calls.map((one) => this.#execute(one, inner));
        if (done.some(({ succeeded }) => !succeeded)) return failed;
        Object.assign(state, inner);
        return { ...nothing, batches: done.flatMap(({ batches }) => batches) };
      }
      case undefined:
        if (this.refusing.has(to)) return failed;
        give({ to, amount: valueWei }, "balance");
        return nothing;
    }
  }

  /** The last blocks vanish for others, as far as they are not final; which of their transactions wait again is said. */
  reorg(wanted: number, waitsAgain: () => boolean): void {
    const depth = Math.min(this.tip.number - this.final, wanted);
    if (depth < 1) return;
    const gone = this.blocks.splice(this.blocks.length - depth);
    for (const hash of gone.flatMap((block) => [...block.receipts.keys()])) {
      const transaction = this.sent.get(hash);
      if (transaction && transaction.to !== FOREIGN && waitsAgain()) this.waiting.set(hash, transaction);
    }
    for (let i = 0; i <= depth; i++) this.mine();
  }

  /** Somebody else makes the next transaction with our key. */
  strike(): void {
    this.#strikes = true;
  }

  /** Made by somebody else with our key. */
  isForeign(hash: Hex): boolean {
    return this.sent.get(hash)?.to === FOREIGN;
  }

  /** It waits and can be mined, with nothing missing before it, or is in a block. */
  knows(hash: Hex): boolean {
    const nonces = new Set(Array.from(this.waiting.values(), ({ nonce }) => nonce));
    let next = this.tip.state.nonce;
    while (nonces.has(next)) next += 1;
    const nonce = this.waiting.get(hash)?.nonce;
    const waits = nonce !== undefined && nonce >= this.tip.state.nonce && nonce < next;
    return waits || this.blocks.some(({ receipts }) => receipts.has(hash));
  }

  take(raw: Hex): void {
    const hash = hashOf(raw);
    const transaction = fromHex(raw) as UnsignedTransaction;
    this.sent.set(hash, transaction);
    if (transaction.nonce < this.tip.state.nonce) throw new Error("nonce too low");
    if (this.waiting.has(hash)) throw new Error("already known");
    this.waiting.set(hash, transaction);
  }
}
