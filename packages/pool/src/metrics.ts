import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { hostname } from "node:os";
import type { Solvency } from "./income/solvency.ts";
import type { Job, JobOutcome } from "./jobs/job.ts";
import type { FloatNow } from "./payouts/types.ts";
import { createFleetMetrics, type FleetNow } from "./fleet-metrics.ts";

/** What only the moment of scraping knows. */
export interface MetricsNow {
  readonly sessions: number;
  readonly maxSessions: number;
  readonly transcoders: number;
  readonly capacity: number;
  readonly load: number;
  readonly bytesInFlight: number;
  readonly jobsInFlight: number;
  readonly connections: number;
  readonly storeWritable: boolean;
  readonly ledger: LedgerNow;
  readonly fleet: FleetNow;
  /** What payouts are made from; empty where nothing is paid, or not looked at yet. */
  readonly floats: readonly FloatNow[];
  /** Undefined while the database does not answer. */
  readonly solvency?: Solvency | undefined;
}

/** The books at the moment of scraping. */
export interface LedgerNow {
  /** Events of the log that are not booked yet. */
  readonly eventsBehind: number;
  readonly lagMs: number | undefined;
  /** Reasons why no payout is made. */
  readonly halts: number;
  readonly violations: number;
  /** In wei, by account; as precise as a metric can be. */
  readonly wei: Readonly<Record<string, bigint>>;
}

export interface JobEnd {
  readonly outcome: JobOutcome;
  readonly job: Job;
  /** From when a worker could be asked, which is before the whole source is here, to the end; in milliseconds. */
  readonly tookMs: number;
}

export interface PoolMetrics {
  jobEnded(end: JobEnd): void;
  summary(): { answered: number; failed: number; latencyMs: { p50: number; p99: number } };
  text(now: MetricsNow): Promise<string>;
}

/** Latencies kept for the percentiles of the status page. */
const RECENT = 1024;

/**
 * Prometheus metrics: go-livepeer's names and units where the meaning is the same, so that existing dashboards work;
 * our own under `openpool_`.
 */
