import type { DecisionLog } from "./decision-log.ts";
import type { Due, DueHeap } from "./due-heap.ts";
import type { ErrorClass } from "./failure-text.ts";
import type { Reputation } from "./reputation.ts";
import type { AttemptFailure, AttemptId, ConnectionId, DispatchJob } from "./types.ts";
import type { Ability, misfit, RigName } from "@openpool/protocol";

/** What the dispatcher remembers; nobody outside its folder sees these. */

export interface Rig {
  readonly name: RigName;
  /** `<address>.<name>`. */
  readonly key: string;
  readonly reputation: Reputation;
  readonly log: DecisionLog;
  readonly connections: Set<Connection>;
  draining: boolean;
  /** Last offered. */
  ability: Ability;
  seenMs: number;
  /** When its last connection ended; undefined while it has one that takes work, and for a rig that only memory knows. */
  goneMs: number | undefined;
  workMs: number | undefined;
  /** Open attempts that try it out. */
  trials: number;
}

/** Connections that offer the same: one comparison serves all of them. */
export interface AbilityGroup {
  readonly key: string;
  readonly ability: Ability;
  /** What of it others are told. */
  readonly announced: Ability;
  connections: number;
  /** What it lacks of the need at hand. */
  misfit: ReturnType<typeof misfit>;
}

export interface Connection {
  readonly id: ConnectionId;
  readonly rig: Rig;
  capacity: number;
  group: AbilityGroup;
  draining: boolean;
  /** It takes nothing more, whatever the need, and finishes what it has. */
  finishing: boolean;
  readonly connectedMs: number;
  /** False once it ended; attempts that were on it may still deliver. */
  live: boolean;
  /** Sessions that hold a place: bound here, or with an open attempt here. Never more than `capacity` are let in. */
  readonly uses: Map<Session, Use>;
  /** Uses without an open attempt. */
  idle: number;
  /** Open attempts. */
  open: number;
  /** It has a free place, or one whose session is idle. */
  opening: boolean;
  heardMs: number | undefined;
  /** Avoided until then, because an attempt ran late without a sign of life. */
  silentUntilMs: number;
  silentInRow: number;
  busyUntilMs: number;
  /** Needs, by their keys, that it claimed at registration to meet and then refused. */
  readonly refused: Set<string>;
  /** Place in the dispatcher's list. */
  index: number;
}

/** A session's place on a connection. */
export interface Use {
  readonly session: Session;
  readonly connection: Connection;
  /** Oldest first; a stock transcoder works through them in this order. */
  readonly open: Attempt[];
  bound: boolean;
  lastEndMs: number;
}

export interface Session {
  readonly key: string;
  readonly jobs: Set<Job>;
  /** Jobs without an open attempt, in order. */
  readonly waiting: Job[];
  bound: Connection | undefined;
  /** Where it was before its connection ended. */
  home: Rig | undefined;
  /** The gateway ended it; it goes when its jobs are done. */
  ended: boolean;
  idle: Due<Timer> | undefined;
  /** Place in a queue of sessions that wait. */
  queued: { readonly queue: WaitingSessions; readonly due: Due<Session> } | undefined;
  /** Jobs in a row that the bound connection was late with, or slow to answer. */
  lateInRow: number;
  slowInRow: number;
}

/** Sessions whose first waiting job has the same need, most urgent first. */
export interface WaitingSessions {
  /** The key of the need. */
  readonly key: string;
  readonly heap: DueHeap<Session>;
}

export interface Failure {
  readonly rig: Rig;
  readonly kind: AttemptFailure["kind"];
  readonly text: string;
  readonly like: string;
  readonly errorClass: ErrorClass | undefined;
  /** Says something about the job, so that a second one like it decides. */
  readonly opinion: boolean;
  /** How much it counts against the rig if the job turns out to be fine. */
  readonly weight: number;
}

export interface Job {
  readonly spec: DispatchJob;
  readonly session: Session;
  readonly submittedMs: number;
  /** When the source was whole; undefined while it arrives. */
  inputMs: number | undefined;
  /** Open and lost attempts: those whose result is still welcome. */
  readonly attempts: Set<Attempt>;
  /** Attempts of all time. */
  started: number;
  open: number;
  readonly failures: Failure[];
  deadline: Due<Timer> | undefined;
  /** While it waits for a capable rig to come back. */
  hope: Due<Timer> | undefined;
  /** The newest failure. */
  failedMs: number;
  /** When a rig that failed it may try again. */
  wake: Due<Timer> | undefined;
  /** Passing over everybody was noted already. */
  noted: boolean;
}

export interface Attempt {
  readonly id: AttemptId;
  readonly job: Job;
  readonly connection: Connection;
  readonly use: Use;
  readonly assignedMs: number;
  readonly hedge: boolean;
  readonly trial: boolean;
  /** `lost`: its connection ended, the result may still come. */
  state: "open" | "lost";
  late: boolean;
  arriving: boolean;
  /** When it becomes late, or when a late one becomes a danger to the deadline. */
  due: Due<Timer> | undefined;
}

export type Timer =
  | { readonly kind: "deadline"; readonly job: Job }
  | { readonly kind: "late"; readonly attempt: Attempt }
  | { readonly kind: "idle"; readonly session: Session }
  | { readonly kind: "hope"; readonly job: Job }
  | { readonly kind: "wake"; readonly job: Job }
  | { readonly kind: "busy" };
