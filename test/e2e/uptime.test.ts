import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, silentLogger, systemClock } from "@openpool/base";
import { defaultWorkerOptions, startWorker } from "@openpool/worker";
import { expect, test } from "vitest";
import { ADA, BOB, startTestPool, until } from "./pool.ts";

/** The pool looks so often at who is ready. */
const LOOK_MS = 10_000;
const SLOT_MS = 60_000;

/** What a check may take, and what it may take here: on one event loop with all others, on a machine that may be busy. */
const CHECK_MS = 8_000;
const PATIENCE_MS = 60_000;

/** A clock on which it is as late as the test says; looks happen when the test wants one, everything else by itself. */
function lookingClock(startMs: number): Clock & { look(atMs: number): void } {
  const looks = new Set<() => void>();
  let nowMs = startMs;
  return {
    now: () => nowMs,
    monotonicMs: () => systemClock.monotonicMs() + (nowMs - startMs),
    after(delayMs, callback) {
      if (delayMs > 0.9 * CHECK_MS && delayMs <= CHECK_MS) return systemClock.after(PATIENCE_MS, callback);
      if (delayMs !== LOOK_MS) return systemClock.after(delayMs, callback);
      looks.add(callback);
      return () => void looks.delete(callback);
    },
    look(atMs) {
      nowMs = atMs;
      for (const callback of looks) {
        looks.delete(callback);
        callback();
      }
    },
  };
}

test("the uptime bonus goes to who passes a check of real FFmpeg, not to who is connected and fails it", async () => {
  const startMs = Date.UTC(2026, 0, 1);
  const clock = lookingClock(startMs);
  const workDir = await mkdtemp(join(tmpdir(), "openpool-uptime-"));
  await using pool = await startTestPool(
    { firstTerms: { schemeOptions: { uptime: { budgetWeiPerDay: "1440000", slotMs: SLOT_MS } } } },
    { clock },
  );
  const { ledger } = pool.running.node.admin;
  await using _worker = await startWorker(
    { ...defaultWorkerOptions, pool: pool.addr, secret: `${ADA}.good`, devices: "cpu", maxSessions: 2, workDir },
    { version: "0.1.0", logger: silentLogger, clock: systemClock },
  );
  const asked: string[] = [];
  await using _bad = await pool.transcoder({
    secret: `${BOB}.bad`,
    behaviour: (task) => {
      asked.push(...task.profiles.map(({ width, height }) => `${width}×${height}`));
      // The check's own source, given back, is no answer to it.
      return {
        kind: "renditions",
        parts: [{ data: task.source, pixels: 1_440_000n, contentType: "video/mp2t" }],
      };
    },
  });
  await until(() => pool.running.node.admin.status().rigs.length === 2, PATIENCE_MS);

  // The first minute after a start is nobody's. In the next slot both are ready at every look.
  const slotMs = startMs + SLOT_MS;
  clock.look(slotMs);
  clock.look(slotMs + 20_000);
  expect(await pool.events("rig.checked")).toEqual([]);
  for (let checks = 1; checks <= 3; checks++) {
    // A look goes on by itself, and the next one is planned at its end.
    await until(async () => {
      clock.look(slotMs + 20_000 + checks * LOOK_MS);
      return (await pool.events("rig.checked")).filter(({ rig }) => rig === "bad").length >= checks;
    }, PATIENCE_MS);
  }
  await until(
    async () =>
      (await pool.events("rig.checked")).some(({ rig, data }) => rig === "good" && data["result"] === "passed"),
    PATIENCE_MS,
  );
  await until(async () => {
    clock.look(slotMs + SLOT_MS);
    return ((await ledger?.accounts())?.get("pool:pot:uptime") ?? 0n) !== 0n;
  }, PATIENCE_MS);

  const checked = await pool.events("rig.checked");
  expect(checked.findLast(({ rig }) => rig === "good")?.data["result"]).toBe("passed");
  expect(checked.filter(({ rig }) => rig === "bad").map(({ data }) => data["result"])).toEqual(Array(3).fill("failed"));
  expect(asked).toHaveLength(3);
  expect((await pool.events("uptime.decided"))[0]?.data).toEqual({
    slot: new Date(slotMs).toISOString(),
    slotMs: SLOT_MS,
    budgetWeiPerDay: "1440000",
    passed: [ADA],
    failed: [BOB],
    unchecked: [],
  });
  expect(await ledger?.accounts()).toEqual(
    new Map([
      [`worker:${ADA}:held`, 1_000n],
      ["pool:pot:uptime", -1_000n],
    ]),
  );
  // A check is no job: nothing was credited, and nobody's name is better or worse for it.
  expect(await pool.credited()).toEqual({ segments: 0, creditedWei: 0n });
  expect(pool.running.node.admin.status().rigs.map(({ standing }) => standing)).toEqual(["new", "new"]);

  // Made anew from the log the books say the same.
  ledger?.startRebuild(false);
  await until(() => ledger?.rebuildState().state === "done", PATIENCE_MS);
  expect(ledger?.rebuildState()).toMatchObject({ state: "done", differences: [], replaced: true });
  expect((await ledger?.accounts())?.get(`worker:${ADA}:held`)).toBe(1_000n);
  await rm(workDir, { recursive: true, force: true });
}, 300_000);
