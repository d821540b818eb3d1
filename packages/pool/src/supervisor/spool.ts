import { randomBytes } from "node:crypto";
import { closeSync, ftruncate, openSync, writeSync, writev, writevSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, realpath, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, errorCode, errorText, type Logger } from "@openpool/base";
import { directoryTag, privateDirectory } from "./run-directory.ts";

/**
 * Renditions that were answered and not yet fetched, where a crash of this process cannot take them: a copy in a file in
 * memory (tmpfs), from which the next process serves them. Not the books and not a cache: losing it loses nothing but
 * what a crash would have lost anyway, so nothing here ever makes a segment fail.
 *
 * One file per generation, filled by whole records from the front, wherever there is room first. So it stays as small as
 * what is waiting to be fetched, and its pages stay in the processor's cache: 0.1 ms for 1.5 MB, a sixth of what a new
 * file costs each time.
 */
export interface Spool extends AsyncDisposable {
  /**
   * Keeps a copy of one answer. `copied` is called once when the bytes are no longer needed: before this returns when the
   * spool lies in memory. An answer that finds no room is not kept.
   */
  put(key: string, files: readonly SpooledFile[], copied: () => void): void;
  /** Everything of the answer was fetched, or nobody will: its room is free. */
  drop(key: string): void;
  /** What a generation that is dead had kept under a path. */
  find(generation: number, path: string): Promise<SpooledFile | undefined>;
  readonly kept: number;
  readonly skipped: number;
}

export interface SpooledFile {
  /** As in the URL. */
  readonly path: string;
  readonly contentType: string;
  readonly data: Uint8Array;
}

export interface SpoolOptions {
  readonly place: SpoolPlace;
  readonly generation: number;
}

/** Where the spool of a pool lies, and how much it may take. Plain JSON. */
export interface SpoolPlace {
  readonly dir: string;
  readonly maxBytes: number;
  /** In memory: writing never waits for a disk. */
  readonly inMemory: boolean;
}

/** A rendition that was not fetched in this time never will be; what a dead process left is kept as long. */
export const SPOOL_KEEP_MS = 60_000;

const DEFAULT_MAX_BYTES = 256 << 20;
const TMPFS_MAGIC = 0x01021994;
/** Records begin at multiples of this, so that a reader knows where to look for them. */
const BLOCK = 64 * 1024;
const HEAD_BYTES = 48;
const TAIL_BYTES = 24;
/** What marks heads and tails: random for each file, so that no worker can put one into its bytes. */
const MARK_BYTES = 16;
const NAME = /^gen-(\d{1,4})\.spool$/;

/** Finds room for the spool of a data directory and makes it: in memory if the system offers that, else in the data directory. */
export async function spoolPlace(
  dataDir: string,
  options: { readonly sharedMemory?: string } = {},
): Promise<SpoolPlace> {
  const real = await realpath(dataDir);
  const memory = options.sharedMemory ?? "/dev/shm";
  try {
    const { type, bavail, bsize } = await statfs(memory);
    const maxBytes = Math.min(DEFAULT_MAX_BYTES, Math.floor((bavail * bsize) / 4));
    if (type === TMPFS_MAGIC && maxBytes >= 8 << 20) {
      const dir = join(memory, `openpool-${directoryTag(real)}`);
      await privateDirectory(dir);
      return { dir, maxBytes, inMemory: true };
    }
  } catch {
    // No such thing here, or no place of our own in it.
  }
  const dir = join(real, "spool");
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const { bavail, bsize } = await statfs(dir);
  return { dir, maxBytes: Math.min(DEFAULT_MAX_BYTES, Math.floor((bavail * bsize) / 10)), inMemory: false };
}

function fileOf(place: SpoolPlace, generation: number): string {
  return join(place.dir, `gen-${generation}.spool`);
}

/** Removes what dead generations left `SPOOL_KEEP_MS` ago, or all of it. For the supervisor, which knows who is dead. */
export async function cleanSpool(
  place: SpoolPlace,
  options: { readonly alive: (generation: number) => boolean; readonly nowMs: number; readonly all?: boolean },
): Promise<void> {
  for (const name of await readdir(place.dir).catch(() => [])) {
    const generation = Number(NAME.exec(name)?.[1] ?? 0);
    if (generation === 0 || options.alive(generation)) continue;
    const file = join(place.dir, name);
    const age =
      options.nowMs -
      (await stat(file).then(
        ({ mtimeMs }) => mtimeMs,
        () => options.nowMs,
      ));
    if (options.all || age >= SPOOL_KEEP_MS) await rm(file, { force: true });
  }
}

interface Extent {
  readonly start: number;
  readonly end: number;
  readonly key: string;
  readonly expiresMs: number;
  writing: boolean;
  dropped: boolean;
}

/** Opens the spool of one process. Never throws for want of room or rights: it then keeps nothing, and says so once. */
export function openSpool(options: SpoolOptions, deps: { readonly logger: Logger; readonly clock: Clock }): Spool {
  return new FileSpool(options, deps);
}

