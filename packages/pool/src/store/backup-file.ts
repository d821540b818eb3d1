import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { errorCode, errorText, PoolError } from "@openpool/base";
import { z } from "zod";

/**
 * A backup is one gzip file of frames: a letter, the length as 32 bits, and that many bytes.
 *
 *     H  what it is a backup of           T  a table begins        D  rows, as COPY writes them
 *     E  that table is complete           Z  the whole is complete: the SHA-256 of all bytes before
 */
const MAGIC = Buffer.from("openpool backup 1\n");
const MAX_FRAME_BYTES = 1 << 30;

const wholeNumber = z.string().regex(/^\d+$/);

const headerSchema = z.object({
  takenAt: z.iso.datetime(),
  /** Of the program that wrote it. */
  program: z.string(),
  /** Versions of the schema that were in force. */
  schema: z.array(z.int().positive()),
  /** The last position of the event log that is in it. */
  position: wholeNumber,
  /** Partitions, so that there is room for the rows: parent, name, bounds as PostgreSQL writes them. */
  partitions: z.array(z.object({ parent: z.string(), name: z.string(), bounds: z.string() })),
  sequences: z.array(z.object({ name: z.string(), value: z.string(), called: z.boolean() })),
});
const tableSchema = z.object({ table: z.string(), columns: z.array(z.string()).min(1) });
const tableEndSchema = z.object({
  rows: wholeNumber,
  /** Over all rows, whatever their order; what is restored is compared with it. */
  checksum: z.string(),
});
const endSchema = z.object({ sha256: z.string(), tables: z.int(), rows: wholeNumber });

export type BackupHeader = z.infer<typeof headerSchema>;
export type BackupTable = z.infer<typeof tableSchema>;
export type BackupTableEnd = z.infer<typeof tableEndSchema>;

export interface BackupWriter {
  header(header: BackupHeader): Promise<void>;
  table(table: BackupTable): Promise<void>;
  rows(piece: Uint8Array): Promise<void>;
  tableEnd(end: BackupTableEnd): Promise<void>;
  /** Makes it whole, on disk, and puts it in its place. */
  finish(): Promise<{ readonly tables: number; readonly rows: bigint }>;
  /** Removes what was written. */
  discard(): Promise<void>;
}

/** Writes beside `path` first: a backup that is there is complete. */
export async function createBackupFile(path: string): Promise<BackupWriter> {
  const partial = `${path}.partial`;
  const handle: FileHandle = await open(partial, "w", 0o600);
  const hash = createHash("sha256");
  const gzip = createGzip({ level: 3 });
  const output = handle.createWriteStream({ flush: true });
  const written = pipeline(gzip, output);
  // Whoever writes next, or finishes, hears of it.
  written.catch(() => {});
  let tables = 0;
  let rows = 0n;
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (gzip.destroyed) await written;
    if (!gzip.write(bytes)) {
      await Promise.race([new Promise<void>((resolve) => void gzip.once("drain", resolve)), written]);
    }
  };
  const frame = async (kind: string, payload: Uint8Array): Promise<void> => {
    const head = Buffer.alloc(5);
    head.write(kind, "latin1");
    head.writeUInt32BE(payload.length, 1);
    if (kind !== "Z") hash.update(head).update(payload);
    await put(head);
    await put(payload);
  };
  const json = (kind: string, value: unknown): Promise<void> => frame(kind, Buffer.from(JSON.stringify(value)));
  await put(MAGIC);
  return {
    header: (header) => json("H", header),
    table: (table) => json("T", table),
    rows: (piece) => (piece.length === 0 ? Promise.resolve() : frame("D", piece)),
    async tableEnd(end) {
      tables++;
      rows += BigInt(end.rows);
      await json("E", end);
    },
    async finish() {
      await json("Z", { sha256: hash.digest("hex"), tables, rows: rows.toString() });
      gzip.end();
      await written;
      await verifyBackupFile(partial);
      await rename(partial, path);
      const directory = await open(dirname(path), "r");
      await directory.sync().finally(() => directory.close());
      return { tables, rows };
    },
    async discard() {
      gzip.destroy();
      await written.catch(() => {});
      await rm(partial, { force: true });
    },
  };
}

