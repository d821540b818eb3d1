import { type Clock, errorText, type Logger, openScope } from "@openpool/base";
import type { RigName, WorkerAddress } from "@openpool/protocol";
import type { SchemesPort } from "./api/types.ts";
import { hookNames, type HookOpinion, type JoiningWorker, type PlannedPayout } from "./hooks/interface.ts";
import { Hooks } from "./hooks/hooks.ts";
import { hashOfHook, HookError } from "./hooks/read-module.ts";
import { createHookRunner } from "./hooks/runner.ts";
import { IncomeReader } from "./income/income-reader.ts";
import type { IncomeOptions } from "./income/options.ts";
import { SchemeKeeper } from "./income/scheme-keeper.ts";
import type { UptimeSlotsDeps } from "./income/uptime-slots.ts";
import { type SolvencyFacts, solvencyOf, type SolvencyReport } from "./income/solvency.ts";
import type { IncomeChain, OrchestratorStanding } from "./income/types.ts";
import { createJobBooker, type JobHooks, readScheme, schemeAccounts, sharesIncome } from "./ledger/schemes/index.ts";
import { everyTerms, type Terms, type TermsBook } from "./ledger/terms.ts";
import type { BookJob } from "./ledger/types.ts";
import type { Books } from "./open-books.ts";
import { type NewEvent, type PgConnection, PgSchemeStore, type Store } from "./store/index.ts";

