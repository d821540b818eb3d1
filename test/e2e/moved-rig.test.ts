import { expect, test } from "vitest";
import { behaviours, readyUpload } from "../peers/fake-transcoder.ts";
import { ADA, EARNED_WEI, pushUnhurried, startTestPool, until } from "./pool.ts";

test("a rig whose address changes in the middle of a task is the same one: its stream goes on, and so does what it earns", async () => {
  await using pool = await startTestPool();
  const rigs = () => pool.running.node.admin.status().rigs.map(({ rig, remoteAddress }) => [rig, remoteAddress]);
  const gateway = pool.gateway();
  const rig = await pool.transcoder({ secret: `${ADA}.roaming` });
  await pool.untilConnected(1);
  expect(rigs()).toEqual([["roaming", "127.0.0.1"]]);
  expect(await pushUnhurried(gateway, "stream", 0)).toMatchObject({ kind: "done" });

  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  rig.behaviour = behaviours.when(() => gate);
  const pushed = pushUnhurried(gateway, "stream", 1);
  await until(() => rig.inHand.size === 1);
  rig.moveTo("127.0.0.2");
  // A stock transcoder brings what it has before it registers again.
  release();
  expect(await pushed).toMatchObject({ kind: "done" });
  await until(() => rig.registrations === 2);
  await pool.untilConnected(1);
  rig.behaviour = readyUpload;
  expect(await pushUnhurried(gateway, "stream", 2)).toMatchObject({ kind: "done" });

  expect(rigs()).toEqual([["roaming", "127.0.0.2"]]);
  expect(new Set(rig.tasks.map(({ sessionId }) => sessionId)).size).toBe(1);
  expect(await pool.credited()).toEqual({ segments: 3, creditedWei: 3n * EARNED_WEI });
  expect(rig.problems).toEqual([]);
}, 120_000);
