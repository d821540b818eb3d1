import type { WorkerAddress } from "@openpool/protocol";
import type { StoredEvent } from "./types.ts";

/** Whom sums are about: the pool when there is no worker, a worker when there is no rig. */
export interface RollupSubject {
  readonly worker?: WorkerAddress | undefined;
  readonly rig?: string | undefined;
}

/** What is counted, over any time. `commission` is `feeWei - earnedWei`. */
export interface RollupSums {
  readonly jobs: bigint;
  readonly lostJobs: bigint;
  readonly rescuedJobs: bigint;
  readonly failedAttempts: bigint;
  readonly pixels: bigint;
  readonly claimedPixels: bigint;
  readonly feeWei: bigint;
  readonly earnedWei: bigint;
  readonly sourceMs: bigint;
  readonly workMs: bigint;
}

export const noSums: RollupSums = {
  jobs: 0n,
  lostJobs: 0n,
  rescuedJobs: 0n,
  failedAttempts: 0n,
  pixels: 0n,
  claimedPixels: 0n,
  feeWei: 0n,
  earnedWei: 0n,
  sourceMs: 0n,
  workMs: 0n,
};

export type RollupStep = "minute" | "hour" | "day";

export interface RollupPoint extends RollupSums {
  /** Begin of the minute, hour or day (UTC), unix ms. */
  readonly atMs: number;
}

/** A rig that once worked, or a worker (`rig` is empty). All times are unix ms. */
export interface RollupLine {
  readonly worker: WorkerAddress;
  readonly rig: string;
  readonly firstAtMs: number;
  /** Last registration or leave. */
  readonly seenAtMs: number | undefined;
  /** As exact as what is kept: a minute, an hour, a day. */
  readonly lastJobAtMs: number | undefined;
  readonly sums: RollupSums;
  /** Jobs of each hour since `fromMs` of the question, the first hour is 0; only with hours. Worked out when it is asked for. */
  hourly(): ReadonlyMap<number, number>;
}

/** A worker or rig as the log knows it. */
export interface KnownSubject {
  readonly rig: string;
  readonly firstAtMs: number;
  readonly seenAtMs: number | undefined;
  readonly lastJobAtMs: number | undefined;
  /** The last time that somebody tried to join in this name and was not let in. */
  readonly refused: { readonly atMs: number; readonly reason: string } | undefined;
}

/** One segment behind which nothing was read yet: the cursor of a list of jobs. */
export interface JobCursor {
  readonly minuteMs: number;
  readonly position: bigint;
}

/** One of the rare events that tell how the pool itself is. */
export interface IncidentEvent {
  readonly position: bigint;
  readonly atMs: number;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The sums that pages read, and who counts them. Nothing here waits for the counting. */
export interface Rollups extends AsyncDisposable {
  /** Events up to this position are counted. */
  readonly position: bigint;
  /** Position of the newest event in the log. */
  head(): Promise<bigint>;
  /** Resolves when everything that is in the log at this moment is counted. */
  catchUp(): Promise<void>;
  /** Counts everything anew from the events that there are; sums of events that were dropped since are kept. */
  rebuild(): Promise<void>;
  /** Since these times (unix ms), each from the table of its step. */
  sums(
    subject: RollupSubject,
    since: readonly { readonly step: RollupStep; readonly fromMs: number }[],
  ): Promise<readonly RollupSums[]>;
  /** Since ever. */
  totals(subject: RollupSubject): Promise<RollupSums>;
  /** Only buckets in which something happened, oldest first. */
  series(subject: RollupSubject, step: RollupStep, fromMs: number): Promise<readonly RollupPoint[]>;
  /** How often tasks took how long, one count a bucket of `LATENCY_BOUNDS_MS`. */
  latency(subject: RollupSubject, fromMs: number): Promise<readonly number[]>;
  /** Every worker and rig that ever worked, with its sums since then. */
  lines(step: "hour" | "day" | "minute", fromMs: number): Promise<readonly RollupLine[]>;
  /** The worker itself (`rig` empty) and its rigs; empty when the log has never heard of it. */
  known(worker: WorkerAddress): Promise<readonly KnownSubject[]>;
  /** The newest that are counted, oldest first. */
  incidents(fromMs: number, limit: number): Promise<readonly IncidentEvent[]>;
  /**
   * `job.credited` events of a worker or rig, newest first, as far back as minutes are kept. Which ones the minutes say,
   * and just those are then read by their keys: a list of single segments can be of nothing else, and to keep them twice
   * would double what a segment costs to write down. It costs the same however long the log is.
   */
  jobs(
    subject: RollupSubject & { readonly worker: WorkerAddress },
    before: JobCursor | undefined,
    limit: number,
  ): Promise<{ readonly events: readonly StoredEvent[]; readonly next: JobCursor | undefined }>;
}
