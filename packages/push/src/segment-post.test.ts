import http2 from "node:http2";
import { systemClock } from "@openpool/base";
import { HTTP2_CONNECTION_MEMORY_MB } from "@openpool/protocol";
import { afterEach, expect, test } from "vitest";
import { openSegmentPoster } from "./segment-post.ts";

let close: (() => void) | undefined;
afterEach(() => close?.());

/** Answers every request as early as an orchestrator does: with headers at once, long before the upload is complete. */
async function startEarly(): Promise<{ readonly uri: string; readonly resets: () => readonly number[] }> {
  const resets: number[] = [];
  // No limit of this side is what the test is about.
  const server = http2.createServer({
    maxSessionMemory: HTTP2_CONNECTION_MEMORY_MB,
    settings: { initialWindowSize: 4 << 20 },
  });
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.on("close", () => stream.rstCode === 0 || resets.push(stream.rstCode ?? -1));
    stream.respond({ ":status": 200 });
    stream.on("end", () => stream.end("taken"));
    stream.resume();
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  close = () => server.close();
  const address = server.address();
  return {
    uri: `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    resets: () => resets,
  };
}

test("many large segments share one connection: their uploads are no reason to give up an answer", async () => {
  const { uri, resets } = await startEarly();
  using poster = openSegmentPoster(systemClock);
  const body = Buffer.alloc(1 << 20);
  const outcomes = await Promise.all(
    Array.from({ length: 64 }, () =>
      poster.post({
        transcoder: uri,
        segmentHeader: "",
        contentType: "video/MP2T",
        body,
        headersTimeoutMs: 60_000,
        totalTimeoutMs: 60_000,
      }),
    ),
  );
  expect(resets()).toEqual([]);
  expect(outcomes.map((one) => (one.kind === "answer" ? one.body.toString() : one))).toEqual(
    Array.from({ length: 64 }, () => "taken"),
  );
});
