import https from "node:https";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  capabilitiesToWire,
  type NotifySegment,
  NotifySegmentSchema,
  RegisterRequestSchema,
  RESULT_AUTHORIZATION,
  TRANSCODING_ERROR_TYPE,
} from "@openpool/protocol";
import { expect, test } from "vitest";
import { ADA, testClock, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { SOFTWARE_CAPABILITIES } from "../peers/fake-transcoder.ts";
import { sourceSegment } from "../peers/media.ts";
import { connectH2, parseHostPort, requestH2, startGrpcCall } from "../peers/wire.ts";
import type { Transcoded } from "../peers/stock-orchestrator.ts";
import { startAttachedPool } from "./pool.ts";

/** What the orchestrator has sent while the rest of the source is still to come, … */
const SENT_BYTES = 400_000;
/** … and what of it must be with the worker by then: it goes on in steps. */
const PASSED_BYTES = 250_000;
const SECRET = `${ADA}.patient`;

test("what has come of a source goes on to the worker before the rest is here", async () => {
  const clock = testClock();
  await using attached = await startAttachedPool({ clock });
  const { orchestrator, pool } = attached;
  await using worker = await startPatientWorker(pool.addr);
  await until(() => orchestrator.live.length === 1, 60_000);
  let sendRest = (): void => {};
  orchestrator.source = (response) => {
    response.writeHead(200, { "content-length": sourceSegment.length });
    response.write(sourceSegment.subarray(0, SENT_BYTES));
    sendRest = () => response.end(sourceSegment.subarray(SENT_BYTES));
    return true;
  };
  let transcoded: Promise<Transcoded> | undefined;
  // The source has the time that this machine needs for looking on.
  await clock.whileStopped(async () => {
    transcoded = orchestrator.transcode({ session: "cut", seq: 0, durationMs: UNHURRIED_MS });
    await until(() => worker.notified.length === 1, 60_000);
    const source = fetchSource(worker.notified[0]?.url ?? "");
    await until(() => source.bytes() >= PASSED_BYTES, 60_000);
    sendRest();
    expect((await source.whole).equals(sourceSegment)).toBe(true);
  });
  // It is asked again: nobody else is there to say the same.
  worker.failAll("No keyframes in input");
  expect(await transcoded).toMatchObject({ text: "No keyframes in input" });
}, 240_000);

/** One that does with its tasks what the test does: a stock one gives up a source that takes longer than four seconds. */
async function startPatientWorker(addr: string) {
  const { session } = await connectH2(parseHostPort(addr));
  const capabilities = capabilitiesToWire(SOFTWARE_CAPABILITIES, "0.9.1");
  const request = create(RegisterRequestSchema, { secret: SECRET, capacity: 10n, capabilities });
  const notified: NotifySegment[] = [];
  let text: string | undefined;
  const fail = ({ taskId }: NotifySegment): void => {
    if (text === undefined) return;
    const headers = {
      ":path": "/transcodeResults",
      authorization: RESULT_AUTHORIZATION,
      credentials: SECRET,
      taskid: String(taskId),
      pixels: "0",
      "content-type": TRANSCODING_ERROR_TYPE,
    };
    void requestH2(session, headers, Buffer.from(text)).catch(() => {});
  };
  startGrpcCall(session, "/net.Transcoder/RegisterTranscoder", toBinary(RegisterRequestSchema, request), (message) => {
    const task = fromBinary(NotifySegmentSchema, message);
    notified.push(task);
    fail(task);
  });
  return {
    notified,
    /** What it has and what it is given from now on. */
    failAll(why: string): void {
      text = why;
      for (const task of notified) fail(task);
    },
    async [Symbol.asyncDispose]() {
      session.destroy();
    },
  };
}

/** A download that can be looked at while it runs. */
function fetchSource(url: string): { bytes(): number; readonly whole: Promise<Buffer> } {
  const seen: Buffer[] = [];
  const whole = new Promise<Buffer>((resolve, reject) => {
    const request = https.get(url, { rejectUnauthorized: false, agent: false }, (response) => {
      response.on("data", (chunk: Buffer) => seen.push(chunk));
      response.on("end", () => resolve(Buffer.concat(seen)));
    });
    request.on("error", reject);
  });
  return { bytes: () => seen.reduce((sum, { length }) => sum + length, 0), whole };
}
