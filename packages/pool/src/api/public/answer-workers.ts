import type {
  Decision,
  EarningsAnswer,
  Job,
  JobsAnswer,
  Reason,
  RigAnswer,
  RigSummary,
  WhyAnswer,
  Windows,
  WorkerAddress,
  WorkerAnswer,
} from "@openpool/protocol";
import { capabilityNames, devicesByModel, isReasonCode, problemReason } from "@openpool/protocol";
import type { z } from "zod";
import type { earningsQuerySchema, jobsQuerySchema, WindowName } from "@openpool/protocol";
import { decisionText } from "../../dispatch/decision-text.ts";
import type { KnownSubject, RollupPoint, RollupStep, RollupSubject } from "../../store/rollup-types.ts";
import { noSums } from "../../store/rollup-types.ts";
import type { RigReportRecord } from "../../store/types.ts";
import { LATENCY_BOUNDS_MS } from "../../store/schema/4-rollups.ts";
import { asFact, inField, reasonOf, reasonOfFacts } from "./amounts.ts";
import { bestState, rigSummary } from "./answer-lists.ts";
import { type Context, liveRigsOf } from "./context.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import { moneyOf } from "./money.ts";
import { ApiError } from "./problem.ts";
import { realTimeRatio, STEP_MS, sumsJson, time, timeOrNull, WINDOW_NAMES, WINDOWS, windowStart } from "./sums.ts";
import { HOUR_MS, rigReasons, supplyOf } from "./why.ts";

const MINUTES_KEPT_MS = 48 * HOUR_MS;
const STATE_ORDER = { online: 0, draining: 1, offline: 2 } as const;

/** The sums of the four windows, exact to the last counted event. */
export async function windowsOf(context: Context, subject: RollupSubject): Promise<Windows> {
  const nowMs = context.clock.now();
  const since = WINDOW_NAMES.map((name) => ({
    step: WINDOWS[name].step,
    fromMs: windowStart(nowMs, WINDOWS[name].step, WINDOWS[name].count),
  }));
  const sums = await context.port.rollups.sums(subject, since);
  const entries = WINDOW_NAMES.map((name, i) => [name, sumsJson(sums[i] ?? noSums, since[i]?.fromMs ?? nowMs, nowMs)]);
  return Object.fromEntries(entries) as Windows;
}

/** The rigs of one worker: working ones first, those of long ago last. */
export async function rigsOfWorker(
  context: Context,
  worker: WorkerAddress,
  known: readonly KnownSubject[],
): Promise<RigSummary[]> {
  const board = await context.board("24h");
  const live = new Map(liveRigsOf(context.live(), worker).map((rig) => [rig.rig, rig]));
  const remembered = new Map(known.filter((one) => one.rig !== "").map((one) => [one.rig, one]));
  return [...new Set([...live.keys(), ...remembered.keys()])]
    .map((rig) =>
      rigSummary(context, {
        name: { worker, rig },
        live: live.get(rig),
        line: board.rigs.get(`${worker}.${rig}`),
        known: remembered.get(rig),
      }),
    )
    .toSorted(
      (a, b) =>
        STATE_ORDER[a.state] - STATE_ORDER[b.state] ||
        (a.state === "offline" ? (b.lastSeenAt ?? "").localeCompare(a.lastSeenAt ?? "") : 0) ||
        a.rig.localeCompare(b.rig),
    );
}

/**
 * How the last rig that tried to join was refused, if none of its worker has come since; as news for a day, or an hour where
 * others of its rigs are here.
 */
function refusalOf(known: readonly KnownSubject[], anyOnline: boolean, nowMs: number): Reason | undefined {
  const worker = known.find((one) => one.rig === "");
  if (!worker?.refused || worker.refused.atMs < (worker.seenAtMs ?? 0)) return undefined;
  const agoMs = nowMs - worker.refused.atMs;
  if (agoMs > (anyOnline ? HOUR_MS : STEP_MS.day)) return undefined;
  const code = `refused-${worker.refused.reason}`;
  const why = reasonOfFacts(isReasonCode(code) ? code : "refused-unknown", {});
  return reasonOf("refused", { agoMs, ...asFact("why", why) });
}

