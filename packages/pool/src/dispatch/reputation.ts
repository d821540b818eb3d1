import type { DispatchOptions } from "./options.ts";
import { TimesByKind } from "./times.ts";
import type { RigMemory, Standing } from "./types.ts";

export const KINDS_PER_RIG = 16;
const MIN_RELATIVE_SAMPLES = 5;
/** Samples of each kind that outlive the process. */
const EXPORTED = 8;
/** How many plain failures a gross false claim weighs. */
const LIE_WEIGHT = 3;

type ReputationOptions = Pick<
  DispatchOptions,
  | "newUntilResults"
  | "successWeight"
  | "probationBelow"
  | "barredBelow"
  | "trustedAbove"
  | "earnBackResults"
  | "barredAfterLies"
  | "slowFactor"
  | "retrialMs"
  | "retrialMaxMs"
  | "retrialResults"
>;

/**
 * What a rig has earned by its work. The states:
 *
 *     new ──good work──▶ trusted ──slow, failing or lying──▶ probation ──worse──▶ barred
 *      └───failing or lying───────────────────────────────▶     │ ▲                 │
 *                          trusted ◀──good results in a row─────┘ └──good retrials──┘
 */
export class Reputation {
  readonly #options: ReputationOptions;
  standing: Standing = "new";
  reason = "too new to be judged";
  sinceMs: number;
  /** Success of late, 0 to 1: an average that forgets. */
  health = 1;
  accepted = 0;
  failed = 0;
  differed = 0;
  lied = 0;
  /** Good results since the last fault. */
  goodInRow = 0;
  /** Times of this rig relative to the pool's usual for the same work: 2 is half as fast. */
  relative = 1;
  #relativeCount = 0;
  /** Time per time of source, over all kinds. */
  cost = 0;
  /** When a barred rig may have one job again. */
  retrialAtMs = 0;
  retrialPauseMs: number;
  readonly times = new TimesByKind(KINDS_PER_RIG);

  constructor(options: ReputationOptions, nowMs: number) {
    this.#options = options;
    this.sinceMs = nowMs;
    this.retrialPauseMs = options.retrialMs;
  }

