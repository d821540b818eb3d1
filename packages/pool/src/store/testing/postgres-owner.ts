/** A process that owns a managed Postgres until its parent goes away; run by tests, which kill it. */
import { silentLogger, systemClock } from "@openpool/base";
import { startManagedPostgres } from "../managed-postgres.ts";

const { uid, ...options } = JSON.parse(process.argv[2] ?? "{}") as {
  dataDir: string;
  systemDir: string;
  binDir?: string;
  uid?: number;
};
if (uid !== undefined) {
  // Only now: the code itself may lie where that user cannot read.
  process.setgroups?.([]);
  process.setgid?.(uid);
  process.setuid?.(uid);
}
const postgres = await startManagedPostgres(options, { logger: silentLogger, clock: systemClock });
process.on("disconnect", () => void postgres[Symbol.asyncDispose]());
process.send?.({ pid: postgres.pid });
