import { silentLogger, stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import type { Exchange } from "./front/exchange.ts";
import { createRoutes, type RoutesDeps } from "./routes.ts";
import type { RelayOutcome } from "./supervisor/relay.ts";

const OWN = 2;
const OTHER = 1;

/** What is answered to a request that belongs to another process, which is in the given state. */
async function asked(sibling: RelayOutcome["kind"], path: string, headers: Record<string, string> = {}) {
  let tell: (answer: string) => void;
  const answered = new Promise<string>((resolve) => (tell = resolve));
  const deps = {
    generation: OWN,
    servesGateways: true,
    workers: { takeResult: () => tell("taken here") },
    relay: { serve() {}, forward: () => Promise.resolve({ kind: sibling }) },
    spool: { find: () => Promise.resolve({ data: Buffer.from("spooled"), contentType: "" }) },
    logger: silentLogger,
    clock: stoppedClock(),
    leaving: () => ({ draining: false, ending: false, lastCallUntilMs: 0 }),
  } as unknown as RoutesDeps; // no more of them is asked for
  const exchange = {
    method: "GET",
    path,
    peer: "203.0.113.7",
    header: (name: string) => headers[name],
    onClose() {},
    answer: (status: number, _: unknown, body: Uint8Array | string) => tell(`${status} ${Buffer.from(body as string)}`),
  } as unknown as Exchange; // likewise
  createRoutes(deps).http(exchange);
  return (await answered).trim();
}

/** A task id of the other process: the generation stands in front of what is random. */
const task = (BigInt(OTHER) << 51n).toString();

test("what belongs to a process that lives and is busy is put off, not answered by somebody else", async () => {
  expect(await asked("busy", "/transcodeResults", { taskid: task })).toBe("503 the pool is busy");
  expect(await asked("busy", `/stream/${OTHER}/job/0.ts`)).toBe("503 the pool is busy");
});

test("what belonged to a process that is gone is answered here, from what it left", async () => {
  expect(await asked("gone", "/transcodeResults", { taskid: task })).toBe("taken here");
  expect(await asked("gone", `/stream/${OTHER}/job/0.ts`)).toBe("200 spooled");
});
