import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { startScriptedOrchestrator } from "../../../../test/peers/scripted-orchestrator.ts";
import { run } from "../testing/run.ts";

// A folder of ready segments: nothing has to be cut.
const folder = fileURLToPath(new URL("../../../../test/fixtures/media", import.meta.url));
const push = (orchestrator: string, ...flags: readonly string[]) =>
  run(["push", folder, "--orchestrator", orchestrator, "--count", "2", ...flags], { env: {}, cwd: "/" });

test("a pool without a place is told plainly, with what to do, once", async () => {
  await using orchestrator = await startScriptedOrchestrator({
    getOrchestrator: () => "Invalid orchestrator request: OrchestratorCapped",
  });
  const { code, out, err } = await push(orchestrator.uri);
  expect(code).toBe(1);
  expect(out.match(/LOST {2}no session: all places of the orchestrator are taken/g)).toHaveLength(2);
  expect(err.match(/^openpool: push fewer streams at once.*$/gm)).toHaveLength(1);
  const json = await push(orchestrator.uri, "--json");
  expect(JSON.parse(json.out.split("\n")[0] ?? "")).toMatchObject({
    outcome: "no-session",
    advice: expect.stringContaining("connect more workers"),
  });
}, 120_000);

test("an orchestrator that is not there is told plainly, with what to do", async () => {
  const orchestrator = await startScriptedOrchestrator();
  await orchestrator.goAway();
  const { code, out, err } = await push(orchestrator.uri);
  expect([code, out]).toEqual([1, expect.stringContaining("no orchestrator: nobody listens at 127.0.0.1:")]);
  expect(err).toContain("check --orchestrator");
}, 120_000);
