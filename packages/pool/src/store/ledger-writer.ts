import type { ClientBase } from "pg";
import type { CreditEvent } from "../ledger/decode-credit.ts";
import type { CreditBooking, CreditLine, Hold } from "../ledger/book-credits.ts";

/** A look is never longer, so that a log with few credits is read in steps too. */
const MAX_POSITIONS = 50_000n;

export interface CreditPage {
  readonly events: readonly CreditEvent[];
  /** Everything up to here has been looked at. */
  readonly position: bigint;
  /** The end of the log at that moment. */
  readonly head: bigint;
}

type CreditRow = [
  head: string,
  position: string | null,
  id: string,
  ms: string,
  worker: string,
  rig: string,
  data: Record<string, unknown>,
];

/** The next credits of the log, in its order, at most `limit`; never beyond `upTo`. */
export async function readCredits(
  client: ClientBase,
  after: bigint,
  limit: number,
  upTo?: bigint,
): Promise<CreditPage> {
  const most = after + MAX_POSITIONS;
  const wanted = upTo === undefined || upTo > most ? most : upTo;
  // One statement sees one moment: how far the log is committed, and all that is in it up to there. Planned once, for the
  // partitions of a year take longer to plan for than to read. As arrays: a third of the time that rows as objects take.
  const { rows } = await client.query<CreditRow>({
    name: "read-credits",
    rowMode: "array",
    text: `select h.position, e.* from openpool.log_head h left join lateral (
        select position, id, (extract(epoch from time) * 1000)::bigint, worker, rig, data from openpool.events
        where position > $1 and position <= least(h.position, $2) and type = 'job.credited' order by position limit $3
      ) e on true order by e.position`,
    values: [after, wanted, limit],
  });
  const head = BigInt(rows[0]?.[0] ?? 0);
  const events = rows.flatMap(([, position, id, ms, worker, rig, data]) =>
    position === null ? [] : { id, atMs: Number(ms), worker, rig, data },
  );
  const last = events.length === limit ? rows.at(-1)?.[1] : undefined;
  const end = head < wanted ? head : wanted;
  return { events, position: last ? BigInt(last) : end > after ? end : after, head };
}

/** The numbers by which lines and holds name workers; remembered, since they never change. */
export class WorkerNumbers {
  readonly #known = new Map<string, number>();

