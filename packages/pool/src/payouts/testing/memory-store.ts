import { PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type {
  AccountNonces,
  Control,
  Findings,
  GivenUpRun,
  Payable,
  PayeeRecord,
  PayoutStore,
  Settlement,
} from "../ports.ts";
import type {
  Halt,
  Hex,
  PayoutIntent,
  PayoutLine,
  PayoutRun,
  PayoutWish,
  PayToChange,
  RunDetail,
  SignedTransaction,
} from "../types.ts";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** What a worker has in the books of the double. */
export interface MemoryBalance {
  owedWei: bigint;
  payingWei: bigint;
  paidWei: bigint;
}

/** The payouts' memory as the database keeps it: what was written survives every crash of the engine. */
export class MemoryPayoutStore implements PayoutStore {
  readonly books = new Map<WorkerAddress, MemoryBalance>();
  gasWei = 0n;
  readonly #credited = new Map<WorkerAddress, bigint>();
  readonly #runs = new Map<string, Mutable<PayoutRun>>();
  readonly #lines = new Map<string, Mutable<PayoutLine>>();
  readonly #intents = new Map<string, Mutable<PayoutIntent>>();
  readonly #held = new Map<WorkerAddress, { held: string | undefined; plainOnly: boolean }>();
  readonly #payTo = new Map<WorkerAddress, readonly PayToChange[]>();
  /** Transactions that were booked without an intent. */
  readonly #found = new Set<Hex>();
  #control: Mutable<Control> = {
    paused: undefined,
    halts: [],
    nextAtMs: undefined,
    schedule: undefined,
  };
  /** By chain and account. */
  readonly #accounts = new Map<string, { chainId: number; payer: WorkerAddress; floor: number; guard?: number }>();

  credit(worker: WorkerAddress, wei: bigint): void {
    this.#balance(worker).owedWei += wei;
    this.#credited.set(worker, this.creditedWei(worker) + wei);
  }

  /** All that was ever credited to a worker, as these books know. */
  creditedWei(worker: WorkerAddress): bigint {
    return this.#credited.get(worker) ?? 0n;
  }

  /** A backup: what is written into one of the two is not in the other. */
  copy(): MemoryPayoutStore {
    const copy = new MemoryPayoutStore();
    copy.gasWei = this.gasWei;
    copy.#control = structuredClone(this.#control);
    for (const [worker, balance] of this.books) copy.books.set(worker, { ...balance });
    for (const [worker, wei] of this.#credited) copy.#credited.set(worker, wei);
    for (const [id, run] of this.#runs) copy.#runs.set(id, { ...run });
    for (const [id, line] of this.#lines) copy.#lines.set(id, { ...line });
    for (const [id, intent] of this.#intents) copy.#intents.set(id, { ...intent });
    for (const [worker, held] of this.#held) copy.#held.set(worker, { ...held });
    for (const [worker, changes] of this.#payTo) copy.#payTo.set(worker, changes);
    for (const hash of this.#found) copy.#found.add(hash);
    for (const [key, account] of this.#accounts) copy.#accounts.set(key, { ...account });
    return copy;
  }

  get held(): ReadonlySet<WorkerAddress> {
    return new Set([...this.#held].flatMap(([worker, { held }]) => (held === undefined ? [] : [worker])));
  }

  get intents(): readonly PayoutIntent[] {
    return [...this.#intents.values()];
  }

  #balance(worker: WorkerAddress): MemoryBalance {
    const found = this.books.get(worker) ?? { owedWei: 0n, payingWei: 0n, paidWei: 0n };
    this.books.set(worker, found);
    return found;
  }

  async payable(): Promise<readonly Payable[]> {
    return [...this.books]
      .filter(([, { owedWei }]) => owedWei > 0n)
      .map(([worker, { owedWei }]) => ({ worker, owedWei, oldestOwedAtMs: 0 }));
  }

  async payees(): Promise<readonly PayeeRecord[]> {
    return [...new Set([...this.#held.keys(), ...this.#payTo.keys()])].map((worker) => ({
      worker,
      ...this.#wishOf(worker),
      stopped: undefined,
      ...(this.#held.get(worker) ?? { held: undefined, plainOnly: false }),
    }));
  }

  #wishOf(worker: WorkerAddress): PayoutWish {
    const pool = { payTo: worker, thresholdWei: 0n, asset: "pool", maxGasPriceWei: 0n, maxGasSharePpm: 0n } as const;
    const { payTo, thresholdWei, asset, maxGasPriceWei, maxGasSharePpm }: PayoutWish =
      this.#payTo.get(worker)?.findLast((one) => one.state === "in-force") ?? pool;
    return { payTo, thresholdWei, asset, maxGasPriceWei, maxGasSharePpm };
  }

  async control(): Promise<Control> {
    return { ...this.#control };
  }

  async plannedSince(atMs: number): Promise<bigint> {
    return [...this.#lines.values()]
      .filter((line) => line.plannedAtMs > atMs && line.state !== "returned" && line.state !== "failed")
      .reduce((sum, line) => sum + line.amountWei, 0n);
  }

  async commitPlan(run: PayoutRun, lines: readonly PayoutLine[], nextAtMs: number | undefined): Promise<boolean> {
    if (this.#runs.has(run.id)) return true;
    if (this.#control.halts.length > 0 || this.#open().length > 0) return false;
    if (lines.some((line) => this.#balance(line.worker).owedWei < line.amountWei)) return false;
    this.#runs.set(run.id, { ...run });
    for (const line of lines) {
      this.#lines.set(line.id, { ...line });
      this.#balance(line.worker).owedWei -= line.amountWei;
      this.#balance(line.worker).payingWei += line.amountWei;
    }
    if (nextAtMs !== undefined) this.#control.nextAtMs = nextAtMs;
    return true;
  }

  async approve(run: string): Promise<boolean> {
    const found = this.#runs.get(run);
    if (found?.state !== "planned") return false;
    found.state = "approved";
    return true;
  }

  async cancel(run: string, atMs: number): Promise<boolean> {
    const found = this.#runs.get(run);
    const planned = [...this.#lines.values()].filter((line) => line.run === run && line.state === "planned");
    const isUntouched = ![...this.#intents.values()].some((one) => one.run === run);
    if (found && ["planned", "approved"].includes(found.state) && isUntouched) {
      found.state = "cancelled";
      this.#return(planned.map((line) => cancelled(line.id)));
      return true;
    }
    const left = planned.filter((line) => line.method !== "safe");
    if (found?.state !== "sending" || left.length === 0) return false;
    this.#return(left.map((line) => cancelled(line.id)));
    this.#finish(run, atMs);
    return true;
  }

  #open(): Mutable<PayoutRun>[] {
    return [...this.#runs.values()].filter((run) => run.state !== "done" && run.state !== "cancelled");
  }

  async openRuns(): Promise<readonly RunDetail[]> {
    return this.#open().map((run) => this.#detail(run));
  }

  #detail(run: PayoutRun): RunDetail {
    return {
      run: { ...run },
      lines: [...this.#lines.values()].filter((one) => one.run === run.id).map((one) => ({ ...one })),
      intents: [...this.#intents.values()].filter((one) => one.run === run.id).map((one) => ({ ...one })),
    };
  }

  async accounts(chainId: number): Promise<ReadonlyMap<WorkerAddress, AccountNonces>> {
    const found = new Map<WorkerAddress, AccountNonces>();
    for (const { payer, ...of } of this.#runs.values()) if (of.chainId === chainId) found.set(payer, {});
    for (const { payer, floor, guard, ...of } of this.#accounts.values()) {
      if (of.chainId === chainId) found.set(payer, { floor, guard });
    }
    for (const { payer, nonce, ...of } of this.intents) {
      if (of.chainId !== chainId || of.state === "lost") continue;
      const known = found.get(payer);
      found.set(payer, { ...known, last: Math.max(known?.last ?? 0, nonce) });
    }
    return found;
  }

  async commitIntents(run: string, intents: readonly PayoutIntent[]): Promise<boolean> {
    const found = this.#runs.get(run);
    if (found?.state !== "approved" && found?.state !== "sending") return false;
    if (this.#control.halts.length > 0 || this.#control.paused !== undefined) return false;
    const lines = intents.flatMap((one) => one.lines).map((id) => this.#lines.get(id));
    if (lines.some((line) => line?.state !== "planned" || line.intent !== undefined)) return false;
    const isTaken = ({ chainId, payer, nonce }: PayoutIntent): boolean =>
      this.intents.some(
        (other) =>
          other.state !== "lost" && other.chainId === chainId && other.payer === payer && other.nonce === nonce,
      );
    if (intents.some(isTaken)) {
      throw new PoolError({ code: "store/conflict" }, "A nonce has its intent.");
    }
    for (const intent of intents) {
      this.#intents.set(intent.id, { ...intent });
      for (const id of intent.lines) Object.assign(this.#lines.get(id) ?? {}, { state: "signed", intent: intent.id });
    }
    found.state = "sending";
    return true;
  }

  async dropLines(run: string, returned: Settlement["returned"], atMs: number): Promise<void> {
    this.#return(returned.filter(({ line }) => this.#lines.get(line)?.state === "planned"));
    this.#finish(run, atMs);
  }

  async addTransaction(intent: string, transaction: SignedTransaction): Promise<void> {
    const found = this.#intents.get(intent);
    if (!found || found.transactions.some((one) => one.hash === transaction.hash)) return;
    found.transactions = [...found.transactions, transaction];
  }

  async setIntentState(
    intent: string,
    state: "sent" | "confirmed",
    _atMs: number,
    mined?: { readonly hash: Hex; readonly block: number },
  ): Promise<void> {
    const found = this.#intents.get(intent);
    if (!found || !isLive(found)) return;
    Object.assign(found, { state, minedHash: mined?.hash, minedBlock: mined?.block });
    for (const line of this.#lines.values()) if (line.intent === intent) line.state = state;
  }

  async settle({ intent, state, gasWei, paid, returned, atMs, halt }: Settlement): Promise<void> {
    const found = this.#intents.get(intent);
    if (!found || !isLive(found)) return;
    found.state = state;
    this.gasWei += gasWei;
    for (const id of paid) this.#pay(id);
    this.#return(returned);
    if (halt) await this.halt(halt);
    this.#finish(found.run, atMs);
  }

  #pay(id: string): void {
    const line = this.#lines.get(id);
    if (!line || ["final", "failed", "returned"].includes(line.state)) return;
    line.state = "final";
    this.#balance(line.worker).payingWei -= line.amountWei;
    this.#balance(line.worker).paidWei += line.amountWei;
  }

  #return(returned: Settlement["returned"]): void {
    for (const { line: id, reason, hold } of returned) {
      const line = this.#lines.get(id);
      if (!line || ["final", "failed", "returned"].includes(line.state)) continue;
      Object.assign(line, { state: hold ? "failed" : "returned", reason });
      this.#balance(line.worker).payingWei -= line.amountWei;
      this.#balance(line.worker).owedWei += line.amountWei;
      if (hold)
        this.#held.set(line.worker, { held: reason, plainOnly: this.#held.get(line.worker)?.plainOnly ?? false });
    }
  }

  #finish(run: string, atMs: number): void {
    const found = this.#runs.get(run);
    if (!found) return;
    const { lines, intents } = this.#detail(found);
    if (lines.some((one) => !["final", "failed", "returned"].includes(one.state)) || intents.some(isLive)) return;
    Object.assign(found, { state: "done", finishedAtMs: atMs });
  }

  async markExported(run: string): Promise<boolean> {
    const found = this.#runs.get(run);
    if (found?.state !== "approved") return false;
    found.state = "exported";
    return true;
  }

  async settleExported(
    run: string,
    { paid, returned, atMs, halt }: Parameters<PayoutStore["settleExported"]>[1],
  ): Promise<void> {
    if (this.#runs.get(run)?.state !== "exported") return;
    for (const id of paid) this.#pay(id);
    this.#return(returned);
    if (halt) await this.halt(halt);
    this.#finish(run, atMs);
  }

  async halt(halt: Halt): Promise<void> {
    const { halts } = this.#control;
    if (!halts.some((one) => one.code === halt.code)) this.#control.halts = [...halts, halt];
  }

  async giveUp(): Promise<boolean> {
    return false;
  }

  async giveUpSigned(): Promise<boolean> {
    return false;
  }

  async givenUp(): Promise<readonly GivenUpRun[]> {
    return [];
  }

  async paidAfterAll(_run: string, halt: Halt): Promise<void> {
    await this.halt(halt);
  }

  async pause(reason: string): Promise<void> {
    this.#control.paused = reason;
  }

  async resume(found: readonly Findings[], handedOut: readonly string[] = []): ReturnType<PayoutStore["resume"]> {
    const notOwed = [];
    for (const one of found) notOwed.push(...(await this.#book(one)));
    for (const run of this.#open()) {
      if (handedOut.includes(run.id) && (run.state === "planned" || run.state === "approved")) run.state = "exported";
    }
    this.#control.halts = [];
    this.#control.paused = undefined;
    return notOwed;
  }

  async booksCatchUp(): Promise<boolean> {
    return true;
  }

  async workers(): Promise<readonly WorkerAddress[]> {
    return [...this.books.keys()];
  }

  async knownTransactions(chainId: number, payer: WorkerAddress, from: number): Promise<ReadonlySet<Hex>> {
    const known = this.intents.filter(
      (one) => one.state !== "lost" && one.chainId === chainId && one.payer === payer && one.nonce >= from,
    );
    const hashes = known.flatMap((one) => one.transactions.map(({ hash }) => hash));
    return new Set([...hashes, ...this.#found]);
  }

  async multisigs(chainId: number): ReturnType<PayoutStore["multisigs"]> {
    const runs = [...this.#runs.values()].filter((run) => run.chainId === chainId);
    return runs.flatMap(({ id, payer, batchContract }) =>
      [...this.#lines.values()].some((line) => line.run === id && line.method === "safe")
        ? [{ safe: payer, contract: batchContract }]
        : [],
    );
  }

  async lastSignedMs(chainId: number, payer: WorkerAddress): Promise<number | undefined> {
    const ours = this.intents.filter((one) => one.chainId === chainId && one.payer === payer);
    const signed = ours.map((one) => one.transactions[0]?.signedAtMs ?? 0);
    return signed.length === 0 ? undefined : Math.max(...signed);
  }

  async #book({
    lost,
    lines,
    payments,
    nonceFloor,
    nonceGuard,
    chainId,
    payer,
    atMs,
  }: Findings): ReturnType<PayoutStore["resume"]> {
    for (const one of lost) await this.settle(one);
    for (const { line, hash } of lines) {
      this.#found.add(hash);
      this.#pay(line);
    }
    const paid = new Set(payments.map(({ worker }) => worker));
    const planned = [...this.#lines.values()].filter((one) => one.state === "planned" && paid.has(one.worker));
    this.#return(planned.map(({ id }) => ({ line: id, reason: "paid otherwise", hold: false })));
    for (const run of this.#open()) {
      if (lines.some(({ line }) => this.#lines.get(line)?.run === run.id)) run.state = "sending";
      this.#finish(run.id, atMs);
    }
    const notOwed: { worker: WorkerAddress; wei: bigint }[] = [];
    for (const { worker, amountWei, hash } of payments) {
      this.#found.add(hash);
      const balance = this.#balance(worker);
      const missing = amountWei - balance.owedWei;
      if (missing > 0n) {
        notOwed.push({ worker, wei: missing });
        this.#credited.set(worker, this.creditedWei(worker) + missing);
      }
      balance.owedWei = missing > 0n ? 0n : -missing;
      balance.paidWei += amountWei;
    }
    const key = `${chainId} ${payer}`;
    const before = this.#accounts.get(key);
    const guard = nonceGuard === undefined ? before?.guard : Math.max(before?.guard ?? 0, nonceGuard);
    const floor = Math.max(before?.floor ?? 0, nonceFloor);
    this.#accounts.set(key, { chainId, payer, floor, ...(guard === undefined ? {} : { guard }) });
    return notOwed;
  }

  async keepFiat(): Promise<boolean> {
    return false;
  }

  async setNextAt(nextAtMs: number | undefined, schedule: string | undefined): Promise<void> {
    Object.assign(this.#control, { nextAtMs, schedule });
  }

  async runs(): Promise<readonly PayoutRun[]> {
    return [...this.#runs.values()].reverse();
  }

  async run(id: string): Promise<RunDetail | undefined> {
    const found = this.#runs.get(id);
    return found && this.#detail(found);
  }

  async linesOf(worker: WorkerAddress): Promise<readonly PayoutLine[]> {
    return [...this.#lines.values()].filter((line) => line.worker === worker);
  }

  async line(id: string): Promise<PayoutLine | undefined> {
    return this.#lines.get(id);
  }

  async retry(worker: WorkerAddress): Promise<void> {
    this.#held.set(worker, { held: undefined, plainOnly: true });
  }

  async hold(): Promise<void> {}

  async payToChanges(worker: WorkerAddress): Promise<readonly PayToChange[]> {
    return this.#payTo.get(worker) ?? [];
  }

  async addPayToChange(change: PayToChange): Promise<PayToChange | undefined> {
    const before = await this.payToChanges(change.worker);
    if (before.some((one) => one.nonce >= change.nonce)) return before.find((one) => one.nonce === change.nonce);
    this.#payTo.set(change.worker, [...before, change]);
    return change;
  }

  async cancelPayToChanges(): Promise<void> {}

  async applyPayToChanges(nowMs: number): Promise<void> {
    for (const [worker, changes] of this.#payTo) {
      const state = (one: PayToChange) => (one.effectiveAtMs <= nowMs ? "in-force" : one.state);
      const { payTo } = this.#wishOf(worker);
      this.#payTo.set(
        worker,
        changes.map((one) => ({ ...one, state: state(one) })),
      );
      // A new address gets a new chance.
      if (this.#wishOf(worker).payTo !== payTo) this.#held.delete(worker);
    }
  }
}

function isLive({ state }: PayoutIntent): boolean {
  return state === "signed" || state === "sent" || state === "confirmed";
}

function cancelled(line: string): Settlement["returned"][number] {
  return { line, reason: "the run was cancelled", hold: false };
}
