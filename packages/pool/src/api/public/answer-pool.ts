import type {
  Component,
  FactsOf,
  Health,
  Incident,
  NextPayout,
  NotConfigured,
  PayoutLine,
  PayoutRun,
  PayoutRunAnswer,
  PayoutsAnswer,
  PoolAnswer,
  Reason,
  ReasonCode,
  SolvencyAnswer,
  StatusAnswer,
  Windows,
  WorkerAddress,
  WorkerPayoutsAnswer,
} from "@openpool/protocol";
import type { RollupPoint } from "../../store/rollup-types.ts";
import { inField, reasonOf } from "./amounts.ts";
import { windowsOf } from "./answer-workers.ts";
import { type Cached, cached } from "./cached.ts";
import { type Context, isUnavailable, liveJson } from "./context.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { incident, incidentsOf } from "./incidents.ts";
import { NO_PAYOUTS, PAYOUTS_NOT_CONFIGURED } from "./money.ts";
import type { IncomeView } from "./ports.ts";
import { ApiError } from "./problem.ts";
import { STEP_MS, time, timeOrNull, windowStart } from "./sums.ts";
import { currentTerms, termsAnswer, termsJson } from "./terms.ts";

const LAST_PAYOUTS = 5;
const INCIDENT_DAYS = 90;
const MOST_INCIDENT_EVENTS = 2_000;

/** Answers about the pool as a whole; what is dear to find out is remembered for some seconds. */
export class PoolAnswers {
  readonly #context: Context;
  readonly #solvency: Cached<SolvencyAnswer>;
  readonly #incidents: Cached<readonly Incident[]>;
  readonly #income: (() => Promise<IncomeView>) | undefined;
  readonly #nextPayout: () => Promise<NextPayout>;
  readonly #windows: () => Promise<Windows>;
  readonly #lastPayouts: () => Promise<readonly PayoutRun[]>;
  readonly #days: () => Promise<readonly RollupPoint[]>;

