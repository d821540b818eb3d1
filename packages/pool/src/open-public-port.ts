import type { Clock, Logger, Scope } from "@openpool/base";
import type { Alerts } from "./alerts/alerts.ts";
import { createLiveView } from "./api/public/live-view.ts";
import { createPayoutsView } from "./api/public/payout-view.ts";
import type { PublicPort } from "./api/public/ports.ts";
import type { Dispatcher } from "./dispatch/index.ts";
import type { GatewayDoor } from "./gateway/door.ts";
import type { JobDesk } from "./jobs/desk.ts";
import type { PoolMetrics } from "./metrics.ts";
import type { Books } from "./open-books.ts";
import type { SchemesAtWork } from "./open-schemes.ts";
import { openSettings } from "./open-settings.ts";
import type { PoolOptions } from "./options.ts";
import type { RunningPayouts } from "./start-payouts.ts";
import { openRollups, type PgConnection, PgPayoutReader } from "./store/index.ts";
import type { Store } from "./store/types.ts";
import type { Upstreams } from "./upstream/upstreams.ts";
import type { Connections } from "./workers/connections.ts";
import type { Identities } from "./workers/identity.ts";
import type { WorkersRegister } from "./workers/register.ts";
import type { RigReports } from "./workers/rig-reports.ts";

/** The rooms of a running pool of which everybody may know something. */
export interface PublicPortDeps {
  /** Of the node: what is opened here ends with it. */
  readonly scope: Scope;
  readonly connection: PgConnection;
  readonly version: string;
  readonly startedAtMs: number;
  /** The pool's own key, of which one for signing in is made. */
  readonly tokenKey: Uint8Array;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly store: Store;
  readonly dispatcher: Dispatcher;
  readonly desk: JobDesk;
  readonly gateways: GatewayDoor;
  readonly upstreams: Upstreams;
  readonly connections: Connections;
  readonly register: WorkersRegister;
  readonly identities: Identities;
  readonly reports: RigReports;
  readonly metrics: PoolMetrics;
  readonly books: Books;
  readonly schemes: SchemesAtWork;
  readonly payouts: RunningPayouts | undefined;
  readonly alerts: Alerts;
  readonly draining: () => boolean;
}

/** What the public API reads, and what a worker's signature changes through it. */
export async function openPublicPort(
  options: PoolOptions,
  api: NonNullable<PoolOptions["api"]>,
  deps: PublicPortDeps,
): Promise<PublicPort> {
  const { scope, logger, clock, store, dispatcher, desk, gateways, upstreams, connections, register } = deps;
  const { identities, reports, metrics, books, schemes, payouts, alerts, draining } = deps;
  const view = createLiveView({
    clock,
    rigs: (nowMs) => dispatcher.rigs(nowMs),
    connections: () => connections.all(),
    decisions: (rig) => dispatcher.decisions(rig),
    capacity: () => dispatcher.capacity(),
    load: () => dispatcher.load(),
    streams: () => gateways.sessions.count + upstreams.sessions,
    jobsInFlight: () => desk.jobsInFlight,
    waiting: () => dispatcher.size().waiting,
    latency: () => metrics.summary(),
    draining,
    logWritable: () => store.writable,
  });
  const onAppended = (callback: () => void): (() => void) => store.onAppended(callback);
  const join = {
    open: options.joinOpen,
    registered: options.joinRegistered,
    passwordNeeded: options.joinPassword !== undefined,
  };
  // Connections of its own: whoever pays never waits for a page.
  const paid = payouts && scope.use(new PgPayoutReader(deps.connection, clock));
  const rollups = scope.use(await openRollups(deps.connection, { logger, clock, onAppended }));
  return {
    facts: {
      identity: api.identity,
      version: deps.version,
      startedAtMs: deps.startedAtMs,
      network: options.network,
      serviceUri: options.serviceUri,
      join,
      price: options.price,
    },
    live: () => view.live(),
    machines: reports,
    decisions: (worker, rig) => view.decisions({ worker, rig }),
    worker: (address) => identities.worker(address),
    rollups,
    events: (query) => store.events(query),
    onEvents: onAppended,
    terms: () => books.terms.book.versions,
    books: {
      balance: (worker) => books.store.balance(worker),
      totals: () => books.store.totals(),
      halts: () => books.store.halts(),
      statement: (...args) => books.store.statement(...args),
      statementSums: (...args) => books.store.statementSums(...args),
      nextReleaseMs: (worker) => books.store.nextReleaseMs(worker),
      lastCheck() {
        const last = books.port.lastCheck();
        return last && { atMs: last.atMs, differences: last.violations.map((one) => one.message) };
      },
    },
    payouts:
      options.payouts &&
      payouts &&
      paid &&
      createPayoutsView({
        port: {
          status: () => payouts.port.status(),
          next: () => payouts.port.next(),
          payees: () => payouts.port.payees(),
          payToChanges: (worker) => paid.payToChanges(worker),
          runs: (...args) => paid.runs(...args),
          runHead: (id) => paid.runHead(id),
          runSums: (ids) => paid.runSums(ids),
          linesOfRun: (...args) => paid.linesOfRun(...args),
          linesOf: (...args) => paid.linesOf(...args),
          finalLines: (worker) => paid.finalLines(worker),
        },
        clock,
        minimumOf: (worker) => books.terms.book.of(books.terms.current, worker).minimumPayoutWei,
        payable: () => books.store.payable(),
        halts: () => books.store.halts(),
        paidWei: async (worker) => (await books.store.balance(worker)).paidWei,
        asset: options.payouts.asset,
        payer: (await payouts.port.status()).payer,
        chainId: options.payouts.chainId,
      }),
    alerts,
    settings: scope.use(
      await openSettings(
        {
          publicUrl: options.alerts?.publicUrl,
          key: deps.tokenKey,
          payouts: options.payouts,
        },
        {
          connection: deps.connection,
          clock,
          payouts,
          terms: books.terms,
          register,
          join,
          alerts,
          append: (events) => store.append(events),
          async rigsOf(worker) {
            const rigs = new Map<string, number | undefined>();
            for (const one of await rollups.known(worker)) if (one.rig !== "") rigs.set(one.rig, one.seenAtMs);
            for (const one of view.live().rigs.values()) if (one.worker === worker) rigs.set(one.rig, one.lastSeenMs);
            return rigs;
          },
        },
      ),
    ),
    income: options.income && (() => schemes.income()),
  };
}
