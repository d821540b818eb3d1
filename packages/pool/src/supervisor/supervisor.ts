import { rmSync } from "node:fs";
import { mkdir, rmdir } from "node:fs/promises";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type Clock,
  createBackoff,
  errorText,
  formatHostPort,
  type Logger,
  openScope,
  PoolError,
  type Scope,
} from "@openpool/base";
import { onPorts } from "../on-ports.ts";
import type { ListenAddress, PoolOptions } from "../options.ts";
import { parseDatabaseUrl, type PgConnection, startManagedPostgres } from "../store/index.ts";
import { commandPool, type DataDirLock, lockDataDir } from "./data-dir-lock.ts";
import { generationAfter, nextGeneration } from "./generation.ts";
import { type BoundSocket, bindSocket, type InheritedSockets, ListenError, listenError } from "./listening.ts";
import { CHANNEL_VERSION, type DoorSetting } from "./messages.ts";
import { PoolProcess, type StartOutcome } from "./pool-process.ts";
import { anyoneAnswers, relaySocket, removeDeadSockets } from "./relay.ts";
import { cleanSpool, SPOOL_KEEP_MS, type SpoolPlace, spoolPlace } from "./spool.ts";
import type { RestartOutcome, Supervisor } from "./types.ts";

export interface SupervisorLimits {
  /** A new process that does not serve by then is killed; before that it may migrate the database. */
  readonly startTimeoutMs: number;
  /** How long an old process may take to finish what it holds after a new one took over. */
  readonly handoverTimeoutMs: number;
  /** How long the segments in flight may take at the end of the pool: four times their length, so those of 15 s have time. */
  readonly stopTimeoutMs: number;
  /** A process whose event loop stands still this long is killed and replaced. */
  readonly hangTimeoutMs: number;
  /** A process that serves this long before it dies is replaced at once; others with growing pauses. */
  readonly stableMs: number;
}

export const defaultSupervisorLimits: SupervisorLimits = {
  startTimeoutMs: 120_000,
  handoverTimeoutMs: 120_000,
  stopTimeoutMs: 60_000,
  hangTimeoutMs: 20_000,
  stableMs: 10_000,
};

export interface SupervisorDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Of this program. After an upgrade on disk a restarted process tells its own. */
  readonly version: string;
  /** Sockets that systemd has opened; they are used in place of those that the options name. */
  readonly inherited?: InheritedSockets | undefined;
  /** Reads the settings again before a restart. What it throws is why the restart failed. */
  readonly readOptions?: (() => PoolOptions | Promise<PoolOptions>) | undefined;
  /** What a child runs: a file that calls `runPoolChild`. */
  readonly entry?: string | undefined;
  /** Arguments for Node before `entry`; default: none but those of this process that do not open a debugger. */
  readonly execArgv?: readonly string[] | undefined;
  readonly limits?: Partial<SupervisorLimits> | undefined;
  /** Opens the database that the options name. */
  readonly openDatabase?: OpenDatabase | undefined;
}

export type OpenDatabase = (
  options: PoolOptions,
  deps: { readonly logger: Logger; readonly clock: Clock },
) => Promise<AsyncDisposable & { readonly connection: PgConnection }>;

const openDatabase: OpenDatabase = async (options, deps) =>
  options.databaseUrl === undefined
    ? startManagedPostgres({ dataDir: options.dataDir }, deps)
    : { connection: parseDatabaseUrl(options.databaseUrl), async [Symbol.asyncDispose]() {} };

/**
 * Holds what outlives the pool's working process: the data directory, the listening sockets, the database. The process
 * itself is a child that accepts on the sockets it inherits; nothing in here is worth losing, and nothing here touches a
 * connection.
 *
 * @throws PoolError saying what is in the way; then nothing is left running.
 */
