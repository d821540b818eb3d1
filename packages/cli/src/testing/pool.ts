import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, openScope, resolveOptions, silentLogger, systemClock } from "@openpool/base";
import { poolOptions, type RunningPool, startPool, toPoolOptions } from "@openpool/pool";
import { type Ran, run } from "./run.ts";

export interface OperatedPool extends AsyncDisposable {
  readonly dataDir: string;
  readonly running: RunningPool;
  /** Runs a command as its operator would, in the pool's data directory. */
  operate(...args: readonly string[]): Promise<Ran>;
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
    const values = new Map(
      Object.entries({
        "data-dir": dataDir,
        listen: "127.0.0.1:0",
        "service-uri": "https://127.0.0.1:1",
        "admin-listen": "127.0.0.1:0",
        "api-listen": "127.0.0.1:0",
        ...(await flags(dataDir)),
      }),
    );
    const resolved = resolveOptions(poolOptions, [{ origin: "flag", label: (name) => name, values }]);
    if (!resolved.ok) throw new Error(JSON.stringify(resolved.problems));
    const options = toPoolOptions(resolved.values, {
      adminListenNamed: true,
      apiListenNamed: true,
      joinPassword: undefined,
      terminal: false,
    });
    if ("problems" in options) throw new Error(JSON.stringify(options.problems));
    const running = scope.use(await startPool(options, { logger: silentLogger, clock, version: "0.0.0" }));
    return {
      dataDir,
      running,
      operate: (...args) => run(args, { env: { OPENPOOL_DATA_DIR: dataDir }, cwd: dataDir }),
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await scope[Symbol.asyncDispose]();
    throw cause;
  }
}