export async function workerAnswer(context: Context, worker: WorkerAddress): Promise<WorkerAnswer> {
  const { port } = context;
  const live = context.live();
  const known = await port.rollups.known(worker);
  const [rigs, windows, totals, money] = await Promise.all([
    rigsOfWorker(context, worker, known),
    windowsOf(context, { worker }),
    port.rollups.totals({ worker }),
    moneyOf(context, worker),
  ]);
  const rules = port.worker(worker);
  const self = known.find((one) => one.rig === "");
  const isKnown = known.length > 0 || rigs.length > 0 || rules !== undefined;
  return {
    ...context.age(live.atMs),
    worker,
    known: isKnown,
    ...inField(
      "nextAction",
      nextAction({
        isKnown,
        rigs,
        banned: rules?.banned,
        refusal: refusalOf(known, bestState(rigs) !== "offline", context.clock.now()),
        worked: totals.jobs > 0n,
      }),
    ),
    state: bestState(rigs),
    banned: rules?.banned ?? null,
    locked: rules?.locked ?? false,
    payTo: money.payTo,
    firstSeenAt: timeOrNull(self?.firstAtMs),
    lastSeenAt: rigs.map((rig) => rig.lastSeenAt).reduce((a, b) => ((a ?? "") > (b ?? "") ? a : b), null),
    lastJobAt: timeOrNull(self?.lastJobAtMs),
    totals: {
      jobs: totals.jobs.toString(),
      pixels: totals.pixels.toString(),
      earnedWei: totals.earnedWei.toString(),
    },
    balance: money.balance,
    nextPayout: money.nextPayout,
    unpaidReasons: money.unpaid,
    windows,
    rigs,
  };
}

/** What to do is said with why. */
function nextAction(facts: {
  readonly isKnown: boolean;
  readonly rigs: readonly RigSummary[];
  readonly banned: string | undefined;
  readonly refusal: Reason | undefined;
  readonly worked: boolean;
}): Reason | null {
  const reason = nextReason(facts);
  return (
    reason && { ...reason, sentence: reason.action === null ? reason.sentence : `${reason.sentence} ${reason.action}` }
  );
}

function nextReason(facts: Parameters<typeof nextAction>[0]): Reason | null {
  if (facts.banned !== undefined) return reasonOf("banned", { why: facts.banned });
  const offline = facts.rigs.every((rig) => rig.state === "offline");
  // Anybody can be refused under somebody's address: who has rigs here reads of it among the reasons.
  if (facts.refusal && offline) return facts.refusal;
  if (!facts.isKnown) return reasonOf("never-worked", {});
  if (offline) return reasonOf("offline", {});
  return facts.worked ? null : reasonOf("waits-for-first", {});
}

function decisionsOf(context: Context, worker: WorkerAddress, rig: string, sinceMs: number): Decision[] {
  const nowMs = context.clock.now();
  return context.port
    .decisions(worker, rig)
    .filter((one) => one.atMs >= sinceMs)
    .map((one) => ({
      at: time(one.atMs),
      ageMs: Math.max(0, Math.round(nowMs - one.atMs)),
      rig,
      chosen: one.chosen,
      reason: decisionText(one.reason),
      ...one.reason,
      times: one.times,
    }));
}

