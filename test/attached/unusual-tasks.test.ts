/** The recorded tasks that a stock transcoder was given by hand, given to the pool, with a worker of ours behind it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Logger, openScope, silentLogger, systemClock } from "@openpool/base";
import { INVALID_VIDEO, multipartBoundary, NotifySegmentSchema, parseMultipart } from "@openpool/protocol";
import { defaultWorkerOptions, startWorker } from "@openpool/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bodyOf, headerOf, type RecordedBody, readJson, type TranscoderCase } from "../conformance/recorded.ts";
import { ADA, startTestPool, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { readyProfiles } from "../peers/media.ts";
import { startStockOrchestrator, type StockOrchestrator } from "../peers/stock-orchestrator.ts";
import { attachedTo, NO_COMPLAINTS, SECRET, writeSecret } from "./pool.ts";

const recorded = readJson<{ readonly source: RecordedBody; readonly cases: readonly TranscoderCase[] }>(
  "transcoder-answers.json",
);

/** What the worker says. */
const said: string[] = [];
const logger: Logger = { ...silentLogger, debug: (message) => void said.push(message), child: () => logger };
const scope = openScope();
let orchestrator: StockOrchestrator;

beforeAll(async () => {
  orchestrator = scope.use(await startStockOrchestrator({ secret: SECRET }));
  const secret = scope.use(await writeSecret());
  const attached = attachedTo({ main: orchestrator }, secret.file, { gateways: false });
  const pool = scope.use(await startTestPool({ attached }));
  const workDir = await mkdtemp(join(tmpdir(), "openpool-unusual-"));
  scope.defer(() => rm(workDir, { recursive: true, force: true }));
  const options = { pool: pool.addr, secret: `${ADA}.ours`, devices: "cpu" as const, maxSessions: 20, workDir };
  scope.use(
    await startWorker(
      { ...defaultWorkerOptions, ...options, transcodeTimeoutMs: 60_000 },
      { version: "0.1.0", logger, clock: systemClock },
    ),
  );
  await until(() => orchestrator.live.length === 1, 120_000);
}, 240_000);
afterAll(async () => {
  expect(orchestrator.complaints).toMatchObject({ ...NO_COMPLAINTS, unknownResults: expect.any(Number) });
  await scope[Symbol.asyncDispose]();
});

/** What the answer says, as far as two that are both right agree: renditions with their pixels, or the text of an error. */
type Said =
  | { readonly text: string }
  | { readonly decodedPixels: string | undefined; readonly parts: readonly (string | undefined)[] };

function recordedAnswer({ result }: TranscoderCase): Said {
  if (result?.errorText !== undefined) return { text: result.errorText };
  const parts = (result?.parts ?? []) as readonly { readonly headers: readonly [string, string][] }[];
  return {
    decodedPixels: headerOf(result?.headers, "pixels"),
    parts: parts.map(({ headers }) => `${headerOf(headers, "content-type")} ${headerOf(headers, "pixels")}`),
  };
}

async function ourAnswer(one: TranscoderCase): Promise<Said> {
  const notify = fromBinary(NotifySegmentSchema, Buffer.from(one.notifySegment, "base64"));
  const url = new URL(notify.url);
  const source = url.pathname.endsWith("empty") ? Buffer.alloc(0) : bodyOf(recorded.source);
  if (!url.pathname.endsWith("none")) orchestrator.serve(url.pathname, source);
  orchestrator.source = url.pathname.endsWith("slow") ? () => true : undefined;
  // The recorded one served its sources on another port.
  if (url.port === "12100") url.host = orchestrator.addr;
  notify.url = url.href;
  // There is time for it, however busy this machine is.
  if (notify.segData?.duration === 2_000) notify.segData.duration = UNHURRIED_MS;
  const taskId = notify.taskId.toString();
  orchestrator.live[0]?.sendBytes(toBinary(NotifySegmentSchema, notify));
  await orchestrator.until(() => orchestrator.results.some((result) => result.taskId === taskId), 60_000);
  const { headers, body } = orchestrator.results.findLast((result) => result.taskId === taskId)!;
  const contentType = String(headers["content-type"]);
  if (!contentType.startsWith("multipart/mixed")) return { text: body.toString() };
  const parts = parseMultipart(body, multipartBoundary(contentType) ?? "", { maxParts: 20, maxPartBytes: 1 << 24 });
  if (typeof parts === "string") throw new Error(parts);
  return {
    decodedPixels: String(headers["pixels"]),
    parts: parts.map((part) => `${part.headers.get("content-type")} ${part.headers.get("pixels")}`),
  };
}

const PLAIN: Said = { decodedPixels: "5112000", parts: ["video/mp2t 1843200"] };
const NOTHING: Said = { text: INVALID_VIDEO };
/** Where the pool answers something else than the recorded transcoder, on purpose. */
const otherwise: Readonly<Record<string, Said>> = {
  // Those of a stock transcoder have the source's size, and in MPEG-TS nothing can play them.
  "encoder VP8 in MPEG-TS": { text: "Encoder not found" },
  "encoder VP9 in MPEG-TS": { text: "TranscoderUnrecognizedFormat" },
  "encoder VP9 in MP4": { decodedPixels: "5112000", parts: ["video/mp4 1843200"] },
  // A gateway keeps its session after these texts.
  "0 outputs": { text: "Invalid argument" },
  "clip 1500..500 ms": { text: "Invalid argument" },
  "source 404": NOTHING,
  "source refused": NOTHING,
  "source slower than 4 s": NOTHING,
  "minVersion 0.9.2": NOTHING,
  // The pool asks the orchestrator over TLS, whatever the task's URL says.
  "source over plain http url on TLS port": PLAIN,
  // No part of a path here.
  "manifestId with a slash": PLAIN,
  "manifestId ../x": PLAIN,
  // Our worker has what that one had not.
  "capability 15 (HEVC decode) not owned": PLAIN,
  "extra zero bitstring word": PLAIN,
};
/** Its source was not recorded. */
const unrecorded = "HEVC source";

test.each(recorded.cases.filter((one) => one.case !== unrecorded).map((one) => [one.case, one] as const))(
  "%s",
  async (name, one) => {
    expect(await ourAnswer(one)).toEqual(otherwise[name] ?? recordedAnswer(one));
  },
  60_000,
);

test("a session that is to begin anew with each segment does so at our worker", async () => {
  const segData = { ForceSessionReinit: true, calcPerceptualHash: true };
  for (let seq = 0; seq < 2; seq++) {
    const profiles = readyProfiles.slice(0, 1);
    const outcome = await orchestrator.transcode({ session: "anew", seq, profiles, durationMs: UNHURRIED_MS, segData });
    expect(outcome).toMatchObject({ kind: "done", renditions: [{ phash: expect.any(Buffer) }] });
  }
  expect(said.filter((message) => message === "session begins anew")).toHaveLength(1);
}, 60_000);
