import { readFile } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { json } from "node:stream/consumers";
import { errorCode, errorText, type OptionValues, PoolError } from "@openpool/base";
import { poolOptions, readAdminFile } from "@openpool/pool";
import type { Command } from "commander";
import { z } from "zod";
import type { Io } from "./io.ts";
import { settingsElsewhere } from "./settings/commands.ts";
import { addSettings, flagsOf } from "./settings/flags.ts";
import { settle } from "./settings/settle.ts";

export class AdminClientError extends PoolError<
  | { readonly code: "cli/no-pool"; readonly dataDir: string }
  | { readonly code: "cli/pool-unreachable"; readonly url: string }
  | { readonly code: "cli/refused"; readonly status: number; readonly reason: string }
> {}

/** Speaks to the pool that runs in a data directory. */
export interface AdminClient {
  readonly dataDir: string;
  readonly url: string;
  /** The JSON of a path. */
  get(path: string): Promise<unknown>;
  /** Changes something; undefined where the pool has nothing to say about it. */
  change(method: "POST" | "PATCH" | "DELETE", path: string, body?: object): Promise<unknown>;
  /** The lines of a path as they come, until it ends or `signal` fires. */
  lines(path: string, signal: AbortSignal): AsyncGenerator<string>;
}

const findSettings = { dataDir: poolOptions.dataDir };
const refusalSchema = z.object({ code: z.string(), message: z.string() });

/** Gives a command what it needs to find a running pool. */
export function addPoolFinder(command: Command): void {
  addSettings(command, findSettings);
}

/** The data directory that a command was told, by flag, environment or the pool's own settings file. */
export function findDataDir(command: Command, operands: number, io: Io): string {
  const values: OptionValues<typeof findSettings> = settle(
    findSettings,
    flagsOf(command, findSettings, operands),
    settingsElsewhere(findSettings),
    io,
    { othersInFile: true },
  ).values;
  return values.dataDir;
}

export function noPool(dataDir: string): AdminClientError {
  return new AdminClientError(
    { code: "cli/no-pool", dataDir },
    `no pool runs in ${dataDir}: start one with \`openpool pool\`, or name its directory with --data-dir or OPENPOOL_DATA_DIR`,
  );
}

interface Call {
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

/**
 * Without any limit of time, which `fetch` has: checking the books may take many minutes, and in a quiet pool nothing
 * happens for hours. Each call has a connection of its own, so that none is sent to a pool that was there before.
 */
function send(url: string, { method = "GET", headers = {}, body, signal }: Call): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(url, { method, headers, agent: false, ...(signal && { signal }) }, resolve)
      .on("error", reject)
      .end(body);
  });
}

/** @throws AdminClientError when no pool has said that it runs there. */
export async function openAdminClient(dataDir: string): Promise<AdminClient> {
  const file = await readAdminFile(dataDir);
  if (!file) throw noPool(dataDir);
  const { url } = file;
  const call = async (path: string, how: Call = {}): Promise<IncomingMessage> => {
    let answer: IncomingMessage;
    try {
      answer = await send(`${url}${path}`, how);
    } catch (error) {
      if (how.signal?.aborted) throw how.signal.reason;
      throw new AdminClientError(
        { code: "cli/pool-unreachable", url },
        `the pool of ${dataDir} does not answer at ${url} (${errorCode(error) ?? errorText(error)}): is it still running?`,
        { cause: error },
      );
    }
    const { statusCode: status = 0 } = answer;
    if (status >= 200 && status < 300) return answer;
    const refusal = refusalSchema.safeParse(await json(answer).catch(() => undefined));
    const reason = refusal.success ? refusal.data.message : `HTTP status ${status}`;
    throw new AdminClientError({ code: "cli/refused", status, reason }, `the pool refused: ${reason}`);
  };
  return {
    dataDir,
    url,
    async get(path) {
      return json(await call(path));
    },
    async change(method, path, body) {
      const token = (await readFile(file.tokenFile, "utf8")).trim();
      const answer = await call(path, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body ? { "content-type": "application/json" } : {}) },
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      if (answer.statusCode !== 204) return json(answer);
      answer.resume();
      return undefined;
    },
    async *lines(path, signal) {
      const answer = (await call(path, { signal })).setEncoding("utf8");
      let rest = "";
      try {
        for await (const chunk of answer) {
          const parts = (rest + chunk).split("\n");
          rest = parts.pop() ?? "";
          yield* parts;
        }
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw new AdminClientError({ code: "cli/pool-unreachable", url }, `the pool at ${url} went away`, {
          cause: error,
        });
      }
    },
  };
}
