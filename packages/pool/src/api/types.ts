import type { EventExport } from "../store/retention.ts";
import type {
  CredentialRecord,
  EventQuery,
  PartitionSize,
  StoredEvent,
  WorkerBalance,
  WorkerRecord,
} from "../store/types.ts";
import type { SenderDemand } from "../jobs/demand.ts";
import type { WorkerAddress } from "@openpool/protocol";
import type { PayoutPort } from "../payouts/types.ts";
import type { AlertsAdmin } from "./admin-alerts.ts";
import type { Standing } from "../dispatch/types.ts";
import type { Terms } from "../ledger/terms.ts";
import type { SolvencyReport } from "../income/solvency.ts";
import type { HeldJob, IncomeRecord, PastJob } from "../store/scheme-store.ts";
import type { CheckReport } from "../store/ledger-checker.ts";
import type { LedgerProgress } from "../store/ledger-reader.ts";
import type { RebuildResult } from "../store/ledger-rebuild.ts";
import type { Adjustment, LedgerStore } from "../store/ledger-store.ts";
import type { UpstreamStatus } from "../upstream/door.ts";

export interface RigStatus {
  readonly worker: string;
  readonly rig: string;
  readonly state: "connected" | "draining" | "gone";
  readonly connections: number;
  readonly capacity: number;
  readonly sessions: number;
  readonly jobsInFlight: number;
  readonly standing: Standing;
  readonly reason: string;
  readonly version: string | undefined;
  readonly remoteAddress: string | undefined;
  readonly lastSeen: string;
}

export interface PoolStatus {
  readonly version: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly serviceUri: string;
  readonly listen: string;
  readonly adminListen: string;
  /** Where the pages listen; absent when the pool serves none. */
  readonly publicListen?: string | undefined;
  readonly dataDir: string;
  readonly database: { readonly kind: "managed" | "external"; readonly writable: boolean; readonly where: string };
  readonly doors: { readonly gateways: boolean; readonly workers: boolean };
  /** Orchestrators that the pool works for. */
  readonly upstreams: readonly UpstreamStatus[];
  readonly sessions: number;
  readonly capacity: number;
  readonly load: number;
  readonly jobsInFlight: number;
  readonly bytesInFlight: number;
  readonly answered: number;
  readonly failed: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  /** All that are connected, and the 100 that were seen last of those that are gone. */
  readonly rigs: readonly RigStatus[];
  /** Connected or remembered. */
  readonly rigsKnown: number;
}

/** A rebuild, or a comparison, of the books with the event log. */
export type RebuildState =
  | { readonly state: "idle" }
  | { readonly state: "running"; readonly verify: boolean; readonly jobs: number; readonly position: bigint }
  | ({ readonly state: "done"; readonly verify: boolean } & RebuildResult)
  | { readonly state: "failed"; readonly verify: boolean; readonly error: string };

/** The books, for the admin port and other pages. */
export interface LedgerPort extends Pick<
  LedgerStore,
  "totals" | "accounts" | "balances" | "statement" | "statementSums" | "halts" | "closedPeriods"
> {
  progress(): LedgerProgress;
  terms(): { readonly current: Terms; readonly versions: readonly Terms[] };
  /**
   * Announces new terms from a moment on, unix ms; the document is JSON as `docs/money.md` describes it. `only-try`: says what
   * would be announced, or rejects as it would.
   */
  announceTerms(document: unknown, effectiveAtMs: number, how?: "for-all" | "only-try"): Promise<Terms>;
  adjust(
    adjustment: Omit<Adjustment, "termsVersion"> & { readonly worker: WorkerAddress },
  ): ReturnType<LedgerStore["adjust"]>;
  /** Looks for violations: in all of the books, or in what came since the last look; of payments on the chain as `LedgerChecker.check`. */
  check(whole: boolean, everyTransaction?: boolean): Promise<CheckReport>;
  lastCheck(): (CheckReport & { readonly atMs: number }) | undefined;
  /** Closes the months that are over; answers which. */
  closeMonths(): Promise<readonly string[]>;
  /** Writes closed months of the event log into files: one, or all that are still in the log. */
  exportMonths(month?: string): Promise<readonly EventExport[]>;
  /** As {@link exportMonths}, and then takes them out of the log. @throws PoolError `store/not-prunable`. */
  pruneMonths(month?: string): Promise<readonly EventExport[]>;
  /** Begins to rebuild, or only to compare; it goes on by itself. */
  startRebuild(verify: boolean): RebuildState;
  rebuildState(): RebuildState;
}

