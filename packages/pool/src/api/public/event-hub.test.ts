import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import { silentLogger, stoppedClock } from "@openpool/base";
import type { PoolLive } from "@openpool/protocol";
import { expect, test } from "vitest";
import { ada } from "../../store/testing/sample-credit.ts";
import type { StoredEvent } from "../../store/types.ts";
import { EventHub } from "./event-hub.ts";

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
      return log.filter((one) => one.position > (after ?? 0n)).slice(0, limit);
    },
    onEvents(callback) {
      listeners.add(callback);
      return () => listeners.delete(callback);
    },
    head: async () => BigInt(log.length),
    live: () => ({ rigsOnline: 1 }) as PoolLive,
  });
  const append = (type: string, count = 1): void => {
    for (let i = 0; i < count; i++) {
      const position = BigInt(log.length + 1);
      const data = { pixels: "10", feeWei: "4", earnedWei: "3", version: "x".repeat(5_000) };
      const about = type === "job.credited" ? { worker: ada, rig: "rig1" } : {};
      log.push({ v: 1, id: String(position), position, time: "2026-11-21T12:00:00.000Z", type, ...about, data });
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
  append("rig.left", 5_001);
  for (const [after, reset] of [
    [0n, true],
    [1n, false],
    [9_999n, true],
  ] as const) {
    const reader = new Reader();
    await hub.serve(reader.response, undefined, after);
    expect(reader.told.some((one) => one.startsWith("event: reset"))).toBe(reset);
  }
  expect(asked.length).toBe(5);
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