  constructor(context: Context) {
    this.#context = context;
    const { clock, port } = context;
    const short = { freshMs: 5_000, staleMs: 60_000 };
    this.#solvency = cached(clock, short, () => this.#makeSolvency());
    this.#incidents = cached(clock, { freshMs: 10_000, staleMs: 120_000 }, () => this.#makeIncidents());
    const { income } = port;
    const nextPayout = cached(clock, short, () => this.#makeNextPayout());
    this.#nextPayout = lastKnown(() => nextPayout.get());
    const incomeView = income && cached(clock, { freshMs: 30_000, staleMs: 600_000 }, income);
    this.#income = incomeView && lastKnown(() => incomeView.get());
    this.#windows = lastKnown(() => windowsOf(context, {}));
    this.#lastPayouts = lastKnown(async () => (await port.payouts?.runs(LAST_PAYOUTS, undefined)) ?? []);
    this.#days = lastKnown(() => port.rollups.series({}, "day", windowStart(clock.now(), "day", INCIDENT_DAYS)), []);
  }

  async pool(): Promise<PoolAnswer> {
    const { port, clock } = this.#context;
    const { facts } = port;
    const [windows, nextPayout, lastPayouts, income, problems] = await Promise.all([
      this.#windows(),
      port.payouts ? this.#nextPayout() : NO_PAYOUTS,
      this.#lastPayouts(),
      this.#income?.(),
      this.#problems(),
    ]);
    const { identity } = facts;
    return {
      identity: { ...identity, contacts: [...identity.contacts] },
      version: facts.version,
      startedAt: time(facts.startedAtMs),
      network: facts.network,
      explorer: port.payouts?.explorer ?? null,
      serviceUri: facts.serviceUri,
      join: facts.join,
      price: {
        pricePerUnitWei: facts.price.pricePerUnitWei.toString(),
        pixelsPerUnit: facts.price.pixelsPerUnit.toString(),
      },
      terms: termsJson(currentTerms(port.terms(), clock.now())),
      live: liveJson(this.#context),
      windows,
      nextPayout,
      lastPayouts: [...lastPayouts],
      money: { luckPpm: luckOf(income), reserveWei: income?.reserveWei?.toString() ?? null },
      status: { health: healthOf(problems), reasons: problems.map(({ reason }) => reason) },
    };
  }

  async #makeNextPayout(): Promise<NextPayout> {
    const { port, clock } = this.#context;
    const { payouts } = port;
    if (!payouts) throw new Error("only with payouts");
    const [at, stopped, due] = await Promise.all([payouts.nextAtMs(), payouts.stopped(), payouts.due()]);
    return {
      configured: true,
      at: stopped ? null : timeOrNull(at),
      ...inField("paused", stopped?.why ?? null),
      minimumWei: currentTerms(port.terms(), clock.now()).minimumPayoutWei.toString(),
      workers: due.workers,
      totalWei: due.totalWei.toString(),
    };
  }

  terms(): ReturnType<typeof termsAnswer> {
    return termsAnswer(this.#context.port.terms(), this.#context.clock.now());
  }

  // ---- payouts

  async payouts(query: { readonly limit: number; readonly cursor?: string | undefined }): Promise<PayoutsAnswer> {
    const { payouts } = this.#context.port;
    if (!payouts) return NO_PAYOUTS;
    const runs = await payouts.runs(query.limit + 1, beforeOf(query.cursor));
    const items = runs.slice(0, query.limit);
    return {
      configured: true,
      explorer: payouts.explorer ?? null,
      payer: payouts.payer ?? null,
      items,
      next: nextOf(runs.length > query.limit, items.at(-1)?.id),
    };
  }

  async payoutRun(
    id: string,
    query: { readonly limit: number; readonly cursor?: string | undefined },
  ): Promise<PayoutRunAnswer> {
    const { payouts } = this.#context.port;
    if (!payouts) throw new ApiError({ code: "api/not-configured" }, NO_PAYOUTS.why);
    const [run, lines] = await Promise.all([
      payouts.run(id),
      payouts.linesOfRun(id, query.limit + 1, beforeOf(query.cursor)),
    ]);
    if (!run) throw new ApiError({ code: "api/not-found" }, "There is no such payout run.");
    const items = lines.slice(0, query.limit);
    return {
      run,
      explorer: payouts.explorer ?? null,
      lines: { items, next: nextOf(lines.length > query.limit, items.at(-1)?.id) },
    };
  }

  async workerPayouts(
    worker: WorkerAddress,
    query: { readonly limit: number; readonly cursor?: string | undefined },
  ): Promise<WorkerPayoutsAnswer> {
    const { payouts } = this.#context.port;
    if (!payouts) return NO_PAYOUTS;
    const [lines, paid] = await Promise.all([
      payouts.linesOf(worker, query.limit + 1, beforeOf(query.cursor)),
      payouts.paid(worker),
    ]);
    const items: PayoutLine[] = lines.slice(0, query.limit);
    return {
      configured: true,
      explorer: payouts.explorer ?? null,
      count: paid.count,
      paidWei: paid.paidWei.toString(),
      items,
      next: nextOf(lines.length > query.limit, items.at(-1)?.id),
    };
  }

  // ---- books

  async solvency(): Promise<SolvencyAnswer> {
    const kept = await this.#solvency.get();
    const takenMs = Date.parse(kept.books.asOf);
    return { ...kept, books: { ...kept.books, ...this.#context.age(takenMs) } };
  }

  async #makeSolvency(): Promise<SolvencyAnswer> {
    const { port, clock } = this.#context;
    const nowMs = clock.now();
    const { books } = port;
    if (!books) throw new ApiError({ code: "api/not-configured" }, "This pool keeps no ledger.");
    const fromMs = windowStart(nowMs, "day", 30);
    const [totals, days, income] = await Promise.all([
      books.totals(),
      port.rollups.series({}, "day", fromMs),
      this.#income?.(),
    ]);
    const check = books.lastCheck?.();
    const credited = totals.heldWei + totals.owedWei + totals.payingWei + totals.paidWei;
    return {
      books: {
        ...this.#context.age(nowMs),
        creditedWei: credited.toString(),
        heldWei: totals.heldWei.toString(),
        owedWei: totals.owedWei.toString(),
        payingWei: totals.payingWei.toString(),
        paidWei: totals.paidWei.toString(),
        commissionWei: totals.commissionWei.toString(),
        feesWei: totals.feesWei.toString(),
        entries: null,
      },
      check: {
        balanced: check === undefined ? null : check.differences.length === 0,
        checkedAt: timeOrNull(check?.atMs),
        differences: [...(check?.differences ?? [])],
      },
      income:
        income === undefined
          ? ({ configured: false, ...inField("why", reasonOf("no-income-view", {})) } satisfies NotConfigured)
          : {
              configured: true,
              receivedWei: income.receivedWei.toString(),
              received30dWei: income.received30dWei.toString(),
              expected30dWei: income.expected30dWei.toString(),
              luckPpm: luckOf(income),
              reserveWei: income.reserveWei?.toString() ?? null,
              reserveDays: income.reserveDays ?? null,
              maxSharePpm: income.maxSharePpm ?? null,
            },
      days: days.map((day) => ({
        day: time(day.atMs),
        earnedWei: day.earnedWei.toString(),
        commissionWei: (day.feeWei - day.earnedWei).toString(),
        jobs: Number(day.jobs),
      })),
    };
  }

  // ---- status

  async status(): Promise<StatusAnswer> {
    const context = this.#context;
    const live = context.live();
    const [problems, incidents, components, days] = await Promise.all([
      this.#problems(),
      this.#incidents.get().catch(unlessAway<readonly Incident[]>([])),
      this.#components(),
      this.#days(),
    ]);
    const { code, sentence, facts } =
      problems[0]?.reason ?? reasonOf("all-well", { streams: live.streams, rigs: onlineRigs(context) });
    return {
      ...context.age(live.atMs),
      health: healthOf(problems),
      sentence,
      code,
      facts,
      components,
      incidents: [...incidents],
      days: days
        .filter((day) => day.jobs + day.lostJobs > 0n)
        .map((day) => ({
          day: time(day.atMs),
          jobs: Number(day.jobs),
          lostJobs: Number(day.lostJobs),
          answeredPpm: Number((day.jobs * 1_000_000n) / (day.jobs + day.lostJobs)),
        })),
    };
  }

  async #components(): Promise<Component[]> {
    const { port } = this.#context;
    const live = this.#context.live();
    const rigs = onlineRigs(this.#context);
    const halts = (await port.books?.halts().catch(() => [])) ?? [];
    const stopped = await port.payouts?.stopped().catch(unlessAway("unknown" as const));
    const check = port.books?.lastCheck?.();
    const differs = (check?.differences.length ?? 0) > 0;
    const upstreams = port.upstreams?.() ?? [];
    const lost = upstreams.filter((one) => !one.connected);
    const components = [
      live.draining ? part("gateways", "degraded", "gateways", {}) : part("gateways", "ok", "gateways-ok", {}),
      rigs === 0
        ? part("workers", "down", "workers", {})
        : part("workers", "ok", "workers-ok", { rigs, places: live.capacity }),
      live.logWritable ? part("event-log", "ok", "event-log-ok", {}) : part("event-log", "down", "event-log", {}),
      port.books === undefined
        ? part("ledger", "not-configured", "ledger-not-configured", {})
        : differs
          ? part("ledger", "degraded", "ledger", {})
          : part("ledger", "ok", check === undefined ? "ledger-unchecked" : "ledger-ok", {}),
      port.payouts === undefined
        ? part("payouts", "not-configured", "payouts-not-configured", PAYOUTS_NOT_CONFIGURED)
        : stopped === "unknown"
          ? part("payouts", "degraded", "payouts-unknown", {})
          : halts.length > 0 || stopped
            ? part("payouts", "degraded", "payouts", stopped?.kind === "paused" ? { paused: stopped.reason } : {})
            : part("payouts", "ok", "payouts-ok", {}),
    ];
    if (upstreams.length > 0) {
      const of = { lost: lost.length, upstreams: upstreams.length };
      components.push(
        lost.length === 0
          ? part("upstreams", "ok", "upstreams-ok", { upstreams: upstreams.length })
          : part("upstreams", lost.length === upstreams.length ? "down" : "degraded", "upstreams", of),
      );
    }
    return components;
  }

  /** What is not as it should be, worst first. */
  async #problems(): Promise<readonly { readonly health: Exclude<Health, "ok">; readonly reason: Reason }[]> {
    const worst: Record<Component["health"], number> = { down: 0, degraded: 1, ok: 2, "not-configured": 3 };
    // Without a rig there is no work either way; the event log decides whether there can be any.
    return (await this.#components())
      .flatMap((one) => {
        if (one.health !== "down" && one.health !== "degraded") return [];
        const health = one.name === "upstreams" ? ("degraded" as const) : one.health;
        return [{ health, reason: { code: one.code, sentence: one.detail, action: null, facts: one.facts } }];
      })
      .toSorted((a, b) => worst[a.health] - worst[b.health]);
  }

  async #makeIncidents(): Promise<readonly Incident[]> {
    const { port, clock } = this.#context;
    const nowMs = clock.now();
    const events = await port.rollups.incidents(nowMs - INCIDENT_DAYS * STEP_MS.day, MOST_INCIDENT_EVENTS);
    const halts = (await port.books?.halts().catch(() => [])) ?? [];
    const stopped = await port.payouts?.stopped();
    const now = halts.map((halt) =>
      incident(
        { id: `halt-${halt.name}`, kind: "payouts-halted", startMs: halt.sinceMs, endMs: undefined },
        "payouts-halted",
        {},
      ),
    );
    if (stopped && now.length === 0) {
      const of = { id: "payouts-stopped", startMs: stopped.sinceMs ?? nowMs, endMs: undefined };
      now.push(
        stopped.kind === "paused"
          ? incident({ ...of, kind: "payouts-paused" }, "payouts-paused", { why: stopped.reason })
          : incident({ ...of, kind: "payouts-halted" }, "payouts-halted", {}),
      );
    }
    return [...now, ...incidentsOf(events, nowMs)].slice(0, 100);
  }
}

function part<Code extends ReasonCode>(
  name: Component["name"],
  health: Component["health"],
  code: Code,
  given: FactsOf<Code>,
): Component {
  const { sentence, facts } = reasonOf(code, given);
  return { name, health, detail: sentence, code, facts };
}

/** For `catch`: this instead, when the database does not answer. */
function unlessAway<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (isUnavailable(error)) return instead;
    throw error;
  };
}

