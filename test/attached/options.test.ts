/** The program with the flags that an operator gives it, as the documentation writes them. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { silentLogger, systemClock } from "@openpool/base";
import { openGatewayClient } from "@openpool/push";
import { expect, onTestFailed, test } from "vitest";
import { ADA, creditsOf, pushUnhurried, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { startProgram } from "../e2e/program.ts";
import { startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { sourceSegment } from "../peers/media.ts";
import { startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { connectH2, parseHostPort, requestH2 } from "../peers/wire.ts";
import { SECRET, writeSecret } from "./pool.ts";

/** An object store of its own that an orchestrator keeps its segments in. */
async function startStore() {
  const asked: string[] = [];
  const server = http.createServer((request, response) => {
    asked.push(String(request.url));
    response.end(sourceSegment);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    asked,
    addr: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

test("an orchestrator without a name, with a store that is allowed: sources come from there and from nowhere else, and gateways are told that they are wrong here", async () => {
  await using orchestrator = await startStockOrchestrator({ secret: SECRET, keepBodies: false });
  await using secret = await writeSecret();
  await using store = await startStore();
  await using other = await startStore();
  const flags = [
    "--upstream",
    orchestrator.addr,
    "--upstream-secret-file",
    secret.file,
    "--upstream-allow",
    store.addr,
    "--max-sessions",
    "4",
  ];
  await using program = await startProgram({ flags });
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  await using rig = await startFakeTranscoder({ addr: program.addr, secret: `${ADA}.rig` });
  await until(() => orchestrator.live.length === 1, 60_000);
  // The rig has ten places.
  expect(orchestrator.live.map(({ capacity }) => capacity)).toEqual([4]);
  const name = orchestrator.addr.replace(":", "-");
  expect(await program.operate("upstream", "list")).toContain(`${name}  ${orchestrator.addr}  registered`);

  const transcode = (session: string, url?: string) =>
    orchestrator.transcode({ session, seq: 0, durationMs: UNHURRIED_MS, ...(url === undefined ? {} : { url }) });
  expect(await transcode("own")).toMatchObject({ kind: "done" });
  expect(await transcode("stored", `http://${store.addr}/bucket/0.ts?signed=1`)).toMatchObject({ kind: "done" });
  expect(rig.tasks.at(-1)?.source.equals(sourceSegment)).toBe(true);
  expect(await transcode("elsewhere", `http://${other.addr}/bucket/0.ts`)).toMatchObject({
    kind: "error",
    text: "TranscoderInvalidVideo",
  });
  expect([store.asked, other.asked]).toEqual([["/bucket/0.ts?signed=1"], []]);
  // What it says of that arrives a little later.
  await until(
    () => program.log().includes(`its source is at ${other.addr}, where nobody said the pool may go`),
    60_000,
  );
  expect(await program.credited()).toEqual(creditsOf(2));
  const credits = await program.operate("events", "--type", "job.credited", "--json");
  expect(credits.split(`"source":"upstream:${name}"`)).toHaveLength(3);

  await using gateway = openGatewayClient(
    { orchestrator: `https://${program.addr}` },
    { logger: silentLogger, clock: systemClock },
  );
  const refused = await pushUnhurried(gateway, "stray", 0);
  expect(refused.kind).not.toBe("done");
  expect(JSON.stringify(refused)).toContain("this pool serves no gateways");
  const { session } = await connectH2(parseHostPort(program.addr));
  const answer = await requestH2(session, { ":path": "/segment" }, sourceSegment);
  session.destroy();
  expect([answer.status, answer.body.toString().trim()]).toEqual([404, "this pool serves no gateways"]);
}, 240_000);
