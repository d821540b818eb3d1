import { once } from "node:events";
import { PassThrough, Readable, Writable } from "node:stream";
import { stoppedClock } from "@openpool/base";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { times } from "../../../../test/chance.ts";
import { createBodyMemory } from "./body-memory.ts";
import { type Body, fillBody, openBody } from "./body.ts";

const never = new AbortController().signal;

async function opened(memory = createBodyMemory(1 << 26), announcedBytes?: number, maxBytes = 1 << 24): Promise<Body> {
  const body = await openBody(memory, { announcedBytes, maxBytes, signal: never, purpose: "source" });
  if (typeof body === "string") throw new Error(body);
  return body;
}

function collector(): { output: Writable; bytes(): Buffer } {
  const chunks: Buffer[] = [];
  const output = new Writable({
    highWaterMark: 8,
    write(chunk: Buffer, _encoding, done) {
      chunks.push(Buffer.from(chunk));
      setImmediate(done);
    },
  });
  return { output, bytes: () => Buffer.concat(chunks) };
}

describe("a body", () => {
  test("arrives whole in any chunks, announced or not, and gives its memory back", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 400_000 }), { maxLength: 4 }),
        fc.boolean(),
        async (chunks, announce) => {
          const memory = createBodyMemory(1 << 26);
          const whole = Buffer.concat(chunks);
          const options = {
            announcedBytes: announce ? whole.length : undefined,
            maxBytes: 1 << 24,
            signal: never,
            purpose: "source" as const,
          };
          const body = await opened(memory, options.announcedBytes);
          expect(
            await fillBody(body, Readable.from(chunks.map((chunk) => Buffer.from(chunk))), memory, options),
          ).toBeUndefined();
          expect(whole.equals(body.bytes)).toBe(true);
          body.release();
          expect(memory.bytesInUse).toBe(0);
        },
      ),
      { numRuns: times(30) },
    );
  });

  test("shows a reader all but the last byte until it is confirmed", async () => {
    const memory = createBodyMemory(1 << 20);
    const body = await opened(memory, 10);
    const { output, bytes } = collector();
    const piped = body.pipeTo(output);
    const source = new PassThrough();
    const filled = fillBody(body, source, memory, {
      announcedBytes: 10,
      maxBytes: 100,
      signal: never,
      purpose: "source" as const,
    });
    source.write("01234");
    source.end("56789");
    expect(await filled).toBeUndefined();
    await new Promise((resolve) => setImmediate(resolve));
    expect(bytes().toString()).toBe("012345678");
    body.confirm();
    expect(await piped).toBe(true);
    expect(bytes().toString()).toBe("0123456789");
    body.release();
    expect(memory.bytesInUse).toBe(0);
  });

  test("tells its readers when it fails, and keeps its memory until they let go", async () => {
    const memory = createBodyMemory(1 << 20);
    const body = await opened(memory, 10);
    const { output } = collector();
    const piped = body.pipeTo(output);
    body.append(Buffer.from("012"));
    body.release();
    expect(memory.bytesInUse).toBeGreaterThan(0);
    body.fail();
    expect(await piped).toBe(false);
    expect(memory.bytesInUse).toBe(0);
  });

  test("does not recycle its buffer while a reader is still sending", async () => {
    const memory = createBodyMemory(1 << 20);
    const body = await opened(memory, 4);
    body.append(Buffer.from("abcd"));
    body.end();
    body.confirm();
    const slow = new Writable({ write() {} });
    const piped = body.pipeTo(slow);
    body.release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(memory.bytesInUse).toBeGreaterThan(0);
    slow.destroy();
    await once(slow, "close");
    expect(await piped).toBe(false);
    expect(memory.bytesInUse).toBe(0);
  });

  test.each([
    ["fewer bytes than announced", 10, "012", "incomplete"],
    ["more bytes than announced", 2, "012", "too-large"],
    ["more bytes than allowed", undefined, "x".repeat(300_000), "too-large"],
  ])("fails on %s", async (_, announcedBytes, data, failure) => {
    const memory = createBodyMemory(1 << 22);
    const body = await opened(memory, announcedBytes);
    const options = { announcedBytes, maxBytes: 299_999, signal: never, purpose: "source" as const };
    expect(await fillBody(body, Readable.from([Buffer.from(data)]), memory, options)).toBe(failure);
    expect(body.state).toBe("failed");
    body.release();
    expect(memory.bytesInUse).toBe(0);
  });

  test.each([
    ["sends nothing", 100, 0, 5],
    ["sends nothing and announced nothing", undefined, 0, 5],
    ["trickles a body that would need hours", 1_000_000, 1, 6],
  ])("gives up on a peer that %s", async (_, announcedBytes, bytesPerLook, looks) => {
    const clock = stoppedClock();
    const memory = createBodyMemory(1 << 22);
    const body = await opened(memory, announcedBytes);
    const source = new PassThrough();
    const filled = fillBody(body, source, memory, {
      announcedBytes,
      maxBytes: 1 << 21,
      signal: never,
      purpose: "source" as const,
      pace: { clock, stallMs: 5_000, wholeMs: 60_000 },
    });
    for (let look = 0; look < looks; look++) {
      if (bytesPerLook > 0) source.write(Buffer.alloc(bytesPerLook));
      await new Promise((resolve) => setImmediate(resolve));
      expect(body.state).toBe("receiving");
      clock.advance(1_000);
    }
    expect(await filled).toBe("incomplete");
    body.release();
    expect(memory.bytesInUse).toBe(0);
  });

  test("is patient with a peer that is slow but comes through", async () => {
    const clock = stoppedClock();
    const memory = createBodyMemory(1 << 22);
    const body = await opened(memory, 60);
    const source = new PassThrough();
    const filled = fillBody(body, source, memory, {
      announcedBytes: 60,
      maxBytes: 1 << 21,
      signal: never,
      purpose: "source" as const,
      pace: { clock, stallMs: 5_000, wholeMs: 60_000 },
    });
    for (let second = 0; second < 60; second += 4) {
      source.write(Buffer.alloc(4));
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(4_000);
    }
    source.end();
    expect(await filled).toBeUndefined();
    clock.advance(10_000);
    expect(body.state).toBe("received");
    body.release();
  });

  test("of unannounced length is not awaited for ever, however patiently it trickles", async () => {
    const clock = stoppedClock();
    const memory = createBodyMemory(1 << 20);
    const body = await opened(memory);
    const source = new PassThrough();
    const filled = fillBody(body, source, memory, {
      announcedBytes: undefined,
      maxBytes: 1 << 20,
      signal: never,
      purpose: "source",
      pace: { clock, stallMs: 5_000, wholeMs: 20_000 },
    });
    for (let second = 0; second < 25; second++) {
      expect(body.state).toBe("receiving");
      source.write("a");
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(1_000);
    }
    expect(await filled).toBe("incomplete");
    body.release();
  });

  test("that waits for our memory does not stall: its sender is not to blame, and goes on where it was", async () => {
    const clock = stoppedClock();
    const memory = createBodyMemory(1 << 20);
    const body = await opened(memory);
    const others = (await memory.take("result", 768 * 1024, never))!;
    const wanted = new AbortController();
    const options = {
      announcedBytes: undefined,
      maxBytes: 1 << 20,
      signal: wanted.signal,
      purpose: "result" as const,
      pace: { clock, stallMs: 5_000, wholeMs: 20_000 },
    };
    const source = new PassThrough({ highWaterMark: 1 << 20 });
    const filled = fillBody(body, source, memory, options);
    source.write(Buffer.alloc(300 * 1024, 1));
    await new Promise((resolve) => setImmediate(resolve));
    expect(memory.tight).toBe(true);
    clock.advance(60_000);
    expect(body.state).toBe("receiving");
    memory.release(others);
    source.end("end");
    expect(await filled).toBeUndefined();
    expect(body.bytes.length).toBe(300 * 1024 + 3);
    body.release();
    expect(memory.bytesInUse).toBe(0);
  });

  test("says that there was no memory when it is not wanted any more while it waits for some", async () => {
    const memory = createBodyMemory(1 << 20);
    const body = await opened(memory);
    await memory.take("result", 768 * 1024, never);
    const wanted = new AbortController();
    const source = new PassThrough({ highWaterMark: 1 << 20 });
    const filled = fillBody(body, source, memory, {
      announcedBytes: undefined,
      maxBytes: 1 << 20,
      signal: wanted.signal,
      purpose: "result",
    });
    source.write(Buffer.alloc(300 * 1024));
    await new Promise((resolve) => setImmediate(resolve));
    wanted.abort();
    expect(await filled).toBe("no-memory");
  });

  test("refuses an announced length beyond the limit without taking memory", async () => {
    const memory = createBodyMemory(1 << 20);
    expect(
      await openBody(memory, { announcedBytes: 101, maxBytes: 100, signal: never, purpose: "source" as const }),
    ).toBe("too-large");
    expect(memory.bytesInUse).toBe(0);
  });
});

