import { mkdir } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { type Clock, type Logger, openScope } from "@openpool/base";
import type { PublicPort } from "./api/public/ports.ts";
import { Alerts } from "./alerts/alerts.ts";
import { noAlertSettings } from "./alerts/settings.ts";
import { watchedProblems } from "./alerts/watch.ts";
import type { AdminPort } from "./api/types.ts";
import { createAdminPort } from "./admin-port.ts";
import { createBodyMemory } from "./bodies/body-memory.ts";
import { startKeccak } from "./bodies/keccak.ts";
import { defaultDispatchOptions, Dispatcher } from "./dispatch/index.ts";
import type { Standing } from "./dispatch/types.ts";
import { loadTlsIdentity, type TlsIdentity } from "./front/certificate.ts";
import { openFront } from "./front/front.ts";
import { createTokenIssuer } from "./gateway/auth-token.ts";
import { loadTokenKey } from "./gateway/token-key.ts";
import { Demand } from "./jobs/demand.ts";
import { GatewayDoor } from "./gateway/door.ts";
import { Renditions } from "./gateway/renditions.ts";
import { newAttemptId } from "./jobs/attempt-id.ts";
import { JobDesk } from "./jobs/desk.ts";
import { CHECK_DEADLINE_MS, RigChecks } from "./jobs/rig-checks.ts";
import { createPoolMetrics } from "./metrics.ts";
import { openBooks } from "./open-books.ts";
import { openPublicPort } from "./open-public-port.ts";
import { createRoutes } from "./routes.ts";
import { openSchemeRules, type SchemesAtWork, startSchemes } from "./open-schemes.ts";
import type { PoolOptions } from "./options.ts";
import type { FloatNow, PayoutPort } from "./payouts/types.ts";
import type { RelayPort } from "./supervisor/relay.ts";
import type { Spool } from "./supervisor/spool.ts";
import { openStore, type PaidChain, PgAlertStore, type PgConnection, PgRigNames } from "./store/index.ts";
import { Upstreams } from "./upstream/upstreams.ts";
import { Connections } from "./workers/connections.ts";
import { DrainedRigs } from "./workers/drained-rigs.ts";
import { WorkersDoor } from "./workers/door.ts";
import { Identities } from "./workers/identity.ts";
import { WorkersRegister } from "./workers/register.ts";
import { RigNames } from "./workers/rig-names.ts";
import { RigReports } from "./workers/rig-reports.ts";
import { RigWatch } from "./workers/rig-watch.ts";

export interface PoolDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Of this program, for pages and metrics. */
  readonly version: string;
  readonly connection: PgConnection;
  /** Which life of the pool this is; grows with every process, so that paths and task ids never collide. */
  readonly generation: number;
  /** The way to other processes of this pool, while one takes over from another. */
  readonly relay?: RelayPort | undefined;
  /** What chance there is in dispatch, 0 to 1; given by tests that must not depend on it. */
  readonly random?: (() => number) | undefined;
  /** Keeps answered renditions where a crash cannot take them. */
  readonly spool?: Spool | undefined;
}

/** A running pool: everything but the listening sockets, which outlive it. */
export interface PoolNode extends AsyncDisposable {
  /** Takes a connection of the public port. */
  acceptPublic(socket: Socket): void;
  readonly admin: AdminPort;
  /** What everybody may read; undefined when the options leave the pages out. */
  readonly publicApi: PublicPort | undefined;
  /** The certificate of the public port. */
  readonly identity: TlsIdentity;
  /**
   * Stops taking registrations and new streams, lets every segment in flight finish and its renditions be fetched, and lets the workers go in the way
   * that costs them least. Resolves when nothing is left, or `signal` aborts.
   */
  drain(signal: AbortSignal): Promise<void>;
}

