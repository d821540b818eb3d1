/**
 * What the suite is run against. By default a pool of our own, started for it. With `TEST_CONFORMANCE_ADDR=HOST:PORT`
 * any Livepeer orchestrator, off-chain, that accepts remote transcoders with the secret `TEST_CONFORMANCE_SECRET` and
 * has none at the moment: `livepeer -orchestrator -network offchain -serviceAddr HOST:PORT -orchSecret sekret`. Then run it
 * with `npx vitest run --no-file-parallelism test/conformance`: the files would be in each other's way. With
 * `TEST_CONFORMANCE_KIND=pool` it is a pool like ours, expected to be better where ours is on purpose.
 */
import { createHmac } from "node:crypto";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { create } from "@bufbuild/protobuf";
import { silentLogger, systemClock } from "@openpool/base";
import { startPool } from "@openpool/pool";
import { type AuthToken, AuthTokenSchema, minBytes } from "@openpool/protocol";
import { type HostPort, hostHeader, parseHostPort } from "../peers/wire.ts";

export interface Target extends AsyncDisposable {
  readonly address: HostPort;
  /** Our own pool; where it is deliberately better than a stock orchestrator the suite expects that. */
  readonly isPool: boolean;
  /** A worker secret for a rig of that name. */
  secret(rig?: string): string;
  /** A genuine token with that expiration, unix seconds; undefined where the target's key is out of reach. */
  forgeToken(sessionId: string, expiration: bigint): Promise<AuthToken | undefined>;
}

/** The worker that the suite's rigs belong to. */
export const WORKER = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";

export function openTarget(): Promise<Target> {
  const external = process.env["TEST_CONFORMANCE_ADDR"];
  return external === undefined ? openPool() : Promise.resolve(openExternal(external));
}

function openExternal(address: string): Target {
  return {
    address: parseHostPort(address),
    isPool: process.env["TEST_CONFORMANCE_KIND"] === "pool",
    secret: () => process.env["TEST_CONFORMANCE_SECRET"] ?? "sekret",
    forgeToken: () => Promise.resolve(undefined),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function openPool(): Promise<Target> {
  const dataDir = await mkdtemp(path.join(tmpdir(), "openpool-conformance-"));
  // Run by root, the pool keeps its database where an unprivileged user can reach it: here, so that it goes with the rest.
  await chmod(dataDir, 0o755);
  const any = { host: "127.0.0.1", port: 0 };
  const pool = await startPool(
    {
      dataDir,
      network: "offchain",
      serviceUri: "https://127.0.0.1:0",
      listen: any,
      adminListen: any,
      adminListenNamed: true,
      joinOpen: true,
      joinRegistered: false,
      joinPassword: undefined,
      allowedSourceHosts: ["127.0.0.1", "localhost"],
      databaseUrl: undefined,
      price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n },
      commissionPpm: 250_000n,
      tlsCertFile: undefined,
      tlsKeyFile: undefined,
      maxBytesInFlight: 1 << 30,
      maxSessions: undefined,
      logLevel: "error",
      logFormat: "json",
    },
    { logger: silentLogger, clock: systemClock, version: "0.0.0-test" },
  );
  return {
    address: pool.listen,
    isPool: true,
    secret: (rig = "rig") => `${WORKER}.${rig}`,
    forgeToken: (sessionId, expiration) => forgeToken(dataDir, sessionId, expiration),
    async [Symbol.asyncDispose]() {
      await pool[Symbol.asyncDispose]();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** A token as the pool with this data directory issues them. */
export async function forgeToken(dataDir: string, sessionId: string, expiration: bigint): Promise<AuthToken> {
  const key = await readFile(path.join(dataDir, "token.key"));
  const token = createHmac("sha256", key).update(sessionId).update(minBytes(expiration)).digest();
  return create(AuthTokenSchema, { token, sessionId, expiration });
}

export function uriOf(target: Target): string {
  return `https://${hostHeader(target.address)}`;
}
