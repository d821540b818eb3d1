import type { Socket } from "node:net";
import type { Clock, Logger } from "@openpool/base";
import type { ListenAddress, PoolOptions } from "../options.ts";
import type { PgConnection } from "../store/pg-connection.ts";
import type { RelayPort } from "./relay.ts";
import type { Spool } from "./spool.ts";

/** A pool node as its process sees it: everything but the listening sockets, which outlive it. */
export interface ServedNode extends AsyncDisposable {
  /** Takes a connection of the public port: raw, paused, nothing read from it yet. */
  acceptPublic(socket: Socket): void;
  /** Takes a connection of the admin port, likewise. */
  acceptAdmin(socket: Socket): void;
  /** Takes a connection of the public API, likewise; undefined when it serves none. */
  readonly acceptApi?: ((socket: Socket) => void) | undefined;
  /** Tells the commands where it is. Call it once its ports are accepted on: whoever comes by this word finds it serving. */
  announce(): Promise<void>;
  /** Stops taking sessions, finishes what it holds, and resolves when nothing is left or `signal` aborts. */
  drain(signal: AbortSignal): Promise<void>;
}

export interface ServedNodeDeps {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly version: string;
  readonly connection: PgConnection;
  /** Which process of the pool this is, 1 to 4095: part of every path and task id that it gives out. */
  readonly generation: number;
  readonly relay: RelayPort;
  readonly spool: Spool;
  /** The process that an operator signals, when it is another one than this. */
  readonly supervisorPid?: number | undefined;
}

export type StartNode = (options: PoolOptions, deps: ServedNodeDeps) => Promise<ServedNode>;

export type RestartOutcome =
  /** A new process has taken over; the old one finishes what it holds. */
  | { readonly kind: "restarted"; readonly generation: number; readonly tookMs: number }
  /** Nothing has changed: the process that served before goes on. */
  | { readonly kind: "failed"; readonly message: string };

/** A pool that runs: its sockets, its database and, behind them, the process that works. */
export interface Supervisor extends AsyncDisposable {
  readonly listen: ListenAddress;
  /** Not always the one asked for: a default admin port that is taken is replaced by a free one. */
  readonly adminListen: ListenAddress;
  /** Likewise of the public API; undefined without one. */
  readonly apiListen: ListenAddress | undefined;
  /** The generation that takes new connections; undefined while one is being started after a crash. */
  readonly generation: number | undefined;
  /** Replaces the working process by a new one, which runs the code that is on the disk now. Loses nothing. */
  restart(): Promise<RestartOutcome>;
  /** Stops at once, without draining. The database is stopped by `Symbol.asyncDispose` only. */
  kill(): void;
  /** Resolves when everything has stopped. */
  readonly closed: Promise<void>;
}
