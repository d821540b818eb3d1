import { PoolError } from "@openpool/base";
import { type BackupDeps, type BackupReport, restoreBackup, writeBackup } from "./backup.ts";
import { verifyBackupFile } from "./backup-file.ts";
import { startManagedPostgres, withManagedPostgres } from "./managed-postgres.ts";
import { parseDatabaseUrl } from "./pg-connection.ts";
import { findCluster } from "./postgres-cluster.ts";

/** Where a pool keeps its books. */
export interface BooksPlace {
  readonly dataDir: string;
  /** A server of the operator's, instead of the database in the data directory. */
  readonly databaseUrl: string | undefined;
}

/** Backs up a pool's books into a file, whether the pool runs or not. See `writeBackup`. */
export function backupBooks(
  place: BooksPlace,
  file: string,
  program: string,
  deps: BackupDeps,
  signal?: AbortSignal,
): Promise<BackupReport> {
  const { dataDir, databaseUrl } = place;
  if (databaseUrl !== undefined) return writeBackup(parseDatabaseUrl(databaseUrl), file, program, deps, signal);
  return withManagedPostgres(dataDir, deps, (connection) => writeBackup(connection, file, program, deps, signal));
}

/**
 * Restores a backup into a data directory that has no database yet, or into an empty database. No pool may run there. See
 * `restoreBackup`.
 */
export async function restoreBooks(
  place: BooksPlace,
  file: string,
  deps: BackupDeps,
  signal?: AbortSignal,
): Promise<BackupReport> {
  const { dataDir, databaseUrl } = place;
  if (databaseUrl !== undefined) return restoreBackup(parseDatabaseUrl(databaseUrl), file, deps, signal);
  // Before a database is made for it.
  const verified = await verifyBackupFile(file);
  const there = await findCluster(dataDir);
  await using postgres = await startManagedPostgres({ dataDir }, deps).catch((error: unknown) => {
    // The pool itself runs on it: its books are there.
    const inUse = error instanceof PoolError && error.info.code === "store/data-dir-in-use";
    throw inUse && there !== undefined
      ? new PoolError(
          { code: "store/restore-not-empty" },
          `A pool runs in ${dataDir}, and a restore never touches its books. Restore into a new data directory.`,
          { cause: error },
        )
      : error;
  });
  return await restoreBackup(postgres.connection, file, deps, signal, verified);
}
