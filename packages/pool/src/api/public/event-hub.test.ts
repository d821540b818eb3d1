import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import { silentLogger, stoppedClock } from "@openpool/base";
import type { PoolLive } from "@openpool/protocol";
import { expect, test } from "vitest";
import { ada } from "../../store/testing/sample-credit.ts";
import type { EventQuery, StoredEvent } from "../../store/types.ts";
import { EventHub } from "./event-hub.ts";
import { EVENTS_PAGE, EventTail, KEPT_EVENTS, MOST_EVENTS } from "./event-tail.ts";

/** An answer whose reader takes nothing, or everything. */
class Reader extends EventEmitter {
  readonly told: string[] = [];
  writableLength = 0;
  reads = true;
  state: "open" | "ended" | "cut" = "open";
  write(chunk: string | Buffer): boolean {
    if (this.reads) this.told.push(chunk.toString());
    else this.writableLength += chunk.length;
    return this.reads;
  }
  end(): void {
    this.state = "ended";
    this.emit("close");
  }
  destroy(): void {
    this.state = "cut";
    this.emit("close");
  }
  facts(): Record<string, unknown>[] {
    return this.told
      .filter((one) => one.includes("event: facts"))
      .map((one) => JSON.parse(one.split("data: ")[1] ?? "{}") as Record<string, unknown>);
  }
  get response(): ServerResponse {
    return this as unknown as ServerResponse;
  }
}

function openHub() {
  const clock = stoppedClock("2026-11-21T12:00:00Z");
  const log: StoredEvent[] = [];
  const listeners = new Set<() => void>();
  const asked: bigint[] = [];
  const failing = { now: false };
  const hub = new EventHub({
    logger: silentLogger,
    clock,
    async events({ after, limit }) {
      if (failing.now) throw new Error("the database is away");
      asked.push(after ?? 0n);
      // Positions have no gaps.
      return log.slice(Number(after ?? 0n), Number(after ?? 0n) + limit);
    },
    onEvents(callback) {
      listeners.add(callback);
      return () => listeners.delete(callback);
    },
    head: async () => BigInt(log.length),
    live: () => ({ rigsOnline: 1 }) as PoolLive,
  });
  const append = (type: string, count = 1, at = "2026-11-21T12:00:00.000Z"): void => {
    for (let i = 0; i < count; i++) {
      const position = BigInt(log.length + 1);
      const data = { pixels: "10", feeWei: "4", earnedWei: "3", version: "x".repeat(5_000) };
      const about = type === "job.credited" ? { worker: ada, rig: "rig1" } : {};
      log.push({ v: 1, id: String(position), position, time: at, type, ...about, data });
    }
    for (const listener of listeners) listener();
  };
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  const tell = async (): Promise<void> => {
    clock.advance(500);
    await settle();
  };
  return { hub, append, asked, failing, tell, settle, listeners, log };
}

test("events are read once, however many listen, and not at all when nobody does", async () => {
  const { hub, append, asked, tell, listeners } = openHub();
  append("job.credited", 3);
  const readers = Array.from({ length: 50 }, () => new Reader());
  await Promise.all(readers.map((one) => hub.serve(one.response, undefined, undefined)));
  append("job.credited", 2);
  await tell();
  expect(asked.length).toBe(1);
  for (const reader of readers)
    expect(reader.facts()).toMatchObject([{ to: "5", jobs: 2, pixels: "20", earnedWei: "6" }]);
  for (const reader of readers) reader.end();
  expect([hub.size, listeners.size]).toEqual([0, 0]);
});

test("a reader that does not read is cut off, and the others are not", async () => {
  const { hub, append, tell } = openHub();
  const [slow, good] = [new Reader(), new Reader()];
  await hub.serve(slow.response, undefined, undefined);
  await hub.serve(good.response, undefined, undefined);
  slow.reads = false;
  for (let i = 0; i < 4; i++) {
    append("rig.joined", 150);
    await tell();
  }
  expect([slow.state, good.state]).toEqual(["cut", "open"]);
  expect(hub.size).toBe(1);
});

test("facts beyond the limit of a message are counted instead of listed", async () => {
  const { hub, append, tell } = openHub();
  const reader = new Reader();
  await hub.serve(reader.response, undefined, undefined);
  append("rig.left", 250);
  await tell();
  expect(reader.facts()).toMatchObject([{ left: 50 }]);
  expect(reader.facts()[0]?.["facts"]).toHaveLength(200);
});

test("what was missed is told once, also what happens while it is told", async () => {
  const { hub, append, tell, settle } = openHub();
  const first = new Reader();
  await hub.serve(first.response, undefined, undefined);
  append("job.credited", 2_500);
  await tell();
  await settle();
  const late = new Reader();
  const served = hub.serve(late.response, undefined, 100n);
  append("job.credited", 10);
  await served;
  await tell();
  const jobs = (reader: Reader): number => reader.facts().reduce((sum, one) => sum + Number(one["jobs"]), 0);
  expect([jobs(first), jobs(late)]).toEqual([2_510, 2_410]);
});

