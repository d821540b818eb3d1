import { once } from "node:events";
import { readdir } from "node:fs/promises";
import http from "node:http";
import type http2 from "node:http2";
import { type LogFields, type Logger, silentLogger } from "@openpool/base";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { ADA, testClock, UNHURRIED_MS, until } from "../e2e/pool.ts";
import type { FakeTranscoder } from "../peers/fake-transcoder.ts";
import { readyProfiles, sourceSegment } from "../peers/media.ts";
import type { Transcoded } from "../peers/stock-orchestrator.ts";
import { type AttachedPool, startAttachedPool } from "./pool.ts";

const clock = testClock();
const lines: { readonly level: "warn" | "error"; readonly message: string; readonly fields: LogFields | undefined }[] =
  [];
/** The log line that is written next with this message fails. */
let brokenLine: string | undefined;
const writeAs =
  (level: "warn" | "error") =>
  (message: string, fields?: LogFields): void => {
    if (message === brokenLine) {
      brokenLine = undefined;
      throw new Error("the log is broken");
    }
    lines.push({ level, message, fields });
  };
const logger: Logger = { ...silentLogger, warn: writeAs("warn"), error: writeAs("error"), child: () => logger };
let attached: AttachedPool;
let worker: FakeTranscoder;
let sessions = 0;

beforeAll(async () => {
  attached = await startAttachedPool({ orchestrator: { timeoutScale: 4 }, clock, logger });
  worker = await attached.pool.transcoder({ secret: `${ADA}.rig`, capacity: 16 });
  await until(() => attached.orchestrator.live.length === 1);
});
afterAll(() => attached[Symbol.asyncDispose]());
afterEach(async () => {
  attached.orchestrator.source = undefined;
  attached.orchestrator.answer = undefined;
  attached.orchestrator.proxy = undefined;
  // Whatever came before: it still works, and nothing is held for what is over.
  expect(await transcode()).toMatchObject({ kind: "done" });
  const { admin } = attached.pool.running.node;
  await until(() => admin.status().jobsInFlight === 0 && admin.status().bytesInFlight === 0);
  expect(attached.status()).toMatchObject({ state: "registered", tasksInFlight: 0 });
  expect(attached.orchestrator.complaints).toMatchObject({ ejected: 0, duplicateResults: 0, unknownResults: 0 });
});

/** One segment of a session that ends with it. */
const transcode = async (url?: string): Promise<Transcoded> => {
  const session = `bad-${++sessions}`;
  const outcome = await attached.orchestrator.transcode({ session, seq: 0, ...(url === undefined ? {} : { url }) });
  attached.orchestrator.endSession(session);
  return outcome;
};
const lost = { kind: "error", text: "TranscoderInvalidVideo" };
/** What was said of a task that was answered with an error: one line, with what there is to know. */
const expectOneLine = ({ taskId }: Transcoded, reason: unknown): void => {
  expect(lines.filter(({ fields }) => fields?.["task"] === String(taskId))).toEqual([
    {
      level: "warn",
      message: "a task was answered with an error",
      fields: { upstream: "main", task: String(taskId), reason },
    },
  ]);
};

test("a source that is a redirect is not followed", async () => {
  attached.orchestrator.source = (response) => {
    response.writeHead(302, { location: "http://127.0.0.1:1/" });
    response.end();
    return true;
  };
  const outcome = await transcode();
  expect(outcome).toMatchObject(lost);
  expectOneLine(outcome, "the source was answered with 302 Found");
});

test("a fault of the pool itself is said, and costs the one task: it is answered with a small error", async () => {
  attached.orchestrator.source = (response) => {
    response.writeHead(410).end();
    return true;
  };
  brokenLine = "a task was answered with an error";
  const { results } = attached.orchestrator;
  const before = results.length;
  const outcome = await transcode();
  expect(outcome).toMatchObject(lost);
  expect(results.slice(before).map(({ body }) => body.toString())).toEqual(["TranscoderInvalidVideo"]);
  expect(lines).toContainEqual({
    level: "error",
    message: "a task failed by a fault of ours",
    fields: { upstream: "main", error: expect.stringContaining("the log is broken") },
  });
  expectOneLine(outcome, "a fault of the pool: the log is broken");
  await until(async () => (await lastReason()) === "a fault of the pool: the log is broken", 30_000);
});

