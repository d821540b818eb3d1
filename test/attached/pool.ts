import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AttachedOptions, PoolOptions, UpstreamStatus } from "@openpool/pool";
import type { Clock, Logger } from "@openpool/base";
import { startTestPool, type TestPool } from "../e2e/pool.ts";
import {
  type Complaints,
  startStockOrchestrator,
  type StockOrchestrator,
  type StockOrchestratorOptions,
} from "../peers/stock-orchestrator.ts";
import { parseHostPort } from "../peers/wire.ts";

export const SECRET = "sekret";

/** What an orchestrator has to complain about when all is well. */
export const NO_COMPLAINTS: Complaints = {
  ejected: 0,
  unknownResults: 0,
  duplicateResults: 0,
  unauthorized: 0,
  broken: 0,
};

/** A pool that works for orchestrators, and they. */
export interface AttachedPool extends AsyncDisposable {
  readonly pool: TestPool;
  readonly orchestrator: StockOrchestrator;
  /** Another one, known to the pool as `second`. */
  readonly second: StockOrchestrator;
  readonly secretFile: string;
  /** Of one orchestrator, as the operator sees it. */
  status(name?: string): UpstreamStatus;
}

/** How a pool is attached to orchestrators of a test. */
export function attachedTo(
  orchestrators: Readonly<Record<string, Pick<StockOrchestrator, "addr" | "cliAddr">>>,
  secretFile: string,
  changed: Partial<AttachedOptions> = {},
): AttachedOptions {
  return {
    gateways: true,
    upstreams: Object.entries(orchestrators).map(([name, { addr, cliAddr }]) => ({
      name,
      address: parseHostPort(addr),
      cli: cliAddr === undefined ? undefined : parseHostPort(cliAddr),
    })),
    secretFile,
    allowedHosts: [],
    ...changed,
  };
}

/** A secret file in a directory of its own. */
export async function writeSecret(text = SECRET): Promise<{ readonly file: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), "openpool-secret-"));
  const file = join(dir, "orch.secret");
  await writeFile(file, `${text}\n`, { mode: 0o600 });
  return { file, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

/** Two orchestrators and a pool behind them. */
export async function startAttachedPool(
  options: {
    readonly orchestrator?: Partial<StockOrchestratorOptions>;
    readonly attached?: Partial<AttachedOptions>;
    readonly pool?: Partial<PoolOptions>;
    readonly logger?: Logger;
    readonly clock?: Clock;
  } = {},
): Promise<AttachedPool> {
  const orchestrator = await startStockOrchestrator({ secret: SECRET, ...options.orchestrator });
  const second = await startStockOrchestrator({ secret: `${SECRET}2` });
  const secret = await writeSecret(`main=${SECRET}\nsecond=${SECRET}2`);
  const deps = {
    ...(options.logger ? { logger: options.logger } : {}),
    ...(options.clock ? { clock: options.clock } : {}),
  };
  const pool = await startTestPool(
    { attached: attachedTo({ main: orchestrator, second }, secret.file, options.attached), ...options.pool },
    deps,
  );
  return {
    pool,
    orchestrator,
    second,
    secretFile: secret.file,
    status(name = "main") {
      const found = pool.running.node.admin.status().upstreams.find((one) => one.name === name);
      if (!found) throw new Error(`the pool knows no ${name}`);
      return found;
    },
    async [Symbol.asyncDispose]() {
      await pool[Symbol.asyncDispose]();
      await orchestrator[Symbol.asyncDispose]();
      await second[Symbol.asyncDispose]();
      await secret[Symbol.asyncDispose]();
    },
  };
}
