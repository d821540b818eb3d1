import http from "node:http";
import type http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { type Clock, systemClock } from "@openpool/base";
import { isNonRetryable, MAX_SEGMENT_BYTES, type SegData } from "@openpool/protocol";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  callGetOrchestrator,
  getToken,
  headerOf,
  postSegment,
  readRenditions,
  readResult,
  segData,
} from "../conformance/gateway.ts";
import { push, until } from "../e2e/pool.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { sourceSegment } from "../peers/media.ts";
import {
  connectH2,
  connectTls,
  goClientSettings,
  type H2Answer,
  type H2Connection,
  requestH2,
  requestHttp1,
} from "../peers/wire.ts";
import { type Fortress, openFortress } from "./harness.ts";

/** Who sends is in this process too, and its memory is given back when the machine likes: what is held counts, this is the worst. */
const RSS_BYTES = 1 << 30;

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function connect(fortress: Fortress): Promise<H2Connection> {
  const connection = await connectH2(fortress.target.address, { settings: goClientSettings });
  connection.session.on("error", () => {});
  closers.push(() => connection.session.destroy());
  return connection;
}

async function headerFor(fortress: Fortress, change: Partial<SegData> = {}, body?: Uint8Array): Promise<string> {
  const token = await fortress.target.forgeToken(`${process.hrtime.bigint()}`, 99_999_999_999n);
  return headerOf(await segData(token, { manifestId: Buffer.from(fortress.name()), ...change }, body));
}

async function fetchAll(answer: Pick<H2Answer, "status" | "body">): Promise<void> {
  for (const { url } of readRenditions(answer).segments) expect((await requestHttp1(url)).status).toBe(200);
}

describe("when memory is full", () => {
  let fortress: Fortress;
  beforeAll(async () => {
    // Room for five sources, and for their results besides.
    fortress = await openFortress({ maxBytesInFlight: 8 << 20 });
  });
  afterAll(() => fortress?.[Symbol.asyncDispose]());

  /** Fills the pool with segments whose worker waits for a word. */
  async function fill(): Promise<{ answers: Promise<H2Answer>[]; release(): void }> {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    fortress.worker!.behaviour = behaviours.when(() => gate);
    const connection = await connect(fortress);
    const answers: Promise<H2Answer>[] = [];
    // There is time for them, however long a busy machine takes for what comes in between.
    const header = (): Promise<string> => headerFor(fortress, { duration: 30_000 });
    for (let i = 0; i < 5; i++) answers.push(postSegment(connection, await header()));
    await until(() => fortress.status().bytesInFlight > 5 << 20);
    return { answers, release };
  }

  test("new gateways are turned away at the door, running ones wait, and nothing is lost", async () => {
    const { answers, release } = await fill();
    const refused = await callGetOrchestrator(fortress.target);
    expect({ status: refused.status, message: refused.message }).toEqual({
      status: 2,
      message: "Invalid orchestrator request: OrchestratorCapped",
    });
    const waiting = postSegment(await connect(fortress), await headerFor(fortress, { duration: 30_000 }));
    let early = false;
    void waiting.then(() => (early = true));
    // A whole round trip behind it: it has arrived and was not answered.
    await requestH2((await connect(fortress)).session, { ":path": "/healthz" });
    expect(early).toBe(false);
    fortress.worker!.behaviour = behaviours.ready();
    release();
    for (const answer of [...answers, waiting]) await fetchAll(await answer);
    await fortress.unharmed();
  });

  test("who waits as long as a gateway does is told so in words that cost no session", async () => {
    const { answers, release } = await fill();
    const answer = await postSegment(await connect(fortress), await headerFor(fortress));
    const text = answer.body.toString().trim();
    expect({ status: answer.status, text }).toEqual({ status: 503, text: "TranscoderInvalidVideo" });
    expect(isNonRetryable(text)).toBe(true);
    fortress.worker!.behaviour = behaviours.ready();
    release();
    for (const one of answers) await fetchAll(await one);
    await fortress.unharmed();
  });

  test("a segment by URL waits as one with a body does, and is told the same", async () => {
    const { answers, release } = await fill();
    const store = http.createServer((_, response) => void response.end(sourceSegment));
    await new Promise<void>((resolve) => store.listen(0, "127.0.0.1", resolve));
    const { port } = store.address() as AddressInfo; // it listens on TCP
    const byUrl = async (change: Partial<SegData> = {}): Promise<H2Answer> =>
      postSegment(await connect(fortress), await headerFor(fortress, change), {
        headers: { "content-type": "application/vnd+livepeer.uri" },
        body: Buffer.from(`http://127.0.0.1:${port}/`),
      });
    const answer = await byUrl();
    expect({ status: answer.status, text: answer.body.toString().trim() }).toEqual({
      status: 503,
      text: "TranscoderInvalidVideo",
    });
    fortress.worker!.behaviour = behaviours.ready();
    release();
    for (const one of answers) await fetchAll(await one);
    await fetchAll(await byUrl({ duration: 30_000 }));
    store.closeAllConnections();
    store.close();
    await fortress.unharmed();
  });

  test("hundreds that wait are not let in to wait", async () => {
    const { answers, release } = await fill();
    const connections = await Promise.all(Array.from({ length: 25 }, () => connect(fortress)));
    const header = await headerFor(fortress, { duration: 10_000 });
    const before = process.memoryUsage().rss;
    const waiting = connections.flatMap((one) => Array.from({ length: 8 }, () => postSegment(one, header)));
    await until(() => fortress.status().bytesInFlight > 5 << 20);
    fortress.worker!.behaviour = behaviours.ready();
    release();
    const statuses = (await Promise.all(waiting)).map(({ status }) => status);
    expect(statuses.every((status) => status === 200 || status === 503)).toBe(true);
    expect(statuses.filter((status) => status === 503).length).toBeGreaterThan(0);
    expect(process.memoryUsage().rss - before).toBeLessThan(RSS_BYTES);
    for (const one of answers) await fetchAll(await one);
    for (const one of await Promise.all(waiting)) if (one.status === 200) await fetchAll(one);
    await fortress.unharmed({ warnings: 5 });
  });
});

