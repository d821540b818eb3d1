import { PoolError } from "@openpool/base";
import { isAddressProblem, parseAddress, type WorkerAddress } from "@openpool/protocol";
import { AccountWatch } from "./account-watch.ts";
import {
  haltPayouts,
  isLive,
  type PayoutContext,
  type PayoutDeps,
  payerOf,
  type PayoutSettings,
  Waits,
  WINDOW,
} from "./context.ts";
import { IntentFollower } from "./follower.ts";
import { giveUpAccount } from "./give-up-account.ts";
import { Multisig } from "./multisig.ts";
import { requestPayTo } from "./payto-changes.ts";
import { Planning } from "./planning.ts";
import { findUnknownPayments, RECONCILED_HALTS } from "./reconcile.ts";
import { notIn } from "./refusals.ts";
import { RunSigner } from "./run-signer.ts";
import type {
  ExportFormat,
  GiveUpAccount,
  GiveUpMultisig,
  Halt,
  Hex,
  NextPayout,
  PayeeStanding,
  PayoutLine,
  PageQuery,
  PayoutPort,
  PayoutRun,
  PayoutStatus,
  PayToChange,
  PayToRequest,
  PlannedPayout,
  ResumeHow,
  ResumeReport,
  RunDetail,
} from "./types.ts";

/**
 * Pays, exactly once. Every step reads where things stand from the store and the chain, does one thing, and writes it
 * down; it can be cut off anywhere and begun again.
 *
 * Why nobody is paid twice: a line belongs to one intent at most. All transactions of an intent are written down before
 * they are sent and have one nonce, so that the chain takes one of them at most. And a line is owed again only when the
 * chain has finally decided about that nonce against it.
 */
export class PayoutEngine implements PayoutPort {
  readonly #context: PayoutContext;
  readonly #settings: PayoutSettings;
  readonly #deps: PayoutDeps;
  readonly #waits = new Waits();
  readonly #follower: IntentFollower;
  readonly #signer: RunSigner;
  readonly #account: AccountWatch;
  readonly #planning: Planning;
  readonly #multisig: Multisig;
  /** One thing at a time: steps, and what people ask for. */
  #last: Promise<unknown> = Promise.resolve();
  #busy = false;

  constructor(settings: PayoutSettings, deps: PayoutDeps) {
    this.#settings = settings;
    this.#deps = deps;
    this.#context = { settings, deps, waits: this.#waits };
    this.#follower = new IntentFollower(this.#context);
    this.#signer = new RunSigner(this.#context);
    this.#account = new AccountWatch(this.#context);
    this.#planning = new Planning(this.#context, this.#account);
    this.#multisig = new Multisig(this.#context);
  }

  get payer(): WorkerAddress | undefined {
    return payerOf(this.#context);
  }

  /** Something is under way, so that the chain should be looked at often. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Moves everything on as far as it goes now. Errors of the database or the nodes: nothing was decided, try again. */
  step(): Promise<void> {
    return this.#alone(() => this.#step());
  }

  async #step(): Promise<void> {
    const { store, clock } = this.#deps;
    this.#waits.clear();
    await store.applyPayToChanges(clock.now());
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
        if (await this.#follower.follow(intent, lines, { stopped, first: place === 0 })) return;
      }
      if (stopped || live.length > 0) continue;
      if (run.state !== "approved" && run.state !== "sending") continue;
      const signed = await this.#signer.sign({ run, lines, intents });
      for (const intent of signed.slice(0, WINDOW)) await this.#follower.send(intent);
    }
    if (await this.#account.look(this.#planning.rules)) await this.#multisig.watch();
    if (stopped) {
      // Before what anything else waits for.
      this.#waits.clear();
      this.#waits.because(halted?.message ?? `payouts are paused: ${control.paused}`);
      return;
    }
    await this.#signer.watchForgotten();
    await this.#planning.keepSchedule();
  }

