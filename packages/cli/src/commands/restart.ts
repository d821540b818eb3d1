import { PoolError } from "@openpool/base";
import { requestRestart } from "@openpool/pool";
import { addPoolFinder, findDataDir, noPool } from "../admin-client.ts";
import { exitCode } from "../io.ts";
import type { Registry } from "../registry.ts";

class RestartError extends PoolError<{ readonly code: "cli/restart-failed"; readonly dataDir: string }> {}

const PATIENCE_MS = 150_000;

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
      const patience = AbortSignal.any([io.stop, AbortSignal.timeout(PATIENCE_MS)]);
      const outcome = await requestRestart(dataDir, patience);
      if (outcome?.kind === "restarted") {
        await io.out(`restarted: generation ${outcome.generation} serves since ${outcome.tookMs} ms\n`);
        return exitCode.ok;
      }
      if (io.stop.aborted) {
        io.err("openpool: not waited for any longer; the pool's log says what came of the restart\n");
        return exitCode.failed;
      }
      if (!outcome) throw noPool(dataDir);
      throw new RestartError({ code: "cli/restart-failed", dataDir }, outcome.message);
    }),
  );
}