export function createPoolMetrics(version: string): PoolMetrics {
  const registry = new Registry();
  registry.setDefaultLabels({ node_id: hostname(), node_type: "orch" });
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers });
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name, help, labelNames, registers });

  gauge("livepeer_versions", "Version information of the node", [
    "livepeerversion",
    "compiler",
    "goos",
    "goversion",
  ]).set({ livepeerversion: version, compiler: "node", goos: process.platform, goversion: process.version }, 1);
  const sessions = gauge("livepeer_current_sessions_total", "Number of streams running now");
  const maxSessions = gauge("livepeer_max_sessions_total", "Session limit");
  const transcoders = gauge("livepeer_transcoders_number", "Number of registrations open");
  const capacity = gauge("livepeer_transcoders_capacity", "Sessions that the registrations take in all");
  const load = gauge("livepeer_transcoders_load", "Sessions bound to registrations");
  const price = gauge("livepeer_transcoding_price", "Wei per pixel, of the latest job", ["sender"]);
  const emerged = counter("livepeer_segment_source_emerged_unprocessed_total", "Segments taken from gateways");
  const transcoded = counter("livepeer_segment_transcoded_total", "Segments answered with renditions", [
    "profiles",
    "trusted",
    "verified",
  ]);
  const pixels = counter("livepeer_mil_pixels_processed", "Million encoded pixels, counted by the pool");
  const sourceDuration = new Histogram({
    name: "livepeer_source_segment_duration_seconds",
    help: "Duration of the segments taken",
    buckets: [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10, 15, 20],
    registers,
  });
  const transcodeTime = new Histogram({
    name: "livepeer_transcode_time_seconds",
    help: "Time from taking a segment to its valid result",
    labelNames: ["profiles", "trusted", "verified"],
    buckets: [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10],
    registers,
  });
  const transcodeScore = new Histogram({
    name: "livepeer_transcode_score",
    help: "Segment duration divided by the time it took",
    labelNames: ["profiles", "trusted", "verified"],
    buckets: [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 10, 15, 20, 40],
    registers,
  });
  const creditTime = new Histogram({
    name: "openpool_credit_seconds",
    help: "Time that a verified result waited for its credit to be durable",
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  });
  const lost = counter("openpool_segments_lost_total", "Segments that could not be saved");
  const abandoned = counter("openpool_segments_abandoned_total", "Segments whose gateway left first");
  const bytes = gauge("openpool_bytes_in_flight", "Bytes of sources and renditions held in memory");
  const jobs = gauge("openpool_jobs_in_flight", "Segments being worked on");
  const connections = gauge("openpool_connections", "Open connections of the public port");
  const writable = gauge("openpool_event_log_writable", "1 while the event log can be written");

  const ledgerBehind = gauge("openpool_ledger_events_behind", "Events of the log that are not booked yet");
  const ledgerLag = gauge("openpool_ledger_lag_seconds", "From the last booked job to its line in the books");
  const ledgerViolations = gauge("openpool_ledger_violations", "What the last check of the books found wrong");
  const halts = gauge("openpool_payout_halts", "Reasons for which no payout is made");
  const solvencyWei = gauge("openpool_solvency_wei", "What there is and what is owed, in wei", ["what"]);
  const luck = gauge("openpool_luck_ratio", "Redeemed of what was expected in the recent days");
  const reserveDays = gauge("openpool_reserve_days", "Days of earnings that the reserve covers without a win");
  const share = gauge("openpool_share_ratio", "Of a fee: promised to workers, and the most that can be", ["what"]);
  const solvencyWarnings = gauge("openpool_solvency_warnings", "1 for each warning that is in force", ["code"]);
  const ledgerWei = gauge("openpool_ledger_wei", "Balances of the books, in wei", ["account"]);

  const float = gauge("openpool_float_units", "Of each asset: on the account that pays, and owed; smallest units", [
    "asset",
    "what",
  ]);
  const fleet = createFleetMetrics(registry);

  const recent = new Float64Array(RECENT);
  let answered = 0;
  let failed = 0;
  const percentile = (sorted: Float64Array, p: number): number =>
    sorted.length === 0 ? 0 : Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]! * 10) / 10;

  /** What nobody knows has no sample, rather than a zero. */
  const showSolvency = (solvency: Solvency): void => {
    for (const one of [solvencyWei, luck, reserveDays, share, solvencyWarnings]) one.reset();
    luck.remove();
    reserveDays.remove();
    const { debtWei, creditedWei, reserveWei, wantedReserveWei, luckPpm, promisedPpm, maxSharePpm } = solvency;
    for (const [what, wei] of Object.entries({
      credited: creditedWei,
      debt: debtWei,
      reserve: reserveWei,
      wanted_reserve: wantedReserveWei,
    })) {
      if (wei !== undefined) solvencyWei.set({ what }, Number(wei));
    }
    if (luckPpm !== undefined) luck.set(Number(luckPpm) / 1e6);
    if (solvency.reserveDays !== undefined) reserveDays.set(solvency.reserveDays);
    if (promisedPpm !== undefined) share.set({ what: "promised" }, Number(promisedPpm) / 1e6);
    if (maxSharePpm !== undefined) share.set({ what: "largest" }, Number(maxSharePpm) / 1e6);
    for (const { code } of solvency.warnings) solvencyWarnings.set({ code }, 1);
  };

  return {
    jobEnded({ outcome, job, tookMs }) {
      emerged.inc();
      price.set({ sender: "" }, Number(job.price.pricePerUnitWei) / Number(job.price.pixelsPerUnit));
      sourceDuration.observe(job.durationMs / 1000);
      if (outcome.kind === "abandoned") return abandoned.inc();
      if (outcome.kind === "failed") {
        failed++;
        return lost.inc();
      }
      recent[answered++ % RECENT] = tookMs;
      fleet.earned(outcome.earner);
      const labels = {
        profiles: profileLabel(job),
        trusted: "trusted",
        verified: "verified",
      };
      transcoded.inc(labels);
      transcodeTime.observe(labels, tookMs / 1000);
      transcodeScore.observe(labels, job.durationMs / Math.max(1, tookMs));
      creditTime.observe(outcome.creditMs / 1000);
      pixels.inc(Number(outcome.renditions.reduce((sum, one) => sum + one.pixels, 0n)) / 1e6);
    },
    summary() {
      const sorted = recent.slice(0, Math.min(answered, RECENT)).sort();
      return { answered, failed, latencyMs: { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) } };
    },
    text(now) {
      sessions.set(now.sessions);
      maxSessions.set(now.maxSessions);
      transcoders.set(now.transcoders);
      capacity.set(now.capacity);
      load.set(now.load);
      bytes.set(now.bytesInFlight);
      jobs.set(now.jobsInFlight);
      connections.set(now.connections);
      writable.set(now.storeWritable ? 1 : 0);
      ledgerBehind.set(now.ledger.eventsBehind);
      ledgerLag.set((now.ledger.lagMs ?? 0) / 1000);
      ledgerViolations.set(now.ledger.violations);
      halts.set(now.ledger.halts);
      for (const [account, wei] of Object.entries(now.ledger.wei)) ledgerWei.set({ account }, Number(wei));
      if (now.solvency) showSolvency(now.solvency);
      fleet.show(now.fleet);
      float.reset();
      for (const { asset, balance, due } of now.floats) {
        float.set({ asset, what: "balance" }, Number(balance));
        float.set({ asset, what: "due" }, Number(due));
      }
      return registry.metrics();
    },
  };
}

/** Profile names come from gateways: bounded, or the label would grow without end. */
const known = new Set<string>();
function profileLabel(job: Job): string {
  const label = job.profiles
    .map((profile) => profile.name.slice(0, 40))
    .sort()
    .join(",");
  if (known.has(label)) return label;
  if (known.size >= 100) return "other";
  known.add(label);
  return label;
}
