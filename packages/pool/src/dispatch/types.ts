import type { Ability, Need, RigName } from "@openpool/protocol";
import type { DecisionReason } from "./decision-text.ts";

/** A registration stream that is open now. A rig may hold several; each has its own capacity. */
export type ConnectionId = string & { readonly connectionId: unique symbol };
/** One gateway request for one segment. */
export type JobId = string & { readonly jobId: unique symbol };
/** One attempt by one connection at one job; a retry or a hedge is another attempt. */
export type AttemptId = string & { readonly attemptId: unique symbol };

/** What a connection offers when it registers. */
export interface ConnectionOffer extends Ability {
  readonly connection: ConnectionId;
  readonly rig: RigName;
  /** Sessions that it takes at once. */
  readonly capacity: number;
}

/** What policy needs to know of a job. All times are monotonic milliseconds. */
export interface DispatchJob {
  readonly job: JobId;
  /** Segments of one stream from one gateway share it, also across a change of auth token. */
  readonly session: string;
  readonly seq: bigint;
  readonly durationMs: number;
  /** What a connection must be able to do, to have it. */
  readonly need: Need;
  /** Names the kind of work for speed statistics: equal kinds cost about equally per second of source. */
  readonly kind: string;
  /** After this moment an answer is worthless. It already leaves time to answer. */
  readonly deadlineMs: number;
  /** The source is still arriving: workers cannot be late before `inputComplete`. */
  readonly inputArriving?: boolean;
}

/** Why an attempt ended without a valid result. */
export type AttemptFailure =
  /** The stream or connection of the worker ended. Its result is still welcome if it comes first. */
  | { readonly kind: "disconnected" }
  /** The worker uploaded an error. */
  | { readonly kind: "worker-error"; readonly text: string }
  /** The result did not pass verification. */
  | { readonly kind: "invalid-result"; readonly text: string }
  /** Far too late. Its result is still welcome if it comes first. */
  | { readonly kind: "late" };

/** Why a job ended without an answer; decides the text that the gateway reads. */
export type JobFailure =
  /** Workers failed alike: it is the input. `text` is what they said. */
  | { readonly kind: "bad-input"; readonly text: string }
  /** No connected worker meets its need, and none that does is expected back. */
  | { readonly kind: "no-capable-worker" }
  /** The deadline came first. */
  | { readonly kind: "deadline"; readonly attempts: number };

/**
 * What the caller must do, in order.
 *
 * Every assigned attempt ends in exactly one of three ways, after which nothing refers to it: the caller reports it as
 * failed (`worker-error`, `invalid-result`), the caller reports its result as accepted, or a `cancel` names it. An
 * attempt that was lost with its connection or that is late is not over: a stock transcoder uploads its result on
 * another connection after its stream has ended.
 */
export type Effect =
  | {
      readonly kind: "assign";
      readonly job: JobId;
      readonly attempt: AttemptId;
      readonly connection: ConnectionId;
      readonly hedge: boolean;
    }
  /**
   * The attempt is not wanted any more: free what it holds. The connection may be gone already; its worker is told by an
   * `unbind` or a `stop` of the session, once nothing else of that is open there.
   */
  | { readonly kind: "cancel"; readonly attempt: AttemptId; readonly connection: ConnectionId; readonly why: string }
  /** The job is lost; answer the gateway. */
  | { readonly kind: "give-up"; readonly job: JobId; readonly failure: JobFailure }
  /** The session is no longer on the connection, which is still there: send it the teardown message. */
  | { readonly kind: "unbind"; readonly session: string; readonly connection: ConnectionId }
  /**
   * The session stays on the connection, and what its worker may still be doing for it is not wanted: the teardown message
   * stops that. The session begins anew there with its next task.
   */
  | { readonly kind: "stop"; readonly session: string; readonly connection: ConnectionId }
  /** The standing of a rig changed: an event. */
  | { readonly kind: "standing"; readonly rig: RigName; readonly standing: Standing; readonly reason: string };

