import type {
  Component,
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
  SolvencyAnswer,
  StatusAnswer,
  Windows,
  WorkerAddress,
  WorkerPayoutsAnswer,
} from "@openpool/protocol";
import type { RollupPoint } from "../../store/rollup-types.ts";
import { many } from "./amounts.ts";
import { windowsOf } from "./answer-workers.ts";
import { type Cached, cached } from "./cached.ts";
import { type Context, isUnavailable, liveJson } from "./context.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { HALTED, incidentsOf } from "./incidents.ts";
import { NO_PAYOUTS } from "./money.ts";
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
      paused: stopped?.why ?? null,
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
          ? ({
              configured: false,
              why: "This pool does not look up what it really receives, so it cannot say whether all of it is covered.",
            } satisfies NotConfigured)
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
    const health = healthOf(problems);
    return {
      ...context.age(live.atMs),
      health,
      sentence:
        problems[0]?.reason.sentence ??
        `All is well: ${many(live.streams, "stream")} on ${many(onlineRigs(context), "rig")}.`,
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
    const stopped = await port.payouts
      ?.stopped()
      .catch(unlessAway({ why: "The database does not answer, and without it nothing is paid." }));
    const check = port.books?.lastCheck?.();
    const differs = (check?.differences.length ?? 0) > 0;
    const upstreams = port.upstreams?.() ?? [];
    const lost = upstreams.filter((one) => !one.connected);
    const components: Component[] = [
      live.draining
        ? { name: "gateways", health: "degraded", detail: "The pool is restarting; running streams are served." }
        : { name: "gateways", health: "ok", detail: "Streams of gateways are taken." },
      rigs === 0
        ? { name: "workers", health: "down", detail: "No rig is connected." }
        : { name: "workers", health: "ok", detail: `${many(rigs, "rig")} with ${many(live.capacity, "place")}.` },
      live.logWritable
        ? { name: "event-log", health: "ok", detail: "Facts are written durably." }
        : { name: "event-log", health: "down", detail: "Facts cannot be written now, so no work is answered." },
      port.books === undefined
        ? { name: "ledger", health: "not-configured", detail: "This pool keeps no ledger." }
        : differs
          ? { name: "ledger", health: "degraded", detail: "The last check found a difference; payouts wait for it." }
          : {
              name: "ledger",
              health: "ok",
              detail: check === undefined ? "Not checked yet since the start." : "The last check found no difference.",
            },
      port.payouts === undefined
        ? { name: "payouts", health: "not-configured", detail: NO_PAYOUTS.why }
        : halts.length > 0 || stopped
          ? {
              name: "payouts",
              health: "degraded",
              detail: stopped?.why ?? "Payouts are halted until the operator has looked.",
            }
          : { name: "payouts", health: "ok", detail: "Payouts are made as the terms say." },
    ];
    if (upstreams.length > 0) {
      components.push(
        lost.length === 0
          ? { name: "upstreams", health: "ok", detail: `${many(upstreams.length, "upstream")} connected.` }
          : {
              name: "upstreams",
              health: lost.length === upstreams.length ? "down" : "degraded",
              detail: `${lost.length} of ${many(upstreams.length, "upstream")} not connected.`,
            },
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
        return [{ health, reason: { code: one.name, sentence: one.detail, action: null, facts: {} } }];
      })
      .toSorted((a, b) => worst[a.health] - worst[b.health]);
  }

  async #makeIncidents(): Promise<readonly Incident[]> {
    const { port, clock } = this.#context;
    const nowMs = clock.now();
    const events = await port.rollups.incidents(nowMs - INCIDENT_DAYS * STEP_MS.day, MOST_INCIDENT_EVENTS);
    const halts = (await port.books?.halts().catch(() => [])) ?? [];
    const stopped = await port.payouts?.stopped();
    const now: Incident[] = halts.map((halt) => ({
      id: `halt-${halt.name}`,
      kind: "payouts-halted",
      startedAt: time(halt.sinceMs),
      endedAt: null,
      sentence: HALTED,
    }));
    if (stopped && now.length === 0) {
      now.push({
        id: "payouts-stopped",
        kind: stopped.kind === "paused" ? "payouts-paused" : "payouts-halted",
        startedAt: time(stopped.sinceMs ?? nowMs),
        endedAt: null,
        sentence: stopped.why,
      });
    }
    return [...now, ...incidentsOf(events, nowMs)].slice(0, 100);
  }
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