export async function rigAnswer(context: Context, worker: WorkerAddress, rig: string): Promise<RigAnswer> {
  const { port, clock } = context;
  const pool = context.live();
  const live = pool.rigs.get(`${worker}.${rig}`);
  const known = (await port.rollups.known(worker)).find((one) => one.rig === rig);
  if (live === undefined && known === undefined) {
    throw new ApiError({ code: "api/not-found" }, `No rig ${rig} of ${worker} has ever connected here.`);
  }
  const subject = { worker, rig };
  const nowMs = clock.now();
  const [board, windows, told, day, week] = await Promise.all([
    context.board("24h"),
    windowsOf(context, subject),
    port.machines.read(subject),
    port.rollups.latency(subject, windowStart(nowMs, "hour", 24)),
    port.rollups.latency(subject, windowStart(nowMs, "hour", 168)),
  ]);
  const histogram = (counts: readonly number[]) => ({ boundsMs: [...LATENCY_BOUNDS_MS], counts: [...counts] });
  return {
    ...context.age(pool.atMs),
    ...rigSummary(context, { name: subject, live, line: board.rigs.get(`${worker}.${rig}`), known }),
    // Of the roll-ups themselves: the board may be some seconds behind.
    jobs24h: windows["24h"].jobs,
    earned24hWei: windows["24h"].earnedWei,
    realTimeRatio: windows["24h"].realTimeRatio,
    standingSince: timeOrNull(live?.standingSinceMs),
    connections: (live?.connections ?? []).map((one) => ({
      since: time(one.sinceMs),
      software: one.software ?? null,
      capacity: one.capacity,
      streams: one.streams,
      jobsInFlight: one.jobsInFlight,
      draining: one.draining,
      avoided: one.avoided,
      lastHeardAt: timeOrNull(one.lastHeardMs),
    })),
    windows,
    latency: { "24h": histogram(day), "7d": histogram(week) },
    speeds: (live?.speeds ?? []).map((one) => ({ ...one, realTimeRatio: Math.round(one.realTimeRatio * 100) / 100 })),
    claims: {
      measuredPixels24h: windows["24h"].pixels,
      claimedPixels24h: windows["24h"].claimedPixels,
      differed: live?.claimsDiffered ?? 0,
      lied: live?.claimsLied ?? 0,
    },
    accepted: live?.accepted ?? 0,
    failed: live?.failed ?? 0,
    decisions: decisionsOf(context, worker, rig, nowMs - HOUR_MS),
    capabilities: capabilityNames(live?.capabilities ?? 0n),
    ...machineJson(told),
  };
}

/** What a rig told about itself. Problems are put into our own words: what its programs said stays there. */
function machineJson(told: RigReportRecord | undefined): Pick<RigAnswer, "machine" | "preflight"> {
  if (!told) return { machine: null, preflight: null };
  const { report, reportedAt } = told;
  const devices = devicesByModel(report.devices).map(({ first, count }) => {
    const { id: _, ...device } = first;
    return { ...device, count };
  });
  const checks = report.tests.map(({ device, test, of, passed, problem, subject }) => {
    const told = problemReason(problem ?? "other", subject ?? "");
    const detail = passed ? reasonOf("test-passed", {}) : reasonOf(told.code, told.facts);
    return {
      ...inField("name", reasonOf(`test-${test}`, { device, of: of ?? "" })),
      passed,
      ...inField("detail", detail),
      action: detail.action,
    };
  });
  return {
    machine: { reportedAt, software: report.software, devices },
    preflight: { at: reportedAt, passed: checks.every(({ passed }) => passed), checks },
  };
}

