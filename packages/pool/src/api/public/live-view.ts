import type { Clock } from "@openpool/base";
import { formatRig, type RigName } from "@openpool/protocol";
import type { ConnectionView, RigDecision, RigView } from "../../dispatch/types.ts";
import type { LiveDecision, LivePool, LiveRig } from "./ports.ts";
import { publicDecision, publicReason } from "./public-text.ts";

/** What of a registration is looked at; where it comes from is not. */
export interface SeenConnection {
  readonly connection: string;
  readonly rig: RigName;
  readonly version: string;
  readonly capabilities: bigint;
  /** Unix ms. */
  readonly connectedAt: number;
}

export interface LiveSources {
  readonly clock: Clock;
  /** Every rig that is connected or remembered; its times are monotonic ms. */
  readonly rigs: (nowMs: number) => readonly RigView[];
  readonly connections: () => readonly SeenConnection[];
  readonly decisions: (rig: RigName) => readonly RigDecision[];
  readonly capacity: () => number;
  readonly load: () => number;
  readonly streams: () => number;
  readonly jobsInFlight: () => number;
  readonly waiting: () => number;
  readonly latency: () => {
    readonly answered: number;
    readonly latencyMs: { readonly p50: number; readonly p99: number };
  };
  readonly draining: () => boolean;
  readonly logWritable: () => boolean;
}

/** The pool's memory as everybody may see it: wall-clock times, and no word of a rig's own. */
export function createLiveView(sources: LiveSources): {
  live(): LivePool;
  decisions(rig: RigName): readonly LiveDecision[];
} {
  const { clock } = sources;
  const wall = (monotonicMs: number): number => Math.round(clock.now() - (clock.monotonicMs() - monotonicMs));
  const liveConnection = (view: ConnectionView, seen: SeenConnection | undefined): LiveRig["connections"][number] => ({
    sinceMs: seen?.connectedAt ?? wall(view.connectedMs),
    software: seen?.version === "" ? undefined : seen?.version,
    capacity: view.capacity,
    streams: view.sessions,
    jobsInFlight: view.inFlight,
    draining: view.draining,
    avoided: view.avoided,
    lastHeardMs: view.lastHeardMs === undefined ? undefined : wall(view.lastHeardMs),
  });
  const liveRig = (view: RigView, seen: ReadonlyMap<string, SeenConnection>): LiveRig => {
    const connections = view.connections.map((one) => liveConnection(one, seen.get(one.connection)));
    const online = view.state !== "gone";
    return {
      worker: view.rig.worker,
      rig: view.rig.rig,
      state: !online ? "offline" : view.draining || view.state === "draining" ? "draining" : "online",
      standing: view.standing,
      standingReason: publicReason(view.reason),
      standingSinceMs: wall(view.standingSinceMs),
      capabilities: view.connections.reduce((set, one) => set | (seen.get(one.connection)?.capabilities ?? 0n), 0n),
      software: connections.find((one) => one.software !== undefined)?.software,
      capacity: online ? view.capacity : 0,
      streams: online ? view.sessions : 0,
      jobsInFlight: online ? view.inFlight : 0,
      success: Math.min(1, Math.max(0, view.success)),
      accepted: view.accepted,
      failed: view.failed,
      claimsDiffered: view.claimsDiffered,
      claimsLied: view.claimsLied,
      chosenLastHour: view.chosenLastHour,
      passedOverLastHour: view.passedOverLastHour,
      speeds: view.speeds,
      lastSeenMs: online ? clock.now() : wall(view.lastSeenMs),
      lastWorkMs: view.lastWorkMs === undefined ? undefined : wall(view.lastWorkMs),
      connections,
    };
  };
  return {
    live() {
      const seen = new Map(sources.connections().map((one) => [one.connection, one]));
      const { answered, latencyMs } = sources.latency();
      return {
        atMs: clock.now(),
        rigs: new Map(
          sources.rigs(clock.monotonicMs()).map((view) => [formatRig(view.rig), liveRig(view, seen)] as const),
        ),
        capacity: sources.capacity(),
        sessionsHeld: sources.load(),
        streams: sources.streams(),
        jobsInFlight: sources.jobsInFlight(),
        waiting: sources.waiting(),
        latencyMs: answered === 0 ? undefined : latencyMs,
        draining: sources.draining(),
        logWritable: sources.logWritable(),
      };
    },
    decisions: (rig) =>
      sources.decisions(rig).map((one) => ({
        atMs: wall(one.atMs),
        chosen: one.chosen,
        reason: publicDecision(one.reason),
        times: one.times,
      })),
  };
}