/**
 * Asks each time. While the database does not answer it is what was known last, or `otherwise`: a page that says what is
 * wrong must not fail by it.
 */
function lastKnown<T>(ask: () => Promise<T>, otherwise?: T): () => Promise<T> {
  let known = otherwise;
  return async () => {
    try {
      return (known = await ask());
    } catch (error) {
      if (known === undefined) throw error;
      return unlessAway(known)(error);
    }
  };
}

function onlineRigs(context: Context): number {
  let rigs = 0;
  for (const rig of context.live().rigs.values()) if (rig.state !== "offline") rigs++;
  return rigs;
}

function healthOf(problems: readonly { readonly health: Exclude<Health, "ok"> }[]): Health {
  return problems[0]?.health ?? "ok";
}

/** As the operator's commands and metrics have it, within what the schema allows. */
function luckOf(income: IncomeView | undefined): number | null {
  return income?.luckPpm === undefined ? null : Math.min(income.luckPpm, 1_000_000_000);
}

/** Lists of payouts go on behind an id. */
function beforeOf(cursor: string | undefined): string | undefined {
  const [id] = decodeCursor(cursor, 1) ?? [];
  return id === undefined || id === null ? undefined : String(id);
}

function nextOf(more: boolean, id: string | undefined): string | null {
  return more && id !== undefined ? encodeCursor([id]) : null;
}
