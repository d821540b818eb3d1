import { errorText, type Logger, PoolError } from "@openpool/base";
import type { Client } from "pg";
import { locks } from "./locks.ts";
import { log } from "./schema/1-log.ts";
import { ledger } from "./schema/2-ledger.ts";
import { payouts } from "./schema/3-payouts.ts";
import { rollups } from "./schema/4-rollups.ts";
import { upstream } from "./schema/5-upstream.ts";
import { schemes } from "./schema/6-schemes.ts";
import { alertsAndSettings } from "./schema/7-alerts-settings.ts";
import { rigReports } from "./schema/8-rig-reports.ts";
import { reconciled } from "./schema/9-reconciled.ts";
import { waysToPay } from "./schema/10-ways-to-pay.ts";
import { retention } from "./schema/11-retention.ts";
import { payoutHolds } from "./schema/12-payout-holds.ts";
import { hookVerdicts } from "./schema/13-hook-verdicts.ts";
import { payoutAccounts } from "./schema/14-payout-accounts.ts";
import { releasedEarly } from "./schema/15-released-early.ts";
import { lateCredits } from "./schema/16-late-credits.ts";
import { ownAlerts } from "./schema/19-own-alerts.ts";
import { releasedBans } from "./schema/21-released-bans.ts";
import { pruning } from "./schema/24-pruning.ts";
import { appendOnly } from "./schema/25-append-only.ts";
import { incidents } from "./schema/26-incidents.ts";
import { hookWaits } from "./schema/27-hook-waits.ts";
import { appendOnlyStatements } from "./schema/28-append-only-statements.ts";
import { rigsAndUpstreams } from "./schema/29-rigs-and-upstreams.ts";
import { givenUpAccounts } from "./schema/30-given-up-accounts.ts";
import type { Migration } from "./schema/migration.ts";

/**
 * Append only: what has run somewhere is never edited, a change is a new migration. Everything lies in the schema
 * `openpool`, so that a database may be shared with other programs.
 */
export const knownMigrations: readonly Migration[] = [
  log,
  ledger,
  payouts,
  rollups,
  upstream,
  schemes,
  alertsAndSettings,
  rigReports,
  reconciled,
  waysToPay,
  retention,
  payoutHolds,
  hookVerdicts,
  payoutAccounts,
  releasedEarly,
  lateCredits,
  ownAlerts,
  releasedBans,
  pruning,
  appendOnly,
  incidents,
  hookWaits,
  rigsAndUpstreams,
  appendOnlyStatements,
  givenUpAccounts,
];

/** Brings the schema to this version. Refuses one that is newer: that program knows things that this one does not. */
export async function migrate(
  client: Client,
  { logger }: { logger: Logger },
  known: readonly Migration[] = knownMigrations,
  { restoring = false }: { readonly restoring?: boolean } = {},
): Promise<void> {
  await lockMigrations(client);
  try {
    if (!restoring) await refuseHalfRestored(client);
    const { rows: found } = await client.query<{ there: boolean }>(
      "select to_regclass('openpool.schema_migrations') is not null as there",
    );
    if (!found[0]?.there) {
      // Not asked for when it is there: even `if not exists` needs the right to create.
      await client.query(`
        create schema if not exists openpool;
        create table openpool.schema_migrations (
          version integer primary key,
          name text not null,
          applied_at timestamptz not null default now()
        )`);
    }
    const { rows } = await client.query<{ version: number }>("select version from openpool.schema_migrations");
    const done = new Set(rows.map((row) => row.version));
    const newest = Math.max(0, ...known.map((migration) => migration.version));
    const current = Math.max(0, ...done);
    if (current > newest) {
      throw new PoolError(
        { code: "store/schema-newer" },
        `The database has schema version ${current} and this program knows ${newest}: a newer Open Pool used it. Run that version or a later one.`,
      );
    }
    for (const { version, name, sql } of known) {
      if (done.has(version)) continue;
      try {
        await client.query("begin");
        await client.query(sql);
        await client.query("insert into openpool.schema_migrations (version, name) values ($1, $2)", [version, name]);
        await client.query("commit");
      } catch (cause) {
        await client.query("rollback").catch(() => {});
        throw new PoolError(
          { code: "store/migration-failed" },
          `Schema version ${version} (${name}) could not be made: ${errorText(cause)}. Nothing of it was kept; the user may need the right to create a schema in this database.`,
          { cause },
        );
      }
      logger.debug("made a version of the schema", { version, name });
    }
    if (known.some(({ version }) => !done.has(version))) {
      logger.info(current === 0 ? "made the database" : "upgraded the database", { from: current, to: newest });
    }
  } finally {
    await client.query("select pg_advisory_unlock($1)", [locks.migration]).catch(() => {});
  }
}

/** Of this session until it ends, or is unlocked as often as it was locked. */
export async function lockMigrations(client: Client): Promise<void> {
  await client.query("select pg_advisory_lock($1)", [locks.migration]);
}

/** A table that is there while a backup is being restored. */
export const RESTORING = "openpool.restoring";

/** A pool that started now would begin with empty books. */
async function refuseHalfRestored(client: Client): Promise<void> {
  const { rows } = await client.query<{ begun: boolean }>("select to_regclass($1) is not null as begun", [RESTORING]);
  if (!rows[0]?.begun) return;
  throw new PoolError(
    { code: "store/restore-unfinished" },
    "A restore into this database was not finished: its books are not whole. Run `openpool restore` again.",
  );
}
