import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { times } from "../../../../test/chance.ts";
import { cleanSpool, openSpool, SPOOL_KEEP_MS, type Spool, type SpoolPlace, spoolPlace } from "./spool.ts";
import { recordingLogger } from "./testing/stand-in-pool.ts";

let dir: string;
let place: SpoolPlace;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "openpool-spool-"));
  place = { dir, maxBytes: 2 << 20, inMemory: true };
});
afterEach(() => rmSync(dir, { recursive: true }));

const deps = { logger: silentLogger, clock: systemClock };
/** Other tests may have the machine for a while. */
const patience = { timeout: 20_000 };
const rendition = (path: string, bytes: number) => ({ path, contentType: "video/mp2t", data: randomBytes(bytes) });

function put(spool: Spool, key: string, files: readonly ReturnType<typeof rendition>[]): Promise<void> {
  return new Promise((resolve) => spool.put(key, files, resolve));
}

test("what one process kept, another finds after its death", async () => {
  const dead = openSpool({ place, generation: 3 }, deps);
  const files = [
    rendition("/stream/3/a/0.ts", 300_000),
    rendition("/stream/3/a/1.ts", 10),
    rendition("/stream/3/a/2.ts", 0),
  ];
  await put(dead, "a", files);
  await put(dead, "b", [rendition("/stream/3/b/0.ts", 70_000)]);
  await using next = openSpool({ place, generation: 4 }, deps);
  for (const { data, ...about } of files) {
    const { data: found, ...rest } = (await next.find(3, about.path))!;
    expect(rest).toEqual(about);
    expect(data.equals(found)).toBe(true);
  }
  expect(await next.find(3, "/stream/3/c/0.ts")).toBeUndefined();
  expect(await next.find(2, "/stream/3/a/0.ts")).toBeUndefined();
  expect(await next.find(4, "/stream/3/a/0.ts")).toBeUndefined();
});

test("bytes are copied before put returns, so their buffer can be used again", async () => {
  const dead = openSpool({ place, generation: 1 }, deps);
  const file = rendition("/x", 1000);
  const original = Buffer.from(file.data);
  let copied = false;
  dead.put("x", [file], () => (copied = true));
  expect(copied).toBe(true);
  file.data.fill(0);
  await using next = openSpool({ place, generation: 2 }, deps);
  expect(original.equals((await next.find(1, "/x"))!.data)).toBe(true);
});

test("on a disk the buffer is needed until the copy is done, and a drop meanwhile is harmless", async () => {
  place = { ...place, inMemory: false };
  const dead = openSpool({ place, generation: 1 }, deps);
  const copied = put(dead, "x", [rendition("/x", 200_000)]);
  dead.drop("x");
  await copied;
  expect(dead.kept).toBe(0);
  const file = rendition("/y", 200_000);
  await put(dead, "y", [file]);
  await using next = openSpool({ place, generation: 2 }, deps);
  expect(file.data.equals((await next.find(1, "/y"))!.data)).toBe(true);
});

test("takes no more room than it may, uses freed room first, and gives memory back when nothing waits", async () => {
  const clock = stoppedClock(Date.now());
  await using spool = openSpool({ place, generation: 1 }, { ...deps, clock });
  const file = join(dir, "gen-1.spool");
  for (let i = 0; i < 20; i++) await put(spool, `k${i}`, [rendition(`/${i}`, 200_000)]);
  expect(spool.kept).toBe(7);
  expect(spool.skipped).toBe(13);
  expect(statSync(file).size).toBeLessThanOrEqual(place.maxBytes);
  for (let i = 0; i < 20; i++) spool.drop(`k${i}`);
  const size = statSync(file).size;
  for (let i = 0; i < 50; i++) {
    await put(spool, `m${i}`, [rendition(`/${i}`, 200_000)]);
    spool.drop(`m${i}`);
  }
  expect(statSync(file).size).toBe(size);
  await put(spool, "never fetched", [rendition("/n", 10)]);
  clock.advance(SPOOL_KEEP_MS * 1.5);
  expect(spool.kept).toBe(0);
  await expect.poll(() => statSync(file).size, patience).toBeLessThan(100_000);
  await expect
    .poll(async () => {
      await put(spool, "again", [rendition("/n", 10)]);
      return spool.kept;
    }, patience)
    .toBe(1);
});