describe("slow peers", () => {
  let fortress: Fortress;
  beforeAll(async () => {
    fortress = await openFortress({ maxBytesInFlight: 512 << 20 });
  });
  afterAll(() => fortress?.[Symbol.asyncDispose]());

  test("that stall, trickle or hold back are cut off, none is waited for by others, and no worker looks bad for it", async () => {
    const outcomes: Promise<string>[] = [];
    const drips: NodeJS.Timeout[] = [];
    const hear = (stream: http2.ClientHttp2Stream): void => {
      const outcome = new Promise<string>((resolve) => {
        stream.once("close", () => resolve("closed"));
        stream.once("response", (headers) => {
          stream.once("data", (text: Buffer) => resolve(`${headers[":status"]} ${text.toString().trim()}`));
        });
      });
      outcomes.push(outcome);
    };
    const slow = async (length: number, sent: number, change: Partial<SegData>, drip: number): Promise<void> => {
      const { session } = await connect(fortress);
      const stream = session.request({
        ":method": "POST",
        ":path": "/segment",
        "livepeer-segment": await headerFor(fortress, change),
        "content-length": length,
      });
      stream.on("error", () => {});
      if (sent > 0) stream.write(sourceSegment.subarray(0, sent));
      if (drip > 0) drips.push(setInterval(() => stream.closed || stream.write(Buffer.alloc(drip)), 200));
      hear(stream);
    };
    const slowH1 = async (sent: number): Promise<void> => {
      const socket = await connectTls(fortress.target.address, []);
      socket.on("error", () => {});
      closers.push(() => socket.destroy());
      const header = await headerFor(fortress);
      socket.write(
        `POST /segment HTTP/1.1\r\nHost: pool\r\nLivepeer-Segment: ${header}\r\nContent-Length: 900000\r\n\r\n`,
      );
      socket.write(sourceSegment.subarray(0, sent));
      outcomes.push(
        new Promise((resolve) => {
          let answer = "";
          socket.on("data", (chunk: Buffer) => {
            answer += chunk.toString();
            const [, status, text] = /^HTTP\/1.1 (\d+) [^]*\r\n\r\n(?:[\da-f]+\r\n)?(\w+)\n/.exec(answer) ?? [];
            if (text) resolve(`${status} ${text}`);
          });
        }),
      );
    };
    await slow(900_000, 0, {}, 0);
    await slow(900_000, 500_000, {}, 0);
    await slow(900_000, 899_999, {}, 0);
    // As long as a segment can be, as large as it can be, a byte at a time: by its own deadline it had twenty minutes.
    await slow(MAX_SEGMENT_BYTES, 20_000, { duration: 300_000 }, 1);
    await slow(900_000, 20_000, {}, 1);
    await slowH1(0);
    await slowH1(500_000);
    const uri = await connect(fortress);
    const stream = uri.session.request({
      ":method": "POST",
      ":path": "/segment",
      "livepeer-segment": await headerFor(fortress),
      "content-type": "application/vnd+livepeer.uri",
    });
    stream.on("error", () => {});
    stream.write("https://");
    hear(stream);

    await until(() => fortress.status().bytesInFlight > MAX_SEGMENT_BYTES);
    // Meanwhile everybody else is served.
    for (let i = 0; i < 5; i++) expect((await push(fortress.gateway, "meanwhile", i)).kind).toBe("done");
    // In words that cost none of them its session.
    expect(new Set(await Promise.all(outcomes))).toEqual(new Set(["500 TranscoderInvalidVideo"]));
    for (const drip of drips) clearInterval(drip);
    await fortress.unharmed();
    const [rig] = fortress.status().rigs;
    expect(["new", "trusted"]).toContain(rig?.standing);
  });

  test("that never fetch what they asked for, or break off in the middle of it", async () => {
    const connection = await connect(fortress);
    const answer = await postSegment(connection, await headerFor(fortress));
    const { segments } = readRenditions(answer);
    const raw = await connectTls(fortress.target.address, []);
    raw.pause();
    raw.write(`GET ${new URL(segments[2]!.url).pathname} HTTP/1.1\r\nHost: pool\r\n\r\n`);
    await requestHttp1(segments[0]!.url);
    raw.tcp.resetAndDestroy();
    // A second and a third time, as a gateway that retries.
    for (let i = 0; i < 2; i++) await fetchAll(answer);
    await fortress.unharmed();
  });

  test("one segment as large as they get: zeros, 300 MB of them", async () => {
    const zeros = Buffer.alloc(MAX_SEGMENT_BYTES);
    const header = await headerFor(fortress, { duration: 20_000 }, zeros);
    const { session } = await connect(fortress);
    const before = process.memoryUsage().rss;
    let most = 0;
    const look = setInterval(() => (most = Math.max(most, fortress.status().bytesInFlight)), 50);
    const answer = await requestH2(
      session,
      { ":method": "POST", ":path": "/segment", "livepeer-segment": header },
      zeros,
    );
    clearInterval(look);
    expect(readResult(answer).result).toEqual({ case: "error", value: "TranscoderInvalidVideo" });
    expect(most).toBeLessThan(310 << 20);
    expect(process.memoryUsage().rss - before).toBeLessThan(RSS_BYTES);
    await fortress.unharmed({ warnings: 1 });
  });
});