/** Pay schemes, hooks, income and solvency on the admin port. */
export interface SchemesPort {
  solvency(now?: "now" | "soon"): Promise<SolvencyReport>;
  /** The newest first. */
  incomes(limit: number): Promise<readonly IncomeRecord[]>;
  incomeStatus(): {
    readonly configured: boolean;
    readonly readTo?: number | undefined;
    readonly upToDateAtMs?: number | undefined;
    readonly problem?: string | undefined;
  };
  /** @throws PoolError `income/already-there` when the reference was entered before. */
  addIncome(entry: {
    readonly ref: string;
    readonly wei: bigint;
    readonly pot: "segment" | "uptime" | undefined;
    readonly note: string | undefined;
  }): Promise<void>;
  hooks(): Promise<
    readonly { readonly hash: string; readonly exports: readonly string[]; readonly addedAtMs: number }[]
  >;
  /** Keeps a module, as JavaScript. @throws PoolError `hooks/bad-module`. */
  addHook(source: string): Promise<{ readonly hash: string; readonly exports: readonly string[] }>;
  /** Credited jobs with what was booked of them, oldest first, for trying hooks on. */
  lastJobs(limit: number): Promise<readonly PastJob[]>;
  /** Jobs that wait because their hook failed. */
  heldJobs(limit: number): Promise<readonly HeldJob[]>;
  /** Books them after all: as another hook shares them, or each by its own fee. */
  release(how: { readonly hook: string } | "by-fee"): Promise<{ readonly released: number; readonly failed: number }>;
}

/** What the admin port serves; the node implements it. Refusals are `PoolError`s with a code. */
export interface AdminPort {
  /** Undefined: this pool makes no payouts. */
  readonly payouts?: PayoutPort | undefined;
  status(): PoolStatus;
  /** The reasons why not, empty when healthy: both doors accept and the event log is writable. */
  unhealthy(): readonly string[];
  /** As `unhealthy`, and a rig must have room. */
  unready(): readonly string[];
  /** Prometheus text. */
  metrics(): Promise<string>;
  events(query: EventQuery): Promise<readonly StoredEvent[]>;
  onEvents(callback: () => void): () => void;
  /** Records a write before it is done; what cannot be recorded is not done. */
  record?(data: Readonly<Record<string, unknown>>): Promise<void>;
  balances(): Promise<readonly WorkerBalance[]>;
  /** The books; absent where there are none. */
  readonly ledger?: LedgerPort | undefined;
  readonly schemes?: SchemesPort | undefined;
  workers(): Promise<{
    readonly workers: readonly WorkerRecord[];
    readonly credentials: readonly Omit<CredentialRecord, "secretHash">[];
  }>;
  /** Issues a credential; the secret is in the answer and nowhere else. */
  addWorker(
    address: string,
    rig: string | undefined,
  ): Promise<{ readonly id: string; readonly secret: string; readonly name: string }>;
  revokeCredential(id: string): Promise<void>;
  /** Changes what is known of a worker; connected rigs that are no longer welcome are let go. */
  setWorker(
    address: string,
    change: { locked?: boolean; banned?: string | null; note?: string | null },
  ): Promise<WorkerRecord>;
  /** What was told to whom. */
  readonly alerts?: AlertsAdmin;
  drainRig(name: string): Promise<void>;
  undrainRig(name: string): Promise<void>;
  /** Who sends segments, heard of last first; since the process started. */
  gateways(): readonly SenderDemand[];
  /** Of the event log, newest first. */
  partitions(): Promise<readonly PartitionSize[]>;
  /** Takes the pool out of an orchestrator, or puts it back. */
  setUpstreamDrained(name: string, drained: boolean): Promise<void>;
  decisions(name: string): readonly { readonly at: string; readonly chosen: boolean; readonly reason: string }[];
}
