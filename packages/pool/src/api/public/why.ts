import type { Reason } from "@openpool/protocol";
import { SILENT, standingDemerit, weigh } from "../../dispatch/score.ts";
import { duration, many } from "./amounts.ts";
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

/** Who has room now, and in which order a new stream would look at them. */
export function supplyOf(live: LivePool): Supply {
  const online = [...live.rigs.values()].filter((rig) => rig.state === "online");
  const speeds = online.flatMap((rig) => speedOf(rig) ?? []).toSorted((a, b) => a - b);
  const usual = speeds[Math.floor(speeds.length / 2)] ?? 1;
  const free = online
    .filter((rig) => freePlaces(rig) > 0)
    .map((rig) => ({ worker: rig.worker, ...standingOf(rig, usual) }));
  return {
    rigsOnline: online.length,
    capacity: online.reduce((sum, rig) => sum + rig.capacity, 0),
    free: online.reduce((sum, rig) => sum + freePlaces(rig), 0),
    freeRigs: free.length,
    aheadOf(rig) {
      const own = standingOf(rig, usual);
      return free.filter(
        (other) =>
          other.worker !== rig.worker &&
          (other.tier < own.tier || (other.tier === own.tier && other.score < own.score)),
      ).length;
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
  const say = (code: string, sentence: string, action: string | null = null): void =>
    void reasons.push({ code, sentence, action });
  if (rig.state === "offline") {
    say(
      "offline",
      `${rig.rig} is not connected; it was last seen ${duration(live.atMs - rig.lastSeenMs)} ago.`,
      "Start it, or look into its log: it says whether it reaches the pool.",
    );
    return reasons;
  }
  if (live.draining) say("pool-restarting", "The pool is restarting and takes no new streams for a moment.");
  if (!live.logWritable) say("pool-cannot-book", "The pool cannot write its books now, so it takes no work.");
  if (rig.state === "draining") {
    say("draining", `The pool's operator takes ${rig.rig} out of work: it keeps its streams and gets no new ones.`);
  }
  if (rig.standing === "barred") {
    say(
      "barred",
      `${rig.rig} is barred: ${rig.standingReason}. It gets one segment now and then to show that it is well again.`,
      "Find out why its results fail; good retrials in a row lift it.",
    );
  } else if (rig.standing === "probation") {
    say(
      "probation",
      `${rig.rig} is on probation: ${rig.standingReason}. Others with room come first.`,
      "Good results in a row earn the trust back.",
    );
  }
  if (rig.connections.length > 0 && rig.connections.every((one) => one.avoided)) {
    say(
      "avoided",
      `${rig.rig} is left alone for a moment: it said that it was busy, or let a task run late without a sign of life.`,
      "If this stays, it has more places than it can serve: lower its capacity.",
    );
  }
  if (rig.streams > 0) {
    say(
      "working",
      `${rig.rig} has ${many(rig.streams, "stream")} on ${many(rig.capacity, "place")}` +
        (rig.jobsInFlight > 0
          ? ` and works on ${many(rig.jobsInFlight, "segment")} now.`
          : "; a stream pauses between segments."),
    );
    if (freePlaces(rig) === 0) {
      say(
        "full",
        `All places of ${rig.rig} are taken.`,
        "If it is not busy, give it more capacity; if it is, this is what it can do.",
      );
      return reasons;
    }
  }
  if (live.streams === 0) {
    say("no-demand", "No gateway sends a stream to this pool now.");
    return reasons;
  }
  if (ahead > 0) {
    say(
      "others-ahead",
      `${many(ahead, "rig")} of others with a free place ${ahead === 1 ? "is" : "are"} faster, less loaded or better trusted, and a new stream goes there first.`,
      "Faster work and fewer failures move it up; its speed stands on the rig's page.",
    );
  }
  if (rig.streams === 0 && chosen === 0 && passedOver === 0) {
    say(
      "streams-stay",
      `The ${many(live.streams, "stream")} that run${live.streams === 1 ? "s" : ""} stay${live.streams === 1 ? "s" : ""} with the rigs that serve them well; no new one had to be placed in the last hour.`,
    );
  } else if (rig.streams === 0 && passedOver > 0) {
    say(
      "passed-over",
      `In the last hour it was considered ${many(passedOver + chosen, "time")} and chosen ${many(chosen, "time")}.`,
    );
  }
  if (rig.standing === "new") {
    say("new", `${rig.rig} is new: it is tried out with single segments until its results have shown what it can do.`);
  }
  if (reasons.length === 0) {
    say("next", `${rig.rig} is ready and nobody with room is ahead of it: the next new stream is likely its.`);
  }
  if (supply.free > live.streams * 4 && rig.streams === 0) {
    say(
      "room",
      `The pool has ${many(supply.free, "free place")} and ${many(live.streams, "stream")}: there are more rigs than work now.`,
    );
  }
  return reasons;
}

export { HOUR_MS };
