import type { RigName } from "@openpool/protocol";

/** A registration stream that is open now. A rig may hold several; each has its own capacity. */
export type ConnectionId = string & { readonly connectionId: unique symbol };
/** One gateway request for one segment. */
export type JobId = string & { readonly jobId: unique symbol };
/** One attempt by one connection at one job; a retry or a hedge is another attempt. */
export type AttemptId = string & { readonly attemptId: unique symbol };

/** What a connection offers when it registers. */
export interface ConnectionOffer {
  readonly connection: ConnectionId;
  readonly rig: RigName;
  /** Sessions that it takes at once. */
  readonly capacity: number;
  /** Bit n set: the capability with number n. */
  readonly capabilities: bigint;
}

/** What policy needs to know of a job. All times are monotonic milliseconds. */
export interface DispatchJob {
  readonly job: JobId;
  /** Segments of one stream from one gateway share it, also across a change of auth token. */
  readonly session: string;
  readonly seq: bigint;
  readonly durationMs: number;
  /** Bit n set: the job needs the capability with number n. */
  readonly capabilities: bigint;
  /** Names the kind of work for speed statistics: equal kinds cost about equally per second of source. */
  readonly kind: string;
  /** After this moment an answer is worthless. It already leaves time to answer. */
  readonly deadlineMs: number;
}

/** Why an attempt ended without a valid result. */
export type AttemptFailure =
  /** The stream or connection of the worker ended. */
  | { readonly kind: "disconnected" }
  /** The worker uploaded an error. */
  | { readonly kind: "worker-error"; readonly text: string }
  /** The result did not pass verification. */
  | { readonly kind: "invalid-result"; readonly text: string }
  /** Policy gave up on it: far too late. Its result is still welcome if it comes first. */
  | { readonly kind: "late" };

/** Why a job ended without an answer; decides the text that the gateway reads. */
export type JobFailure =
  /** Two different workers failed alike: it is the input. `text` is what they said. */
  | { readonly kind: "bad-input"; readonly text: string }
  /** No connected worker has the capabilities. */
  | { readonly kind: "no-capable-worker" }
  /** The deadline came first. */
  | { readonly kind: "deadline"; readonly attempts: number };

/** What the caller must do, in order. */
export type Effect =
  | {
      readonly kind: "assign";
      readonly job: JobId;
      readonly attempt: AttemptId;
      readonly connection: ConnectionId;
      /** Why this one, in words for the worker's page. */
      readonly reason: string;
      readonly hedge: boolean;
    }
  /** The attempt is not wanted any more: free what it holds, tell the worker where the protocol can. */
  | { readonly kind: "cancel"; readonly attempt: AttemptId; readonly connection: ConnectionId; readonly why: string }
  /** The job is lost; answer the gateway. */
  | { readonly kind: "give-up"; readonly job: JobId; readonly failure: JobFailure }
  /** The session is no longer bound to the connection: send it the teardown message. */
  | { readonly kind: "unbind"; readonly session: string; readonly connection: ConnectionId }
  /** The standing of a rig changed: an event. */
  | { readonly kind: "standing"; readonly rig: RigName; readonly standing: Standing; readonly reason: string };

/** How much a rig is trusted with. `trusted` works, `probation` gets little, `barred` gets nothing but a rare retrial. */
export type Standing = "new" | "trusted" | "probation" | "barred";

/** One decision about one job, kept for "why do I get no work". */
export interface Decision {
  readonly atMs: number;
  readonly job: JobId;
  readonly session: string;
  readonly chosen: RigName | undefined;
  readonly reason: string;
  readonly passedOver: readonly { readonly rig: RigName; readonly reason: string }[];
}