test("two thousand that come back at once cost the database what one costs, and each is told its own", async () => {
  const { hub, append, asked, tell } = openHub();
  append("job.credited", 4_000);
  const readers = Array.from({ length: 2_000 }, (_, i) => ({
    reader: new Reader(),
    worker: i % 50 === 0 ? ada : undefined,
  }));
  await Promise.all(readers.map(({ reader, worker }, i) => hub.serve(reader.response, worker, BigInt(i % 4) * 100n)));
  expect(asked).toEqual([0n, 1_000n, 2_000n, 3_000n]);
  for (const [i, { reader, worker }] of readers.entries()) {
    const [missed] = reader.facts();
    expect(missed?.["jobs"]).toBe(4_000 - (i % 4) * 100);
    expect(missed?.["facts"]).toHaveLength(worker ? 200 : 0);
  }
  append("job.credited", 7);
  await tell();
  for (const { reader } of readers) expect(reader.facts().at(-1)).toMatchObject({ to: "4007", jobs: 7 });
  // They leave, and the next one finds what they left behind.
  for (const { reader } of readers) reader.end();
  append("job.credited", 3);
  const next = new Reader();
  await hub.serve(next.response, undefined, 10n);
  expect(next.facts()).toMatchObject([{ to: "4010", jobs: 4_000 }]);
  expect(asked.length).toBe(6);
});

test("who missed more than is kept reads the pages again, and so does who was further than the log is", async () => {
  const { hub, append, asked } = openHub();
  append("rig.left", KEPT_EVENTS + 1);
  for (const [after, reset] of [
    [0n, true],
    [1n, false],
    [99_999n, true],
  ] as const) {
    const reader = new Reader();
    await hub.serve(reader.response, undefined, after);
    expect(reader.told.some((one) => one.startsWith("event: reset"))).toBe(reset);
    if (!reset) expect(reader.facts()).toMatchObject([{ to: "20001", left: KEPT_EVENTS - 200 }]);
  }
  expect(asked.length).toBe(KEPT_EVENTS / EVENTS_PAGE);
});

test("twenty thousand segments are missed and told, also of one worker, and as exactly from the middle of them", async () => {
  const { hub, append, tell, settle, asked } = openHub();
  const first = new Reader();
  await hub.serve(first.response, undefined, undefined);
  append("rig.left");
  append("job.credited", 20_000);
  for (let i = 0; i < 10; i++) await settle();
  await tell();
  await expect.poll(() => settle().then(() => first.facts().at(-1)?.["to"])).toBe("20001");
  const read = asked.length;
  for (const [after, jobs] of [
    [1n, 20_000],
    [1_001n, 19_000],
    [12_345n, 7_656],
    [20_000n, 1],
  ] as const) {
    for (const worker of [undefined, ada]) {
      const late = new Reader();
      await hub.serve(late.response, worker, after);
      const pixels = String(jobs * 10);
      expect(late.facts()).toMatchObject([{ to: "20001", jobs, pixels, earnedWei: String(jobs * 3), left: 0 }]);
      const listed = late.facts()[0]?.["facts"] as { position: string }[];
      const expected = worker === undefined ? [] : Array.from({ length: Math.min(jobs, 200) }, (_, i) => i + 1);
      expect(listed.map(({ position }) => Number(position) - Number(after))).toEqual(expected);
    }
  }
  expect(asked.length).toBe(read);
});

test("of a busy minute more is kept than otherwise, and never more than memory is meant for", async () => {
  const read = async (query: EventQuery): Promise<readonly StoredEvent[]> =>
    log.slice(Number(query.after), Number(query.after) + EVENTS_PAGE);
  const log: StoredEvent[] = [];
  const append = (count: number, time: string): void => {
    for (let i = 0; i < count; i++) {
      const position = BigInt(log.length + 1);
      log.push({ v: 1, id: String(position), position, time, type: "rig.left", data: {} });
    }
  };
  const tail = new EventTail(read);
  await tail.catchUp(1n);
  const catchUp = async (): Promise<void> => {
    for (let page = await tail.next(); page.length > 0; page = await tail.next()) tail.add(page);
  };
  append(70_000, "2026-11-21T12:00:00.000Z");
  await catchUp();
  expect([tail.has(1n), tail.reaches(1n)]).toEqual([true, true]);
  append(70_000, "2026-11-21T12:00:30.000Z");
  await catchUp();
  const oldest = 140_000n - BigInt(MOST_EVENTS);
  expect([tail.has(oldest - BigInt(EVENTS_PAGE)), tail.has(oldest + BigInt(EVENTS_PAGE))]).toEqual([false, true]);
  append(1, "2026-11-21T13:00:00.000Z");
  await catchUp();
  const kept = 140_001n - BigInt(KEPT_EVENTS);
  expect([tail.has(kept - BigInt(EVENTS_PAGE) - 1n), tail.has(kept)]).toEqual([false, true]);
});

test("when what was missed cannot be read, the reader comes back, and nobody else is disturbed", async () => {
  const { hub, append, failing, settle } = openHub();
  append("rig.left", 3);
  const [late, good] = [new Reader(), new Reader()];
  failing.now = true;
  await Promise.all([hub.serve(late.response, undefined, 1n), hub.serve(good.response, undefined, undefined)]);
  await settle();
  expect([late.state, good.state]).toEqual(["ended", "open"]);
});

test("streams end with the hub", async () => {
  const { hub } = openHub();
  const reader = new Reader();
  await hub.serve(reader.response, undefined, undefined);
  hub.close();
  expect(reader.state).toBe("ended");
  const after = new Reader();
  await hub.serve(after.response, undefined, undefined);
  expect(after.state).toBe("ended");
});