  /** A time was measured; `usual` is the pool's for the same kind, undefined while that is not known. */
  timed(kind: string, cost: number, usual: number | undefined, nowMs: number): boolean {
    this.times.add(kind, cost);
    this.cost = this.cost === 0 ? cost : this.cost + (cost - this.cost) * 0.15;
    if (usual !== undefined && usual > 0) {
      this.#relativeCount++;
      this.relative += (cost / usual - this.relative) * Math.max(0.15, 1 / this.#relativeCount);
    }
    if (this.slow && (this.standing === "trusted" || this.standing === "new")) {
      return this.#become("probation", this.#slowReason(), nowMs);
    }
    return false;
  }

  /** Slower than real time and far slower than others at the same work. */
  get slow(): boolean {
    return this.#relativeCount >= MIN_RELATIVE_SAMPLES && this.cost > 1 && this.relative > this.#options.slowFactor;
  }

  /** A valid result. True when the standing changed; the same for the others. */
  good(nowMs: number): boolean {
    this.accepted++;
    this.goodInRow++;
    this.health += (1 - this.health) * this.#options.successWeight;
    const { newUntilResults, trustedAbove, earnBackResults, retrialResults } = this.#options;
    switch (this.standing) {
      case "new":
        return this.accepted >= newUntilResults && this.#become("trusted", `${this.accepted} good results`, nowMs);
      case "trusted":
        return false;
      case "probation":
        return (
          !this.slow &&
          this.health >= trustedAbove &&
          this.goodInRow >= earnBackResults * (1 + this.lied) &&
          this.#become("trusted", `${this.goodInRow} good results in a row`, nowMs)
        );
      case "barred":
        this.retrialPauseMs = this.#options.retrialMs;
        this.retrialAtMs = nowMs;
        if (this.goodInRow < retrialResults) return false;
        this.health = Math.max(this.health, (this.#options.barredBelow + this.#options.probationBelow) / 2);
        this.lied = Math.min(this.lied, this.#options.barredAfterLies - 1);
        return this.#become("probation", `${this.goodInRow} good retrials in a row`, nowMs);
    }
  }

  /** A failure by the rig's fault; `weight` 1 is a plain one. */
  fault(weight: number, why: string, nowMs: number): boolean {
    this.failed++;
    return this.#worse(weight, why, nowMs);
  }

  /** A claim that is grossly off. The result itself may still be good. */
  lie(why: string, nowMs: number): boolean {
    this.lied++;
    if (this.lied >= this.#options.barredAfterLies && this.standing !== "barred") {
      this.health = Math.min(this.health, this.#options.barredBelow);
      return this.#bar(`${this.lied} grossly false claims, the last: ${why}`, nowMs);
    }
    const changed = this.#worse(LIE_WEIGHT, why, nowMs);
    if (changed || (this.standing !== "trusted" && this.standing !== "new")) return changed;
    return this.#become("probation", why, nowMs);
  }

  /** A retrial of a barred rig begins; the next one waits for its end or for the pause. */
  retried(nowMs: number): void {
    this.retrialAtMs = nowMs + this.retrialPauseMs;
  }

  #worse(weight: number, why: string, nowMs: number): boolean {
    this.goodInRow = 0;
    this.health *= (1 - this.#options.successWeight) ** weight;
    switch (this.standing) {
      case "new":
      case "trusted":
        return this.health < this.#options.probationBelow && this.#become("probation", this.#failing(why), nowMs);
      case "probation":
        return this.health < this.#options.barredBelow && this.#bar(this.#failing(why), nowMs);
      case "barred":
        this.retrialPauseMs = Math.min(this.retrialPauseMs * 2, this.#options.retrialMaxMs);
        this.retrialAtMs = nowMs + this.retrialPauseMs;
        return false;
    }
  }

  #bar(reason: string, nowMs: number): boolean {
    this.retrialPauseMs = this.#options.retrialMs;
    this.retrialAtMs = nowMs + this.retrialPauseMs;
    return this.#become("barred", reason, nowMs);
  }

  #become(standing: Standing, reason: string, nowMs: number): boolean {
    this.standing = standing;
    this.reason = reason;
    this.sinceMs = nowMs;
    return true;
  }

  #failing(why: string): string {
    return `success down to ${Math.round(this.health * 100)} %, the last failure: ${why}`;
  }

  #slowReason(): string {
    const usual = (this.relative / this.cost).toFixed(1);
    return `slow: ${(1 / this.cost).toFixed(1)} × real time, others do the same work at about ${usual} ×`;
  }

  export(rig: string, seenMs: number, nowMs: number): RigMemory {
    return {
      rig,
      standing: this.standing,
      reason: this.reason,
      standingAgeMs: nowMs - this.sinceMs,
      seenAgoMs: nowMs - seenMs,
      health: this.health,
      accepted: this.accepted,
      failed: this.failed,
      differed: this.differed,
      lied: this.lied,
      goodInRow: this.goodInRow,
      retrialInMs: Math.max(0, this.retrialAtMs - nowMs),
      retrialPauseMs: this.retrialPauseMs,
      relative: this.relative,
      times: [...this.times.entries()].map(([kind, times]) => ({ kind, costs: times.samples().slice(-EXPORTED) })),
    };
  }

  /** Takes over what was exported `awayMs` ago. */
  import(memory: RigMemory, nowMs: number, awayMs: number): void {
    this.standing = memory.standing;
    this.reason = memory.reason;
    this.sinceMs = nowMs - awayMs - memory.standingAgeMs;
    this.health = memory.health;
    this.accepted = memory.accepted;
    this.failed = memory.failed;
    this.differed = memory.differed;
    this.lied = memory.lied;
    this.goodInRow = memory.goodInRow;
    this.retrialAtMs = nowMs + Math.max(0, memory.retrialInMs - awayMs);
    this.retrialPauseMs = memory.retrialPauseMs;
    this.relative = memory.relative;
    for (const { kind, costs } of memory.times) {
      for (const cost of costs) {
        this.times.add(kind, cost);
        this.cost = this.cost === 0 ? cost : this.cost + (cost - this.cost) * 0.15;
      }
    }
  }
}

/** Reads a snapshot from disk: what is not well-formed is left out, so that a damaged file costs only what it holds. */
export function parseReputation(snapshot: unknown): RigMemory[] {
  if (!isRecord(snapshot) || snapshot["v"] !== 1 || !Array.isArray(snapshot["rigs"])) return [];
  return snapshot["rigs"].flatMap((entry: unknown) => parseMemory(entry) ?? []);
}

const standings: readonly string[] = ["new", "trusted", "probation", "barred"] satisfies Standing[];

function isStanding(value: unknown): value is Standing {
  return typeof value === "string" && standings.includes(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function parseMemory(entry: unknown): RigMemory | undefined {
  if (!isRecord(entry)) return undefined;
  const { rig, standing, reason, times } = entry;
  if (typeof rig !== "string" || typeof reason !== "string" || !isStanding(standing) || !Array.isArray(times)) {
    return undefined;
  }
  const number = (key: string, fallback: number, max = Number.MAX_SAFE_INTEGER): number => {
    const value = entry[key];
    return typeof value === "number" && value >= 0 && value <= max ? value : fallback;
  };
  return {
    rig,
    standing,
    reason,
    standingAgeMs: number("standingAgeMs", 0),
    seenAgoMs: number("seenAgoMs", 0),
    health: number("health", 1, 1),
    accepted: number("accepted", 0),
    failed: number("failed", 0),
    differed: number("differed", 0),
    lied: number("lied", 0),
    goodInRow: number("goodInRow", 0),
    retrialInMs: number("retrialInMs", 0),
    retrialPauseMs: number("retrialPauseMs", 60_000),
    relative: number("relative", 1, 1_000),
    times: times.flatMap((value: unknown) => {
      if (!isRecord(value) || typeof value["kind"] !== "string" || !Array.isArray(value["costs"])) return [];
      const costs = value["costs"].filter(
        (cost): cost is number => typeof cost === "number" && cost >= 0 && cost < 1e6,
      );
      return [{ kind: value["kind"], costs }];
    }),
  };
}
