import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import { silentLogger, stoppedClock } from "@openpool/base";
import type { PoolLive } from "@openpool/protocol";
import { expect, test } from "vitest";
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
  const hub = new EventHub({
    logger: silentLogger,
    clock,
    async events({ after, limit }) {
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
      log.push({ v: 1, id: String(position), position, time: "2026-11-21T12:00:00.000Z", type, data });
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
  return { hub, append, asked, tell, settle, listeners, log };
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
