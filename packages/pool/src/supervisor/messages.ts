import type { PoolOptions } from "../options.ts";
import type { PgConnection } from "../store/pg-connection.ts";
import type { SpoolPlace } from "./spool.ts";

/**
 * What the supervisor and its children say to each other. After an upgrade on disk an old supervisor starts a new child,
 * so a change that the other side would not understand needs a new number: the restart then fails, says why, and the old
 * child goes on.
 */
export const CHANNEL_VERSION = 1;

/** Descriptors of a child: 0 to 2 as ever, 3 the channel, then the sockets to accept on. */
export const PUBLIC_FD = 4;
export const ADMIN_FD = 5;
/** Only when the options have a public API. */
export const API_FD = 6;
/** The settings whose sockets are handed to children. */
export type DoorSetting = "listen" | "admin-listen" | "api-listen";

export interface StartMessage {
  readonly kind: "start";
  readonly channelVersion: number;
  readonly options: PoolOptions;
  readonly version: string;
  readonly connection: PgConnection;
  readonly generation: number;
  readonly runDir: string;
  readonly spool: SpoolPlace;
}

export type ToChild =
  | StartMessage
  /** Take no more connections, finish what is held, exit. `successor` takes what comes over open connections. */
  | { readonly kind: "drain"; readonly successor: number | undefined; readonly limitMs: number }
  /** While draining: somebody newer took over. */
  | { readonly kind: "successor"; readonly generation: number }
  | { readonly kind: "ping" };

export type FromChild =
  | { readonly kind: "ready" }
  /** It will not work; the process ends. `code` is that of our error or of the system's. */
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      readonly setting?: DoorSetting;
    }
  | { readonly kind: "pong" }
  | {
      readonly kind: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };
