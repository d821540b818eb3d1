import { type Clock, errorText, type Logger } from "@openpool/base";
import { formatRig, needOf, plainProfile, type Profile, type RigName, type WorkerAddress } from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { openBody } from "../bodies/body.ts";
import type { ConnectionId, JobId, RigView } from "../dispatch/types.ts";
import type { NewEvent } from "../store/types.ts";
import { createUuidV7 } from "../store/uuid.ts";
import { checkSegment, checkSegmentBytes } from "./check-segment.ts";
import type { JobDesk } from "./desk.ts";
import type { JobOutcome, Work } from "./job.ts";
import { randomView } from "./random-bytes.ts";

/** `none`: nobody could be asked, or paid work came first. It says nothing about the worker. */
export type CheckResult = "passed" | "failed" | "none";

export interface RigChecksDeps {
  readonly desk: Pick<JobDesk, "check">;
  readonly rigs: (nowMs: number) => readonly RigView[];
  readonly memory: BodyMemory;
  readonly append: (events: readonly NewEvent[]) => Promise<void>;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Uniform in [0, 1): which rig, and what is asked of it. */
  readonly random: () => number;
}

/** A second of small video takes a slow machine a second, and a far one a few more. */
export const CHECK_DEADLINE_MS = 8_000;
/** Encoders take no narrower pictures; the check's own width would let a copy of it pass. The height follows the picture. */
const MIN_WIDTH = 160;
const MAX_WIDTH = checkSegment.width - 20;
/** Pictures a second, as paid work asks for them; 0: as many as the source has. */
const RATES = [0, 20, 24, 30, 50, 60];

/** Looks whether a worker can do what it is there for, by a small segment that nobody pays for. */
export class RigChecks {
  readonly #deps: RigChecksDeps;
  readonly #newJobId: () => string;

  constructor(deps: RigChecksDeps) {
    this.#deps = deps;
    this.#newJobId = createUuidV7(() => deps.clock.now());
  }

  /** Checks one of the worker's rigs that has room, any of them. What came of it is an event. */
  async check(worker: WorkerAddress): Promise<CheckResult> {
    const { clock, desk, memory } = this.#deps;
    const startedMs = clock.monotonicMs();
    const idle = this.#idleConnections(worker, startedMs);
    const chosen = idle[this.#oneOf(idle.length)];
    if (!chosen || memory.tight) return "none";
    const bytes = checkSegmentBytes();
    const input = await openBody(memory, {
      purpose: "source",
      announcedBytes: bytes.length,
      maxBytes: bytes.length,
      signal: AbortSignal.timeout(CHECK_DEADLINE_MS),
    });
    if (typeof input === "string") return "none";
    try {
      input.append(bytes);
      input.end();
      input.confirm();
      const profile = this.#someProfile();
      const work: Work = {
        id: this.#newJobId() as JobId,
        session: hex(4),
        seq: BigInt(this.#oneOf(1_000)),
        durationMs: checkSegment.durationMs,
        profiles: [profile],
        need: needOf(0n),
        clip: undefined,
        perceptualHash: false,
        forceSessionReinit: false,
        input,
        deadlineMs: clock.monotonicMs() + CHECK_DEADLINE_MS,
      };
      const outcome = await desk.check(work, chosen.connection);
      if (outcome.kind === "done") outcome.release();
      return this.#note(chosen.rig, outcome, clock.monotonicMs() - startedMs);
    } finally {
      input.release();
    }
  }

  /** Connections on which nothing runs and a place is free: a check delays nobody there. */
  #idleConnections(
    worker: WorkerAddress,
    nowMs: number,
  ): readonly { readonly rig: RigName; readonly connection: ConnectionId }[] {
    return this.#deps
      .rigs(nowMs)
      .filter(({ rig }) => rig.worker === worker)
      .flatMap(({ rig, connections }) =>
        connections
          .filter((one) => !one.draining && !one.avoided && one.inFlight === 0 && one.sessions < one.capacity)
          .map(({ connection }) => ({ rig, connection })),
      );
  }

  /**
   * Another one each time, so that what was made for one check seldom answers the next, and named like those of paid work.
   * The segment is always the same: who wants to know a check can, and may have prepared every answer to it.
   */
  #someProfile(): Profile {
    const width = MIN_WIDTH + 2 * this.#oneOf((MAX_WIDTH - MIN_WIDTH) / 2 + 1);
    const height = 2 * Math.round((width * checkSegment.height) / checkSegment.width / 2);
    const fps = RATES[this.#oneOf(RATES.length)] ?? 0;
    const bitrate = 100_000 + 1_000 * this.#oneOf(300);
    return plainProfile({ name: `P${height}p${fps || 25}fps16x9`, width, height, bitrate, fps });
  }

  /** A whole number from 0 on, below this. */
  #oneOf(count: number): number {
    return Math.floor(this.#deps.random() * count);
  }

  #note(rig: RigName, outcome: JobOutcome, tookMs: number): CheckResult {
    if (outcome.kind === "abandoned") return "none";
    const result = outcome.kind === "done" ? "passed" : "failed";
    const why = outcome.kind === "failed" ? { why: outcome.reason } : {};
    const data = { result, tookMs: Math.round(tookMs), ...why };
    // Nobody waits for the log: what came of it counts also while the database does not answer.
    this.#deps.append([{ type: "rig.checked", ...rig, data }]).catch((error: unknown) => {
      this.#deps.logger.warn("a check was not recorded", { rig: formatRig(rig), error: errorText(error) });
    });
    return result;
  }
}

/** As a gateway's own session ids look. */
function hex(bytes: number): string {
  return randomView(bytes).toString("hex");
}