export interface SchemesDeps {
  readonly connection: PgConnection;
  readonly store: Store;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** What schemes need before the books can be opened: how jobs are booked, and the hooks that terms name. */
export interface SchemeRules extends AsyncDisposable {
  readonly store: PgSchemeStore;
  readonly hooks: Hooks;
  bookJob(terms: TermsBook): BookJob;
}

/** Opens hooks and the schemes' store; nothing runs by itself yet. */
export function openSchemeRules({ connection, logger, clock }: SchemesDeps): SchemeRules {
  const scope = openScope();
  const store = scope.use(new PgSchemeStore(connection, { clock }));
  const runner = scope.use(createHookRunner({ clock }));
  const hooks = new Hooks({ runner, logger, source: (hash) => store.hookSource(hash) });
  return {
    store,
    hooks,
    bookJob: (terms) => createJobBooker(terms, hooks satisfies JobHooks),
    [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
  };
}

export interface SchemesAtWorkDeps extends SchemesDeps {
  readonly rules: SchemeRules;
  readonly books: Books;
  /** Who could take work now, and whether a worker can do it. */
  readonly uptime: Omit<UptimeSlotsDeps, "logger">;
  /** What payouts are made from, see {@link SolvencyFacts.payoutBalanceWei}. */
  readonly payoutBalanceWei?: (() => Promise<SolvencyFacts["payoutBalanceWei"]>) | undefined;
}

/** Schemes, hooks, income and solvency of a running pool. */
export interface SchemesAtWork extends AsyncDisposable {
  readonly port: SchemesPort;
  /** As it is now, or (`soon`, the default) was some seconds ago at most. Rejects when the database does not answer. */
  solvency(now?: "now" | "soon"): Promise<SolvencyReport>;
  /** What came in, for the public pages. */
  income(): Promise<{
    readonly receivedWei: bigint;
    readonly received30dWei: bigint;
    readonly expected30dWei: bigint;
    readonly luckPpm: number | undefined;
    readonly reserveWei: bigint | undefined;
    readonly reserveDays: number | undefined;
    readonly maxSharePpm: number | undefined;
  }>;
  /** Asks the hooks of the terms that are in force for the worker. */
  workerJoined(rig: RigName, about: Pick<JoiningWorker, "version" | "capacity">): Promise<HookOpinion>;
  payoutPlanned(payout: PlannedPayout): Promise<HookOpinion>;
  /** A job of this worker was verified: it needs no check. */
  workerWorked(worker: WorkerAddress): void;
  /** The workers are being let go. */
  stop(): void;
}

const DAY_MS = 86_400_000;
const RECENT_DAYS = 30;
const FRESH_MS = 15_000;
const POLL_MS = 15_000;
/** What most providers answer at once; less is asked for when that is refused. */
const MAX_BLOCKS = 5_000;

/** Starts what schemes do by themselves: income, periods, slots. */
export async function startSchemes(
  income: IncomeOptions | undefined,
  { rules, books, store, logger, clock, uptime, payoutBalanceWei }: SchemesAtWorkDeps,
): Promise<SchemesAtWork> {
  const scope = openScope();
  const kept = rules.store;
  const terms = (): Terms => books.terms.current;
  const now = () => ({
    nowMs: clock.now(),
    terms: terms(),
    // Income is of the time of its block, whenever it is read.
    sharing: (atMs: number) => sharesIncome(books.terms.book.at(atMs)),
  });
  const tell = (event: NewEvent): Promise<void> =>
    store.append([event]).catch((error: unknown) => {
      logger.warn("an event was not recorded", { type: event.type, error: errorText(error) });
    });

  let chain: IncomeChain | undefined;
  let reader: IncomeReader | undefined;
  if (income) {
    const { openIncomeChain } = await import("./chain/income-chain.ts");
    chain = openIncomeChain(income);
    const name = `income ${income.orchestrator}`;
    reader = scope.use(
      new IncomeReader(
        { orchestrator: income.orchestrator, fromBlock: income.fromBlock, maxBlocks: MAX_BLOCKS, pollMs: POLL_MS },
        {
          chain,
          logger,
          clock,
          loadProgress: () => kept.loadProgress(name),
          knownRefs: (refs) => kept.knownRefs(refs),
          refsAfter: (chainId, block) => kept.refsAfter(chainId, block),
          append: (events) => store.append(events),
          commit: (events, progress) => kept.commitIncome(name, events, progress, now()),
        },
      ),
    );
  }

  const keeper = scope.use(
    new SchemeKeeper({
      clock,
      logger,
      terms: books.terms.book,
      ...uptime,
      incomeReadTo: () => (reader ? reader.readToMs : "always"),
      store: kept,
      tell,
      async keepDay() {
        const totals = await books.store.totals();
        await kept.keepDay({
          atMs: clock.now(),
          feesWei: totals.feesWei,
          creditedWei: totals.heldWei + totals.owedWei + totals.payingWei + totals.paidWei,
          gasWei: totals.gasWei,
        });
      },
    }),
  );

  let standing: OrchestratorStanding | undefined;
  let standingProblem: string | undefined;
  const work = async (): Promise<SolvencyReport> => {
    const nowMs = clock.now();
    const sinceMs = nowMs - RECENT_DAYS * DAY_MS;
    const [totals, accounts, day, ever, recent, held] = await Promise.all([
      books.store.totals(),
      books.store.accounts(),
      kept.dayAfter(sinceMs),
      kept.incomeTotals(0),
      kept.incomeTotals(sinceMs),
      kept.heldByHooks(),
    ]);
    if (chain) {
      try {
        standing = await chain.standing();
        standingProblem = undefined;
      } catch (error) {
        // What was seen last is better than nothing, and it is said that it is old.
        standingProblem = errorText(error);
      }
    }
    const creditedWei = totals.heldWei + totals.owedWei + totals.payingWei + totals.paidWei;
    const facts: SolvencyFacts = {
      books: {
        ...totals,
        potsWei: (accounts.get(schemeAccounts.segmentPot) ?? 0n) + (accounts.get(schemeAccounts.uptimePot) ?? 0n),
        unsharedWei: held.feeWei,
      },
      days: day ? Math.max((nowMs - day.atMs) / DAY_MS, 1 / 24) : 1,
      recent: {
        feesWei: totals.feesWei - (day?.feesWei ?? 0n),
        earnedWei: creditedWei - (day?.creditedWei ?? 0n),
      },
      income:
        reader || ever.keptWei > 0n
          ? {
              receivedWei: ever.keptWei,
              recentRedeemedWei: recent.redeemedWei,
              recentKeptWei: recent.keptWei,
              withdrawnWei: ever.withdrawnWei,
              recentFaceWei: recent.faceWei,
              recentUnpaidWei: recent.unpaidWei,
              largestWei: recent.largestWei,
            }
          : undefined,
      chain: chain && (standing ?? "unknown"),
      payoutBalanceWei: await payoutBalanceWei?.().catch(() => "unknown" as const),
      recentGasWei: totals.gasWei - (day?.gasWei ?? 0n),
      promisedPpm: promisedPpm(terms()),
    };
    return { ...solvencyOf(facts), facts, incomeProblem: reader?.status.problem ?? standingProblem };
  };
  let fresh: { readonly untilMs: number; readonly report: Promise<SolvencyReport> } | undefined;
  let warned = "";
  const solvency = (now: "now" | "soon" = "soon"): Promise<SolvencyReport> => {
    if (!fresh || now === "now" || clock.monotonicMs() > fresh.untilMs) {
      const report = work();
      fresh = { untilMs: clock.monotonicMs() + FRESH_MS, report };
      report.then(
        ({ warnings }) => {
          const codes = warnings.map((one) => one.code).join(" ");
          if (codes !== warned) for (const { code, text } of warnings) logger.warn("solvency", { code, text });
          warned = codes;
        },
        () => (fresh = undefined),
      );
    }
    return fresh.report;
  };

  const addHook = async (source: string): Promise<{ readonly hash: string; readonly exports: readonly string[] }> => {
    const exported = await rules.hooks.exportsOf(source);
    if ("why" in exported) throw new HookError({ code: "hooks/bad-module" }, `This is no hook: ${exported.why}.`);
    const names = exported.names.filter((name) => hookNames.some((one) => one === name));
    if (names.length === 0) {
      throw new HookError(
        { code: "hooks/bad-module" },
        `This module exports none of the functions ${hookNames.join(", ")}: there is nothing to call.`,
      );
    }
    const module = { hash: hashOfHook(source), source };
    await kept.putHook(module, names, clock.now());
    await tell({ type: "hook.added", data: { hook: module.hash, exports: names } });
    return { hash: module.hash, exports: names };
  };
  const release = async (how: { readonly hook: string } | "by-fee"): Promise<{ released: number; failed: number }> => {
    let released = 0;
    let failed = 0;
    const tried = new Set<string>();
    for (;;) {
      const held = (await kept.heldJobs(1_000)).filter(({ job }) => !tried.has(job.job));
      if (held.length === 0) break;
      const shares =
        how === "by-fee"
          ? []
          : await rules.hooks.share(
              how.hook,
              held.map(({ job }) => job),
            );
      for (const [i, one] of held.entries()) {
        tried.add(one.job.job);
        const share = shares[i];
        if (how !== "by-fee" && share?.kind !== "shared") failed++;
        else {
          // What was earned under a version stays as that one says.
          const time = { nowMs: clock.now(), terms: books.terms.book.version(one.termsVersion) };
          if (await kept.releaseHeld(one, share?.kind === "shared" ? share : undefined, time)) released++;
        }
      }
      // Those on which it failed stay in front: there is no way behind them.
      if (failed > 0) break;
    }
    if (released > 0)
      await tell({ type: "hook.released", data: { jobs: released, by: how === "by-fee" ? how : how.hook } });
    return { released, failed };
  };

  const port: SchemesPort = {
    solvency,
    incomes: (limit) => kept.incomes(limit),
    incomeStatus: () => ({ configured: reader !== undefined, ...reader?.status }),
    async addIncome(entry) {
      await kept.addByHand(entry, now());
      fresh = undefined;
      const { ref, wei, pot, note } = entry;
      await tell({ type: "income.entered", data: { ref, wei: String(wei), pot, note } });
    },
    hooks: () => kept.hooks(),
    addHook,
    lastJobs: (limit) => kept.lastJobs(limit),
    heldJobs: (limit) => kept.heldJobs(limit),
    release,
  };
  const hookFor = (worker: WorkerAddress): string | undefined => {
    const { scheme, schemeOptions } = books.terms.book.of(terms(), worker);
    return readScheme(scheme, schemeOptions).hook;
  };
  const none: HookOpinion = { veto: undefined, note: undefined };
  return {
    port,
    solvency,
    async income() {
      const { facts, luckPpm, reserveWei, reserveDays, maxSharePpm } = await solvency();
      return {
        receivedWei: facts.income?.receivedWei ?? 0n,
        received30dWei: facts.income?.recentRedeemedWei ?? 0n,
        expected30dWei: facts.recent.feesWei,
        luckPpm: luckPpm === undefined ? undefined : Number(luckPpm),
        reserveWei,
        reserveDays,
        maxSharePpm: maxSharePpm === undefined ? undefined : Number(maxSharePpm),
      };
    },
    async workerJoined({ worker, rig }, { version, capacity }) {
      const hook = hookFor(worker);
      return hook === undefined ? none : rules.hooks.workerJoined(hook, { worker, rig, version, capacity });
    },
    async payoutPlanned(payout) {
      const hook = hookFor(payout.worker);
      return hook === undefined ? none : rules.hooks.payoutPlanned(hook, payout);
    },
    workerWorked: (worker) => keeper.worked(worker),
    stop: () => keeper.stop(),
    [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
  };
}

/** The largest share of a fee that a worker is promised; fixed amounts, income and hooks promise none. */
function promisedPpm(terms: Terms): bigint | undefined {
  const promised = everyTerms(terms).flatMap(({ scheme, commissionPpm }) =>
    scheme === "unit" ? [1_000_000n - commissionPpm] : [],
  );
  return promised.length === 0 ? undefined : promised.reduce((a, b) => (a > b ? a : b));
}
