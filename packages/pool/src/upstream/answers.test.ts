import { readFileSync } from "node:fs";
import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { type Logger, silentLogger, stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { Answers, type OpenTask } from "./answers.ts";

const pem = (name: string): Buffer =>
  readFileSync(new URL(`../../../../test/fixtures/tls/test-only.${name}.pem`, import.meta.url));

/**
 * So that with a try each 700 ms the sixth one ends between 650 and 600 ms before it is due: there is no time for a seventh, and
 * renditions are not given up yet.
 */
const DUE_MS = 4_125;
const TRY_MS = 700;
const GIVE_UP_MARGIN_MS = 600;

test.each([
  ["nobody has said that they were taken", undefined],
  ["there is no time for another try, after a proxy without an orchestrator behind it answered each", 503],
])("an error goes up after renditions, in time, when %s", async (_, status) => {
  const errors: string[] = [];
  const sockets = new Set<Socket>();
  const clock = stoppedClock();
  const server = http2.createSecureServer({ cert: pem("cert"), key: pem("key") }, (request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.once("end", () => {
      const isError = request.headers["content-type"] === "livepeer/transcoding-error";
      if (isError) errors.push(text);
      if (isError) response.writeHead(200).end();
      else if (status !== undefined) response.writeHead(status).end();
      else clock.advance(DUE_MS - GIVE_UP_MARGIN_MS - clock.monotonicMs());
    });
  });
  server.on("connection", (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const records: unknown[] = [];
  // Each try that fails is said, and then waited after.
  const debug = (): void => void setImmediate(() => clock.advance(TRY_MS));
  const logger: Logger = { ...silentLogger, debug };
  const { port } = server.address() as AddressInfo;
  {
    await using answers = new Answers(
      { upstream: "main", address: { host: "127.0.0.1", port } },
      {
        lives: { takesAnswer: () => Promise.resolve(true) },
        logger,
        clock,
        budget: () => true,
        record: (_type, { why }) => records.push(why),
      },
    );
    const task: OpenTask = {
      from: { secret: "secret" } as OpenTask["from"], // of which nothing else is asked here
      life: 0,
      id: 7n,
      dueMs: DUE_MS,
      ended: new AbortController(),
    };
    await answers.give(task, { kind: "renditions", decodedPixels: 1n, parts: [] }, undefined);
    expect(errors).toEqual(["TranscoderInvalidVideo"]);
    expect(answers.counts).toEqual({ answered: 0, failed: 1, lost: 1 });
    expect(records).toEqual([expect.stringContaining("an error went up after it, and whichever")]);
    // Where the tries were over, it was before renditions are given up.
    expect(clock.monotonicMs() < DUE_MS - GIVE_UP_MARGIN_MS).toBe(status !== undefined);
  }
  for (const socket of sockets) socket.destroy();
  await new Promise<void>((resolve) => void server.close(() => resolve()));
});
