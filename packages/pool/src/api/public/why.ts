import type { FactsOf, Reason, ReasonCode, WorkerAddress } from "@openpool/protocol";
import { SILENT, standingDemerit, weigh } from "../../dispatch/score.ts";
import { asFact, reasonOf } from "./amounts.ts";
import type { LivePool, LiveRig } from "./ports.ts";

const HOUR_MS = 3_600_000;

/** Its speed over all kinds of work that it is known for; undefined before its first result. */
function speedOf(rig: LiveRig): number | undefined {
  let results = 0;
  let sum = 0;
  for (const { realTimeRatio, results: n } of rig.speeds) {
    results += n;
    sum += realTimeRatio * n;
  }
  return results === 0 ? undefined : sum / results;
}

function freePlaces(rig: LiveRig): number {
  return rig.state === "online" ? Math.max(0, rig.capacity - rig.streams) : 0;
}

interface Standing {
  readonly tier: number;
  /** Less is better. */
  readonly score: number;
}

/** As dispatch sees it, over all kinds of work together. */
function standingOf(rig: LiveRig, usual: number): Standing {
  const avoided = rig.connections.length > 0 && rig.connections.every((one) => one.avoided);
  return {
    tier: standingDemerit(rig.standing) + (avoided ? SILENT : 0),
    score: weigh({
      expectedMs: 1_000 / (speedOf(rig) ?? usual),
      durationMs: 1_000,
      sessions: rig.streams,
      capacity: rig.capacity,
      health: rig.success,
    }),
  };
}

export interface Supply {
  readonly rigsOnline: number;
  readonly capacity: number;
  readonly free: number;
  readonly freeRigs: number;
  /** Rigs of others with a free place that a new stream would rather go to than to this one. */
  aheadOf(rig: LiveRig): number;
}

function isAhead(one: Standing, other: Standing): boolean {
  return one.tier < other.tier || (one.tier === other.tier && one.score < other.score);
}

/** How many of these, best first, are ahead of another. */
function countAhead(sorted: readonly Standing[], other: Standing): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const one = sorted[middle];
    if (one !== undefined && isAhead(one, other)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Thousands of rigs are looked at once for each look at the pool, and not for each question. */
const known = new WeakMap<LivePool, Supply>();

/** Who has room now, and in which order a new stream would look at them. */
export function supplyOf(live: LivePool): Supply {
  const found = known.get(live) ?? makeSupply(live);
  known.set(live, found);
  return found;
}

function makeSupply(live: LivePool): Supply {
  const online = [...live.rigs.values()].filter((rig) => rig.state === "online");
  const speeds = online.flatMap((rig) => speedOf(rig) ?? []).toSorted((a, b) => a - b);
  const usual = speeds[Math.floor(speeds.length / 2)] ?? 1;
  const free = online
    .filter((rig) => freePlaces(rig) > 0)
    .map((rig) => ({ worker: rig.worker, ...standingOf(rig, usual) }))
    .toSorted((a, b) => a.tier - b.tier || a.score - b.score);
  const freeOf = new Map<WorkerAddress, Standing[]>();
  for (const one of free) {
    const own = freeOf.get(one.worker);
    if (own) own.push(one);
    else freeOf.set(one.worker, [one]);
  }
  return {
    rigsOnline: online.length,
    capacity: online.reduce((sum, rig) => sum + rig.capacity, 0),
    free: online.reduce((sum, rig) => sum + freePlaces(rig), 0),
    freeRigs: free.length,
    aheadOf(rig) {
      const own = standingOf(rig, usual);
      return countAhead(free, own) - countAhead(freeOf.get(rig.worker) ?? [], own);
    },
  };
}

export interface RigCase {
  readonly live: LivePool;
  readonly rig: LiveRig;
  readonly ahead: number;
  readonly supply: Supply;
  /** Decisions of the last hour about it. */
  readonly chosen: number;
  readonly passedOver: number;
}

/** Why a rig has the work it has, most important first. */
export function rigReasons({ live, rig, ahead, supply, chosen, passedOver }: RigCase): Reason[] {
  const reasons: Reason[] = [];
  const say = <Code extends ReasonCode>(code: Code, facts: FactsOf<Code>): void =>
    void reasons.push(reasonOf(code, facts));
  const name = { rig: rig.rig };
  const { streams } = live;
  if (rig.state === "offline") {
    say("offline", { ...name, agoMs: live.atMs - rig.lastSeenMs });
    return reasons;
  }
  if (live.draining) say("pool-restarting", {});
  if (!live.logWritable) say("pool-cannot-book", {});
  if (rig.state === "draining") say("draining", name);
  if (rig.standing === "barred" || rig.standing === "probation") {
    say(rig.standing, { ...name, ...asFact("why", rig.standingReason) });
  }
  if (rig.connections.length > 0 && rig.connections.every((one) => one.avoided)) say("avoided", name);
  if (rig.streams > 0) {
    const segments = rig.jobsInFlight > 0 ? rig.jobsInFlight : undefined;
    say("working", { ...name, streams: rig.streams, places: rig.capacity, segments });
    if (freePlaces(rig) === 0) {
      say("full", name);
      return reasons;
    }
  }
  if (streams === 0) {
    say("no-demand", {});
    return reasons;
  }
  if (ahead > 0) say("others-ahead", { ahead });
  if (rig.streams === 0 && chosen === 0 && passedOver === 0) {
    say("streams-stay", { streams });
  } else if (rig.streams === 0 && passedOver > 0) {
    say("passed-over", { considered: passedOver + chosen, chosen });
  }
  if (rig.standing === "new") say("new", name);
  if (reasons.length === 0) say("next", name);
  if (supply.free > streams * 4 && rig.streams === 0) say("room", { places: supply.free, streams });
  return reasons;
}

export { HOUR_MS };
