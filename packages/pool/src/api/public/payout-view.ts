import {
  type Asset as AssetJson,
  explorerOf,
  type PayoutLine as LineJson,
  type PayoutRun as RunJson,
  type Reason,
  type WorkerAddress,
} from "@openpool/protocol";
import type {
  Asset,
  FiatPrice,
  LineState,
  NextPayout,
  PayoutLine,
  PayoutPort,
  PayoutRun,
  PayoutStatus,
  RunState,
} from "../../payouts/types.ts";
import type { Payable } from "../../payouts/ports.ts";
import { asFact, inField, reasonOf } from "./amounts.ts";
import { cached } from "./cached.ts";
import type { PayoutsView } from "./payout-port.ts";
import { time, timeOrNull } from "./sums.ts";

/** What pages look at of whoever pays. Lists are newest first, the lines of a run in their order; all behind an id. */
export interface PayoutReads extends Pick<PayoutPort, "payToChanges" | "payees"> {
  status(): Promise<Pick<PayoutStatus, "paused" | "halted">>;
  next(): Promise<Pick<NextPayout, "atMs">>;
  runs(limit: number, before?: string): Promise<readonly PayoutRun[]>;
  runHead(id: string): Promise<PayoutRun | undefined>;
  /** What of each of these is paid for good, what its lines come to in what it pays in, and by which transactions. */
  runSums(
    ids: readonly string[],
  ): Promise<
    ReadonlyMap<
      string,
      { readonly paidWei: bigint; readonly sendAmount: bigint; readonly transactions: readonly string[] }
    >
  >;
  linesOfRun(run: string, limit: number, after?: string): Promise<readonly PayoutLine[]>;
  linesOf(worker: WorkerAddress, limit: number, before?: string): Promise<readonly PayoutLine[]>;
  /** How many of a worker's lines are paid for good. */
  finalLines(worker: WorkerAddress): Promise<number>;
}

export interface PayoutViewDeps {
  readonly port: PayoutReads;
  readonly clock: { monotonicMs(): number };
  /** What the terms say of a worker. */
  readonly minimumOf: (worker: WorkerAddress) => bigint;
  readonly payable: () => Promise<readonly Payable[]>;
  /** Reasons of the books for which nothing is paid. */
  readonly halts: () => Promise<readonly { readonly sinceMs: number }[]>;
  readonly paidWei: (worker: WorkerAddress) => Promise<bigint>;
  readonly asset: Asset;
  readonly payer: WorkerAddress | undefined;
  readonly chainId: number;
}

/** The newest runs, which every page shows some of, are kept for a moment. */
const NEWEST = 51;
const FRESH_MS = 3_000;
/** Runs that are over, and so never change, are kept as they are shown; a few are made a day. */
const KEPT_RUNS = 2_000;

const NO_SUMS = { paidWei: 0n, sendAmount: 0n, transactions: [] };

const RUN_STATES: Record<RunState, RunJson["state"]> = {
  planned: "planned",
  approved: "approved",
  sending: "sending",
  exported: "sending",
  done: "final",
  cancelled: "abandoned",
};
const LINE_STATES: Record<LineState, LineJson["state"]> = {
  planned: "planned",
  signed: "planned",
  sent: "sent",
  confirmed: "confirmed",
  final: "final",
  failed: "returned",
  returned: "returned",
};

export function assetJson(asset: Asset | "mixed"): AssetJson {
  if (asset === "mixed") return { symbol: "mixed", token: null, decimals: null };
  return asset === "eth"
    ? { symbol: "ETH", token: null, decimals: 18 }
    : { symbol: `token ${asset.slice(0, 6)}…${asset.slice(-4)}`, token: asset, decimals: null };
}

/** What an amount was worth, to the cent, rounded down; by integers, as the price is a decimal number of any length. */
export function fiatOf(amountWei: bigint, { currency, perEth, source }: FiatPrice): LineJson["fiat"] {
  const [, whole, decimals = ""] = /^(\d+)(?:\.(\d+))?$/.exec(perEth) ?? [];
  if (whole === undefined) return null;
  const scaled = BigInt(whole + decimals) * amountWei;
  const cents = (scaled * 100n) / 10n ** BigInt(18 + decimals.length);
  return { currency, amount: `${cents / 100n}.${(cents % 100n).toString().padStart(2, "0")}`, source };
}