/** What a reader is told, in the order of the file. Rows of a table come between its beginning and its end. */
export type BackupPart =
  | { readonly kind: "header"; readonly header: BackupHeader }
  | { readonly kind: "table"; readonly table: BackupTable }
  | { readonly kind: "rows"; readonly bytes: Uint8Array }
  | { readonly kind: "table-end"; readonly end: BackupTableEnd }
  | { readonly kind: "end"; readonly tables: number; readonly rows: bigint };

const damaged = (path: string, why: string, cause?: unknown): PoolError =>
  new PoolError(
    { code: "store/backup-damaged" },
    `${path} is no complete backup: ${why}. Use another one.`,
    cause === undefined ? {} : { cause },
  );

/** Reads a backup; rejects with `store/backup-damaged` where it is none, or not complete. */
export async function* readBackupFile(path: string): AsyncGenerator<BackupPart> {
  const input = createReadStream(path);
  const gunzip = createGunzip();
  input.on("error", (error) => gunzip.destroy(error));
  input.pipe(gunzip);
  const hash = createHash("sha256");
  const chunks = gunzip[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Buffer[] = [];
  let restBytes = 0;
  /** Exactly so many bytes; undefined at the end of the file. */
  const take = async (count: number): Promise<Buffer | undefined> => {
    while (restBytes < count) {
      const { value, done } = await chunks.next();
      if (done) {
        if (restBytes === 0) return undefined;
        throw damaged(path, "it ends in the middle");
      }
      rest.push(value);
      restBytes += value.length;
    }
    const all = rest.length === 1 ? rest[0]! : Buffer.concat(rest, restBytes);
    rest = count === all.length ? [] : [all.subarray(count)];
    restBytes -= count;
    return all.subarray(0, count);
  };
  try {
    if (!(await take(MAGIC.length))?.equals(MAGIC)) throw damaged(path, "it does not begin like one");
    let inTable = false;
    let tables = 0;
    let rows = 0n;
    for (let first = true; ; first = false) {
      const head = await take(5);
      if (!head) throw damaged(path, "its end is missing");
      const kind = head.toString("latin1", 0, 1);
      const length = head.readUInt32BE(1);
      if (length > MAX_FRAME_BYTES) throw damaged(path, "it is not readable from some point on");
      const payload = (await take(length)) ?? Buffer.alloc(0);
      if (payload.length !== length) throw damaged(path, "it ends in the middle");
      if (first !== (kind === "H") || (kind === "T" && inTable) || ("DE".includes(kind) && !inTable)) {
        throw damaged(path, "its parts are out of order");
      }
      if (kind !== "Z") hash.update(head).update(payload);
      switch (kind) {
        case "H":
          yield { kind: "header", header: headerSchema.parse(JSON.parse(payload.toString())) };
          break;
        case "T":
          inTable = true;
          yield { kind: "table", table: tableSchema.parse(JSON.parse(payload.toString())) };
          break;
        case "D":
          yield { kind: "rows", bytes: payload };
          break;
        case "E": {
          const end = tableEndSchema.parse(JSON.parse(payload.toString()));
          inTable = false;
          tables++;
          rows += BigInt(end.rows);
          yield { kind: "table-end", end };
          break;
        }
        case "Z": {
          const end = endSchema.parse(JSON.parse(payload.toString()));
          if (end.sha256 !== hash.digest("hex") || end.tables !== tables || BigInt(end.rows) !== rows) {
            throw damaged(path, "its contents are not what was written");
          }
          yield { kind: "end", tables, rows };
          return;
        }
        default:
          throw damaged(path, "it holds something unknown");
      }
    }
  } catch (error) {
    if (error instanceof PoolError) throw error;
    if (errorCode(error) === "ENOENT") throw damaged(path, "there is no such file");
    const why = error instanceof z.ZodError ? "one of its parts is not readable" : errorText(error);
    throw damaged(path, why, error);
  } finally {
    input.destroy();
    gunzip.destroy();
  }
}

/** Reads all of it; what it is a backup of, and how much. */
export async function verifyBackupFile(
  path: string,
): Promise<{ readonly header: BackupHeader; readonly tables: number; readonly rows: bigint }> {
  let header: BackupHeader | undefined;
  for await (const part of readBackupFile(path)) {
    if (part.kind === "header") header = part.header;
    if (part.kind === "end" && header) return { header, tables: part.tables, rows: part.rows };
  }
  throw damaged(path, "its end is missing");
}