export async function whyAnswer(context: Context, worker: WorkerAddress): Promise<WhyAnswer> {
  const { port, clock } = context;
  const live = context.live();
  const nowMs = clock.now();
  const sinceMs = nowMs - HOUR_MS;
  const rigs = liveRigsOf(live, worker).toSorted(
    (a, b) => STATE_ORDER[a.state] - STATE_ORDER[b.state] || b.streams - a.streams || a.rig.localeCompare(b.rig),
  );
  const hour = { step: "minute" as const, fromMs: windowStart(nowMs, "minute", 60) };
  const [[poolHour], [ownHour], known, money] = await Promise.all([
    port.rollups.sums({}, [hour]),
    port.rollups.sums({ worker }, [hour]),
    port.rollups.known(worker),
    moneyOf(context, worker),
  ]);
  const supply = supplyOf(live);
  const online = rigs.filter((rig) => rig.state !== "offline");
  const decisions = rigs.map((rig) => decisionsOf(context, worker, rig.rig, sinceMs));
  const cases = rigs.map((rig) => {
    const ahead = rig.state === "online" ? supply.aheadOf(rig) : supply.freeRigs;
    const facts = { live, rig, ahead, supply, chosen: rig.chosenLastHour, passedOver: rig.passedOverLastHour };
    return { rig, ahead, facts, reasons: rigReasons(facts) };
  });
  // A stream goes to the best placed of its rigs.
  const leastAhead = Math.min(supply.freeRigs, ...cases.map((one) => one.ahead));
  const streams = rigs.reduce((sum, rig) => sum + rig.streams, 0);
  const idle = rigs.every((rig) => rig.jobsInFlight === 0);
  const rules = port.worker(worker);
  const reasons: Reason[] = [];
  if (rules?.banned !== undefined) reasons.push(reasonOf("banned", { why: rules.banned }));
  const refusal = refusalOf(known, online.length > 0, nowMs);
  if (refusal && online.length === 0) reasons.push(refusal);
  if (rigs.length === 0 && known.length === 0) {
    reasons.push(reasonOf("never-joined", {}));
  } else if (online.length === 0) {
    reasons.push(reasonOf("offline", {}));
  }
  if (online.length > 0) {
    const seen = new Set<string>();
    for (const { rig, ahead, reasons: own } of cases) {
      if (rig.state === "offline") continue;
      for (const reason of own.slice(0, 2)) {
        if (seen.has(reason.code) || (reason.code === "others-ahead" && ahead > leastAhead)) continue;
        seen.add(reason.code);
        reasons.push(reason);
      }
    }
    if (refusal) reasons.push(refusal);
  }
  return {
    ...context.age(live.atMs),
    worker,
    idle,
    ...inField(
      "sentence",
      shortAnswer({ streams, poolStreams: live.streams, online: online.length, ahead: leastAhead, reasons }),
    ),
    reasons,
    demand: {
      streams: live.streams,
      jobsInFlight: live.jobsInFlight,
      jobsLastHour: Number(poolHour?.jobs ?? 0n),
      waiting: live.waiting,
    },
    supply: {
      rigsOnline: supply.rigsOnline,
      capacity: supply.capacity,
      free: supply.free,
      freeRigs: supply.freeRigs,
      freeAhead: leastAhead,
    },
    own: {
      rigsOnline: online.length,
      capacity: online.reduce((sum, rig) => sum + rig.capacity, 0),
      streams,
      jobsLastHour: Number(ownHour?.jobs ?? 0n),
    },
    rigs: cases.map(({ rig, ahead, facts, reasons: own }) => ({
      rig: rig.rig,
      state: rig.state,
      standing: rig.standing,
      ...inField("standingReason", rig.standingReason),
      standingSince: time(rig.standingSinceMs),
      capacity: rig.capacity,
      streams: rig.streams,
      freeAhead: ahead,
      chosenLastHour: facts.chosen,
      passedOverLastHour: facts.passedOver,
      reasons: own,
    })),
    decisions: decisions
      .flat()
      .toSorted((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : 0))
      .slice(0, 100),
    unpaid: money.unpaid,
  };
}

/** Why this worker has the work it has, in one sentence; the reasons say more. */
function shortAnswer(facts: {
  readonly streams: number;
  readonly poolStreams: number;
  readonly online: number;
  readonly ahead: number;
  readonly reasons: readonly Reason[];
}): Reason {
  const { streams: own, poolStreams: streams, ahead, reasons } = facts;
  if (facts.online === 0) return reasons[0] ?? reasonOf("offline", {});
  if (own > 0) return reasonOf("has-streams", { own, streams });
  if (streams === 0) return reasons[0] ?? reasonOf("no-demand", {});
  return ahead === 0 ? reasonOf("has-none", { streams }) : reasonOf("has-none-and-is-behind", { streams, ahead });
}

export async function jobsAnswer(
  context: Context,
  worker: WorkerAddress,
  query: z.infer<typeof jobsQuerySchema>,
): Promise<JobsAnswer> {
  const after = decodeCursor(query.cursor, 2);
  const [minute, position] = after ?? [];
  // What a Date can hold.
  const isTime = Number.isInteger(minute) && Math.abs(Number(minute)) <= 8.64e15;
  if (after && !(isTime && /^\d{1,18}$/.test(String(position)))) {
    throw new ApiError({ code: "api/bad-cursor" }, "Give back `next` of the page before, unchanged, or leave it out.");
  }
  const before = after ? { minuteMs: Number(minute), position: BigInt(String(position)) } : undefined;
  const { events, next } = await context.port.rollups.jobs({ worker, rig: query.rig }, before, query.limit);
  return {
    since: time(context.clock.now() - MINUTES_KEPT_MS),
    items: events.map((event) => jobJson(event.time, event.rig ?? "", event.data)),
    next: next ? encodeCursor([next.minuteMs, next.position.toString()]) : null,
  };
}