test("a process that is killed at any moment leaves whole renditions or none", async () => {
  const script = `
    import { systemClock, silentLogger } from "@openpool/base";
    import { openSpool } from ${JSON.stringify(join(import.meta.dirname, "spool.ts"))};
    const spool = openSpool({ place: ${JSON.stringify({ ...place, maxBytes: 64 << 20 })}, generation: 9 }, { logger: silentLogger, clock: systemClock });
    console.log("up");
    for (let i = 0; ; i++) {
      const data = Buffer.alloc(100_000 + (i * 7919) % 900_000, i % 251);
      spool.put("k" + i, [{ path: "/" + (i % 16), contentType: "t" + data.length + "," + (i % 251), data }], () => {});
      if (i % 3) spool.drop("k" + (i - 5));
      if (i >= 16) spool.drop("k" + (i - 16));
    }`;
  const child = spawn(
    process.execPath,
    ["--conditions=source", "--import", "tsx", "--input-type=module", "-e", script],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const gone = new Promise((resolve) => child.once("exit", resolve));
  try {
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await expect.poll(() => statSync(join(dir, "gen-9.spool")).size, patience).toBeGreaterThan(5_000_000);
  } finally {
    child.kill("SIGKILL");
    await gone;
  }
  await using next = openSpool({ place, generation: 10 }, deps);
  let found = 0;
  for (let i = 0; i < 16; i++) {
    const file = await next.find(9, `/${i}`);
    if (!file) continue;
    found++;
    const [bytes, fill] = file.contentType.slice(1).split(",").map(Number);
    expect(Buffer.alloc(bytes!, fill).equals(file.data)).toBe(true);
  }
  expect(found).toBeGreaterThan(0);
});

test("whatever was put and dropped, the next process finds right bytes or nothing, and everything that still waited", async () => {
  const step = fc.record({
    key: fc.integer({ min: 0, max: 9 }),
    bytes: fc.integer({ min: 0, max: 400_000 }),
    drop: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const dead = openSpool({ place, generation: 1 }, deps);
      const written = new Map<string, Buffer>();
      const waiting = new Map<number, string>();
      for (const [i, { key, bytes, drop }] of steps.entries()) {
        if (drop || waiting.has(key)) {
          dead.drop(String(key));
          waiting.delete(key);
          continue;
        }
        const path = `/${i}`;
        const data = Buffer.alloc(bytes, i);
        const before = dead.skipped;
        await put(dead, String(key), [{ path, contentType: "", data }]);
        written.set(path, data);
        if (dead.skipped === before) waiting.set(key, path);
      }
      await using next = openSpool({ place, generation: 2 }, deps);
      for (const [path, data] of written) {
        const found = await next.find(1, path);
        if (found) expect(data.equals(found.data)).toBe(true);
        else expect([...waiting.values()]).not.toContain(path);
      }
    }),
    { numRuns: times(40) },
  );
});

describe("what cannot be trusted", () => {
  test("bytes that look like a record inside a rendition are not one", async () => {
    const dead = openSpool({ place, generation: 1 }, deps);
    await put(dead, "bait", [rendition("/bait", 10)]);
    // Another file's marks, at every place where a record could begin.
    const foreign = readFileSync(join(dir, "gen-1.spool"));
    const victim = openSpool({ place, generation: 2 }, deps);
    await put(victim, "v", [
      { path: "/v", contentType: "", data: Buffer.concat([Buffer.alloc(65_000), foreign, foreign]) },
    ]);
    await using next = openSpool({ place, generation: 3 }, deps);
    expect(await next.find(2, "/bait")).toBeUndefined();
    expect(await next.find(2, "/v")).toBeDefined();
  });

  test.each([
    ["nothing", 0],
    ["rubbish", 300_000],
  ])("a file with %s in it holds nothing", async (_what, bytes) => {
    writeFileSync(join(dir, "gen-1.spool"), randomBytes(bytes));
    await using next = openSpool({ place, generation: 2 }, deps);
    expect(await next.find(1, "/x")).toBeUndefined();
  });

  test("what waited too long before the crash is not served after it", async () => {
    const clock = stoppedClock(Date.now() - 2 * SPOOL_KEEP_MS);
    const dead = openSpool({ place, generation: 1 }, { ...deps, clock });
    await put(dead, "old", [rendition("/old", 10)]);
    await using next = openSpool({ place, generation: 2 }, deps);
    expect(await next.find(1, "/old")).toBeUndefined();
  });
});

test("a place that cannot be written costs one warning and no segment", async () => {
  const { logger, lines } = recordingLogger();
  await using spool = openSpool({ place: { ...place, dir: join(dir, "missing") }, generation: 1 }, { ...deps, logger });
  await put(spool, "a", [rendition("/a", 10)]);
  await put(spool, "b", [rendition("/b", 10)]);
  expect(spool.kept).toBe(0);
  expect(lines.map((line) => line.level)).toEqual(["warn"]);
});

test("the end of a process removes its file, and cleaning removes what the dead left long ago", async () => {
  const spool = openSpool({ place, generation: 1 }, deps);
  await spool[Symbol.asyncDispose]();
  expect(readdirSync(dir)).toEqual([]);
  openSpool({ place, generation: 2 }, deps);
  openSpool({ place, generation: 3 }, deps);
  writeFileSync(join(dir, "not ours"), "");
  const alive = (generation: number): boolean => generation === 3;
  await cleanSpool(place, { alive, nowMs: Date.now() });
  expect(readdirSync(dir)).toHaveLength(3);
  await cleanSpool(place, { alive, nowMs: Date.now() + SPOOL_KEEP_MS });
  expect(readdirSync(dir).sort()).toEqual(["gen-3.spool", "not ours"]);
});

test("it lies in memory where the system has such a place, else in the data directory", async () => {
  const dataDir = join(dir, "data");
  mkdirSync(dataDir);
  const onDisk = await spoolPlace(dataDir, { sharedMemory: join(dir, "no-such") });
  expect(onDisk).toMatchObject({ dir: join(dataDir, "spool"), inMemory: false });
  const found = await spoolPlace(dataDir);
  expect(existsSync(found.dir)).toBe(true);
  expect(statSync(found.dir).mode & 0o077).toBe(0);
  if (found.inMemory) rmSync(found.dir, { recursive: true });
});