describe("a wall clock that jumps", () => {
  let fortress: Fortress;
  let offMs = 0;
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + offMs };
  beforeAll(async () => {
    fortress = await openFortress({}, { clock });
  });
  afterAll(() => fortress?.[Symbol.asyncDispose]());

  const HOUR_MS = 3_600_000;
  test.each([
    ["an hour back", -HOUR_MS],
    ["forty days back", -40 * 24 * HOUR_MS],
    ["forty days on", 80 * 24 * HOUR_MS],
    ["ten years on", 10 * 365 * 24 * HOUR_MS],
    ["and back to the truth", 0],
  ])("%s: what runs goes on, what is new begins, and the books are right", async (_, jumpMs) => {
    const token = await getToken(fortress.target);
    const stream = fortress.name();
    const connection = await connect(fortress);
    const post = async (seq: bigint): Promise<H2Answer> =>
      postSegment(connection, headerOf(await segData(token, { manifestId: Buffer.from(stream), seq })));
    const before = await fortress.pool.credited();
    await fetchAll(await post(0n));
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    fortress.worker!.behaviour = behaviours.when(() => gate);
    const inFlight = post(1n);
    await until(() => fortress.status().jobsInFlight === 1);
    offMs = jumpMs;
    release();
    fortress.worker!.behaviour = behaviours.ready();
    await fetchAll(await inFlight);
    await fetchAll(await post(2n));
    await fortress.unharmed();
    expect((await fortress.pool.credited()).segments - before.segments).toBe(4);
  });
});
