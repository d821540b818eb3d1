import type { Price } from "@openpool/base";
import type { RigDevice, RigName, RigReport, WorkerAddress } from "@openpool/protocol";

/** A fact to append. `data` is JSON: bigints as decimal strings, no secrets, no stream keys. */
export interface NewEvent {
  readonly type: string;
  readonly worker?: WorkerAddress | undefined;
  readonly rig?: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface StoredEvent extends NewEvent {
  /** Version of the line format (`docs/events.md`). */
  readonly v: 1;
  /** UUIDv7. */
  readonly id: string;
  /** Gapless, in commit order: the cursor of every reader. */
  readonly position: bigint;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
}

/** One answered job: what was measured, what it is worth, who earned it. */
export interface NewCredit {
  /** UUIDv7 of the job; a second credit for it is refused by the database itself. */
  readonly job: string;
  readonly earner: RigName;
  readonly segments: number;
  readonly pixels: bigint;
  readonly price: Price;
  readonly commissionPpm: bigint;
  /** `commissionWei + earnedWei`; `creditFor` makes the three. */
  readonly feeWei: bigint;
  readonly commissionWei: bigint;
  readonly earnedWei: bigint;
  /** The rest of the `job.credited` event: renditions with their pixels, attempts, claim. */
  readonly data: Readonly<Record<string, unknown>>;
}

export interface RigBalance {
  readonly name: string;
  readonly segments: bigint;
  readonly pixels: bigint;
  readonly creditedWei: bigint;
}

export interface WorkerBalance {
  readonly worker: WorkerAddress;
  readonly segments: bigint;
  readonly pixels: bigint;
  readonly creditedWei: bigint;
  readonly rigs: readonly RigBalance[];
}

/** All credits together. `feeWei` is `commissionWei + creditedWei`. */
export interface PoolTotals {
  readonly segments: bigint;
  readonly pixels: bigint;
  readonly feeWei: bigint;
  readonly commissionWei: bigint;
  readonly creditedWei: bigint;
}

/** A rig whose totals are not what its `job.credited` events add up to. */
export interface TotalsDifference extends RigName {
  readonly kept: PoolTotals;
  readonly fromEvents: PoolTotals;
}

export interface EventQuery {
  /** Only events behind this position. */
  readonly after?: bigint | undefined;
  /** Only events at or after this time, unix ms. */
  readonly since?: number | undefined;
  readonly types?: readonly string[] | undefined;
  readonly limit: number;
}

export interface WorkerRecord {
  readonly worker: WorkerAddress;
  /** Only issued credentials may use the address. */
  readonly locked: boolean;
  /** Why it may not work at all. */
  readonly banned: string | undefined;
  readonly note: string | undefined;
}

/** What changes of a worker: absent stays as it is, `null` takes away. */
export interface WorkerChange {
  readonly locked?: boolean | undefined;
  readonly banned?: string | null | undefined;
  readonly note?: string | null | undefined;
}

/** What decides whether a worker may issue itself one more credential. */
export interface CredentialRoom {
  /** The worker's own that are not revoked. */
  readonly own: number;
  /** Those of all workers, revoked or not. */
  readonly all: number;
  /** The worker was credited for a job at least once. */
  readonly credited: boolean;
}

/** An issued credential; the secret itself is shown once and only its hash is kept. */
export interface CredentialRecord {
  readonly id: string;
  /** SHA-256 of the secret, hex. */
  readonly secretHash: string;
  readonly name: RigName;
  readonly createdAt: string;
  readonly revokedAt: string | undefined;
}

/** What the operator decided about an orchestrator that the pool works for. */
export interface UpstreamRecord {
  readonly name: string;
  /** RFC 3339: since when the pool is taken out of it. */
  readonly drainedAt: string | undefined;
}

/** A month of the event log. */
export interface PartitionSize {
  /** `2026-11` */
  readonly month: string;
  /** Of rows, indexes and all, on disk. */
  readonly bytes: number;
}

/** What a rig told about its machine, the last time. */
export interface RigReportRecord {
  readonly name: RigName;
  /** RFC 3339. */
  readonly reportedAt: string;
  readonly report: RigReport;
}

/** What of it is in lists. */
export interface RigReportSummary {
  readonly name: RigName;
  /** Version of the worker daemon. */
  readonly software: string;
  readonly devices: readonly Pick<RigDevice, "kind" | "model">[];
}

/** The pool's memory. Nothing of the driver leaks through it. */
export interface Store extends AsyncDisposable {
  /** False while appends fail; a job must not be answered then. */
  readonly writable: boolean;
  /** Appends facts; resolves when they are durable. Group-committed with everything else that is waiting. */
  append(events: readonly NewEvent[]): Promise<void>;
  /**
   * Appends `job.credited` and books it; resolves when durable, with `already-credited` when the job has its credit
   * from before: then nothing is added. Rejects with `store/unavailable` when `signal` aborts first; its `written` says
   * `no`, or `unknown` when it was on its way to the database: it may still be written, once.
   */
  credit(credit: NewCredit, signal?: AbortSignal): Promise<"credited" | "already-credited">;
  events(query: EventQuery): Promise<readonly StoredEvent[]>;
  /** Calls back after new events are readable; returns how to stop. */
  onAppended(callback: () => void): () => void;
  balances(): Promise<readonly WorkerBalance[]>;
  totals(): Promise<PoolTotals>;
  /** Adds up the `job.credited` events and compares; empty when the books are right. */
  checkTotals(): Promise<readonly TotalsDifference[]>;
  /** Makes the totals anew from the events. Appends wait meanwhile. */
  rebuildTotals(): Promise<void>;
  workers(): Promise<readonly WorkerRecord[]>;
  worker(worker: WorkerAddress): Promise<WorkerRecord | undefined>;
  /** Writes what is named and nothing else: who changes another part at the same time is not undone. Answers what is so now. */
  changeWorker(worker: WorkerAddress, change: WorkerChange): Promise<WorkerRecord>;
  /** Those of one worker, or of all. */
  credentials(worker?: WorkerAddress): Promise<readonly CredentialRecord[]>;
  credentialRoom(worker: WorkerAddress): Promise<CredentialRoom>;
  /** Keeps one more; of the worker's revoked ones only the newest stay. */
  addCredential(record: CredentialRecord): Promise<void>;
  /** Undefined: there is none such. One that is revoked keeps its time. `at` is unix ms. */
  revokeCredential(id: string, at: number): Promise<CredentialRecord | undefined>;
  upstreams(): Promise<readonly UpstreamRecord[]>;
  putUpstream(record: UpstreamRecord): Promise<void>;
  /** The months of the event log, newest first, and how large each is. */
  partitions(): Promise<readonly PartitionSize[]>;
  /** Those of all rigs, longest ago first. */
  rigReports(): Promise<readonly RigReportSummary[]>;
  rigReport(name: RigName): Promise<RigReportRecord | undefined>;
  putRigReport(record: RigReportRecord): Promise<void>;
  dropRigReport(name: RigName): Promise<void>;
  /** Keeps a small JSON value under a name, replacing what was there: things that could be learnt again. */
  putSnapshot(name: string, value: unknown): Promise<void>;
  getSnapshot(name: string): Promise<unknown>;
}
