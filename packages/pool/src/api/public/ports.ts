import type { Price } from "@openpool/base";
import type { PoolIdentity, Reason, WorkerAddress } from "@openpool/protocol";
import type { Alerts } from "../../alerts/alerts.ts";
import type { DecisionReason } from "../../dispatch/decision-text.ts";
import type { Standing } from "../../dispatch/types.ts";
import type { Terms } from "../../ledger/terms.ts";

import type { RigLabels } from "../../settings/rig-labels.ts";
import type { SignIn } from "../../settings/sign-in.ts";
import type { WorkerSettings } from "../../settings/worker-settings.ts";
import type { LedgerStore } from "../../store/ledger-store.ts";
import type { Rollups } from "../../store/rollup-types.ts";
import type { EventQuery, StoredEvent } from "../../store/types.ts";
import type { RigReports } from "../../workers/rig-reports.ts";
import type { PayoutsView } from "./payout-port.ts";

/** Who may change what about itself. */
export interface SettingsPort {
  readonly signIn: Pick<SignIn, "chainId" | "publicUrl" | "ask" | "open" | "session" | "end" | "endAll">;
  readonly worker: Pick<WorkerSettings, keyof WorkerSettings>;
  readonly labels: Pick<RigLabels, "current">;
}

/** What the pages may do with alerts. */
export type AlertsPort = Pick<Alerts, "channels" | "subscribe" | "linked" | "follow">;

/** A registration that is open, without where it comes from. All times of this file are unix ms. */
export interface LiveConnection {
  readonly sinceMs: number;
  readonly software: string | undefined;
  readonly capacity: number;
  readonly streams: number;
  readonly jobsInFlight: number;
  readonly draining: boolean;
  readonly avoided: boolean;
  readonly lastHeardMs: number | undefined;
}

/** A rig that is connected or remembered. */
export interface LiveRig {
  readonly worker: WorkerAddress;
  readonly rig: string;
  readonly state: "online" | "draining" | "offline";
  readonly standing: Standing;
  /** For everybody: holds nothing that a program on the rig said. */
  readonly standingReason: Reason;
  readonly standingSinceMs: number;
  /** What its registration says that it can do: bit n is the capability with number n. */
  readonly capabilities: bigint;
  readonly software: string | undefined;
  readonly capacity: number;
  readonly streams: number;
  readonly jobsInFlight: number;
  /** 0 to 1. */
  readonly success: number;
  readonly accepted: number;
  readonly failed: number;
  readonly claimsDiffered: number;
  readonly claimsLied: number;
  /** Routing decisions of the last hour that chose it, and that did not. */
  readonly chosenLastHour: number;
  readonly passedOverLastHour: number;
  readonly speeds: readonly { readonly kind: string; readonly realTimeRatio: number; readonly results: number }[];
  readonly lastSeenMs: number;
  readonly lastWorkMs: number | undefined;
  readonly connections: readonly LiveConnection[];
}

/** What goes on at one moment, from memory. */
export interface LivePool {
  readonly atMs: number;
  /** By `<address>.<name>`. */
  readonly rigs: ReadonlyMap<string, LiveRig>;
  /** Sessions that connected rigs take at once, and how many places are held. */
  readonly capacity: number;
  readonly sessionsHeld: number;
  readonly streams: number;
  readonly jobsInFlight: number;
  /** Segments that wait for a place. */
  readonly waiting: number;
  /** Undefined before the first answered segment. */
  readonly latencyMs: { readonly p50: number; readonly p99: number } | undefined;
  readonly draining: boolean;
  readonly logWritable: boolean;
}

/** A routing decision as it looked from one rig. */
export interface LiveDecision {
  readonly atMs: number;
  readonly chosen: boolean;
  /** For everybody: holds nothing that a program on a rig said. */
  readonly reason: DecisionReason;
  readonly times: number;
}

/** What the operator has laid down about a worker. */
export interface WorkerRules {
  readonly locked: boolean;
  readonly banned: string | undefined;
}

/** What the pool says of itself; it does not change while it runs. */
export interface PoolFacts {
  readonly identity: PoolIdentity;
  readonly version: string;
  readonly startedAtMs: number;
  readonly network: string;
  readonly serviceUri: string;
  readonly join: { readonly open: boolean; readonly registered: boolean; readonly passwordNeeded: boolean };
  readonly price: Price;
}

/** The books, as far as pages need them. */
export type BooksView = Pick<LedgerStore, "balance" | "totals" | "halts" | "statement" | "statementSums"> & {
  /** What the last check of the books found; undefined before the first. */
  readonly lastCheck?: () => { readonly atMs: number; readonly differences: readonly string[] } | undefined;
  /** When the first of what is held becomes owed; undefined when nothing is. */
  readonly nextReleaseMs?: (worker: WorkerAddress) => Promise<number | undefined>;
};

/** What really came in, once the pool knows how to look. */
export interface IncomeView {
  /** In all, and redeemed in the last 30 days. */
  readonly receivedWei: bigint;
  readonly received30dWei: bigint;
  readonly expected30dWei: bigint;
  /** Redeemed of expected; undefined: nothing was expected. */
  readonly luckPpm: number | undefined;
  /** Undefined: nobody knows what there is. */
  readonly reserveWei: bigint | undefined;
  readonly reserveDays: number | undefined;
  readonly maxSharePpm: number | undefined;
}

/** Everything that the public answers are made of; the node implements it. What is undefined is not configured. */
export interface PublicPort {
  readonly facts: PoolFacts;
  /** A fresh look; it costs some milliseconds with thousands of rigs. */
  live(): LivePool;
  /** What rigs told about their machines, those that left too. */
  readonly machines: Pick<RigReports, "machineOf" | "read">;
  /** The newest decisions about a rig, newest first. */
  decisions(worker: WorkerAddress, rig: string): readonly LiveDecision[];
  worker(address: WorkerAddress): WorkerRules | undefined;
  readonly rollups: Rollups;
  events(query: EventQuery): Promise<readonly StoredEvent[]>;
  onEvents(callback: () => void): () => void;
  /** All versions, by version; never empty. */
  terms(): readonly Terms[];
  readonly books: BooksView | undefined;
  readonly payouts: PayoutsView | undefined;
  readonly income: (() => Promise<IncomeView>) | undefined;
  /** Undefined: nobody can change anything. */
  readonly settings?: SettingsPort | undefined;
  /** Undefined: nobody can subscribe. */
  readonly alerts?: AlertsPort | undefined;
  /** The upstream orchestrators that this pool serves; undefined without any. */
  readonly upstreams?: (() => readonly { readonly name: string; readonly connected: boolean }[]) | undefined;
}
