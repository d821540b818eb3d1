import { Readable } from "node:stream";
import { setImmediate as othersTurn } from "node:timers/promises";
import { addressGroup, csvLine } from "@openpool/base";
import type { FastifyReply, FastifyRequest } from "fastify";
import { sendProblem } from "./reply.ts";

/** How much of long files may be under way. */
export interface FileLimits {
  /** Files that one address reads at once, and all of them together. */
  readonly perAddress: number;
  readonly inAll: number;
  /** A reader that takes nothing for so long, in milliseconds, is cut off and leaves its place to another. */
  readonly idleMs: number;
}

/** Name and value of each column. Their order is for ever; new ones come at the end. */
export type Columns<Row> = readonly (readonly [
  name: string,
  cell: (row: Row) => string | number | bigint | null | undefined,
])[];

/** Rows in blocks, the next of which is read when there is room for it. */
export type Blocks<Row> = AsyncIterable<readonly Row[]> | Iterable<readonly Row[]>;

/** Rows that are put into words at once: what else the process serves waits for no more than these. */
export const BLOCK_ROWS = 100;

/** Soon some file will have been read, some stream closed. */
export const RETRY_AFTER_S = 10;

/** Rows that are read at once. The first are few: a reader sees soon that something comes. */
const FIRST_ROWS = 50;
const AT_ONCE_ROWS = 200;

/** A list that is read page by page, to its end. */
export async function* pages<Row>(
  read: (
    cursor: string | undefined,
    limit: number,
  ) => Promise<{ readonly items: readonly Row[]; readonly next: string | null }>,
  most = AT_ONCE_ROWS,
): AsyncGenerator<readonly Row[]> {
  let cursor: string | undefined;
  let limit = Math.min(FIRST_ROWS, most);
  do {
    const page = await read(cursor, limit);
    yield page.items;
    cursor = page.next ?? undefined;
    limit = most;
  } while (cursor !== undefined);
}

async function* behind(first: string, rest: AsyncIterable<string>): AsyncGenerator<string> {
  yield first;
  yield* rest;
}

/** The first text has the first rows too: whoever has it knows that they can be read. */
async function* csv<Row>(columns: Columns<Row>, blocks: Blocks<Row>): AsyncGenerator<string> {
  let head = `${columns.map(([name]) => name).join(",")}\r\n`;
  for await (const rows of blocks) {
    for (let at = 0; at < rows.length; at += BLOCK_ROWS) {
      if (head === "") await othersTurn();
      let text = head;
      for (const row of rows.slice(at, at + BLOCK_ROWS)) {
        text += `${csvLine(columns.map(([, cell]) => cell(row) ?? undefined))}\r\n`;
      }
      yield text;
      head = "";
    }
  }
  if (head !== "") yield head;
}

/**
 * Sends lists as CSV files, whole however long they are: what is long never lies in memory, and only so many are under way.
 * One that cannot be read to its end breaks off within its transfer, so that no reader takes a part for the whole.
 */
export class CsvFiles {
  readonly #limits: FileLimits;
  readonly #open = new Map<string, number>();
  #all = 0;

  constructor(limits: FileLimits) {
    this.#limits = limits;
  }

  /** Its first rows are read before it is answered: what cannot be read is an error and no empty file. */
  async send<Row>(
    request: FastifyRequest,
    reply: FastifyReply,
    name: string,
    columns: Columns<Row>,
    blocks: () => Blocks<Row>,
  ): Promise<never> {
    const { perAddress, inAll, idleMs } = this.#limits;
    const { raw } = reply;
    // Behind an unfinished answer it would not be told that its reader left, and would hold its place for ever.
    if (raw.socket === null || raw.destroyed) {
      return sendProblem(reply, "api/bad-request", "A file needs a connection of its own.") as never;
    }
    const group = addressGroup(request.ip);
    const own = this.#open.get(group) ?? 0;
    if (own >= perAddress || this.#all >= inAll) {
      const detail =
        own >= perAddress
          ? `One address may read ${perAddress} at once: wait until one of them has ended.`
          : `The pool sends ${inAll} at once, and all places are taken: try again in a moment.`;
      return sendProblem(reply.header("retry-after", RETRY_AFTER_S), "api/too-many-files", detail) as never;
    }
    this.#all++;
    this.#open.set(group, own + 1);
    let rows: Readable | undefined;
    raw.once("close", () => {
      this.#all--;
      const left = (this.#open.get(group) ?? 1) - 1;
      if (left > 0) this.#open.set(group, left);
      else this.#open.delete(group);
      // Of whoever left, or asked for the headers alone.
      rows?.destroy();
    });
    // Node ends a connection on which nothing has moved for so long.
    raw.setTimeout(idleMs);
    const text = csv(columns, blocks());
    const first = await text.next();
    rows = Readable.from(behind(String(first.value), text), { objectMode: false });
    void reply
      .header("cache-control", "no-cache")
      .header("content-disposition", `attachment; filename="${name}.csv"`)
      .type("text/csv; charset=utf-8");
    // The schema describes it; a stream is sent as it is.
    return reply.send(rows) as never;
  }
}
