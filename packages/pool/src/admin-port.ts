import type { Clock } from "@openpool/base";
import { needOf, type RigName } from "@openpool/protocol";
import type { Alerts } from "./alerts/alerts.ts";
import { rigStatus } from "./api/rig-status.ts";
import { knownRigOf, rigOf, workerOf } from "./api/typed-names.ts";
import type { AdminPort, PoolStatus } from "./api/types.ts";
import type { BodyMemory } from "./bodies/body-memory.ts";
import { decisionText } from "./dispatch/decision-text.ts";
import type { Dispatcher } from "./dispatch/index.ts";
import type { Front } from "./front/front.ts";
import type { GatewayDoor } from "./gateway/door.ts";
import type { Demand } from "./jobs/demand.ts";
import type { JobDesk } from "./jobs/desk.ts";
import type { PoolMetrics } from "./metrics.ts";
import type { Books } from "./open-books.ts";
import type { SchemesAtWork } from "./open-schemes.ts";
import type { PoolOptions } from "./options.ts";
import type { RunningPayouts } from "./start-payouts.ts";
import { describeConnection, type PgConnection } from "./store/index.ts";
import type { Store } from "./store/types.ts";
import type { Upstreams } from "./upstream/upstreams.ts";
import type { Connections } from "./workers/connections.ts";
import type { DrainedRigs } from "./workers/drained-rigs.ts";
import type { WorkersRegister } from "./workers/register.ts";
import type { RigReports } from "./workers/rig-reports.ts";

/** The rooms of a running pool that its operator asks and tells something. */
export interface AdminPortDeps {
  readonly connection: PgConnection;
  readonly version: string;
  readonly startedAtMs: number;
  readonly clock: Clock;
  readonly store: Store;
  readonly dispatcher: Dispatcher;
  readonly desk: JobDesk;
  readonly gateways: GatewayDoor;
  readonly servesGateways: boolean;
  readonly upstreams: Upstreams;
  readonly connections: Connections;
  readonly register: WorkersRegister;
  readonly drainedRigs: DrainedRigs;
  readonly reports: RigReports;
  readonly memory: BodyMemory;
  readonly front: Front;
  readonly demand: Demand;
  readonly metrics: PoolMetrics;
  readonly books: Books;
  readonly schemes: SchemesAtWork;
  readonly payouts: RunningPayouts | undefined;
  readonly alerts: Alerts;
  /** `ending`: it lets its work run out, and nobody takes over. */
  readonly leaving: () => { readonly draining: boolean; readonly ending: boolean };
}

/** What the admin port shows and does: health, status, metrics, and every write of an operator. */
export function createAdminPort(options: PoolOptions, deps: AdminPortDeps): AdminPort {
  const { clock, store, dispatcher, desk, gateways, upstreams, connections, register, drainedRigs } = deps;
  const { servesGateways, reports, memory, front, demand, metrics, books, schemes, payouts, alerts, leaving } = deps;
  const unhealthy = (): string[] => {
    const reasons: string[] = [];
    if (leaving().ending) reasons.push("the pool is draining");
    if (!store.writable) reasons.push("the event log cannot be written");
    return reasons;
  };
  const status = (): PoolStatus => ({
    version: deps.version,
    pid: process.pid,
    startedAt: new Date(deps.startedAtMs).toISOString(),
    serviceUri: options.serviceUri,
    listen: `${options.listen.host}:${options.listen.port}`,
    adminListen: `${options.adminListen.host}:${options.adminListen.port}`,
    publicListen: options.api && `${options.api.listen.host}:${options.api.listen.port}`,
    dataDir: options.dataDir,
    database: {
      kind: deps.connection.kind === "url" ? "external" : "managed",
      writable: store.writable,
      where: describeConnection(deps.connection),
    },
    doors: { gateways: servesGateways && !leaving().draining, workers: !leaving().draining },
    upstreams: upstreams.status(),
    sessions: gateways.sessions.count + upstreams.sessions,
    capacity: dispatcher.capacity(),
    load: dispatcher.load(),
    jobsInFlight: desk.jobsInFlight,
    bytesInFlight: memory.bytesInUse,
    ...metrics.summary(),
    rigs: rigStatus({ dispatcher, connections, clock }),
    rigsKnown: dispatcher.rigsKnown,
  });
  const seenRigOf = (name: string): RigName => knownRigOf(name, dispatcher.rigs(clock.monotonicMs()));
  return {
    payouts: payouts?.port,
    status,
    unhealthy,
    unready: () => [
      ...unhealthy(),
      ...(dispatcher.hasRoom(needOf(0n), clock.monotonicMs()) ? [] : ["no rig with room is connected"]),
      ...(servesGateways || upstreams.status().some(({ state }) => state === "registered")
        ? []
        : ["no orchestrator has the pool registered, and it serves no gateways"]),
    ],
    metrics: async () =>
      metrics.text({
        ledger: await books.now(),
        floats: (await payouts?.port.status().catch(() => undefined))?.floats ?? [],
        fleet: {
          rigs: dispatcher.rigs(clock.monotonicMs()),
          devicesOf: (rig) => reports.machineOf(rig)?.devices ?? [],
          upstreams: upstreams.status(),
        },
        solvency: await schemes.solvency().catch(() => undefined),
        sessions: gateways.sessions.count + upstreams.sessions,
        maxSessions: options.maxSessions ?? dispatcher.capacity(),
        transcoders: connections.size,
        capacity: dispatcher.capacity(),
        load: dispatcher.load(),
        bytesInFlight: memory.bytesInUse,
        jobsInFlight: desk.jobsInFlight,
        connections: front.connections,
        storeWritable: store.writable,
      }),
    events: (query) => store.events(query),
    onEvents: (callback) => store.onAppended(callback),
    record: (data) => store.append([{ type: "admin.requested", data }]),
    balances: () => store.balances(),
    ledger: books.port,
    schemes: schemes.port,
    async workers() {
      const credentials = await register.credentials();
      return {
        workers: await store.workers(),
        credentials: credentials.map(({ id, name, createdAt, revokedAt }) => ({ id, name, createdAt, revokedAt })),
      };
    },
    async addWorker(address, rig) {
      return register.issue(rigOf(rig === undefined ? address : `${address}.${rig}`), "operator");
    },
    revokeCredential: (id) => register.revoke(id, "operator"),
    setWorker: async (address, change) => register.change(workerOf(address), change, "operator"),
    alerts,
    async drainRig(name) {
      const rig = seenRigOf(name);
      await drainedRigs.drain(rig);
      await store.append([{ type: "rig.drained", worker: rig.worker, rig: rig.rig, data: {} }]);
    },
    async undrainRig(name) {
      const rig = seenRigOf(name);
      await drainedRigs.undrain(rig);
      await store.append([{ type: "rig.undrained", worker: rig.worker, rig: rig.rig, data: {} }]);
    },
    gateways: () => demand.list(),
    partitions: () => store.partitions(),
    setUpstreamDrained: (name, drained) => upstreams.setDrained(name, drained),
    decisions: (name) =>
      dispatcher.decisions(rigOf(name)).map((decision) => ({
        at: new Date(clock.now() - (clock.monotonicMs() - decision.atMs)).toISOString(),
        chosen: decision.chosen,
        reason: decisionText(decision.reason),
      })),
  };
}