describe("body memory", () => {
  const MIB = 1 << 20;

  test("makes the next one wait when the limit is reached, and serves in order", async () => {
    const memory = createBodyMemory(MIB);
    const first = await memory.take("result", MIB, never);
    const order: number[] = [];
    const second = memory.take("result", 100, never).then((buffer) => (order.push(2), buffer));
    const third = memory.take("result", 100, never).then((buffer) => (order.push(3), buffer));
    expect(memory.tight).toBe(true);
    memory.release(first!);
    memory.release((await second)!);
    memory.release((await third)!);
    expect(order).toEqual([2, 3]);
    expect(memory.bytesInUse).toBe(0);
  });

  test("keeps room for results that sources cannot take: a full pool must not wait for itself", async () => {
    const memory = createBodyMemory(10 * MIB);
    const sources: Uint8Array[] = [];
    for (let i = 0; i < 7; i++) sources.push((await memory.take("source", MIB, never))!);
    let eighth = false;
    void memory.take("source", MIB, never).then(() => (eighth = true));
    const result = await memory.take("result", 3 * MIB, never);
    expect(eighth).toBe(false);
    memory.release(result!);
    memory.release(sources[0] as Uint8Array<ArrayBuffer>);
    await Promise.resolve();
    await Promise.resolve();
    expect(eighth).toBe(true);
  });

  test("a waiter that gives up gets nothing and blocks nobody", async () => {
    const memory = createBodyMemory(MIB);
    const first = await memory.take("result", MIB, never);
    const impatient = new AbortController();
    const second = memory.take("result", MIB, impatient.signal);
    const third = memory.take("result", 1, never);
    impatient.abort();
    expect(await second).toBeUndefined();
    memory.release(first!);
    expect(await third).toBeDefined();
  });

  test("asks for convenience copies to be dropped before it makes anyone wait", async () => {
    const memory = createBodyMemory(MIB);
    const kept = (await memory.take("result", MIB, never))!;
    memory.onPressure = () => memory.release(kept);
    expect(await memory.take("result", MIB, never)).toBeDefined();
  });

  test("lets only so many wait: what they sent already lies in memory too", async () => {
    const memory = createBodyMemory(8 * MIB);
    const held = await memory.take("source", 8 * MIB, never);
    const impatient = new AbortController();
    const waiting = Array.from({ length: 4 }, () => memory.take("source", 8 * MIB, impatient.signal));
    expect(await memory.take("source", 8 * MIB, never)).toBeUndefined();
    impatient.abort();
    expect(await Promise.all(waiting)).toEqual([undefined, undefined, undefined, undefined]);
    memory.release(held!);
    expect(await memory.take("source", MIB, never)).toBeDefined();
  });

  test("says so when the system has no memory, and is none the worse", async () => {
    const memory = createBodyMemory(2 ** 54);
    expect(await memory.take("source", 2 ** 53, never)).toBeUndefined();
    expect(memory.bytesInUse).toBe(0);
    expect(await memory.take("source", MIB, never)).toBeDefined();
  });

  test("one body larger than the whole limit still passes when it is alone", async () => {
    const memory = createBodyMemory(MIB);
    expect(await memory.take("source", 5 * MIB, never)).toBeDefined();
  });
});
