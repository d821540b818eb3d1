import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { errorCode, errorText, PoolError } from "@openpool/base";
import type { Client } from "pg";
import { type ExportedEvent, readEventExport, writeEventExport } from "./event-export.ts";
import type { PgConnection } from "./pg-connection.ts";
import { withClient } from "./with-client.ts";

/** A month of the event log in a file. */
export interface EventExport {
  /** `2026-11`, in UTC. */
  readonly month: string;
  readonly file: string;
  readonly rows: number;
}

const ROWS_AT_ONCE = 2_000;
const MONTH = /^\d{4}-(0[1-9]|1[0-2])$/;

/** Months whose books are closed and whose events are still in the log, the oldest first. */
export async function closedMonths(connection: PgConnection): Promise<readonly { month: string; endsAtMs: number }[]> {
  return withClient(connection, "retention", async (client) => {
    const { rows } = await client.query<{ period: string; ends_at: Date }>(
      "select period, ends_at from openpool.ledger_periods where dropped_at is null order by ends_at",
    );
    return rows.map(({ period, ends_at }) => ({ month: period, endsAtMs: ends_at.getTime() }));
  });
}

/**
 * Writes the events of a month whose books are closed into a file of the directory. @throws PoolError
 * `store/not-prunable` while they are not closed, or when its events are gone.
 */
export async function exportMonth(
  connection: PgConnection,
  month: string,
  dir: string,
  nowMs: number,
): Promise<EventExport> {
  return withClient(connection, "retention", async (client) => {
    await client.query("begin isolation level repeatable read");
    const { rows: periods } = await client.query<{ starts_at: Date; ends_at: Date }>(
      "select starts_at, ends_at from openpool.ledger_periods where period = $1 and dropped_at is null",
      [month],
    );
    const [period] = periods;
    if (!period || !MONTH.test(month)) {
      throw notPrunable(`the books of ${month} are not closed, or its events are gone already`);
    }
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = join(dir, `events-${month}.jsonl.gz`);
    const end = await writeEventExport(file, month, eventsBetween(client, period.starts_at, period.ends_at));
    await client.query(
      `insert into openpool.event_exports (month, file, rows, first_position, last_position, sha256, exported_at)
       values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (month) do update set file = excluded.file, rows = excluded.rows, sha256 = excluded.sha256,
         first_position = excluded.first_position, last_position = excluded.last_position, exported_at = excluded.exported_at`,
      [month, file, end.rows, end.firstPosition, end.lastPosition, end.sha256, new Date(nowMs)],
    );
    await client.query("commit");
    return { month, file, rows: end.rows };
  });
}

/** Exports a month, unless that was done before, and takes it out of the log. @throws PoolError `store/not-prunable`, and why. */
export async function pruneMonth(
  connection: PgConnection,
  month: string,
  dir: string,
  nowMs: number,
): Promise<EventExport> {
  if (!MONTH.test(month)) throw notPrunable(`${month} is no month`);
  return withClient(connection, "retention", async (client) => {
    const ask = async (what: "check_events_month" | "drop_events_month"): Promise<void> => {
      try {
        await client.query(`select openpool.${what}($1::date)`, [`${month}-01`]);
      } catch (cause) {
        throw errorCode(cause) === "OP004" ? notPrunable(errorText(cause), cause) : cause;
      }
    };
    await ask("check_events_month");
    const exported = (await exportedBefore(client, month)) ?? (await exportMonth(connection, month, dir, nowMs));
    await ask("drop_events_month");
    return exported;
  });
}

/** A month's export that holds all that the log has of it, and whose file is what was written; undefined: there is none. */
async function exportedBefore(client: Client, month: string): Promise<EventExport | undefined> {
  const { rows } = await client.query<{ file: string; rows: string; sha256: string }>(
    `select x.file, x.rows, x.sha256 from openpool.event_exports x join openpool.ledger_periods p on p.period = x.month
     where x.month = $1 and x.last_position =
       (select max(e.position) from openpool.events e where e.time >= p.starts_at and e.time < p.ends_at)`,
    [month],
  );
  const [found] = rows;
  if (!found) return undefined;
  const { file } = found;
  try {
    if (!(await isWhole({ month, ...found }))) return undefined;
  } catch (error) {
    if (error instanceof PoolError && error.info.code === "store/export-damaged") return undefined;
    throw error;
  }
  return { month, file, rows: Number(found.rows) };
}

async function* eventsBetween(client: Client, from: Date, to: Date): AsyncGenerator<ExportedEvent> {
  await client.query({
    text: `declare exported no scroll cursor for select position, id, time, type, worker, rig, data from openpool.events
      where time >= $1 and time < $2 order by position`,
    values: [from, to],
  });
  for (;;) {
    const { rows } = await client.query<{
      position: string;
      id: string;
      time: Date;
      type: string;
      worker: string | null;
      rig: string | null;
      data: Record<string, unknown>;
    }>(`fetch ${ROWS_AT_ONCE} from exported`);
    for (const { position, id, time, type, worker, rig, data } of rows) {
      yield {
        position,
        id,
        time: time.toISOString(),
        type,
        ...(worker === null ? {} : { worker }),
        ...(rig === null ? {} : { rig }),
        data,
      };
    }
    if (rows.length < ROWS_AT_ONCE) break;
  }
  await client.query("close exported");
}

interface WrittenExport {
  readonly month: string;
  readonly file: string;
  readonly sha256: string;
}

/** Whether an export's file is there, read to its end. @throws PoolError `store/export-damaged` where it is another one. */
async function isWhole({ month, file, sha256 }: WrittenExport): Promise<boolean> {
  try {
    for await (const part of readEventExport(file, month)) {
      if (!("sha256" in part)) continue;
      if (part.sha256 !== sha256) {
        throw new PoolError(
          { code: "store/export-damaged" },
          `${file} is not the export that was made when the events of ${month} were taken out of the log.`,
        );
      }
    }
  } catch (error) {
    if (error instanceof PoolError && errorCode(error.cause) === "ENOENT") return false;
    throw error;
  }
  return true;
}

/** Reads the credits of an exported month in pieces; undefined where its file is not there any more. */
export async function exportedCredits(
  written: WrittenExport,
): Promise<AsyncGenerator<readonly ExportedEvent[]> | undefined> {
  // All of it is read before anything of it is used.
  if (!(await isWhole(written))) return undefined;
  const { month, file } = written;
  return (async function* () {
    let piece: ExportedEvent[] = [];
    for await (const part of readEventExport(file, month)) {
      if ("sha256" in part || part.type !== "job.credited") continue;
      piece.push(part);
      if (piece.length < ROWS_AT_ONCE) continue;
      yield piece;
      piece = [];
    }
    if (piece.length > 0) yield piece;
  })();
}

function notPrunable(why: string, cause?: unknown): PoolError {
  return new PoolError(
    { code: "store/not-prunable" },
    `Not taken out of the log: ${why}.`,
    cause === undefined ? {} : { cause },
  );
}