export async function runSupervisor(options: PoolOptions, deps: SupervisorDeps): Promise<Supervisor> {
  const { logger, clock } = deps;
  const scope = openScope();
  try {
    await mkdir(options.dataDir, { recursive: true, mode: 0o700 });
    const lock = scope.use(await lockDataDir(options.dataDir, { clock }));
    const sockets = await openSockets(options, deps, lock.runDir);
    scope.defer(() => sockets.close());
    const database = scope.use(await (deps.openDatabase ?? openDatabase)(options, deps));
    const spool = await spoolPlace(options.dataDir);
    // What a crash left in there is still wanted if this start fails.
    scope.defer(() => rmdir(spool.dir).catch(() => {}));
    const supervisor = new RunningSupervisor(options, deps, {
      scope,
      lock,
      sockets,
      connection: database.connection,
      spool,
    });
    await supervisor.start();
    return supervisor;
  } catch (cause) {
    await scope[Symbol.asyncDispose]().then(undefined, (error: unknown) =>
      logger.error("could not undo start", { error: errorText(error) }),
    );
    throw cause;
  }
}

/** Asks the pool that runs in a data directory for a restart. Undefined when none runs there. */
export async function requestRestart(dataDir: string, signal?: AbortSignal): Promise<RestartOutcome | undefined> {
  const reply = await commandPool(dataDir, { command: "restart" }, signal);
  if (!reply) return undefined;
  const { answer } = reply;
  if (typeof answer === "object" && answer !== null && "kind" in answer) return answer as RestartOutcome;
  return { kind: "failed", message: `The pool (process ${reply.pid}) ended, or hangs, and did not answer.` };
}

interface Sockets {
  readonly publicFd: number;
  readonly adminFd: number;
  readonly listen: ListenAddress;
  readonly adminListen: ListenAddress;
  /** Undefined: no public API. */
  readonly apiFd: number | undefined;
  readonly apiListen: ListenAddress | undefined;
  /** A default port turned out to be taken after all: takes a free one. */
  replace(setting: "admin-listen" | "api-listen"): Promise<Sockets>;
  close(): void;
}

/** A child whose supervisor was killed closes its sockets as soon as it notices. */
const ORPHAN_PATIENCE_MS = 5_000;

/** Binds; an address that a process of a killed supervisor has still open is waited for. */
async function bindPatiently(
  setting: DoorSetting,
  address: ListenAddress,
  clock: Clock,
  runDir: string,
): Promise<BoundSocket> {
  const untilMs = clock.monotonicMs() + ORPHAN_PATIENCE_MS;
  for (;;) {
    try {
      return await bindSocket(setting, address);
    } catch (error) {
      if (!isInUse(error) || clock.monotonicMs() > untilMs || !(await anyoneAnswers(runDir))) throw error;
      await new Promise<void>((resolve) => void clock.after(50, resolve));
    }
  }
}

function isInUse(error: unknown): boolean {
  return error instanceof ListenError && error.info.code === "supervisor/address-in-use";
}

async function openSockets(options: PoolOptions, deps: SupervisorDeps, runDir: string): Promise<Sockets> {
  const { inherited, logger, clock } = deps;
  /** A default port that is taken is replaced by a free one; an address that was named is an error then. */
  const bindOrReplace = async (
    setting: "admin-listen" | "api-listen",
    address: ListenAddress,
    named: boolean,
  ): Promise<BoundSocket> => {
    try {
      return await bindPatiently(setting, address, clock, runDir);
    } catch (error) {
      if (!isInUse(error) || named) throw error;
      const free = await bindSocket(setting, { host: address.host, port: 0 });
      const what = setting === "admin-listen" ? "the default admin port" : "the default port of the pages";
      logger.info(`${what} is taken, using a free one`, { taken: address.port, port: free.address.port });
      return free;
    }
  };
  const { adminListen, adminListenNamed, api } = options;
  const bound: { [setting in DoorSetting]?: BoundSocket | undefined } = {};
  const close = (): void => {
    for (const socket of Object.values(bound)) socket?.close();
  };
  try {
    if (inherited?.public === undefined) bound.listen = await bindPatiently("listen", options.listen, clock, runDir);
    if (inherited?.admin === undefined)
      bound["admin-listen"] = await bindOrReplace("admin-listen", adminListen, adminListenNamed);
    if (api && inherited?.api === undefined)
      bound["api-listen"] = await bindOrReplace("api-listen", api.listen, api.named);
  } catch (error) {
    close();
    throw error;
  }
  const current = (): Sockets => ({
    publicFd: inherited?.public ?? bound.listen?.fd ?? -1,
    adminFd: inherited?.admin ?? bound["admin-listen"]?.fd ?? -1,
    apiFd: api && (inherited?.api ?? bound["api-listen"]?.fd),
    listen: bound.listen?.address ?? options.listen,
    adminListen: bound["admin-listen"]?.address ?? adminListen,
    apiListen: bound["api-listen"]?.address ?? api?.listen,
    async replace(setting) {
      bound[setting]?.close();
      const { host } = setting === "admin-listen" || !api ? adminListen : api.listen;
      bound[setting] = await bindSocket(setting, { host, port: 0 });
      return current();
    },
    close,
  });
  return current();
}