test("renditions that cannot be written as an answer cost the one task: a small error goes up in their place", async () => {
  type Encoder = InstanceType<typeof TextEncoder>;
  const write = Object.getOwnPropertyDescriptor(TextEncoder.prototype, "encode")?.value as Encoder["encode"];
  const broken = vi.spyOn(TextEncoder.prototype, "encode").mockImplementation(function (this: Encoder, text) {
    if (text?.includes("Content-Type: video/mp2t") !== true) return write.call(this, text);
    broken.mockRestore();
    throw new RangeError("no room for it");
  });
  const { results } = attached.orchestrator;
  const before = results.length;
  expect(await transcode()).toMatchObject(lost);
  expect(results.slice(before).map(({ body }) => body.toString())).toEqual(["TranscoderInvalidVideo"]);
});

const LIMIT_BYTES = 512 << 20;

test.each([
  ["with a length beyond 300 MB", 300_000_001, ["the source is larger than it may be"]],
  [
    "without a length and without an end",
    undefined,
    // Whichever limit a machine comes to first: all it may have, room for it, or its time.
    [
      "the source is larger than it may be",
      "there is no memory for the source",
      "the source did not come within 4000 ms",
    ],
  ],
])(
  "a source %s that is sent as fast as it goes is cut off at a limit, answered with a small error, and nothing of it stays",
  async (_what, announced, reasons) => {
    const { orchestrator, pool } = attached;
    const { admin } = pool.running.node;
    const files = (): Promise<string[]> => readdir(pool.dataDir);
    const before = await files();
    const block = Buffer.alloc(1 << 20);
    let sentBytes = 0;
    let peakBytes = 0;
    orchestrator.source = (response) => {
      response.writeHead(200, announced === undefined ? {} : { "content-length": announced });
      const more = (): void => {
        peakBytes = Math.max(peakBytes, admin.status().bytesInFlight);
        sentBytes += block.length;
        if (sentBytes < 2 * LIMIT_BYTES) response.write(block);
      };
      response.on("drain", more);
      more();
      return true;
    };
    const outcome = await transcode();
    expect(outcome).toMatchObject(lost);
    expectOneLine(outcome, expect.toBeOneOf(reasons));
    expect(orchestrator.results.at(-1)?.body.toString()).toBe("TranscoderInvalidVideo");
    // What fills the buffers of a connection on both sides is on its way before anybody can stop it.
    expect(sentBytes).toBeLessThan(announced === undefined ? LIMIT_BYTES : 32 << 20);
    expect(peakBytes).toBeLessThanOrEqual(announced === undefined ? LIMIT_BYTES : 0);
    expect(await files()).toEqual(before);
  },
  60_000,
);

/** Why the last task that failed did, as its operator reads it. */
const lastReason = async (): Promise<unknown> => (await attached.pool.events("job.failed")).at(-1)?.data["reason"];

test("a source that stands still is given up", async () => {
  attached.orchestrator.source = (response) => {
    response.writeHead(200, { "content-length": sourceSegment.length });
    response.write(sourceSegment.subarray(0, 10_000));
    return true;
  };
  const outcome = await transcode();
  expect(outcome).toMatchObject(lost);
  expectOneLine(outcome, "the source broke off or came too slowly");
}, 20_000);

test("a source whose server takes the request and never sends is given up after the four seconds that one has", async () => {
  attached.orchestrator.source = () => true;
  expect(await transcode()).toMatchObject(lost);
  await until(async () => String(await lastReason()).includes("did not come within 4000 ms"), 30_000);
}, 60_000);

