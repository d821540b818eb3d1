import { setTimeout as sleep } from "node:timers/promises";
import { errorCode, errorText, PoolError } from "@openpool/base";
import { readAdminFile } from "@openpool/pool";
import { z } from "zod";
import { addPoolFinder, AdminClientError, findDataDir, openAdminClient } from "../admin-client.ts";
import { exitCode } from "../io.ts";
import type { Registry } from "../program.ts";

const statusSchema = z.object({ pid: z.number(), startedAt: z.string() });

export class RestartError extends PoolError<{ readonly code: "cli/restart-failed"; readonly dataDir: string }> {}

const PATIENCE_MS = 120_000;

export function addRestartCommand({ program, run }: Registry): void {
  const command = program
    .command("restart")
    .summary("restart a running pool without refusing a connection")
    .description(
      "Starts a new process that takes over the listening sockets, while the old one finishes its segments. For upgrades and changed settings in the pool's settings file. Waits until the new one serves.",
    )
    .addHelpText("after", "\nExample:\n  openpool restart --data-dir /var/lib/openpool");
  addPoolFinder(command);
  command.action(() =>
    run(async (io) => {
      const dataDir = findDataDir(command, 0, io);
      const before = statusSchema.parse(await (await openAdminClient(dataDir)).get("/status"));
      const file = await readAdminFile(dataDir);
      const target = file?.supervisorPid ?? before.pid;
      try {
        process.kill(target, "SIGHUP");
      } catch (error) {
        const what =
          errorCode(error) === "EPERM" ? "it belongs to another user: run this as that user" : errorText(error);
        throw new RestartError(
          { code: "cli/restart-failed", dataDir },
          `process ${target} cannot be signalled: ${what}`,
          {
            cause: error,
          },
        );
      }
      const deadline = AbortSignal.timeout(PATIENCE_MS);
      const end = AbortSignal.any([io.stop, deadline]);
      while (!end.aborted) {
        await sleep(100, undefined, { signal: end }).catch(() => undefined);
        const now = await statusOf(dataDir);
        if (now === undefined || (now.pid === before.pid && now.startedAt === before.startedAt)) continue;
        await io.out(`restarted: process ${now.pid} serves in place of ${before.pid}\n`);
        return exitCode.ok;
      }
      if (io.stop.aborted) return exitCode.ok;
      throw new RestartError(
        { code: "cli/restart-failed", dataDir },
        `no new process served within ${PATIENCE_MS / 1000} s: the pool's log says why`,
      );
    }),
  );
}

/** Who serves and is healthy; undefined while nobody does. */
async function statusOf(dataDir: string): Promise<z.infer<typeof statusSchema> | undefined> {
  try {
    const pool = await openAdminClient(dataDir);
    await pool.get("/healthz");
    return statusSchema.parse(await pool.get("/status"));
  } catch (error) {
    if (error instanceof AdminClientError) return undefined;
    throw error;
  }
}