interface Held {
  readonly scope: Scope;
  readonly lock: DataDirLock;
  readonly sockets: Sockets;
  readonly connection: PgConnection;
  readonly spool: SpoolPlace;
}

/**
 *     starting ──► running ◄──► recovering ──► stopping ──► closed
 *                     └────────────────────────►┘
 *
 * Restarts happen within `running`: a new process is started beside the current one and replaces it once it serves.
 */
class RunningSupervisor implements Supervisor {
  readonly closed: Promise<void>;
  #options: PoolOptions;
  readonly #deps: SupervisorDeps;
  readonly #limits: SupervisorLimits;
  readonly #held: Held;
  #sockets: Sockets;
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** Every child that lives, whatever it does. */
  readonly #children = new Set<PoolProcess>();
  #current: PoolProcess | undefined;
  /** No child is started any more. */
  #ending = false;
  #disposed: Promise<void> | undefined;
  #lastGeneration = 0;
  /** Crashes of processes that had not served for long. */
  #quickCrashes = 0;
  #onClosed: () => void = () => {};
  /** One child is started at a time. */
  #lastStart: Promise<unknown> = Promise.resolve();
  #queuedRestart: Promise<RestartOutcome> | undefined;
  readonly #backoff = createBackoff({ initialMs: 250, factor: 2, maxMs: 5_000, jitter: 0.1 });
  #wakeRecovery = (): void => {};