const SWEEP_MS = 1_000;
/** Another process of the pool, before or after this one, may have been told who may work here and who is drained. */
const REGISTER_EVERY_MS = 30_000;
const DRAIN_POLL_MS = 20;
/** So many idle rigs stay with a process that has a successor until the last of its segments is done. */
const SPARE_RIGS = 2;
/** When a pool at work leaves, segments that gateways, or tasks that orchestrators, were just about to send are still taken for so long. */
const LAST_CALL_MS = 1_000;
/** Most stock transcoders are back within this time after their stream ended. */
const RIGS_RETURN_MS = 5_000;
/** After a longer one nobody waits at the door. */
const SHORT_ABSENCE_MS = 120_000;
/** How long a start waits for orchestrators that the process before was registered with. */
const TAKE_OVER_MS = 3_000;
const REPUTATION_SNAPSHOT = "reputation";
const REPUTATION_EVERY_MS = 30_000;
const REPUTATION_SOON_MS = 500;

/** Nothing that it did speaks against it. A check shows what one can do that had no work yet. */
function isTrusted(standing: Standing): boolean {
  return standing === "trusted" || standing === "new";
}

/** When a snapshot of what was learnt about rigs was taken, in unix ms. */
function reputationTime(snapshot: unknown): number | undefined {
  const at = typeof snapshot === "object" && snapshot !== null && "at" in snapshot ? snapshot.at : undefined;
  return typeof at === "number" ? at : undefined;
}

/** What the paying account holds; undefined: nobody could look yet. */
async function weighedFloats(port: PayoutPort): Promise<readonly FloatNow[] | undefined> {
  const { payer, balanceWei, floats } = await port.status();
  return payer !== undefined && balanceWei === undefined ? undefined : floats;
}

