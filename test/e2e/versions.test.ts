import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { behaviours, type FakeTranscoder, type FakeTranscoderOptions } from "../peers/fake-transcoder.ts";
import { readyProfiles, sourceSegment } from "../peers/media.ts";
import { startStockGateway, type StockGateway } from "../peers/stock-gateway.ts";
import { ADA, BOB, CALM_MS, startTestPool, testClock, type TestPool } from "./pool.ts";

const clock = testClock();
let pool: TestPool;
let workers: FakeTranscoder[] = [];
const gateways: StockGateway[] = [];

beforeAll(async () => void (pool = await startTestPool({}, { clock })));
afterAll(() => pool?.[Symbol.asyncDispose]());
afterEach(async () => {
  for (const one of [...gateways.splice(0), ...workers.splice(0)]) await one[Symbol.asyncDispose]();
  await pool.untilConnected(0);
});

async function join(options: Partial<FakeTranscoderOptions>): Promise<FakeTranscoder> {
  const worker = await pool.transcoder({ secret: `${ADA}.rig`, ...options });
  workers = [...workers, worker];
  await pool.untilConnected(workers.length);
  return worker;
}

/** One that was started with `-orchMinLivepeerVersion`. */
function gateway(minVersion: string): StockGateway {
  const orchestrators = [`https://${pool.addr}`];
  const started = startStockGateway({ orchestrators, profiles: readyProfiles, minVersion, patience: 10 });
  gateways.push(started);
  return started;
}

describe("a gateway that wants a version", () => {
  test("is sent elsewhere while no worker has it, and others are served", async () => {
    await join({ secret: `${ADA}.fork`, version: "0.8.8" });
    await join({ secret: `${ADA}.silent`, withoutCapabilities: true });
    await join({ secret: `${ADA}.built`, version: "undefined" });
    const strict = await gateway("0.9.0").openStream("strict");
    expect(await strict.push(0, sourceSegment, CALM_MS)).toEqual({ kind: "no-sessions" });
    const tolerant = await gateway("").openStream("tolerant");
    expect(await tolerant.push(0, sourceSegment, CALM_MS)).toMatchObject({ kind: "renditions" });
  });

  test("is served by workers that have it alone, also when one of them fails", async () => {
    const old = await join({ secret: `${ADA}.fork`, version: "0.8.8", capacity: 50 });
    const failing = await join({ secret: `${ADA}.one`, behaviour: behaviours.error("No space left on device") });
    const good = await join({ secret: `${BOB}.two`, version: "0.9.1-5-g0ddba11" });
    const stream = await gateway("0.9.1").openStream("strict");
    for (let seq = 0; seq < 4; seq++) {
      const answer = await clock.whileStopped(() => stream.push(seq, sourceSegment, CALM_MS));
      expect(answer.kind).toBe("renditions");
    }
    await stream.end();
    expect(old.tasks).toEqual([]);
    expect(failing.tasks.length + good.tasks.length).toBeGreaterThanOrEqual(4);
    expect(good.tasks[0]?.notify.segData?.capabilities?.constraints?.minVersion).toBe("0.9.1");
  });

  test("that the pool itself has not is not taken, whatever its workers are", async () => {
    await join({ version: "9.9.9" });
    const stream = await gateway("9.0.0").openStream("strict");
    expect(await stream.push(0, sourceSegment, CALM_MS)).toEqual({ kind: "no-sessions" });
  });
});
