import { type Clock, errorText, type Logger } from "@openpool/base";
import { formatRig, needOf, type Profile, type RigName, type WorkerAddress } from "@openpool/protocol";
import type { BodyMemory } from "../bodies/body-memory.ts";
import { openBody } from "../bodies/body.ts";
import type { ConnectionId, JobId, RigView } from "../dispatch/types.ts";
import type { NewEvent } from "../store/types.ts";
import { createUuidV7 } from "../store/uuid.ts";
import { checkSegment, checkSegmentBytes } from "./check-segment.ts";
import type { JobDesk } from "./desk.ts";
import type { JobOutcome, Work } from "./job.ts";

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
const DEADLINE_MS = 8_000;
/** Encoders take no narrower pictures; the check's own width would let a copy of it pass. */
const MIN_WIDTH = 160;
const MAX_WIDTH = checkSegment.width - 20;

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
    const chosen = idle[Math.floor(this.#deps.random() * idle.length)];
    if (!chosen || memory.tight) return "none";
    const bytes = checkSegmentBytes();
    const input = await openBody(memory, {
      purpose: "source",
      announcedBytes: bytes.length,
      maxBytes: bytes.length,
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (typeof input === "string") return "none";
    try {
      input.append(bytes);
      input.end();
      input.confirm();
      const profile = this.#someProfile();
      const work: Work = {
        id: this.#newJobId() as JobId,
        session: `check-${this.#newJobId()}`,
        seq: 0n,
        durationMs: checkSegment.durationMs,
        profiles: [profile],
        need: needOf(0n),
        clip: undefined,
        perceptualHash: false,
        forceSessionReinit: false,
        input,
        deadlineMs: clock.monotonicMs() + DEADLINE_MS,
      };
      const outcome = await desk.check(work, chosen.connection);
      if (outcome.kind === "done") outcome.release();
      return await this.#note(chosen.rig, outcome, clock.monotonicMs() - startedMs);
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

  /** Another one each time: what was made for one check is no answer to the next. */
  #someProfile(): Profile {
    const width = 2 * Math.floor((MIN_WIDTH + this.#deps.random() * (MAX_WIDTH - MIN_WIDTH)) / 2);
    const height = 2 * Math.round((width * checkSegment.height) / checkSegment.width / 2);
    return {
      name: "check",
      width,
      height,
      bitrate: 100_000 + 50_000 * Math.floor(this.#deps.random() * 5),
      fps: 0,
      fpsDen: 1,
      container: "mpegts",
      codec: "h264",
      h264Profile: "default",
      gopMs: 0,
      quality: 0,
    };
  }

  async #note(rig: RigName, outcome: JobOutcome, tookMs: number): Promise<CheckResult> {
    if (outcome.kind === "abandoned") return "none";
    const result = outcome.kind === "done" ? "passed" : "failed";
    const why = outcome.kind === "failed" ? { why: outcome.reason } : {};
    const data = { result, tookMs: Math.round(tookMs), ...why };
    await this.#deps.append([{ type: "rig.checked", ...rig, data }]).catch((error: unknown) => {
      this.#deps.logger.warn("a check was not recorded", { rig: formatRig(rig), error: errorText(error) });
    });
    return result;
  }
}