  /** Numbers for all of them, made where they are missing: in the transaction of `client`, so forget them if that fails. */
  async of(client: ClientBase, rows: Iterable<{ readonly worker: string }>): Promise<ReadonlyMap<string, number>> {
    const missing = new Set<string>();
    for (const { worker } of rows) if (!this.#known.has(worker)) missing.add(worker);
    if (missing.size > 0) {
      await client.query(
        "insert into openpool.ledger_workers (worker) select unnest($1::text[]) order by 1 on conflict (worker) do nothing",
        [[...missing]],
      );
      const { rows } = await client.query<{ id: number; worker: string }>(
        "select id, worker from openpool.ledger_workers where worker = any ($1)",
        [[...missing]],
      );
      for (const { id, worker } of rows) this.#known.set(worker, id);
    }
    return this.#known;
  }

  forget(): void {
    this.#known.clear();
  }
}

/** `1280x720+854x480`: what was made of a segment. */
export function shapeOf(renditions: CreditLine["job"]["renditions"]): string {
  return renditions.map(({ width, height }) => `${width}x${height}`).join("+");
}

/** Writes the rows of statements. */
export async function writeLines(
  client: ClientBase,
  { lines }: CreditBooking,
  numbers: ReadonlyMap<string, number>,
  table: "ledger_lines" | "rebuilt_lines",
): Promise<void> {
  if (lines.length === 0) return;
  await client.query({
    name: `write-${table}`,
    text: `insert into openpool.${table} (worker, at, id, entry, kind, amount_wei, terms_version, release_at, rig, job,
        segments, pixels, price_per_unit, pixels_per_unit, fee_wei, commission_wei, shape, scheme, data)
      select l.worker, timestamptz 'epoch' + l.at * interval '1 millisecond', l.id, l.entry, 'credit', l.amount, l.terms,
        timestamptz 'epoch' + l.release * interval '1 millisecond', l.rig, l.job, l.segments, l.pixels, l.price, l.per,
        l.fee, l.commission, l.shape, l.scheme, l.data::json
      from unnest($1::integer[], $2::bigint[], $3::uuid[], $4::uuid[], $5::numeric[], $6::integer[], $7::bigint[],
        $8::text[], $9::uuid[], $10::integer[], $11::numeric[], $12::numeric[], $13::numeric[], $14::numeric[],
        $15::numeric[], $16::text[], $17::text[], $18::text[])
        as l (worker, at, id, entry, amount, terms, release, rig, job, segments, pixels, price, per, fee, commission,
          shape, scheme, data)`,
    values: [
      lines.map((line) => numbers.get(line.worker)),
      lines.map((line) => line.atMs),
      lines.map((line) => line.job.event),
      lines.map((line) => line.entry),
      lines.map((line) => line.amountWei),
      lines.map((line) => line.termsVersion),
      lines.map((line) => line.releaseAtMs),
      lines.map((line) => line.job.rig),
      lines.map((line) => line.job.job),
      lines.map((line) => line.job.segments),
      lines.map((line) => line.job.pixels),
      lines.map((line) => line.job.price.pricePerUnitWei),
      lines.map((line) => line.job.price.pixelsPerUnit),
      lines.map((line) => line.job.feeWei),
      lines.map((line) => line.job.commissionWei),
      lines.map((line) => shapeOf(line.job.renditions)),
      lines.map((line) => line.scheme),
      lines.map((line) => (line.data === undefined ? null : JSON.stringify(line.data))),
    ],
  });
}

/** Adds to what is held. */
export async function writeHolds(
  client: ClientBase,
  holds: readonly Hold[],
  numbers: ReadonlyMap<string, number>,
): Promise<void> {
  if (holds.length === 0) return;
  await client.query({
    name: "write-holds",
    text: `insert into openpool.ledger_holds as h (release_at, worker, terms_version, amount_wei)
      select timestamptz 'epoch' + n.release * interval '1 millisecond', n.worker, n.terms, n.amount
      from unnest($1::bigint[], $2::integer[], $3::integer[], $4::numeric[]) as n (release, worker, terms, amount)
      on conflict (release_at, worker, terms_version) do update set amount_wei = h.amount_wei + excluded.amount_wei`,
    values: [
      holds.map((hold) => hold.releaseAtMs),
      holds.map((hold) => numbers.get(hold.worker)),
      holds.map((hold) => hold.termsVersion),
      holds.map((hold) => hold.amountWei),
    ],
  });
}

/** Puts on hold what a posted entry gives to workers, or takes from what is held, and makes its rows of their statements. */
export async function writeHeld(client: ClientBase, entry: string, holds: readonly Hold[]): Promise<void> {
  if (holds.length === 0) return;
  const numbers = await new WorkerNumbers().of(client, holds);
  await writeHolds(client, holds, numbers);
  await client.query(
    `insert into openpool.ledger_lines (worker, at, id, entry, kind, amount_wei, terms_version, release_at, data)
     select n.worker, e.time, e.id, e.id, e.rule, n.amount, e.terms_version,
       timestamptz 'epoch' + n.release * interval '1 millisecond', e.data
     from openpool.ledger_entries e, unnest($2::integer[], $3::numeric[], $4::bigint[]) as n (worker, amount, release)
     where e.id = $1`,
    [
      entry,
      holds.map((hold) => numbers.get(hold.worker)),
      holds.map((hold) => hold.amountWei),
      holds.map((hold) => hold.releaseAtMs),
    ],
  );
}
