import net, { type Socket } from "node:net";
import { errorCode, errorText, type Clock, type Logger, type LogFields, openScope, PoolError } from "@openpool/base";
import { BACKLOG } from "./listening.ts";
import {
  ADMIN_FD,
  API_FD,
  CHANNEL_VERSION,
  type DoorSetting,
  type FromChild,
  PUBLIC_FD,
  type StartMessage,
  type ToChild,
} from "./messages.ts";
import { openRelay, type Relay } from "./relay.ts";
import { openSpool } from "./spool.ts";
import type { ServedNode, StartNode } from "./types.ts";

/** The way to the supervisor: what `process` is in a forked child. */
export interface Channel {
  send?: ((message: FromChild, onSent: (error: Error | null) => void) => boolean) | undefined;
  on(event: "message", listener: (message: ToChild) => void): unknown;
  on(event: "disconnect", listener: () => void): unknown;
  readonly connected: boolean;
  readonly pid: number;
  readonly ppid: number;
}

export interface ChildDeps {
  readonly channel: Channel;
  readonly clock: Clock;
  readonly startNode: StartNode;
  /** Of the code that runs here: after an upgrade on disk not that of the supervisor. */
  readonly version?: string;
  /** Says something when there is no supervisor to say it to. */
  writeError(text: string): void;
}

/** A supervisor that is gone cannot tell its child how long it may take: the next pool should not have to wait. */
const ORPHAN_LIMIT_MS = 20_000;
const FIND_SUCCESSOR_MS = 500;
const LINGER_LOOK_MS = 100;

/**
 * The life of a pool process below a supervisor:
 *
 *     waiting ──► starting ──► serving ──► draining ──► done
 *                     └──────► failed
 *
 * Resolves with the exit code when nothing is left to do; the caller ends the process.
 */
export async function runPoolChild(deps: ChildDeps): Promise<number> {
  const { channel, clock } = deps;
  const scope = openScope();
  const orders = openOrders(channel);
  const start = await orders.start;
  if (!start) return 0;
  const logger = channelLogger(channel, start.options.logLevel, deps.writeError);
  try {
    if (start.channelVersion !== CHANNEL_VERSION) {
      throw new PoolError(
        { code: "supervisor/version-mismatch" },
        `The supervisor that runs is of another version than the code on the disk (${start.channelVersion}, ${CHANNEL_VERSION}). Stop the pool and start it again.`,
      );
    }
    const { generation, runDir } = start;
    const relay = await openRelay({ runDir, generation }, { logger });
    scope.use(relay);
    const spool = scope.use(openSpool({ place: start.spool, generation }, { logger, clock }));
    const node = scope.use(
      await deps.startNode(start.options, {
        logger,
        clock,
        version: deps.version ?? start.version,
        connection: start.connection,
        generation,
        relay,
        spool,
        supervisorPid: channel.ppid,
      }),
    );
    const open = new Set<Socket>();
    const acceptPublic = (socket: Socket): void => {
      open.add(socket);
      socket.once("close", () => open.delete(socket));
      node.acceptPublic(socket);
    };
    // The doors that may turn out to be another program's come first: a process that then has to make way for one with
    // other ports has served nobody.
    const doors: net.Server[] = [];
    const { acceptApi } = node;
    if (start.options.api && acceptApi) doors.push(await acceptOn(API_FD, "api-listen", acceptApi, logger));
    doors.push(await acceptOn(ADMIN_FD, "admin-listen", (socket) => node.acceptAdmin(socket), logger));
    doors.push(await acceptOn(PUBLIC_FD, "listen", acceptPublic, logger));
    await node.announce();
    tell(channel, { kind: "ready" });
    const order = await orders.drain;
    const closeDoors = (): void => {
      for (const door of doors.splice(0)) door.close();
    };
    // At the end of the pool nobody else accepts: what was answered is fetched, and what is under way failed over, on
    // connections that are yet to come. A successor, and whoever starts the pool again without us, want the doors now.
    if (order.successor !== undefined || order.orphaned) closeDoors();
    await drain(node, relay, order, { logger, clock, orders, open, closeDoors });
    closeDoors();
  } catch (error) {
    const failure: FromChild = {
      kind: "failed",
      code: errorCodeOf(error),
      message: errorText(error),
      ...(error instanceof DoorError ? { setting: error.setting } : {}),
    };
    if (channel.connected) tell(channel, failure);
    else deps.writeError(`${failure.message}\n`);
    await close(scope, logger);
    return 1;
  }
  await close(scope, logger);
  return 0;
}

/** Without someone to hear of it, a failure to send to a supervisor that has just died would end the process. */
function tell(channel: Channel, message: FromChild): void {
  channel.send?.(message, () => {});
}

async function close(scope: AsyncDisposable, logger: Logger): Promise<void> {
  await scope[Symbol.asyncDispose]().then(undefined, (error: unknown) =>
    logger.error("something did not close", { error: errorText(error) }),
  );
}

interface DrainOrder {
  readonly successor: number | undefined;
  readonly limitMs: number;
  /** Nobody gave the order: the supervisor is gone. */
  readonly orphaned: boolean;
}

interface Orders {
  /** Undefined when the supervisor went away first. */
  readonly start: Promise<StartMessage | undefined>;
  readonly drain: Promise<DrainOrder>;
  /** While draining: the pool stops after all, or its supervisor is gone. */
  onSecondDrain: (order: DrainOrder) => void;
  onSuccessor: (generation: number) => void;
}