class FileSpool implements Spool {
  readonly #place: SpoolPlace;
  readonly #generation: number;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #fd: number | undefined;
  /** By start; what lies between them is free. */
  readonly #extents: Extent[] = [];
  readonly #byKey = new Map<string, Extent>();
  readonly #found = new Map<number, Promise<DeadSpool | undefined>>();
  readonly #mark = randomBytes(MARK_BYTES);
  #seq = 0;
  /** How far the file has been written since it was last emptied. */
  #highWater = BLOCK;
  #skipped = 0;
  #broken = false;
  #closed = false;
  #cancelSweep: () => void;

  constructor(options: SpoolOptions, deps: { readonly logger: Logger; readonly clock: Clock }) {
    this.#place = options.place;
    this.#generation = options.generation;
    this.#logger = deps.logger;
    this.#clock = deps.clock;
    try {
      const fd = openSync(fileOf(options.place, options.generation), "w+", 0o600);
      this.#fd = fd;
      writeSync(fd, this.#mark, 0, MARK_BYTES, 0);
    } catch (error) {
      this.#fail(error);
    }
    const sweep = (): void => {
      this.#sweep();
      this.#cancelSweep = this.#clock.after(SPOOL_KEEP_MS / 4, sweep);
    };
    this.#cancelSweep = this.#clock.after(SPOOL_KEEP_MS / 4, sweep);
  }

  get kept(): number {
    return this.#byKey.size;
  }

  get skipped(): number {
    return this.#skipped;
  }

  put(key: string, files: readonly SpooledFile[], copied: () => void): void {
    const about = Buffer.from(
      JSON.stringify(files.map(({ path, contentType, data }) => [path, contentType, data.length])),
    );
    const bytes = HEAD_BYTES + about.length + files.reduce((sum, file) => sum + file.data.length, 0) + TAIL_BYTES;
    const extent =
      this.#fd === undefined || this.#closed || this.#byKey.has(key) ? undefined : this.#allocate(key, bytes);
    if (this.#fd === undefined || !extent) {
      this.#skipped++;
      copied();
      return;
    }
    const seq = ++this.#seq;
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    this.#mark.copy(head);
    head.writeDoubleLE(seq, 16);
    head.writeDoubleLE(bytes, 24);
    head.writeDoubleLE(this.#clock.now() + SPOOL_KEEP_MS, 32);
    head.writeDoubleLE(about.length, 40);
    // The end is written last: a process that is killed in the middle leaves a record without one.
    const tail = Buffer.allocUnsafe(TAIL_BYTES);
    this.#mark.copy(tail);
    tail.writeDoubleLE(seq, 16);
    const chunks = [head, about, ...files.map(({ data }) => data), tail];

    if (this.#place.inMemory) {
      let error: unknown;
      try {
        if (writevSync(this.#fd, chunks, extent.start) !== bytes) error = new Error("no space left");
      } catch (cause) {
        error = cause;
      }
      this.#written(extent, error);
      copied();
      return;
    }
    // A disk can make its writer wait.
    writev(this.#fd, chunks, extent.start, (cause, written) => {
      this.#written(extent, cause ?? (written === bytes ? undefined : new Error("no space left")));
      copied();
    });
  }

  #written(extent: Extent, error: unknown): void {
    extent.writing = false;
    if (error) {
      this.#fail(error);
      extent.dropped = true;
    } else this.#broken = false;
    if (extent.dropped) this.#free(extent);
    if (this.#closed) this.#closeFile();
  }

  /** First fit: low places are reused at once, so the file stays small. */
  #allocate(key: string, bytes: number): Extent | undefined {
    const size = Math.ceil(bytes / BLOCK) * BLOCK;
    let start = BLOCK;
    let at = 0;
    for (; at < this.#extents.length; at++) {
      const next = this.#extents[at]!;
      if (next.start - start >= size) break;
      start = next.end;
    }
    if (start + size > this.#place.maxBytes) return undefined;
    const expiresMs = this.#clock.monotonicMs() + SPOOL_KEEP_MS;
    const extent: Extent = { start, end: start + size, key, expiresMs, writing: true, dropped: false };
    this.#extents.splice(at, 0, extent);
    this.#byKey.set(key, extent);
    this.#highWater = Math.max(this.#highWater, extent.end);
    return extent;
  }

  drop(key: string): void {
    const extent = this.#byKey.get(key);
    if (!extent) return;
    this.#byKey.delete(key);
    extent.dropped = true;
    if (!extent.writing) this.#free(extent);
  }

  #free(extent: Extent): void {
    if (this.#byKey.get(extent.key) === extent) this.#byKey.delete(extent.key);
    const at = this.#extents.indexOf(extent);
    if (at >= 0) this.#extents.splice(at, 1);
  }

  #sweep(): void {
    const now = this.#clock.monotonicMs();
    for (const extent of this.#extents.filter((one) => one.expiresMs <= now)) this.drop(extent.key);
    // After a busy hour the memory goes back.
    const fd = this.#fd;
    if (fd === undefined || this.#extents.length > 0 || this.#highWater === BLOCK) return;
    this.#fd = undefined;
    this.#highWater = BLOCK;
    ftruncate(fd, BLOCK, () => {
      this.#fd = fd;
      if (this.#closed) this.#closeFile();
    });
  }

  #fail(error: unknown): void {
    if (!this.#broken) {
      this.#logger.warn("renditions are not kept for the case of a crash: the spool cannot be written", {
        dir: this.#place.dir,
        error: errorText(error),
      });
    }
    this.#broken = true;
  }

  async find(generation: number, path: string): Promise<SpooledFile | undefined> {
    if (generation === this.#generation) return undefined;
    let found = this.#found.get(generation);
    if (!found) {
      found = readDeadSpool(fileOf(this.#place, generation), this.#clock.now()).catch((error: unknown) => {
        if (errorCode(error) !== "ENOENT") {
          this.#logger.warn("what a crashed process had kept cannot be read", { generation, error: errorText(error) });
        }
        return undefined;
      });
      this.#found.set(generation, found);
      // Whoever asks names the generation: what is not there must not be remembered.
      void found.then((dead) => {
        if (!dead) this.#found.delete(generation);
        else {
          this.#logger.info("serving what a crashed process had kept", { generation, renditions: dead.files.size });
          this.#clock.after(SPOOL_KEEP_MS, () => this.#forget(generation));
        }
      });
    }
    return (await found)?.read(path);
  }

  #forget(generation: number): void {
    const found = this.#found.get(generation);
    this.#found.delete(generation);
    void found?.then((dead) => dead?.close());
  }

  #closeFile(): void {
    if (this.#fd === undefined || this.#extents.some((extent) => extent.writing)) return;
    closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** Removes the file: what was not fetched by now is not waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelSweep();
    for (const generation of this.#found.keys()) this.#forget(generation);
    this.#closeFile();
    await rm(fileOf(this.#place, this.#generation), { force: true });
  }
}

interface DeadSpool {
  readonly files: ReadonlyMap<string, { readonly contentType: string; readonly at: number; readonly bytes: number }>;
  read(path: string): Promise<SpooledFile | undefined>;
  close(): Promise<void>;
}

interface SpoolRecord {
  readonly start: number;
  readonly end: number;
  readonly seq: number;
  readonly expiresMs: number;
  readonly aboutBytes: number;
  /** Its tail is there: it was written to the end, and its end not overwritten. */
  readonly complete: boolean;
}

/** Reads what a dead process left. Everything in it is checked: it died at any moment. */
async function readDeadSpool(path: string, nowMs: number): Promise<DeadSpool> {
  const file = await open(path, "r");
  try {
    const records = await readRecords(file, (await file.stat()).size);
    const files = new Map<string, { contentType: string; at: number; bytes: number }>();
    for (const record of records.filter((one) => one.expiresMs > nowMs && isWhole(one, records))) {
      const about = Buffer.alloc(record.aboutBytes);
      await file.read(about, 0, about.length, record.start + HEAD_BYTES);
      let at = record.start + HEAD_BYTES + record.aboutBytes;
      // Written by a process of ours, in one piece with its mark.
      for (const [name, contentType, bytes] of JSON.parse(about.toString()) as [string, string, number][]) {
        files.set(name, { contentType, at, bytes });
        at += bytes;
      }
    }
    return {
      files,
      async read(name) {
        const found = files.get(name);
        if (!found) return undefined;
        const data = Buffer.alloc(found.bytes);
        const { bytesRead } = await file.read(data, 0, data.length, found.at);
        return bytesRead === data.length ? { path: name, contentType: found.contentType, data } : undefined;
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Every record that begins somewhere in the file, in order. */
async function readRecords(file: FileHandle, size: number): Promise<readonly SpoolRecord[]> {
  const records: SpoolRecord[] = [];
  const mark = Buffer.alloc(MARK_BYTES);
  await file.read(mark, 0, MARK_BYTES, 0);
  const head = Buffer.alloc(HEAD_BYTES);
  const tail = Buffer.alloc(TAIL_BYTES);
  for (let start = BLOCK; start + HEAD_BYTES <= size; start += BLOCK) {
    await file.read(head, 0, HEAD_BYTES, start);
    if (!head.subarray(0, MARK_BYTES).equals(mark)) continue;
    const seq = head.readDoubleLE(16);
    const end = start + head.readDoubleLE(24);
    tail.fill(0);
    if (end <= size) await file.read(tail, 0, TAIL_BYTES, end - TAIL_BYTES);
    const complete = tail.subarray(0, MARK_BYTES).equals(mark) && tail.readDoubleLE(16) === seq;
    records.push({ start, end, seq, expiresMs: head.readDoubleLE(32), aboutBytes: head.readDoubleLE(40), complete });
  }
  return records;
}

/**
 * Whether a record is as it was written. Who wrote into the middle of it later has a head in there with a higher number,
 * or was overwritten in turn by somebody who has: looking at the heads that are left is enough.
 */
function isWhole(one: SpoolRecord, all: readonly SpoolRecord[]): boolean {
  return one.complete && !all.some((other) => other.seq > one.seq && other.start < one.end && other.end > one.start);
}