  /** What was sent on another chain can be decided there alone. True: nothing may be done here. */
  async #isOfAnotherChain(open: readonly RunDetail[], halts: readonly Halt[]): Promise<boolean> {
    const { chain, clock } = this.#deps;
    const other = open.flatMap((one) => one.intents).find((one) => isLive(one) && one.chainId !== chain.chainId);
    if (!other) return false;
    const known = halts.find((one) => one.code === "payout/other-chain");
    const message = `Run ${other.run} has transactions on chain ${other.chainId} that are not decided, and the pool now pays on chain ${chain.chainId}: here nobody can say whether they were made. Start the pool with --chain-id ${other.chainId} and nodes of that chain, let the run come to its end, then change the chain.`;
    if (!known) {
      const halt = { code: "payout/other-chain", message, atMs: clock.now(), intent: other.id, nonce: undefined };
      await haltPayouts(this.#deps, halt);
    }
    this.#waits.because(message);
    return true;
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
    const { floats, balanceWei, goneWei } = this.#account;
    return {
      chainId: this.#deps.chain.chainId,
      pool: this.#settings.poolName,
      payToDelayMs: this.#settings.payToDelayMs,
      payer: this.payer,
      asset: this.#settings.rules.asset,
      choices: this.#settings.rules.choices,
      balanceWei,
      goneWei,
      paused,
      // One of its own says what to do about it; those of the books are told by the books.
      halted: halts.find(({ code }) => code.startsWith("payout/")) ?? halts[0],
      waitingFor: this.#waits.first,
      floats,
      warnings: floats.flatMap((one) => one.text ?? []),
    };
  }

  async next(): Promise<NextPayout> {
    const { nextAtMs } = await this.#deps.store.control();
    const { schedule, timeZone, minimumWei } = this.#deps.terms();
    return { atMs: schedule === undefined ? undefined : nextAtMs, schedule, timeZone, minimumWei };
  }

  runs({ limit = 100, before }: PageQuery = {}): Promise<readonly PayoutRun[]> {
    return this.#deps.store.runs(limit, before);
  }

  run(id: string): Promise<RunDetail | undefined> {
    return this.#deps.store.run(id);
  }

  linesOf(worker: WorkerAddress, { limit = 100, before }: PageQuery = {}): Promise<readonly PayoutLine[]> {
    return this.#deps.store.linesOf(worker, limit, before);
  }

  plan({ dryRun }: { readonly dryRun: boolean }): Promise<PlannedPayout> {
    return this.#asked(() => this.#planning.plan(dryRun));
  }

  approve(id: string, by: string): Promise<PayoutRun> {
    return this.#asked(async () => {
      if (!(await this.#deps.store.approve(id, by))) throw notIn(id, "is not waiting for approval");
      return (await this.#mustFind(id)).run;
    });
  }

  cancel(id: string): Promise<PayoutRun> {
    return this.#asked(async () => {
      const { store, clock } = this.#deps;
      await this.#mustFind(id);
      if (!(await store.cancel(id, clock.now()))) {
        throw notIn(id, "cannot be cancelled: all of it was signed or exported, or it is done");
      }
      return (await this.#mustFind(id)).run;
    });
  }

  /** Without waiting for a step that is being made: nothing more is signed from then on. */
  async pause(reason: string): Promise<void> {
    await this.#deps.store.pause(reason);
    this.#deps.wake?.();
  }