test("a proxy that takes no large answers costs the segments, and no registration", async () => {
  const { orchestrator } = attached;
  let refused = 0;
  orchestrator.proxy = (contentType) => {
    // What is small comes through.
    if (!contentType.startsWith("multipart/")) return undefined;
    refused++;
    return 413;
  };
  expect(await orchestrator.transcode({ session: "proxied", seq: 0, durationMs: UNHURRIED_MS })).toMatchObject(lost);
  expect(refused).toBe(1);
  const lastLoss = async (): Promise<unknown> =>
    (await attached.pool.events("upstream.answer-lost")).at(-1)?.data["why"];
  await until(async () => String(await lastLoss()).includes("413"), 30_000);
}, 60_000);

test("a source that announces less than it has costs its connection, and nobody waits for the rest", async () => {
  attached.orchestrator.source = (response) => {
    response.socket?.write(`HTTP/1.1 200 OK\r\ncontent-length: ${sourceSegment.length - 188}\r\n\r\n`);
    response.socket?.write(sourceSegment);
    return true;
  };
  // A packet short: whether that can still be transcoded is for a worker to say.
  expect(["done", "error"]).toContain((await transcode()).kind);
});

test.each([
  ["more than it gets", sourceSegment.length + 100],
  ["more than a segment may have", 300_000_001],
])("a source that announces %s is lost, and nobody else's", async (_what, announced) => {
  attached.orchestrator.source = (response) => {
    response.socket?.write(`HTTP/1.1 200 OK\r\ncontent-length: ${announced}\r\n\r\n`);
    response.socket?.end(sourceSegment);
    return true;
  };
  expect(await transcode()).toMatchObject(lost);
});

test("a source elsewhere is not fetched: the pool asks only the orchestrator itself", async () => {
  const asked: string[] = [];
  await using elsewhere = {
    server: http.createServer((request, response) => {
      asked.push(String(request.url));
      response.end(sourceSegment);
    }),
    async [Symbol.asyncDispose]() {
      this.server.close();
      await once(this.server, "close");
    },
  };
  elsewhere.server.listen(0, "127.0.0.1");
  await once(elsewhere.server, "listening");
  const address = elsewhere.server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  for (const url of [
    `http://127.0.0.1:${port}/latest/meta-data`,
    "file:///etc/passwd",
    "no url",
    "https://a:b@127.0.0.1/x",
  ]) {
    expect(await transcode(url)).toMatchObject(lost);
  }
  // What looks like one of its sources is looked for at its own address, whatever host it names.
  expect(await transcode(`http://127.0.0.1:${port}/stream/none/0.tempfile`)).toMatchObject(lost);
  expect(asked).toEqual([]);
});

test.each<[string, (stream: http2.ServerHttp2Stream) => void]>([
  ["that begins and never ends", (stream) => stream.respond({ ":status": 200 })],
  [
    "without end",
    (stream) => {
      stream.respond({ ":status": 200 });
      const more = (): void => {
        while (!stream.destroyed && stream.write(Buffer.alloc(16_384)));
      };
      stream.on("drain", more);
      more();
    },
  ],
])(
  "an answer to a result %s is not listened to for long: the result was taken, and nothing waits",
  async (_, answer) => {
    attached.orchestrator.answer = answer;
    const { answered, lost: before } = attached.status();
    expect(await transcode()).toMatchObject({ kind: "done" });
    const { admin } = attached.pool.running.node;
    await until(() => admin.status().jobsInFlight === 0 && attached.status().tasksInFlight === 0, 20_000);
    expect(attached.status()).toMatchObject({ answered: answered + 1, lost: before });
    // Said once for each connection over which results go.
    expect(lines.map(({ message }) => message)).toContainEqual(expect.stringContaining("has no end"));
  },
);

