import type { Price } from "@openpool/base";

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Everything a pool node is told; parsed once, at the edge. */
export interface PoolOptions {
  /** Where the pool keeps what must survive: database, keys, certificate, spool. */
  readonly dataDir: string;
  /** Only `offchain` today. */
  readonly network: "offchain";
  /** What gateways are told to send segments to: `https://HOST:PORT`, no trailing slash. */
  readonly serviceUri: string;
  /** Where gateways and workers connect. */
  readonly listen: ListenAddress;
  /** Where the operator's tools connect. */
  readonly adminListen: ListenAddress;
  /** The admin address was asked for by name: a taken port is then an error instead of a reason to take another one. */
  readonly adminListenNamed: boolean;
  readonly joinOpen: boolean;
  readonly joinRegistered: boolean;
  /** Workers append `:password` to their secret when set. */
  readonly joinPassword: string | undefined;
  /** A PostgreSQL server to use; without one the pool runs its own. */
  readonly databaseUrl: string | undefined;
  readonly price: Price;
  /** What the pool keeps of each fee, in parts per million. */
  readonly commissionPpm: bigint;
  readonly tlsCertFile: string | undefined;
  readonly tlsKeyFile: string | undefined;
  /** Bodies held in memory at once, in bytes; beyond it running sessions wait and new ones are refused. */
  readonly maxBytesInFlight: number;
  /** Sessions in all; undefined: as many as the workers have room for. */
  readonly maxSessions: number | undefined;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly logFormat: "json" | "pretty";
}
