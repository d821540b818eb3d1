import type { WorkerAddress } from "@openpool/protocol";
import type { ChainNode } from "../../chain/node.ts";
import type { MadeTransaction, Receipt } from "../ports.ts";
import type { Hex } from "../types.ts";
import { CONTRACT, DEPTH, fromHex, hashOf, PAYER, payeeIn, RUNTIME, type World } from "./sim-chain.ts";

export type NodeMode = "well" | "late" | "lying" | "down";

/** A node that shows the world well, late, wrongly, or not at all. */
export class SimNode implements ChainNode {
  readonly name: string;
  readonly #world: World;
  readonly #chainId: number;
  #mode: NodeMode = "well";
  #stale: World["blocks"] = [];

  constructor(name: string, world: World, chainId: number) {
    this.name = name;
    this.#world = world;
    this.#chainId = chainId;
  }

  setMode(mode: NodeMode): void {
    this.#mode = mode;
    this.#stale = [...this.#world.blocks];
  }

  #blocks(): World["blocks"] {
    if (this.#world.chance() < 0.02 && !this.#world.healthy) this.#world.tick();
    if (this.#mode === "down") throw new Error("no answer");
    return this.#mode === "late" ? this.#stale : this.#world.blocks;
  }

  #lie(): boolean {
    return this.#mode === "lying" && this.#world.chance() < 0.7;
  }

  async chainId(): Promise<number> {
    return this.#chainId;
  }
  async latestBlock(): Promise<number> {
    return (this.#blocks().at(-1)?.number ?? 0) + (this.#lie() ? 100 : 0);
  }
  async finalizedBlock(): Promise<number> {
    return (await this.latestBlock()) - DEPTH + 1;
  }
  async blockHash(number: number): Promise<Hex | undefined> {
    if (this.#lie()) return hashOf("a lie");
    return this.#blocks().find((one) => one.number === number)?.hash;
  }
  async blockTime(number: number): Promise<number> {
    return this.#at(number).timeMs;
  }
  async transactionsIn(number: number): Promise<readonly MadeTransaction[]> {
    const { receipts } = this.#at(number);
    if (this.#lie()) return [];
    return [...receipts.keys()].flatMap((hash) => {
      const one = this.#world.sent.get(hash);
      return one ? [{ hash, nonce: one.nonce, block: number, to: one.to, valueWei: one.valueWei, data: one.data }] : [];
    });
  }
  async batchesIn(): Promise<readonly []> {
    return [];
  }
  #at(number: number): World["tip"] {
    const block = this.#blocks().find((one) => one.number === number);
    if (!block) throw new Error("no such block");
    return block;
  }
  async transactionCount(_account: WorkerAddress, at: "latest" | "pending" | number): Promise<number> {
    const blocks = this.#blocks();
    const block = typeof at === "number" ? this.#at(at) : blocks.at(-1);
    if (!block) throw new Error("no such block");
    return block.state.nonce + (this.#lie() ? Math.floor(this.#world.chance() * 7) - 3 : 0);
  }
  async receipt(hash: Hex): Promise<Receipt | undefined> {
    const blocks = this.#blocks();
    for (const block of blocks) {
      const receipt = block.receipts.get(hash);
      if (!receipt) continue;
      if (!this.#lie()) return receipt;
      return this.#world.chance() < 0.5 ? undefined : { ...receipt, succeeded: !receipt.succeeded, batches: [] };
    }
    if (!this.#lie()) return undefined;
    const tip = blocks.at(-1);
    const fake = {
      blockNumber: 0,
      blockHash: hashOf("genesis"),
      gasUsed: 1n,
      gasPriceWei: 1n,
      batches: [],
      transfers: [],
    };
    return tip && { ...fake, hash, succeeded: this.#world.chance() < 0.5 };
  }
  async baseFee(): Promise<bigint> {
    this.#blocks();
    return this.#lie() ? 10n ** 30n : this.#world.baseFee;
  }
  async tip(): Promise<bigint> {
    return this.#lie() ? 10n ** 15n : 1n;
  }
  async balance(account: WorkerAddress): Promise<bigint> {
    const state = this.#blocks().at(-1)?.state;
    if (account !== PAYER) return state?.received.get(account) ?? 0n;
    return this.#lie() ? 0n : (state?.balance ?? 0n);
  }
  async code(account: WorkerAddress): Promise<Hex> {
    this.#blocks();
    return account === CONTRACT ? RUNTIME : "0x";
  }
  async takesSignature(): Promise<boolean> {
    return false;
  }
  async call(_to: WorkerAddress, data: Hex): Promise<Hex> {
    const state = this.#blocks().at(-1)?.state;
    const { balanceOf, allowanceOf } = fromHex(data) as Partial<Record<"balanceOf" | "allowanceOf", WorkerAddress>>;
    const of = balanceOf === PAYER ? state?.tokens : balanceOf ? state?.received.get(balanceOf) : undefined;
    const amount = this.#lie() ? 0n : ((allowanceOf ? state?.allowance : of) ?? 0n);
    return `0x${amount.toString(16).padStart(64, "0")}`;
  }
  async estimateGas(call: { readonly to: WorkerAddress; readonly data: Hex }): ReturnType<ChainNode["estimateGas"]> {
    this.#blocks();
    // Code that fails may show it, and to some nodes only.
    return this.#world.refusing.has(payeeIn(call)) && this.#world.chance() < 0.5
      ? { refused: "bad opcode" }
      : { gas: this.#lie() ? 10n ** 7n : 21_000n };
  }
  async send(raw: Hex): Promise<void> {
    this.#blocks();
    // A liar takes it and tells nobody.
    if (this.#lie()) return;
    this.#world.take(raw);
  }
}