function openOrders(channel: Channel): Orders {
  let onStart: (message: StartMessage | undefined) => void;
  let onFirstDrain: (order: DrainOrder) => void;
  let draining = false;
  const orders: Orders = {
    start: new Promise((resolve) => (onStart = resolve)),
    drain: new Promise((resolve) => (onFirstDrain = resolve)),
    onSecondDrain() {},
    onSuccessor() {},
  };
  const onDrain = (order: DrainOrder): void => {
    if (draining) orders.onSecondDrain(order);
    else onFirstDrain(order);
    draining = true;
  };
  channel.on("message", (message) => {
    switch (message.kind) {
      case "start":
        return onStart(message);
      case "drain":
        return onDrain({ successor: message.successor, limitMs: message.limitMs, orphaned: false });
      case "successor":
        return orders.onSuccessor(message.generation);
      case "ping":
        return tell(channel, { kind: "pong" });
    }
  });
  channel.on("disconnect", () => {
    onStart(undefined);
    onDrain({ successor: undefined, limitMs: ORPHAN_LIMIT_MS, orphaned: true });
  });
  return orders;
}

class DoorError extends Error {
  readonly setting: DoorSetting;
  readonly code: string;
  constructor(setting: DoorSetting, cause: unknown) {
    super(`cannot accept on the socket of --${setting}: ${errorText(cause)}`, { cause });
    this.setting = setting;
    this.code = errorCode(cause) ?? "unknown";
  }
}

function errorCodeOf(error: unknown): string {
  return error instanceof PoolError ? error.info.code : (errorCode(error) ?? "unknown");
}

/** Accepts on an inherited socket. Closing it takes nothing from others who accept on the same one. */
function acceptOn(
  fd: number,
  setting: DoorSetting,
  accept: (socket: Socket) => void,
  logger: Logger,
): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    // Half-open as `http.Server` has it: a client that has sent its request may close its side and still be answered.
    const server = net.createServer({ pauseOnConnect: true, noDelay: true, allowHalfOpen: setting !== "listen" });
    server.on("connection", accept);
    server.on("error", (error) => {
      if (server.listening) logger.warn("a connection could not be accepted", { setting, error: errorText(error) });
      else reject(new DoorError(setting, error));
    });
    server.listen({ fd }, BACKLOG, () => resolve(server));
  });
}

async function drain(
  node: ServedNode,
  relay: Relay,
  order: DrainOrder,
  deps: {
    readonly logger: Logger;
    readonly clock: Clock;
    readonly orders: Orders;
    /** Connections of the public port. */
    readonly open: ReadonlySet<Socket>;
    closeDoors(): void;
  },
): Promise<void> {
  const { logger, clock, orders, open, closeDoors } = deps;
  const late = new AbortController();
  const cancels = [clock.after(order.limitMs, () => late.abort())];
  orders.onSuccessor = (generation) => relay.setSuccessor(generation);
  orders.onSecondDrain = (second) => {
    cancels.push(clock.after(second.limitMs, () => late.abort()));
    if (second.orphaned) closeDoors();
    // Nobody is there to answer what still comes: there is nothing to wait for.
    else relay.setSuccessor(second.successor);
  };
  if (order.successor !== undefined) relay.setSuccessor(order.successor);
  if (order.orphaned) {
    logger.warn("the supervisor is gone: finishing what is held", { limitMs: order.limitMs });
    // The pool that is started next shows itself by its socket.
    const look = (): void => {
      void relay.findSuccessor().then(
        (found) => {
          if (found !== undefined) relay.setSuccessor(found);
          else if (!late.signal.aborted) cancels.push(clock.after(FIND_SUCCESSOR_MS, look));
        },
        () => {},
      );
    };
    look();
  }
  try {
    await node.drain(late.signal);
    // A client may have a request on its way over any open connection, and would see it cut off. With a successor to
    // answer them there is no reason to: they end by themselves when their clients find them idle.
    while (relay.successor !== undefined && open.size > 0 && !late.signal.aborted) {
      await new Promise<void>((resolve) => cancels.push(clock.after(LINGER_LOOK_MS, resolve)));
    }
    if (late.signal.aborted) logger.warn("not everything could be finished in time", { limitMs: order.limitMs });
  } finally {
    late.abort();
    for (const cancel of cancels) cancel();
  }
}

const RANK = { debug: 0, info: 1, warn: 2, error: 3 } as const;

/** Logs through the supervisor, so that one process writes and decides how lines look. */
function channelLogger(channel: Channel, least: keyof typeof RANK, writeError: (text: string) => void): Logger {
  const make = (bound: LogFields): Logger => {
    const log = (level: keyof typeof RANK, message: string, fields?: LogFields): void => {
      if (RANK[level] < RANK[least]) return;
      if (channel.connected) {
        try {
          tell(channel, { kind: "log", level, message, fields: { ...bound, ...fields } });
        } catch {
          // A function or the like among the fields cannot travel.
          tell(channel, { kind: "log", level, message, fields: { note: "fields could not be sent" } });
        }
      } else if (RANK[level] >= RANK.warn) writeError(`${level}: ${message}\n`);
    };
    return {
      debug: (message, fields) => log("debug", message, fields),
      info: (message, fields) => log("info", message, fields),
      warn: (message, fields) => log("warn", message, fields),
      error: (message, fields) => log("error", message, fields),
      child: (fields) => make({ ...bound, ...fields }),
    };
  };
  return make({});
}