test("an answer to a result that never comes is waited for until the task would be late, and no longer", async () => {
  attached.orchestrator.answer = () => {};
  const before = attached.status().lost;
  expect(await transcode()).toMatchObject({ kind: "done" });
  await until(() => attached.status().tasksInFlight === 0, 20_000);
  expect(attached.status().lost).toBe(before + 1);
  await until(async () =>
    (await attached.pool.events("upstream.answer-lost")).some(({ data }) => String(data["why"]).includes("in time")),
  );
  // Nobody could know that it had the result: the error that went up after it, where there was time for one, was dropped.
  const { complaints } = attached.orchestrator;
  expect(complaints.duplicateResults).toBeLessThanOrEqual(1);
  complaints.duplicateResults = 0;
}, 40_000);

/** Four for each of the sessions that one worker offers. */
const MOST_TASKS = 64;
/** Of memory that one task holds: the source in steps of a quarter of a megabyte, and the results beside it. */
const TASK_BYTES = 3 << 20;

test("ten thousand tasks at once are all answered in time, most of them with an error, in memory for few of them, and the pool lives", async () => {
  const { orchestrator, pool, status } = attached;
  const { admin } = pool.running.node;
  const [registration] = orchestrator.live;
  const before = orchestrator.results.length;
  const answersBefore = status();
  orchestrator.serve("/stream/flood/0.tempfile", sourceSegment);
  const taskIds = Array.from({ length: 10_000 }, (_, i) => BigInt(1_000_000 + i));
  const fullProfiles = readyProfiles.map(({ width, height }) => ({ width, height }));
  for (const taskId of taskIds) {
    registration?.send({
      url: `https://${orchestrator.addr}/stream/flood/0.tempfile`,
      taskId,
      segData: { authToken: { sessionId: "flood" }, duration: UNHURRIED_MS, fullProfiles },
    });
  }
  const peak = { tasks: 0, jobs: 0, bytes: 0 };
  await orchestrator.until(() => {
    const { jobsInFlight, bytesInFlight } = admin.status();
    peak.tasks = Math.max(peak.tasks, status().tasksInFlight);
    peak.jobs = Math.max(peak.jobs, jobsInFlight);
    peak.bytes = Math.max(peak.bytes, bytesInFlight);
    return orchestrator.results.length >= before + taskIds.length;
  }, 200_000);
  const answers = orchestrator.results.slice(before);
  expect(new Set(answers.map(({ taskId }) => taskId))).toEqual(new Set(taskIds.map(String)));
  // Until it has heard that the last ones were taken, one more would be one too many.
  await until(() => status().tasksInFlight === 0, 60_000);
  expect(peak.tasks).toBeLessThanOrEqual(taskIds.length);
  expect(peak.jobs).toBeLessThanOrEqual(MOST_TASKS);
  expect(peak.bytes).toBeLessThanOrEqual(MOST_TASKS * TASK_BYTES);
  const done = status().answered - answersBefore.answered;
  const refused = status().failed - answersBefore.failed;
  expect(done + refused).toBe(taskIds.length);
  expect(status().lost).toBe(answersBefore.lost);
  // How many is the machine's: where it is busy, sources of such a flood take longer than they may.
  expect(done).toBeLessThanOrEqual(MOST_TASKS);
  orchestrator.complaints.unknownResults = 0;
}, 240_000);

test("messages that mean nothing, and what is no message at all, do no harm", async () => {
  const [registration] = attached.orchestrator.live;
  registration?.send({});
  registration?.send({ segData: { authToken: { sessionId: "" } } });
  registration?.send({ segData: { authToken: { sessionId: "x".repeat(100_000) } } });
  registration?.send({ url: "https://127.0.0.1:1/x", taskId: 77n });
  await attached.orchestrator.until(() => attached.orchestrator.results.some(({ taskId }) => taskId === "77"));
  attached.orchestrator.complaints.unknownResults = 0;
  // A stream of what cannot be read is left, and the pool registers anew.
  registration?.sendBytes(Buffer.from([0xff, 0xff, 0xff, 0xff]));
  await until(() => registration?.live === false && attached.orchestrator.live.length === 1, 60_000);
  expect(worker.state.kind).toBe("registered");
});