/** The payouts of this pool as everybody may see them. */
export function createPayoutsView(deps: PayoutViewDeps): PayoutsView {
  const { port, clock } = deps;
  const finished = new Map<string, RunJson>();
  const inForce = async (worker: WorkerAddress): Promise<{ payTo: WorkerAddress; thresholdWei: bigint } | undefined> =>
    (await port.payToChanges(worker)).find((one) => one.state === "in-force");

  /** As they are shown, in one question for all that are not over. */
  const described = async (runs: readonly PayoutRun[]): Promise<readonly RunJson[]> => {
    const asked = runs.filter(({ id }) => !finished.has(id));
    const sums = asked.length === 0 ? undefined : await port.runSums(asked.map(({ id }) => id));
    if (finished.size >= KEPT_RUNS) finished.clear();
    return runs.map((run) => {
      const kept = finished.get(run.id);
      if (kept) return kept;
      const { paidWei, sendAmount, transactions } = sums?.get(run.id) ?? NO_SUMS;
      const shown: RunJson = {
        id: run.id,
        state: RUN_STATES[run.state],
        ...inField("waitsFor", waitsFor(run)),
        createdAt: time(run.createdAtMs),
        finishedAt: timeOrNull(run.finishedAtMs),
        asset: assetJson(run.asset),
        assetAmount: run.asset === "mixed" ? null : sendAmount.toString(),
        workers: run.lines,
        totalWei: run.totalWei.toString(),
        paidWei: paidWei.toString(),
        gasWei: run.gasWei === 0n ? null : run.gasWei.toString(),
        transactions: [...transactions],
      };
      if (isOver(run)) finished.set(run.id, shown);
      return shown;
    });
  };
  const newest = cached(clock, { freshMs: FRESH_MS, staleMs: 30_000 }, async () => {
    const runs = await port.runs(NEWEST);
    return { runs, shown: await described(runs) };
  });
  const lineJson = (line: PayoutLine): LineJson => ({
    id: line.id,
    run: line.run,
    worker: line.worker,
    payTo: line.payTo,
    amountWei: line.amountWei.toString(),
    asset: assetJson(line.asset),
    assetAmount: line.sendAmount.toString(),
    state: LINE_STATES[line.state],
    plannedAt: time(line.plannedAtMs),
    sentAt: timeOrNull(line.sentAtMs),
    finalAt: line.state === "final" ? timeOrNull(line.finishedAtMs) : null,
    transaction: line.txHash ?? null,
    block: line.block === undefined ? null : String(line.block),
    gasWei: line.gasShareWei === 0n ? null : line.gasShareWei.toString(),
    fiat: line.fiat ? fiatOf(line.amountWei, line.fiat) : null,
    // What a contract or a node said may be anything; the pool's own words are in its log.
    ...inField("reason", line.state === "returned" || line.state === "failed" ? reasonOf("line-returned", {}) : null),
  });

  return {
    explorer: explorerOf(deps.chainId),
    payer: deps.payer,
    asset: assetJson(deps.asset),
    nextAtMs: async () => (await port.next()).atMs,
    async stopped() {
      const [{ paused, halted }, [halt]] = await Promise.all([port.status(), deps.halts()]);
      if (halted || halt) {
        return {
          kind: "halted",
          why: reasonOf("operator-must-look", {}),
          reason: "",
          sinceMs: halted?.atMs ?? halt?.sinceMs,
        };
      }
      return paused === undefined
        ? undefined
        : { kind: "paused", why: reasonOf("operator-paused", { said: paused }), reason: paused, sinceMs: undefined };
    },
    async minimumWei(worker) {
      const own = (await inForce(worker))?.thresholdWei ?? 0n;
      const common = deps.minimumOf(worker);
      return own > common ? own : common;
    },
    payTo: async (worker) => (await inForce(worker))?.payTo,
    async due() {
      const [payable, payees] = await Promise.all([deps.payable(), port.payees()]);
      const of = new Map(payees.map((one) => [one.worker, one]));
      const ready = payable.filter(({ worker, owedWei }) => {
        const { thresholdWei = 0n, stopped = false } = of.get(worker) ?? {};
        return !stopped && owedWei >= thresholdWei && owedWei >= deps.minimumOf(worker);
      });
      return { workers: ready.length, totalWei: ready.reduce((sum, one) => sum + one.owedWei, 0n) };
    },
    async waits(worker) {
      const [last] = (await newest.get()).runs;
      const found = last?.waiting.find((one) => one.worker === worker);
      // What it is owed now is enough, as whoever asks has seen.
      if (!last || !found || found.code === "below-minimum") return undefined;
      // In our own words: what the operator, a node or a contract said is not for everybody. Of a time that is past, and so
      // always true.
      const because = reasonOf(`left-out-${found.code ?? "unknown"}`, {});
      return reasonOf("left-out", { payoutAt: time(last.createdAtMs), ...asFact("because", because) });
    },
    async runs(limit, before) {
      if (before === undefined && limit <= NEWEST) return (await newest.get()).shown.slice(0, limit);
      return described(await port.runs(limit, before));
    },
    async run(id) {
      const kept = finished.get(id);
      if (kept) return kept;
      const run = await port.runHead(id);
      return run && (await described([run]))[0];
    },
    async linesOfRun(run, limit, after) {
      return (await port.linesOfRun(run, limit, after)).map(lineJson);
    },
    async linesOf(worker, limit, before) {
      return (await port.linesOf(worker, limit, before)).map(lineJson);
    },
    async paid(worker) {
      const [count, paidWei] = await Promise.all([port.finalLines(worker), deps.paidWei(worker)]);
      return { count, paidWei };
    },
  };
}

function isOver({ state }: PayoutRun): boolean {
  return state === "done" || state === "cancelled";
}

function waitsFor(run: PayoutRun): Reason | null {
  if (run.state === "exported") return reasonOf("run-by-hand", {});
  const { approvalReason } = run;
  if (run.state !== "planned" || approvalReason === undefined) return null;
  const [, whole, decimals = ""] = OVER_LIMIT.exec(approvalReason) ?? [];
  if (whole === undefined) return reasonOf("run-needs-approval", { why: approvalReason });
  const limitWei = BigInt(whole + decimals.padEnd(18, "0"));
  const why = reasonOf("run-over-limit", { runWei: run.totalWei, limitWei });
  return reasonOf("run-needs-approval", asFact("why", why));
}

/** As plans say it. */
const OVER_LIMIT = /^[\d.]+ ETH are more than (\d{1,60})(?:\.(\d{1,18}))? ETH, which a person has to approve$/;
