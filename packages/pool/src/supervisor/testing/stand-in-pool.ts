import http from "node:http";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { Logger } from "@openpool/base";
import type { PoolOptions } from "../../options.ts";
import type { OpenDatabase, SupervisorDeps } from "../supervisor.ts";

/** Options of a pool on free ports. */
export function standInOptions(dataDir: string, change: Partial<PoolOptions> = {}): PoolOptions {
  return {
    dataDir,
    network: "offchain",
    serviceUri: "https://127.0.0.1:0",
    listen: { host: "127.0.0.1", port: 0 },
    adminListen: { host: "127.0.0.1", port: 0 },
    adminListenNamed: true,
    joinOpen: true,
    joinRegistered: false,
    joinPassword: undefined,
    databaseUrl: undefined,
    price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n },
    commissionPpm: 250_000n,
    tlsCertFile: undefined,
    tlsKeyFile: undefined,
    maxBytesInFlight: 1 << 30,
    maxSessions: undefined,
    logLevel: "info",
    logFormat: "json",
    ...change,
  };
}

export const noDatabase: OpenDatabase = async () => ({
  connection: { kind: "url", url: "postgres://nowhere/none" },
  async [Symbol.asyncDispose]() {},
});

/** Runs `stand-in-child.ts` from its source. */
export const standInChild = {
  entry: fileURLToPath(new URL("./stand-in-child.ts", import.meta.url)),
  execArgv: ["--conditions=source", "--import", "tsx"],
  openDatabase: noDatabase,
} satisfies Partial<SupervisorDeps>;

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request on a connection of its own; rejects when the connection fails in any way. */
export function ask(port: number, path = "/", body?: Uint8Array): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { host: "127.0.0.1", port, path, agent: false, method: body ? "POST" : "GET" },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
        );
      },
    );
    request.once("error", reject);
    request.end(body);
  });
}

/** A request that is under way until `end` is called; it resolves with what it then was answered. */
export function hold(port: number): Promise<{ end(): Promise<string> }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: "127.0.0.1", port, path: "/echo", method: "POST", agent: false });
    request.once("error", reject);
    request.once("response", (response) => {
      const answer = text(response);
      resolve({
        end() {
          request.end("the end");
          return answer;
        },
      });
    });
    request.flushHeaders();
  });
}

/** What a logger was told. */
export function recordingLogger(): {
  readonly logger: Logger;
  readonly lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[];
} {
  const lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[] = [];
  const make = (bound: Readonly<Record<string, unknown>>): Logger => {
    const log = (level: string) => (message: string, fields?: Readonly<Record<string, unknown>>) =>
      void lines.push({ level, message, fields: { ...bound, ...fields } });
    return {
      debug: log("debug"),
      info: log("info"),
      warn: log("warn"),
      error: log("error"),
      child: (fields) => make({ ...bound, ...fields }),
    };
  };
  return { logger: make({}), lines };
}
