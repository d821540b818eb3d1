import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import { backupBooks, restoreBooks, startPool } from "@openpool/pool";
import { expect, test } from "vitest";
import { ADA, BOB, EARNED_WEI, push, startTestPool, testOptions } from "./pool.ts";

const deps = { logger: silentLogger, clock: systemClock };

test("a pool at work is backed up, and another one begins with its books: what was answered before is there, and it goes on", async () => {
  const dir = await mkdtemp(join(tmpdir(), "openpool-backup-"));
  try {
    const file = join(dir, "books.backup");
    const restored = { dataDir: join(dir, "restored"), databaseUrl: undefined };
    let answered = 0;
    let answeredBefore = 0;
    let creditedInAll = 0n;
    {
      await using pool = await startTestPool();
      for (const secret of [`${ADA}.rig1`, `${BOB}.rig2`]) await pool.transcoder({ secret });
      await pool.untilConnected(2);
      const gateway = pool.gateway();
      let stop = false;
      const streams = Array.from({ length: 3 }, async (_, n) => {
        for (let seq = 0; !stop; seq++) if ((await push(gateway, `stream-${n}`, seq)).kind === "done") answered++;
      });
      while (answered < 10) await new Promise((resolve) => setImmediate(resolve));
      answeredBefore = answered;
      const report = await backupBooks({ dataDir: pool.dataDir, databaseUrl: undefined }, file, "test", deps);
      expect(report.rows).toBeGreaterThan(0n);
      // The pool's own books are never restored over.
      await expect(restoreBooks({ dataDir: pool.dataDir, databaseUrl: undefined }, file, deps)).rejects.toThrow(
        "A pool runs in",
      );
      stop = true;
      await Promise.all(streams);
      creditedInAll = (await pool.credited()).creditedWei;
    }
    // Nothing of a bad backup is left, not even an empty database.
    await expect(restoreBooks(restored, join(dir, "none"), deps)).rejects.toThrow("there is no such file");
    await expect(stat(restored.dataDir)).rejects.toThrow("ENOENT");
    await restoreBooks(restored, file, deps);

    await using again = await startPool(testOptions(restored.dataDir), { ...deps, version: "0.0.0-test" });
    const balances = await again.node.admin.balances();
    const segments = balances.reduce((sum, worker) => sum + Number(worker.segments), 0);
    const creditedWei = balances.reduce((sum, worker) => sum + worker.creditedWei, 0n);
    expect(segments).toBeGreaterThanOrEqual(answeredBefore);
    expect(creditedWei).toBe(BigInt(segments) * EARNED_WEI);
    expect(creditedWei).toBeLessThanOrEqual(creditedInAll);
    const credits = await again.node.admin.events({ types: ["job.credited"], limit: 10_000 });
    expect(credits).toHaveLength(segments);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}, 120_000);