  constructor(options: PoolOptions, deps: SupervisorDeps, held: Held) {
    this.#deps = deps;
    this.#limits = { ...defaultSupervisorLimits, ...deps.limits };
    this.#held = held;
    this.#sockets = held.sockets;
    this.#logger = deps.logger;
    this.#clock = deps.clock;
    this.#options = options;
    this.closed = new Promise((resolve) => (this.#onClosed = resolve));
  }

  get listen(): ListenAddress {
    return this.#sockets.listen;
  }

  get adminListen(): ListenAddress {
    return this.#sockets.adminListen;
  }

  get apiListen(): ListenAddress | undefined {
    return this.#sockets.apiListen;
  }

  get generation(): number | undefined {
    return this.#current?.generation;
  }

  async start(): Promise<void> {
    await this.#tidy();
    await removeDeadSockets(this.#held.lock.runDir);
    this.#clock.after(SPOOL_KEEP_MS + 1_000, () => void this.#tidy());
    let outcome = await this.#startChild();
    // Somebody bound the same port as we did and listened first. Rare: two pools started in the same second.
    for (let tries = 0; tries < 2 && outcome.kind === "failed" && outcome.code === "EADDRINUSE"; tries++) {
      const { setting } = outcome;
      if (setting !== "admin-listen" && setting !== "api-listen") break;
      if (setting === "admin-listen" ? this.#options.adminListenNamed : this.#options.api?.named) break;
      this.#sockets = await this.#sockets.replace(setting);
      outcome = await this.#startChild();
    }
    if (outcome.kind === "failed") throw startError(outcome, this.#sockets);
    const { listen, adminListen, apiListen } = this.#sockets;
    this.#logger.info("the pool serves", {
      listen: formatHostPort(listen),
      admin: formatHostPort(adminListen),
      ...(apiListen === undefined ? {} : { pages: formatHostPort(apiListen) }),
      generation: this.generation,
      pid: this.#current?.pid,
    });
    this.#held.lock.answer(async (command) => {
      if (command?.["command"] === "restart") return this.restart();
      return { kind: "failed", message: "The pool that runs does not know this command: it is of another version." };
    });
  }

  restart(): Promise<RestartOutcome> {
    // Whoever asks while one waits to begin gets that one: it will run the code and settings of now.
    this.#queuedRestart ??= this.#inTurn(() => {
      this.#queuedRestart = undefined;
      return this.#replace();
    });
    return this.#queuedRestart;
  }

  async #replace(): Promise<RestartOutcome> {
    if (this.#ending) return { kind: "failed", message: "The pool is stopping." };
    const startedMs = this.#clock.monotonicMs();
    try {
      if (this.#deps.readOptions) this.#options = this.#fixed(await this.#deps.readOptions());
    } catch (error) {
      return this.#restartFailed(errorText(error));
    }
    const old = this.#current;
    const outcome = await this.#launch();
    if (outcome.kind === "failed") return this.#restartFailed(outcome.message);
    const current = outcome.child;
    for (const child of this.#children) child.succeededBy(current.generation);
    old?.drain(current.generation, this.#limits.handoverTimeoutMs);
    const tookMs = Math.round(this.#clock.monotonicMs() - startedMs);
    this.#logger.info("a new process has taken over", { generation: current.generation, pid: current.pid, tookMs });
    return { kind: "restarted", generation: current.generation, tookMs };
  }

  #restartFailed(message: string): RestartOutcome {
    this.#logger.error("the restart failed, the process that ran before goes on", { error: message });
    return { kind: "failed", message };
  }

  /** What belongs to the supervisor itself stays as it was. */
  #fixed(next: PoolOptions): PoolOptions {
    const kept = this.#options;
    const { dataDir, listen, adminListen, adminListenNamed, databaseUrl } = kept;
    const same = (a: ListenAddress, b: ListenAddress): boolean => a.host === b.host && a.port === b.port;
    if (
      next.dataDir !== dataDir ||
      next.databaseUrl !== databaseUrl ||
      !same(next.listen, listen) ||
      !same(next.adminListen, adminListen) ||
      (kept.api && next.api ? !same(next.api.listen, kept.api.listen) : kept.api !== next.api)
    ) {
      this.#logger.warn(
        "a restart does not change data-dir, listen, admin-listen, api-listen and database-url: for those stop the pool and start it again",
      );
    }
    // The socket stays; what the pages say may change.
    const api = kept.api && { ...(next.api ?? kept.api), listen: kept.api.listen, named: kept.api.named };
    return { ...next, dataDir, listen, adminListen, adminListenNamed, api, databaseUrl };
  }

  /** Starts a child when it is its turn and makes it the current one. */
  #startChild(): Promise<LaunchOutcome> {
    return this.#inTurn(() => this.#launch());
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const run = this.#lastStart.then(step, step);
    this.#lastStart = run.catch(() => {});
    return run;
  }

  async #launch(): Promise<LaunchOutcome> {
    const { connection, lock, spool } = this.#held;
    const { publicFd, adminFd, apiFd, listen, adminListen, apiListen } = this.#sockets;
    const generation = await this.#nextGeneration();
    if (this.#ending) {
      return { kind: "failed", code: "supervisor/stopping", message: "The pool is stopping.", setting: undefined };
    }
    const child = new PoolProcess(
      {
        entry: this.#deps.entry ?? defaultEntry,
        execArgv: this.#deps.execArgv ?? process.execArgv.filter((argument) => !argument.startsWith("--inspect")),
        publicFd,
        adminFd,
        apiFd,
        startTimeoutMs: this.#limits.startTimeoutMs,
        hangTimeoutMs: this.#limits.hangTimeoutMs,
      },
      {
        kind: "start",
        channelVersion: CHANNEL_VERSION,
        options: onPorts(this.#options, { listen, adminListen, apiListen }),
        version: this.#deps.version,
        connection,
        generation,
        runDir: lock.runDir,
        spool,
      },
      { logger: this.#logger, clock: this.#clock },
    );
    this.#children.add(child);
    let readyMs = Number.POSITIVE_INFINITY;
    void child.exited.then((report) => this.#onExit(child, report, this.#clock.monotonicMs() - readyMs));
    const outcome = await child.started;
    if (outcome.kind === "failed") return outcome;
    readyMs = this.#clock.monotonicMs();
    this.#current = child;
    return { kind: "ready", child };
  }

  async #nextGeneration(): Promise<number> {
    try {
      this.#lastGeneration = await nextGeneration(this.#options.dataDir);
    } catch (error) {
      // At the first start the data directory must work. Later a full disk must not keep the pool from serving.
      if (this.#lastGeneration === 0) throw error;
      this.#logger.error("the generation could not be recorded", { error: errorText(error) });
      this.#lastGeneration = generationAfter(this.#lastGeneration);
    }
    return this.#lastGeneration;
  }

  #onExit(
    child: PoolProcess,
    report: { code: number | null; signal: string | null; expected: boolean },
    servedMs: number,
  ): void {
    this.#children.delete(child);
    rmSync(relaySocket(this.#held.lock.runDir, child.generation), { force: true });
    this.#clock.after(SPOOL_KEEP_MS + 1_000, () => void this.#tidy());
    const wasCurrent = this.#current === child;
    if (wasCurrent) this.#current = undefined;
    const { code, signal } = report;
    if (report.expected) {
      this.#logger.info("a process of the pool has ended", { generation: child.generation, code, signal });
    } else if (servedMs >= 0) {
      this.#logger.error("a process of the pool died", { generation: child.generation, code, signal });
    }
    if (wasCurrent && !this.#ending) void this.#recover(servedMs);
  }

  /** Until a process serves again. Connections wait in the kernel meanwhile. */
  async #recover(servedMs: number): Promise<void> {
    if (servedMs >= this.#limits.stableMs) {
      this.#quickCrashes = 0;
      this.#backoff.reset();
    }
    let pauseMs = this.#quickCrashes++ === 0 ? 0 : this.#backoff.next();
    while (!this.#ending && !this.#current) {
      if (pauseMs > 0) {
        await new Promise<void>((resolve) => {
          const cancel = this.#clock.after(pauseMs, resolve);
          this.#wakeRecovery = () => {
            cancel();
            resolve();
          };
        });
      }
      const outcome = await this.#inTurn(async () => (this.#current ? undefined : this.#launch()));
      if (!outcome || this.#ending) return;
      if (outcome.kind === "ready") {
        this.#logger.info("a new process serves in place of the dead one", { generation: outcome.child.generation });
        for (const child of this.#children) child.succeededBy(outcome.child.generation);
        return;
      }
      pauseMs = this.#backoff.next();
      this.#logger.error("the pool cannot be started again yet", {
        error: outcome.message,
        retryInMs: Math.round(pauseMs),
      });
    }
  }

  /** Removes what dead processes left, once nobody can want it any more. */
  async #tidy(options: { readonly all?: boolean } = {}): Promise<void> {
    const alive = (generation: number): boolean => [...this.#children].some((child) => child.generation === generation);
    await cleanSpool(this.#held.spool, { alive, nowMs: this.#clock.now(), ...options }).catch((error: unknown) =>
      this.#logger.debug("the spool could not be tidied", { error: errorText(error) }),
    );
  }

  kill(): void {
    this.#ending = true;
    this.#wakeRecovery();
    for (const child of this.#children) child.kill();
  }

  async #stop(): Promise<void> {
    this.#ending = true;
    this.#wakeRecovery();
    // The child accepts until it has finished what it holds; then nobody has the sockets any more, and they are closed.
    this.#sockets.close();
    for (const child of this.#children) child.drain(undefined, this.#limits.stopTimeoutMs);
    await this.#lastStart.catch(() => {});
    await Promise.all([...this.#children].map((child) => child.exited));
    await this.#tidy({ all: true });
    try {
      await this.#held.scope[Symbol.asyncDispose]();
    } finally {
      this.#onClosed();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#disposed ??= this.#stop());
  }
}

type LaunchOutcome = { readonly kind: "ready"; readonly child: PoolProcess } | (StartOutcome & { kind: "failed" });

/** A first start that fails ends the pool, with an error that is worth its own exit code and text. */
function startError(outcome: StartOutcome & { kind: "failed" }, sockets: Sockets): PoolError {
  if (outcome.setting) {
    return listenError(
      outcome.setting,
      outcome.setting === "listen"
        ? sockets.listen
        : outcome.setting === "api-listen"
          ? (sockets.apiListen ?? sockets.adminListen)
          : sockets.adminListen,
      outcome.code,
    );
  }
  // Our own messages come with their code in front.
  const text = outcome.message.replace(/^\[[^\]]*\] /, "");
  return new PoolError({ code: outcome.code }, text);
}

const defaultEntry = fileURLToPath(new URL(`./child-main${extname(import.meta.url)}`, import.meta.url));
