import type { RigName, WorkerAddress } from "@openpool/protocol";
import type { RigNameRecord, RigNameStore } from "../workers/rig-names.ts";
import type { PgConnection } from "./pg-connection.ts";
import { withClient } from "./with-client.ts";

/** Whether a subject of the roll-ups ever did a job. */
const WORKED = "exists (select from openpool.rollup_days d where d.subject = s.id and d.jobs > 0)";

/** The names of rigs in PostgreSQL: wherever a row is kept of one. */
export class PgRigNames implements RigNameStore {
  readonly #connection: PgConnection;

  constructor(connection: PgConnection) {
    this.#connection = connection;
  }

  read(): Promise<readonly RigNameRecord[]> {
    return withClient(this.#connection, "rig names", async (client) => {
      const { rows } = await client.query<{ worker: WorkerAddress; rig: string; seen_at: Date; worked: boolean }>(
        `select s.worker, s.rig, coalesce(s.seen_at, s.first_at) as seen_at, ${WORKED} as worked
           from openpool.rollup_subjects s where s.rig <> '' order by 3`,
      );
      return rows.map(({ worker, rig, seen_at, worked }) => {
        return { name: { worker, rig }, seenAtMs: seen_at.getTime(), worked };
      });
    });
  }

  forget(names: readonly RigName[], addressesBeforeMs: number): Promise<void> {
    return withClient(this.#connection, "rig names", async (client) => {
      await client.query("begin");
      // Whoever counts the log waits meanwhile: its rows are found again, or made anew.
      await client.query("select from openpool.rollup_cursor for update");
      // What is known of them in memory may be old: one that did a job meanwhile stays.
      const { rows: rigs } = await client.query<{ id: number; worker: string; rig: string }>(
        `select s.id, s.worker, s.rig from openpool.rollup_subjects s
           join unnest($1::text[], $2::text[]) as n (worker, rig) on s.worker = n.worker and s.rig = n.rig
         where s.rig <> '' and not ${WORKED}`,
        [names.map((name) => name.worker), names.map((name) => name.rig)],
      );
      const gone = [rigs.map((one) => one.worker), rigs.map((one) => one.rig)];
      for (const table of ["alert_conditions", "rig_reports"]) {
        await client.query(
          `delete from openpool.${table} t using unnest($1::text[], $2::text[]) as n (worker, rig)
           where t.worker = n.worker and t.rig = n.rig`,
          gone,
        );
      }
      await client.query("delete from openpool.rollup_subjects where id = any ($1)", [rigs.map((one) => one.id)]);
      const { rows: addresses } = await client.query<{ id: number }>(
        `delete from openpool.rollup_subjects s
         where s.rig = '' and s.worker <> '' and greatest(s.first_at, s.seen_at, s.refused_at) < $1 and not ${WORKED}
           and not exists (select from openpool.rollup_subjects r where r.worker = s.worker and r.rig <> '')
         returning s.id`,
        [new Date(addressesBeforeMs)],
      );
      const subjects = [...rigs, ...addresses].map((one) => one.id);
      for (const table of ["rollup_minutes", "rollup_hours", "rollup_days"]) {
        await client.query(`delete from openpool.${table} where subject = any ($1)`, [subjects]);
      }
      await client.query("commit");
    });
  }
}