  resume(how: ResumeHow = {}): Promise<ResumeReport> {
    return this.#asked(async () => {
      const { store } = this.#deps;
      const control = await store.control();
      if (await this.#isOfAnotherChain(await store.openRuns(), control.halts)) {
        throw new PoolError({ code: "payout/other-chain" }, this.#waits.first ?? "");
      }
      const halts = control.halts.filter(({ code }) => RECONCILED_HALTS.has(code));
      const { payer } = this;
      if (halts.length > 0) {
        if (payer !== undefined) return this.#reconcile(payer, halts, how);
        throw noAccount();
      }
      await store.resume([]);
      return { found: [], notOwed: [], handedOut: [] };
    });
  }

  /** Books what the chain knows and the books do not, and ends the halts behind which that may be. */
  async #reconcile(payer: WorkerAddress, halts: readonly Halt[], how: ResumeHow): Promise<ResumeReport> {
    const { store, clock } = this.#deps;
    const { rules } = this.#settings;
    const booksOfMs = halts.find((one) => one.booksOfMs !== undefined)?.booksOfMs;
    const found = await findUnknownPayments(payer, booksOfMs, how, {
      ...this.#deps,
      nowMs: clock.now(),
      batchContract: rules.batchContract,
      settle: (intent, lines, receipt) => this.#follower.settle(intent, lines, receipt),
    });
    const open = await store.openRuns();
    const lines = new Map(open.flatMap((run) => run.lines.map((line) => [line.id, line])));
    // What is approved in books that were set back may have been handed out since, and executed, or will be.
    const handedOut = open.flatMap(({ run, lines: its }) =>
      booksOfMs !== undefined && run.state !== "sending" && its.some((line) => line.method === "safe") ? [run.id] : [],
    );
    const notOwed = await store.resume(found, handedOut);
    const foundLines = found.flatMap((one) => one.lines);
    const payments = found.flatMap((one) => one.payments);
    return {
      found: [
        ...foundLines.flatMap(({ line: id, hash }) => {
          const line = lines.get(id);
          return line ? [{ worker: line.worker, payTo: line.payTo, amountWei: line.amountWei, hash }] : [];
        }),
        ...payments.map(({ worker, payTo, amountWei, hash }) => ({ worker, payTo, amountWei, hash })),
      ],
      notOwed,
      handedOut,
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
    return this.#asked(() => this.#deps.store.hold(worker, reason));
  }

  release(worker: WorkerAddress): Promise<void> {
    return this.#asked(() => this.#deps.store.hold(worker, undefined));
  }

  exportRun(id: string, format: ExportFormat): Promise<string> {
    return this.#alone(async () => this.#multisig.export(await this.#mustFind(id), format));
  }

  reconcile(id: string, hash: Hex): Promise<PayoutRun> {
    return this.#asked(async () => {
      await this.#multisig.reconcile(await this.#mustFind(id), hash);
      return (await this.#mustFind(id)).run;
    });
  }

  giveUp(id: string, how: GiveUpMultisig | GiveUpAccount): Promise<PayoutRun> {
    return this.#asked(async () => {
      const detail = await this.#mustFind(id);
      await ("safe" in how ? this.#multisig.giveUp(detail, how) : giveUpAccount(this.#context, detail, how));
      return (await this.#mustFind(id)).run;
    });
  }

  async payees(): Promise<readonly PayeeStanding[]> {
    return (await this.#deps.store.payees()).map(({ worker, thresholdWei, held, stopped }) => ({
      worker,
      thresholdWei,
      stopped: held !== undefined || stopped !== undefined,
      failed: held,
      heldBack: stopped,
    }));
  }

  payToChanges(worker: WorkerAddress): Promise<readonly PayToChange[]> {
    return this.#deps.store.payToChanges(worker);
  }

  requestPayTo(request: PayToRequest): Promise<PayToChange> {
    return this.#asked(() => requestPayTo(this.#context, request));
  }

  cancelPayTo(worker: WorkerAddress): Promise<void> {
    return this.#asked(() => this.#deps.store.cancelPayToChanges(worker, this.#deps.clock.now()));
  }

  async #mustFind(id: string): Promise<RunDetail> {
    const detail = await this.#deps.store.run(id);
    if (detail) return detail;
    throw new PoolError({ code: "payout/no-such-run" }, `There is no payout run ${id}: see \`openpool payouts list\`.`);
  }
}

function noAccount(): PoolError {
  return new PoolError(
    { code: "payout/no-account" },
    "There is no account whose payments could be compared with the books: name its keystore with --payout-keystore.",
  );
}
