import { requestRestart } from "@openpool/pool";
import { type AuthToken, Capability, capabilitySet, INVALID_VIDEO, isNonRetryable } from "@openpool/protocol";
import { expect, onTestFailed, test } from "vitest";
import { callGetOrchestrator, JOB_CAPABILITIES, jobRequest, openStream, readInfo } from "../conformance/gateway.ts";
import type { Target } from "../conformance/target.ts";
import { SOFTWARE_CAPABILITIES, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { parseHostPort } from "../peers/wire.ts";
import { ADA, BOB, startTestPool, testClock, UNHURRIED_MS, until } from "./pool.ts";
import { startProgram } from "./program.ts";

/** A stream of 4:2:2 video: nobody has to be able to decode that. */
const NEED = JOB_CAPABILITIES | capabilitySet(Capability.h264Decode422);
/** What workers are that cannot. */
const PLAIN_CAPABILITIES = SOFTWARE_CAPABILITIES & ~capabilitySet(Capability.h264Decode422);

const targetAt = (addr: string): Pick<Target, "address"> => ({ address: parseHostPort(addr) });

/** A token for streams with this need, or the words of the refusal. */
async function tokenFor(target: Pick<Target, "address">, need = NEED): Promise<AuthToken | string> {
  const answer = await callGetOrchestrator(target, jobRequest(need));
  return answer.answer ? readInfo(answer).authToken! : answer.message;
}

test("the only rig that can do a stream is drained: it goes on there, and no other one comes to it", async () => {
  await using pool = await startTestPool();
  const target = targetAt(pool.addr);
  await pool.transcoder({ secret: `${ADA}.able` });
  await pool.transcoder({ secret: `${BOB}.plain`, capabilities: PLAIN_CAPABILITIES });
  await pool.untilConnected(2);
  const token = await tokenFor(target);
  if (typeof token === "string") throw new Error(token);
  using stream = await openStream(target, token, { capabilities: NEED });
  expect(await stream.push()).toBe("renditions");
  await pool.running.node.admin.drainRig(`${ADA}.able`);
  for (let i = 0; i < 3; i++) expect(await stream.push()).toBe("renditions");
  expect(await tokenFor(target)).toContain("OrchestratorCapped");
}, 240_000);

test("the only rig that can do a stream dies: its gateway keeps the session, whoever comes back takes it up, and new ones go elsewhere", async () => {
  const clock = testClock();
  await using pool = await startTestPool({}, { clock });
  const target = targetAt(pool.addr);
  const able = await pool.transcoder({ secret: `${ADA}.able` });
  await pool.transcoder({ secret: `${BOB}.plain`, capabilities: PLAIN_CAPABILITIES });
  await pool.untilConnected(2);
  const token = await tokenFor(target);
  if (typeof token === "string") throw new Error(token);
  using stream = await openStream(target, token, { capabilities: NEED });
  expect(await stream.push()).toBe("renditions");
  able.kill();
  await pool.untilConnected(1);

  // It waits for somebody to return.
  const waiting = stream.push();
  await until(() => pool.running.node.admin.status().jobsInFlight === 1);
  const heir = await pool.transcoder({ secret: `${ADA}.heir` });
  expect(await waiting).toBe("renditions");

  // Long after it, nobody is waited for any more.
  heir.kill();
  await pool.untilConnected(1);
  clock.skip(20_000);
  expect(isNonRetryable(INVALID_VIDEO)).toBe(true);
  for (let i = 0; i < 3; i++) expect(await stream.push()).toBe(`200 ${INVALID_VIDEO}`);
  expect(await tokenFor(target)).toContain("OrchestratorCapped");
  const other = await tokenFor(target, JOB_CAPABILITIES);
  if (typeof other === "string") throw new Error(other);
  using stranger = await openStream(target, other, { capabilities: NEED });
  expect(await stranger.push()).toBe("403 incompatible capabilities");

  await pool.transcoder({ secret: `${ADA}.able` });
  await pool.untilConnected(2);
  expect(await stream.push()).toBe("renditions");
}, 240_000);

test("a restart while the only rig that can do a stream is away: no segment of it is refused, and it goes on when the rig is back", async () => {
  await using program = await startProgram();
  onTestFailed(() => {
    process.stderr.write(program.log());
  });
  const target = targetAt(program.addr);
  const isBack = async (): Promise<boolean> =>
    ((await program.admin("/status")) as { capacity: number }).capacity === 10;
  const able = await startFakeTranscoder({ addr: program.addr, secret: `${ADA}.able`, backoffScale: 2 });
  await until(isBack, 60_000);
  let token: AuthToken | string = "";
  // The rig's first registration is not acknowledged: there may be no room for a moment.
  await until(async () => typeof (token = await tokenFor(target)) !== "string");
  if (typeof token === "string") throw new Error(token);
  using before = await openStream(target, token, { capabilities: NEED, durationMs: UNHURRIED_MS });
  expect(await before.push()).toBe("renditions");

  expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
  // A connection of its own, for the next process; it comes before the rig does.
  using after = await openStream(target, token, { capabilities: NEED, durationMs: UNHURRIED_MS });
  expect(await after.push()).toBe("renditions");
  await until(isBack, 60_000);
  expect(await after.push()).toBe("renditions");

  // Now it stays away.
  able.kill();
  await until(async () => ((await program.admin("/status")) as { capacity: number }).capacity === 0, 60_000);
  expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
  using orphan = await openStream(target, token, { capabilities: NEED });
  const lost = `200 ${INVALID_VIDEO}`;
  expect(await Promise.all([orphan.push(), orphan.push()])).toEqual([lost, lost]);
  await able[Symbol.asyncDispose]();
}, 240_000);
