import process from "node:process";
import { silentLogger, systemClock } from "@openpool/base";
import { inheritedSockets } from "../listening.ts";
import { runSupervisor } from "../supervisor.ts";
import { standInChild, standInOptions } from "./stand-in-pool.ts";

/**
 * A supervisor in a process of its own, as the command runs it: `DATA_DIR PORT`. Says on stdout where it listens, restarts
 * on SIGHUP, ends on SIGTERM.
 */
const [, , dataDir = "", port = "0"] = process.argv;
try {
  const supervisor = await runSupervisor(
    standInOptions(dataDir, { listen: { host: "127.0.0.1", port: Number(port) } }),
    {
      ...standInChild,
      logger: silentLogger,
      clock: systemClock,
      version: "test",
      inherited: inheritedSockets(
        // Who starts us knows our process id only afterwards.
        { ...process.env, LISTEN_PID: String(process.pid) },
        process.pid,
      ),
    },
  );
  const say = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
  process.on("SIGHUP", () => void supervisor.restart().then(say));
  process.on("SIGTERM", () => void supervisor[Symbol.asyncDispose]().then(() => process.exit(0)));
  say({ kind: "serving", port: supervisor.listen.port, generation: supervisor.generation });
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
