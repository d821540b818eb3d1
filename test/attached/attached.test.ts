import { expect, test } from "vitest";
import { ADA, EARNED_WEI } from "../e2e/pool.ts";
import { readyRenditions, SOURCE_PIXELS } from "../peers/media.ts";
import { startAttachedPool } from "./pool.ts";

test("a segment goes through an orchestrator to a worker of the pool and back, and is credited", async () => {
  await using attached = await startAttachedPool();
  const { orchestrator, pool } = attached;
  await using _worker = await pool.transcoder({ secret: `${ADA}.rig`, capacity: 4 });
  await orchestrator.until(() => orchestrator.live.length === 1);
  const done = await orchestrator.transcode({ session: "ab12cd34", seq: 0 });
  expect(done).toMatchObject({ kind: "done", taskId: 0, decodedPixels: Number(SOURCE_PIXELS) });
  if (done.kind !== "done") return;
  expect(done.renditions.map(({ pixels }) => BigInt(pixels))).toEqual(readyRenditions.map(({ pixels }) => pixels));
  expect(done.renditions.every(({ data }, i) => readyRenditions[i]?.data.equals(data))).toBe(true);
  expect(await pool.credited()).toEqual({ segments: 1, creditedWei: EARNED_WEI });
  const [credit] = await pool.events("job.credited");
  expect(credit?.data).toMatchObject({ source: "upstream:main", priceSource: "configured" });
  expect(orchestrator.sourceRequests.map(({ httpVersion }) => httpVersion)).toEqual(["1.1"]);
});
