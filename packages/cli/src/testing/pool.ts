import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, type Logger, openScope, systemClock } from "@openpool/base";
import { type RunningPool, startPool } from "@openpool/pool";
import { readPoolSettings } from "../commands/pool.ts";
import { createLogger } from "../logging.ts";
import { bareIo, type Ran, run } from "./run.ts";

export interface OperatedPool extends AsyncDisposable {
  readonly dataDir: string;
  /** What runs now. */
  readonly running: RunningPool;
  /** Warnings and errors of its log so far, as JSON lines. */
  readonly warnings: readonly string[];
  /** Runs a command as its operator would, in the pool's data directory. */
  operate(...args: readonly string[]): Promise<Ran>;
  /** Stops the pool and starts it again with other flags, on the same data. */
  restart(flags: Readonly<Record<string, string>>): Promise<void>;
}

/** A pool with a database of its own, in a directory that goes with it; `flags` beside the few that every test needs. */
export async function openOperatedPool(
  flags: (dataDir: string) => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>,
  clock: Clock = systemClock,
): Promise<OperatedPool> {
  const scope = openScope();
  try {
    const dataDir = await mkdtemp(join(tmpdir(), "openpool-operated-"));
    scope.defer(() => rm(dataDir, { recursive: true, force: true }));
    const warnings: string[] = [];
    const start = (those: Readonly<Record<string, string>>): Promise<RunningPool> =>
      startOperated(dataDir, those, {
        clock,
        logger: createLogger({ level: "warn", format: "json", colour: false }, (line) => warnings.push(line)),
      });
    let running: RunningPool | undefined = await start(await flags(dataDir));
    scope.defer(async () => running?.[Symbol.asyncDispose]());
    return {
      dataDir,
      get running() {
        if (running) return running;
        throw new Error("the pool did not start again");
      },
      warnings,
      operate: (...args) => run(args, { env: { OPENPOOL_DATA_DIR: dataDir }, cwd: dataDir }),
      async restart(others) {
        const before = running;
        running = undefined;
        await before?.[Symbol.asyncDispose]();
        running = await start(others);
      },
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await scope[Symbol.asyncDispose]();
    throw cause;
  }
}

async function startOperated(
  dataDir: string,
  flags: Readonly<Record<string, string>>,
  deps: { readonly clock: Clock; readonly logger: Logger },
): Promise<RunningPool> {
  const values = new Map(
    Object.entries({
      "data-dir": dataDir,
      listen: "127.0.0.1:0",
      "service-uri": "https://127.0.0.1:1",
      "admin-listen": "127.0.0.1:0",
      "api-listen": "127.0.0.1:0",
      ...flags,
    }),
  );
  const { options } = readPoolSettings({ given: values, unknown: [], problems: [] }, bareIo());
  return startPool(options, { ...deps, version: "0.0.0" });
}
