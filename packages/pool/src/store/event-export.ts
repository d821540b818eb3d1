import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { errorCode, errorText, PoolError } from "@openpool/base";
import { z } from "zod";

/**
 * A month of the event log is one gzip file of JSON lines: first what it is, then one event a line in the order of the log,
 * as `openpool events --json` prints them with their id, and last how many there are and a checksum.
 */
const headSchema = z.object({ openpool: z.literal("events"), format: z.literal(1), month: z.string() });
const eventSchema = z.object({
  position: z.string().regex(/^\d+$/),
  id: z.string(),
  time: z.iso.datetime(),
  type: z.string(),
  worker: z.string().optional(),
  rig: z.string().optional(),
  data: z.record(z.string(), z.unknown()),
});
const endSchema = z.object({
  rows: z.int(),
  firstPosition: z.string(),
  lastPosition: z.string(),
  /** Of the bytes of all lines before this one, in hex. */
  sha256: z.string(),
});

export type ExportedEvent = z.infer<typeof eventSchema>;
export type ExportEnd = z.infer<typeof endSchema>;

/** Writes a file, reads it again, and puts it in its place only then. */
export async function writeEventExport(
  file: string,
  month: string,
  events: AsyncIterable<ExportedEvent>,
): Promise<ExportEnd> {
  const partial = `${file}.partial`;
  const handle = await open(partial, "w", 0o600);
  try {
    await pipeline(
      Readable.from(linesOf(month, events)),
      createGzip({ level: 6 }),
      handle.createWriteStream({ flush: true }),
    );
    let end: ExportEnd | undefined;
    for await (const part of readEventExport(partial, month)) if ("sha256" in part) end = part;
    if (!end) throw damaged(file, "its end is missing");
    await rename(partial, file);
    const directory = await open(dirname(file), "r");
    await directory.sync().finally(() => directory.close());
    return end;
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function* linesOf(month: string, events: AsyncIterable<ExportedEvent>): AsyncGenerator<string> {
  const hash = createHash("sha256");
  const line = (value: object): string => {
    const text = `${JSON.stringify(value)}\n`;
    hash.update(text);
    return text;
  };
  let rows = 0;
  let firstPosition = "0";
  let lastPosition = "0";
  yield line({ openpool: "events", format: 1, month });
  for await (const event of events) {
    if (rows++ === 0) firstPosition = event.position;
    lastPosition = event.position;
    yield line(event);
  }
  const end: ExportEnd = { rows, firstPosition, lastPosition, sha256: hash.digest("hex") };
  yield `${JSON.stringify(end)}\n`;
}

/**
 * Reads a month's events and, last, the end that says that all of them were there. @throws PoolError
 * `store/export-damaged`: what was read before is not to be used.
 */
export async function* readEventExport(file: string, month: string): AsyncGenerator<ExportedEvent | ExportEnd> {
  const input = createReadStream(file);
  const gunzip = createGunzip();
  input.on("error", (error) => gunzip.destroy(error));
  const hash = createHash("sha256");
  try {
    let rows = -1;
    for await (const line of createInterface({ input: input.pipe(gunzip), crlfDelay: Infinity })) {
      const value: unknown = JSON.parse(line);
      const end = endSchema.safeParse(value);
      if (end.success) {
        if (end.data.rows !== rows || end.data.sha256 !== hash.digest("hex")) throw damaged(file, "it was changed");
        yield end.data;
        return;
      }
      hash.update(`${line}\n`);
      if (rows++ >= 0) yield eventSchema.parse(value);
      else if (headSchema.parse(value).month !== month) throw damaged(file, `it is not the events of ${month}`);
    }
    throw damaged(file, "its end is missing");
  } catch (error) {
    if (error instanceof PoolError) throw error;
    if (errorCode(error) === "ENOENT") throw damaged(file, "there is no such file", error);
    throw damaged(file, error instanceof z.ZodError ? "a line is not readable" : errorText(error), error);
  } finally {
    input.destroy();
    gunzip.destroy();
  }
}

function damaged(file: string, why: string, cause?: unknown): PoolError {
  return new PoolError(
    { code: "store/export-damaged" },
    `${file} is no complete export of events: ${why}. Bring it back from where you copied it to.`,
    cause === undefined ? {} : { cause },
  );
}
