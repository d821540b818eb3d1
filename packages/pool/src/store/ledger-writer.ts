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

type EventArray = [string, string, string, string, string, Record<string, unknown>];

/** The next credits of the log, in its order, at most `limit`; never beyond `upTo`. */
export async function readCredits(
  client: ClientBase,
  after: bigint,
  limit: number,
  upTo?: bigint,
): Promise<CreditPage> {
  // First how far the log is committed, then what is in it: who sees a position sees all before it.
  const { rows: heads } = await client.query<{ position: string }>("select position from openpool.log_head");
  const head = BigInt(heads[0]?.position ?? 0);
  const end = [head, after + MAX_POSITIONS, ...(upTo === undefined ? [] : [upTo])].reduce((a, b) => (a < b ? a : b));
  if (end <= after) return { events: [], position: after, head };
  // As arrays: a third of the time that rows as objects take.
  const { rows } = await client.query<EventArray>({
    rowMode: "array",
    text: `select position, id, (extract(epoch from time) * 1000)::bigint, worker, rig, data from openpool.events
      where position > $1 and position <= $2 and type = 'job.credited' order by position limit $3`,
    values: [after, end, limit],
  });
  const last = rows.length === limit ? rows.at(-1)?.[0] : undefined;
  return {
    events: rows.map(([, id, ms, worker, rig, data]) => ({ id, atMs: Number(ms), worker, rig, data })),
    position: last === undefined ? end : BigInt(last),
    head,
  };
}

/** The numbers by which lines and holds name workers; remembered, since they never change. */
export class WorkerNumbers {
  readonly #known = new Map<string, number>();

  /** Numbers for all of them, made where they are missing: in the transaction of `client`, so forget them if that fails. */
  async of(client: ClientBase, workers: Iterable<string>): Promise<ReadonlyMap<string, number>> {
    const missing = new Set<string>();
    for (const worker of workers) if (!this.#known.has(worker)) missing.add(worker);
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
  numbers: WorkerNumbers,
  table: "ledger_lines" | "rebuilt_lines",
): Promise<void> {
  if (lines.length === 0) return;
  const known = await numbers.of(
    client,
    lines.map((line) => line.worker),
  );
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
      lines.map((line) => known.get(line.worker)),
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
export async function writeHolds(client: ClientBase, holds: readonly Hold[], numbers: WorkerNumbers): Promise<void> {
  if (holds.length === 0) return;
  const known = await numbers.of(
    client,
    holds.map((hold) => hold.worker),
  );
  await client.query({
    name: "write-holds",
    text: `insert into openpool.ledger_holds as h (release_at, worker, terms_version, amount_wei)
      select timestamptz 'epoch' + n.release * interval '1 millisecond', n.worker, n.terms, n.amount
      from unnest($1::bigint[], $2::integer[], $3::integer[], $4::numeric[]) as n (release, worker, terms, amount)
      on conflict (release_at, worker, terms_version) do update set amount_wei = h.amount_wei + excluded.amount_wei`,
    values: [
      holds.map((hold) => hold.releaseAtMs),
      holds.map((hold) => known.get(hold.worker)),
      holds.map((hold) => hold.termsVersion),
      holds.map((hold) => hold.amountWei),
    ],
  });
}
