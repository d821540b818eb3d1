import type { Clock } from "@openpool/base";
import type { Dispatcher } from "../dispatch/index.ts";
import type { Connections } from "../workers/connections.ts";
import type { RigStatus } from "./types.ts";

/** In a status; `rigsKnown` says how many there are in all. */
const GONE_RIGS_SHOWN = 100;

/** All that are connected, and of those that are gone the ones seen last: anybody may come under any number of names. */
export function rigStatus({
  dispatcher,
  connections,
  clock,
}: {
  readonly dispatcher: Pick<Dispatcher, "rigs">;
  readonly connections: Pick<Connections, "ofRig">;
  readonly clock: Clock;
}): RigStatus[] {
  const rigs = dispatcher.rigs(clock.monotonicMs());
  const gone = rigs.filter(({ state }) => state === "gone").sort((a, b) => b.lastSeenMs - a.lastSeenMs);
  const shown = [...rigs.filter(({ state }) => state !== "gone"), ...gone.slice(0, GONE_RIGS_SHOWN)];
  return shown.map((rig) => {
    const open = connections.ofRig(rig.rig);
    return {
      worker: rig.rig.worker,
      rig: rig.rig.rig,
      state: rig.state,
      connections: open.length,
      capacity: rig.capacity,
      sessions: rig.sessions,
      jobsInFlight: rig.inFlight,
      standing: rig.standing,
      reason: rig.reason,
      version: open[0]?.version,
      remoteAddress: open[0]?.peer,
      lastSeen: new Date(clock.now() - (clock.monotonicMs() - rig.lastSeenMs)).toISOString(),
    };
  });
}
