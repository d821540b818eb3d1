import { formatRig, type RigName } from "@openpool/protocol";
import { Counter, Gauge, type Registry } from "prom-client";
import type { RigView, Standing } from "./dispatch/types.ts";
import type { UpstreamStatus } from "./upstream/door.ts";
import type { DeviceCount } from "./workers/rig-reports.ts";

/** The fleet at the moment of scraping. */
export interface FleetNow {
  readonly rigs: readonly RigView[];
  /** As far as the rig says. */
  devicesOf(rig: RigName): readonly DeviceCount[];
  readonly upstreams: readonly UpstreamStatus[];
}

export interface FleetMetrics {
  /** A segment was answered with this rig's result. */
  earned(rig: RigName): void;
  show(now: FleetNow): void;
}

/** A fleet may have thousands: so many rigs have series of their own, all others together are `other`. */
export const RIGS_SHOWN = 100;
const OTHER = "other";
const STANDINGS: readonly Standing[] = ["new", "trusted", "probation", "barred"];

/** Metrics of single rigs, kinds of devices and upstreams. */
export function createFleetMetrics(registry: Registry, rigsShown = RIGS_SHOWN): FleetMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string, labelNames: string[]): Gauge =>
    new Gauge({ name, help, labelNames, registers });
  const rigs = gauge("openpool_rigs", "Rigs that are connected, by how much they are trusted with", ["standing"]);
  const devices = gauge("openpool_devices", "Devices of connected rigs that say what they have", ["kind"]);
  const places = gauge("openpool_rig_places", "Streams that the rig takes at once", ["rig"]);
  const streams = gauge("openpool_rig_streams", "Streams that have a place on the rig", ["rig"]);
  const inFlight = gauge("openpool_rig_jobs_in_flight", "Segments that the rig works on", ["rig"]);
  const success = gauge("openpool_rig_success_ratio", "Recent share of its attempts that went well", ["rig"]);
  const segments = new Counter({
    name: "openpool_rig_segments_total",
    help: "Segments answered with its result",
    labelNames: ["rig"],
    registers,
  });
  const registered = gauge("openpool_upstream_registered", "1 while the orchestrator has us", ["upstream"]);
  const drained = gauge("openpool_upstream_drained", "1 while the operator has taken it out", ["upstream"]);
  const sessions = gauge("openpool_upstream_sessions", "Streams of the orchestrator", ["upstream"]);
  const tasksInFlight = gauge("openpool_upstream_tasks_in_flight", "Its tasks that are worked on", ["upstream"]);
  const tasks = new Counter({
    name: "openpool_upstream_tasks_total",
    help: "Tasks of the orchestrator by what became of them",
    labelNames: ["upstream", "outcome"],
    registers,
  });

  /** Rigs with series of their own. */
  const shown = new Set<string>();
  /** Who is not connected any more makes room; then those with the most results get what is free. */
  const choose = (connected: readonly RigView[]): void => {
    const names = new Set(connected.map(({ rig }) => formatRig(rig)));
    for (const name of shown) {
      if (names.has(name)) continue;
      shown.delete(name);
      segments.remove(name);
    }
    const waiting = connected.filter(({ rig }) => !shown.has(formatRig(rig)));
    waiting.sort((a, b) => b.accepted - a.accepted);
    for (const { rig } of waiting.slice(0, rigsShown - shown.size)) {
      const name = formatRig(rig);
      shown.add(name);
      segments.inc({ rig: name }, 0);
    }
  };
  const showRigs = (connected: readonly RigView[]): void => {
    for (const one of [places, streams, inFlight, success]) one.reset();
    let others = 0;
    let othersSuccess = 0;
    for (const { rig: name, capacity, sessions: held, inFlight: working, success: share } of connected) {
      const own = shown.has(formatRig(name));
      const rig = own ? formatRig(name) : OTHER;
      places.inc({ rig }, capacity);
      streams.inc({ rig }, held);
      inFlight.inc({ rig }, working);
      if (own) success.set({ rig }, share);
      else {
        others++;
        othersSuccess += share;
      }
    }
    if (others > 0) success.set({ rig: OTHER }, othersSuccess / others);
  };

  return {
    earned(rig) {
      const name = formatRig(rig);
      segments.inc({ rig: shown.has(name) ? name : OTHER });
    },
    show({ rigs: all, devicesOf, upstreams }) {
      const connected = all.filter(({ state }) => state !== "gone");
      choose(connected);
      showRigs(connected);
      for (const standing of STANDINGS) {
        rigs.set({ standing }, connected.filter((one) => one.standing === standing).length);
      }
      devices.reset();
      for (const { rig } of connected) {
        for (const { kind, count } of devicesOf(rig)) devices.inc({ kind }, count);
      }
      tasks.reset();
      for (const { name: upstream, state, sessions: open, tasksInFlight: working, ...counts } of upstreams) {
        registered.set({ upstream }, state === "registered" ? 1 : 0);
        drained.set({ upstream }, state === "drained" ? 1 : 0);
        sessions.set({ upstream }, open);
        tasksInFlight.set({ upstream }, working);
        for (const outcome of ["answered", "failed", "lost"] as const)
          tasks.inc({ upstream, outcome }, counts[outcome]);
      }
    },
  };
}