const text = (value: unknown, otherwise = "0"): string =>
  typeof value === "string" || typeof value === "number" ? String(value) : otherwise;
const whole = (value: unknown): number => (typeof value === "number" ? Math.max(0, Math.round(value)) : 0);

/** The public part of a `job.credited` event. */
export function jobJson(at: string, rig: string, data: Readonly<Record<string, unknown>>): Job {
  const price = (data["price"] ?? {}) as Record<string, unknown>;
  const renditions = Array.isArray(data["renditions"]) ? (data["renditions"] as Record<string, unknown>[]) : [];
  return {
    job: text(data["job"], ""),
    at,
    rig,
    seq: data["seq"] === undefined ? null : text(data["seq"]),
    sourceMs: whole(data["durationMs"]),
    workMs: whole(data["tookMs"]),
    renditions: renditions.map((one) => ({
      width: whole(one["width"]),
      height: whole(one["height"]),
      frames: whole(one["frames"]),
      pixels: text(one["pixels"]),
      claimedPixels: one["claimedPixels"] === undefined ? null : text(one["claimedPixels"]),
    })),
    pixels: text(data["pixels"]),
    price: { pricePerUnitWei: text(price["pricePerUnitWei"]), pixelsPerUnit: text(price["pixelsPerUnit"], "1") },
    feeWei: text(data["feeWei"]),
    commissionWei: text(data["commissionWei"]),
    earnedWei: text(data["earnedWei"]),
    attempts: whole(data["attempts"]),
    hedged: data["hedged"] === true,
  };
}

const STEPS: Record<WindowName, readonly RollupStep[]> = {
  "1h": ["minute"],
  "24h": ["hour", "minute"],
  "7d": ["hour", "day"],
  "30d": ["day", "hour"],
};
/** How many points a window has at each step, the current one included. */
const SPAN_MS: Record<WindowName, number> = {
  "1h": HOUR_MS,
  "24h": 24 * HOUR_MS,
  "7d": 168 * HOUR_MS,
  "30d": 720 * HOUR_MS,
};

export async function earningsAnswer(
  context: Context,
  subject: RollupSubject,
  query: Omit<z.infer<typeof earningsQuerySchema>, "rig">,
): Promise<EarningsAnswer> {
  const { window } = query;
  const step = query.step ?? STEPS[window][0] ?? "hour";
  if (!STEPS[window].includes(step)) {
    const problem = `is too ${STEP_MS[step] > HOUR_MS || window === "1h" ? "coarse" : "fine"} for ${window}: take ${STEPS[window].join(" or ")}`;
    throw new ApiError({ code: "api/bad-request", issues: [{ where: "step", problem }] }, `step ${problem}.`);
  }
  const nowMs = context.clock.now();
  const count = Math.round(SPAN_MS[window] / STEP_MS[step]);
  const fromMs = windowStart(nowMs, step, count);
  const found = new Map((await context.port.rollups.series(subject, step, fromMs)).map((one) => [one.atMs, one]));
  const sums = { ...noSums };
  for (const point of found.values()) {
    for (const name of Object.keys(noSums) as (keyof typeof noSums)[]) sums[name] += point[name];
  }
  const points = Array.from({ length: count }, (_, i): RollupPoint => {
    const atMs = fromMs + i * STEP_MS[step];
    return found.get(atMs) ?? { atMs, ...noSums };
  });
  return {
    window,
    step,
    from: time(fromMs),
    to: time(nowMs),
    sums: sumsJson(sums, fromMs, nowMs),
    points: points.map((point) => ({
      at: time(point.atMs),
      jobs: Number(point.jobs),
      lostJobs: Number(point.lostJobs),
      failedAttempts: Number(point.failedAttempts),
      pixels: point.pixels.toString(),
      feeWei: point.feeWei.toString(),
      earnedWei: point.earnedWei.toString(),
      realTimeRatio: realTimeRatio(point),
    })),
  };
}