/**
 * How much a rig is trusted with. `new` works and is tried out, `trusted` works, `probation` gets a small share,
 * `barred` gets nothing but a rare retrial; both get more when nobody better has room.
 */
export type Standing = "new" | "trusted" | "probation" | "barred";

/** One decision as it looked from one rig, kept for "why do I get no work". */
export interface RigDecision {
  /** Monotonic milliseconds of the newest decision that this line stands for. */
  readonly atMs: number;
  /** Undefined for a line that explains why there was no decision. */
  readonly job: JobId | undefined;
  readonly session: string | undefined;
  readonly chosen: boolean;
  readonly reason: DecisionReason;
  /** Decisions of the same kind that this line stands for. */
  readonly times: number;
}

/** Places of all rigs that have one ability. */
export interface Supply extends Ability {
  /** For whoever comes. */
  readonly capacity: number;
  /** Only for who is there already: of rigs that are draining, or barred. */
  readonly staying: number;
  /** Of both together those of trusted rigs. */
  readonly trusted: number;
}

/** A rig as pages show it. Times are monotonic milliseconds. */
export interface RigView {
  readonly rig: RigName;
  readonly state: "connected" | "draining" | "gone";
  readonly connections: readonly ConnectionView[];
  /** Sessions that its connections take at once. */
  readonly capacity: number;
  /** Sessions that hold a place on it, running or idle. */
  readonly sessions: number;
  /** Attempts that are open on it. */
  readonly inFlight: number;
  /** Told to drain; it stays so across its connections. */
  readonly draining: boolean;
  readonly standing: Standing;
  /** Why it has this standing, in words. */
  readonly reason: string;
  readonly standingSinceMs: number;
  /** Recent share of attempts that went well, 0 to 1; newer ones weigh more. */
  readonly success: number;
  /** Results accepted in all. */
  readonly accepted: number;
  /** Attempts that failed by its fault. */
  readonly failed: number;
  /** Results whose claim differed from what was measured, at all and grossly. */
  readonly claimsDiffered: number;
  readonly claimsLied: number;
  /** Decisions of the last hour that chose it, and that did not. */
  readonly chosenLastHour: number;
  readonly passedOverLastHour: number;
  /** Seconds of source per second of work: by kind of work, the most recently used last. */
  readonly speeds: readonly { readonly kind: string; readonly realTimeRatio: number; readonly results: number }[];
  readonly lastSeenMs: number;
  readonly lastWorkMs: number | undefined;
}

export interface ConnectionView {
  readonly connection: ConnectionId;
  readonly capacity: number;
  readonly sessions: number;
  readonly inFlight: number;
  readonly draining: boolean;
  /** Left alone for the moment: it said that it was busy, or let a task run late without a sign of life. */
  readonly avoided: boolean;
  readonly connectedMs: number;
  /** The last sign of work from it: an upload, an error; undefined before the first one. */
  readonly lastHeardMs: number | undefined;
}

/** What is known of rigs, as JSON: ages instead of times, since monotonic time does not survive the process. */
export interface ReputationSnapshot {
  readonly v: 1;
  readonly rigs: readonly RigMemory[];
}

export interface RigMemory {
  /** `<address>.<name>`. */
  readonly rig: string;
  readonly standing: Standing;
  readonly reason: string;
  readonly standingAgeMs: number;
  readonly seenAgoMs: number;
  readonly health: number;
  readonly accepted: number;
  readonly failed: number;
  readonly differed: number;
  readonly lied: number;
  readonly goodInRow: number;
  /** Time until a barred rig is tried again. */
  readonly retrialInMs: number;
  readonly retrialPauseMs: number;
  /** Its times relative to the pool's usual. */
  readonly relative: number;
  /** Time per time of source, by kind of work; newest sample last. */
  readonly times: readonly { readonly kind: string; readonly costs: readonly number[] }[];
}
