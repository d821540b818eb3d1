/** The alerts of a pool as a process of its own, which tests kill. Its argument is a database and an alerts file, as JSON. */
import { silentLogger, systemClock } from "@openpool/base";
import { PgAlertStore } from "../../store/alert-store.ts";
import type { PgConnection } from "../../store/pg-connection.ts";
import { Alerts } from "../alerts.ts";
import { parseAlertSettings } from "../settings.ts";

const { connection, file } = JSON.parse(process.argv[2] ?? "{}") as {
  readonly connection: PgConnection;
  readonly file: unknown;
};
const settings = parseAlertSettings(file);
if ("problems" in settings) throw new Error(JSON.stringify(settings.problems));
const store = new PgAlertStore(connection, { clock: systemClock });
await Alerts.open(
  { settings, publicUrl: undefined, poolName: "" },
  { store, logger: silentLogger, clock: systemClock },
);
process.stdout.write("ready\n");
// Nothing else keeps it alive: the clock's timers do not.
setInterval(() => {}, 60_000);
