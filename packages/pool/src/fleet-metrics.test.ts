import type { RigName, WorkerAddress } from "@openpool/protocol";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import type { RigView } from "./dispatch/types.ts";
import { createFleetMetrics, type FleetNow } from "./fleet-metrics.ts";
import type { UpstreamStatus } from "./upstream/door.ts";

const ada = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F" as WorkerAddress;
const name = (rig: string): RigName => ({ worker: ada, rig });
const rig = (called: string, more: Partial<RigView> = {}): RigView => ({
  rig: name(called),
  state: "connected",
  connections: [],
  capacity: 4,
  sessions: 1,
  inFlight: 1,
  draining: false,
  standing: "trusted",
  reason: "",
  standingSinceMs: 0,
  success: 1,
  accepted: 0,
  failed: 0,
  claimsDiffered: 0,
  claimsLied: 0,
  chosenLastHour: 0,
  passedOverLastHour: 0,
  speeds: [],
  lastSeenMs: 0,
  lastWorkMs: undefined,
  ...more,
});
const fleet = (...rigs: RigView[]): FleetNow => ({ rigs, devicesOf: () => [], upstreams: [] });

/** Values of a metric by the last part of the rig's name. */
async function valuesOf(registry: Registry, metric: string): Promise<Record<string, number>> {
  const { values } = (await registry.getSingleMetric(metric)?.get()) ?? { values: [] };
  return Object.fromEntries(values.map((one) => [String(one.labels["rig"]).split(".").at(-1), one.value]));
}

test("a fleet larger than what is shown has one series for all others, which loses nothing", async () => {
  const registry = new Registry();
  const metrics = createFleetMetrics(registry, 2);
  const all = [rig("best", { accepted: 9 }), rig("good", { accepted: 5 }), rig("new", { success: 0.5 }), rig("newer")];
  metrics.show(fleet(...all));
  for (const called of ["best", "new", "newer", "newer"]) metrics.earned(name(called));
  metrics.show(fleet(...all));
  expect(await valuesOf(registry, "openpool_rig_places")).toEqual({ best: 4, good: 4, other: 8 });
  expect(await valuesOf(registry, "openpool_rig_success_ratio")).toEqual({ best: 1, good: 1, other: 0.75 });
  expect(await valuesOf(registry, "openpool_rig_segments_total")).toEqual({ best: 1, good: 0, other: 3 });
});

test("a rig keeps its series while it is connected, and makes room when it leaves", async () => {
  const registry = new Registry();
  const metrics = createFleetMetrics(registry, 1);
  metrics.show(fleet(rig("first")));
  metrics.show(fleet(rig("first"), rig("second", { accepted: 100 })));
  expect(await valuesOf(registry, "openpool_rig_streams")).toEqual({ first: 1, other: 1 });
  metrics.show(fleet(rig("first", { state: "gone" }), rig("second")));
  expect(await valuesOf(registry, "openpool_rig_streams")).toEqual({ second: 1 });
});

test("devices and standings are counted over all that are connected, shown or not", async () => {
  const registry = new Registry();
  const metrics = createFleetMetrics(registry, 1);
  metrics.show({
    ...fleet(rig("a"), rig("b", { standing: "barred" }), rig("c", { state: "gone" })),
    devicesOf: () => [{ kind: "nvidia", model: "NVIDIA L4", count: 2 }],
  });
  const text = await registry.metrics();
  expect(text).toContain('openpool_devices{kind="nvidia"} 4');
  expect(text).toContain('openpool_rigs{standing="barred"} 1');
  expect(text).toContain('openpool_rigs{standing="trusted"} 1');
});

test("an upstream that is taken out is told from one that is lost", async () => {
  const registry = new Registry();
  const metrics = createFleetMetrics(registry);
  const upstream = (called: string, state: UpstreamStatus["state"]) =>
    ({ name: called, state, sessions: 0, tasksInFlight: 0, answered: 0, failed: 0, lost: 0 }) as UpstreamStatus;
  metrics.show({ ...fleet(), upstreams: [upstream("out", "drained"), upstream("lost", "waiting")] });
  const text = await registry.metrics();
  expect(text.match(/^openpool_upstream_(?:registered|drained)\{.*$/gm)).toEqual([
    'openpool_upstream_registered{upstream="out"} 0',
    'openpool_upstream_registered{upstream="lost"} 0',
    'openpool_upstream_drained{upstream="out"} 1',
    'openpool_upstream_drained{upstream="lost"} 0',
  ]);
});