/** Wires the whole pool. Nothing else knows which rooms there are. */
export async function startPoolNode(options: PoolOptions, deps: PoolDeps): Promise<PoolNode> {
  const { logger, clock, generation } = deps;
  const startedAt = clock.now();
  const scope = openScope();
  try {
    await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
    const host = new URL(options.serviceUri).hostname.replace(/^\[|\]$/g, "");
    const identity = await loadTlsIdentity({ ...options, host }, clock.now());
    const tokenKey = await loadTokenKey(options.dataDir);
    const tokens = createTokenIssuer(tokenKey);
    const keccak = scope.use(await startKeccak());
    const store = scope.use(await openStore(deps.connection, { logger, clock }));

    const rules = scope.use(openSchemeRules({ connection: deps.connection, store, logger, clock }));
    // Opened after the books, and the books check against it.
    let paidChain: PaidChain | undefined;
    const books = scope.use(
      await openBooks(
        {
          first: { ...options.firstTerms, commissionPpm: options.commissionPpm },
          named: options.namedTerms ?? [],
        },
        {
          connection: deps.connection,
          store,
          logger,
          clock,
          bookJob: (terms) => rules.bookJob(terms),
          chain: () => paidChain,
          retention: {
            dir: options.eventsDir ?? join(options.dataDir, "exports"),
            keepMonths: options.eventsKeepMonths,
          },
        },
      ),
    );

    const identities = new Identities(options);
    const memory = createBodyMemory(options.maxBytesInFlight);
    const renditions = new Renditions(clock, deps.spool);
    memory.onPressure = () => renditions.trim();
    const connections = new Connections({ logger, clock });
    const register = new WorkersRegister({ store, identities, connections, clock });
    await register.load();
    const dispatcher = new Dispatcher(defaultDispatchOptions, {
      random: deps.random ?? Math.random,
      newAttemptId: () => newAttemptId(generation),
    });
    const reputation = await store.getSnapshot(REPUTATION_SNAPSHOT);
    const awayMs = Math.max(0, clock.now() - (reputationTime(reputation) ?? 0));
    if (reputation !== undefined) dispatcher.importReputation(reputation, clock.monotonicMs(), awayMs);
    // Rigs of the process before this one are on their way back: gateways need not be turned away meanwhile.
    const rigsExpected = awayMs < SHORT_ABSENCE_MS && dispatcher.rigsKnown > 0;
    let rigsExpectedUntilMs = 0;
    const saveReputation = async (): Promise<void> => {
      // The process that took over knows more by now.
      if (deps.relay?.successor !== undefined) return;
      const learnt = dispatcher.exportReputation(clock.monotonicMs());
      await store.putSnapshot(REPUTATION_SNAPSHOT, { at: clock.now(), ...learnt });
    };

    const names = scope.use(
      await RigNames.open({
        store: new PgRigNames(deps.connection),
        clock,
        logger,
        isHere: (name) => connections.hasRig(name),
      }),
    );
    const metrics = createPoolMetrics(deps.version);
    const demand = new Demand(clock);
    /** A process that takes over, planned or not, must know soon which rigs are on their way to it. */
    let reputationDue = false;
    const rigsChanged = (): void => {
      upstreams.refresh();
      if (reputationDue) return;
      reputationDue = true;
      clock.after(REPUTATION_SOON_MS, () => {
        reputationDue = false;
        saveReputation().catch((error: unknown) => logger.debug("reputation was not saved", { error: String(error) }));
      });
    };
    const desk = new JobDesk(
      { generation, serviceUri: options.serviceUri },
      {
        termsOf: (worker) => books.terms.book.of(books.terms.current, worker),
        dispatcher,
        connections,
        store,
        logger,
        clock,
        onJobEnd(end) {
          metrics.jobEnded(end);
          demand.jobEnded(end);
          if (end.outcome.kind !== "done") return;
          names.worked(end.outcome.earner);
          schemes.workerWorked(end.outcome.earner.worker);
        },
      },
    );
    scope.defer(() => desk.close());
    const drainedRigs = await DrainedRigs.open({ store, desk });

    let draining = false;
    /** Nobody takes over: the pool ends. */
    const ending = (): boolean => draining && deps.relay?.successor === undefined;
    let lastCallUntilMs = 0;
    const servesGateways = options.attached?.gateways ?? true;
    const gateways: GatewayDoor = new GatewayDoor(
      {
        serviceUri: options.serviceUri,
        price: options.price,
        generation,
        maxSessions: options.maxSessions,
        allowedSourceHosts: new Set(options.allowedSourceHosts?.map((one) => one.toLowerCase())),
      },
      {
        desk,
        dispatcher,
        renditions,
        tokens,
        memory,
        keccak,
        logger,
        clock,
        expectingRigs: () => clock.monotonicMs() < rigsExpectedUntilMs,
        handingOver: () => draining && !ending(),
        accepting: () => !ending() && (clock.monotonicMs() < rigsExpectedUntilMs || upstreams.leavesRoomForGateways()),
      },
    );
    const upstreams: Upstreams = scope.use(
      await Upstreams.open(
        { attached: options.attached, price: options.price },
        {
          desk,
          memory,
          store,
          logger,
          clock,
          generation,
          priceRule: () => books.terms.current.priceSource,
          room: () => ({
            supplies: dispatcher.promise(),
            gateways: { sessions: gateways.sessions.count, present: servesGateways },
            maxSessions: options.maxSessions,
          }),
        },
      ),
    );
    let payoutPort: PayoutPort | undefined;
    const checks = new RigChecks({
      desk,
      rigs: (nowMs) => dispatcher.rigs(nowMs),
      memory,
      append: (events) => store.append(events),
      logger,
      clock,
      random: deps.random ?? Math.random,
    });
    const schemes: SchemesAtWork = scope.use(
      await startSchemes(options.income, {
        rules,
        books,
        connection: deps.connection,
        store,
        logger,
        clock,
        uptime: {
          readyWorkers: () =>
            dispatcher
              .rigs(clock.monotonicMs())
              .filter(({ state, capacity, standing }) => state === "connected" && capacity > 0 && isTrusted(standing))
              .map((rig) => rig.rig.worker),
          check: (worker) => checks.check(worker),
          checkMs: CHECK_DEADLINE_MS,
          random: deps.random ?? Math.random,
        },
        async payoutBalanceWei() {
          if (!options.payouts) return undefined;
          const status = await payoutPort?.status();
          if (!status) return "unknown";
          const { payer, balanceWei, goneWei } = status;
          if (payer === undefined) return undefined;
          if (balanceWei === undefined) return "unknown";
          // What its own wallet holds is among what the chain says of the orchestrator.
          return payer === options.income?.orchestrator ? goneWei : balanceWei + goneWei;
        },
      }),
    );
    const reports = await RigReports.open({ store, clock });
    const workers = new WorkersDoor({
      desk,
      connections,
      identities,
      memory,
      reports,
      names,
      store,
      logger,
      clock,
      accepting: () => !draining,
      onRigsChanged: rigsChanged,
      onJoined: ({ rig, version, capacity }) => schemes.workerJoined(rig, { version, capacity }),
    });

    const front = scope.use(
      openFront(
        { identity, maxConnections: 20_000, maxConnectionsPerAddress: 4_000 },
        createRoutes({
          generation,
          servesGateways,
          gateways,
          workers,
          renditions,
          relay: deps.relay,
          spool: deps.spool,
          logger,
          clock,
          leaving: () => ({ draining, ending: ending(), lastCallUntilMs }),
        }),
        { logger },
      ),
    );

    const rigWatch = new RigWatch(clock);
    let sweepsUntilSave = REPUTATION_EVERY_MS / SWEEP_MS;
    let sweepsUntilLoad = REGISTER_EVERY_MS / SWEEP_MS;
    let cancelSweep = (): void => {};
    const sweep = (): void => {
      gateways.sessions.expire();
      upstreams.refresh();
      renditions.expire();
      // The process that takes over knows better by then.
      const seen = draining ? undefined : rigWatch.look(connections.size);
      if (seen) store.append([seen]).catch((error: unknown) => logger.debug("not recorded", { error: String(error) }));
      if (--sweepsUntilSave <= 0) {
        sweepsUntilSave = REPUTATION_EVERY_MS / SWEEP_MS;
        saveReputation().catch((error: unknown) => logger.debug("reputation was not saved", { error: String(error) }));
        void upstreams.save();
      }
      if (--sweepsUntilLoad <= 0) {
        sweepsUntilLoad = REGISTER_EVERY_MS / SWEEP_MS;
        Promise.all([register.load(), drainedRigs.follow(), upstreams.followDrained()]).catch((error: unknown) =>
          logger.debug("what another process was told was not read", { error: String(error) }),
        );
      }
      cancelSweep = clock.after(SWEEP_MS, sweep);
    };
    cancelSweep = clock.after(SWEEP_MS, sweep);
    scope.defer(() => cancelSweep());

    await store.append([{ type: "pool.started", data: { generation, version: deps.version, pid: process.pid } }]);

    // What speaks to a chain is 20 MB of code, loaded only where there is one.
    const payouts =
      options.payouts &&
      scope.use(
        await (
          await import("./start-payouts.ts")
        ).startPayouts(options.payouts, {
          connection: deps.connection,
          clock,
          logger,
          terms: books.terms,
          poolName: options.serviceUri,
          async review({ run, lines }) {
            const notes: string[] = [];
            for (const { worker, payTo, amountWei, asset } of lines) {
              const { veto, note } = await schemes.payoutPlanned({ run: run.id, worker, payTo, amountWei, asset });
              if (veto !== undefined) return { veto: `${worker}: ${veto}`, notes };
              if (note !== undefined) notes.push(`${worker}: ${note}`);
            }
            return { notes };
          },
        }),
      );
    paidChain = payouts?.chain;
    const alerts = scope.use(
      await Alerts.open(
        {
          settings: options.alerts?.settings ?? noAlertSettings,
          publicUrl: options.alerts?.publicUrl,
          poolName: options.api?.identity.name ?? "",
        },
        {
          store: scope.use(new PgAlertStore(deps.connection, { clock })),
          logger,
          clock,
          isOnline: (worker, rig) => connections.hasRig({ worker, rig }),
          async watch() {
            // The process that takes over knows better by now.
            if (draining) return undefined;
            return watchedProblems({
              halts: await books.store.halts(),
              violations: books.port.lastCheck()?.violations.map((one) => one.message),
              solvency: await schemes.solvency().catch(() => undefined),
              rigs: connections.size,
              floats: payouts ? await weighedFloats(payouts.port).catch(() => undefined) : [],
            });
          },
        },
      ),
    );

    payoutPort = payouts?.port;
    const admin = createAdminPort(options, {
      connection: deps.connection,
      version: deps.version,
      startedAtMs: startedAt,
      clock,
      store,
      dispatcher,
      desk,
      gateways,
      servesGateways,
      upstreams,
      connections,
      register,
      drainedRigs,
      reports,
      memory,
      front,
      demand,
      metrics,
      books,
      schemes,
      payouts,
      alerts,
      leaving: () => ({ draining, ending: ending() }),
    });
    const publicApi =
      options.api &&
      (await openPublicPort(options, options.api, {
        scope,
        connection: deps.connection,
        version: deps.version,
        startedAtMs: startedAt,
        tokenKey,
        logger,
        clock,
        store,
        dispatcher,
        desk,
        gateways,
        upstreams,
        connections,
        register,
        identities,
        reports,
        metrics,
        books,
        schemes,
        payouts,
        alerts,
        draining: () => draining,
      }));

    // The process before this one leaves its orchestrators as soon as this one serves.
    if ((await deps.relay?.othersLive()) && !(await upstreams.takenOver(TAKE_OVER_MS))) {
      logger.warn("not every orchestrator has taken this process yet; what it sends the one before is still answered");
    }
    await drainedRigs.follow();
    if (rigsExpected) rigsExpectedUntilMs = clock.monotonicMs() + RIGS_RETURN_MS;
    upstreams.serving();

    return {
      acceptPublic: (socket) => front.accept(socket),
      admin,
      publicApi,
      identity,
      async drain(signal) {
        draining = true;
        const goodbyeUntilMs = clock.monotonicMs() + LAST_CALL_MS;
        if (gateways.sessions.count > 0) lastCallUntilMs = goodbyeUntilMs;
        schemes.stop();
        front.goAway();
        upstreams.leave(ending() ? "the pool is stopping" : "the process that replaces this one does its work");
        /** What an orchestrator wrote before it read that the pool leaves is on its way. */
        const tasksMayCome = (): boolean => upstreams.listening && clock.monotonicMs() < goodbyeUntilMs;
        /** Something is, or may become, a job of this process: much of it has no worker yet, while its source arrives. */
        const workComes = (): boolean => gateways.underWay > 0 || upstreams.tasksInFlight > 0 || tasksMayCome();
        /** Nobody else is there to do what still comes: at the end the workers stay until there is nothing more. */
        const workersWanted = (): boolean =>
          ending() ? workComes() || clock.monotonicMs() < lastCallUntilMs : desk.hasWaitingJobs;
        /** While somebody takes over idle ones go there at once, but for some that take what comes, or fails, here. */
        const keptIdle = (): number => (!ending() && workComes() ? SPARE_RIGS : 0);
        // A stock transcoder's way back gets longer with every disconnect of its life: each is let go once, when idle.
        while (
          !signal.aborted &&
          (desk.jobsInFlight > 0 || workComes() || connections.size > 0 || renditions.awaited > 0)
        ) {
          if (!workersWanted()) {
            const idle = [...connections.all()].filter((one) => desk.attemptsOn(one.connection) === 0);
            for (const connection of idle.slice(keptIdle())) connection.handOver("the pool is restarting");
          }
          await new Promise<void>((resolve) => void clock.after(DRAIN_POLL_MS, resolve));
        }
        for (const connection of connections.all()) connection.handOver("the pool is restarting");
        await saveReputation().catch(() => {});
        await store.append([{ type: "pool.stopped", data: { generation } }]).catch(() => {});
      },
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    // A node that failed to start leaves nothing running, and the caller learns why it failed to start.
    await scope[Symbol.asyncDispose]().then(undefined, (error: unknown) =>
      logger.error("could not undo start", { error: String(error) }),
    );
    throw cause;
  }
}
