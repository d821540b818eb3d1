/**
 * Many workers that die at random behind an orchestrator that never gives a late one another chance. Short by default;
 * `OPENPOOL_STRESS_SECONDS=600 OPENPOOL_STRESS_WORKERS=300 OPENPOOL_STRESS_STREAMS=64` is the long run.
 */
import { expect, test } from "vitest";
import { ADA, until } from "../e2e/pool.ts";
import { behaviours, type FakeTranscoder, readyUpload } from "../peers/fake-transcoder.ts";
import { startAttachedPool } from "./pool.ts";

const setting = (name: string, fallback: number): number => Number(process.env[`OPENPOOL_STRESS_${name}`] ?? fallback);
const seconds = setting("SECONDS", 4);
const workerCount = setting("WORKERS", 12);
const streamCount = setting("STREAMS", 6);
/** Of this many tasks, one kills its worker in the middle of it. */
const DEATHS_ONE_IN = 25;

test(
  "with workers that die at random every task is answered, none twice, in time, and credits equal answers",
  async () => {
    await using attached = await startAttachedPool({
      attached: { gateways: false },
      orchestrator: { keepBodies: false },
    });
    const { orchestrator, pool } = attached;
    const workers = new Map<number, FakeTranscoder>();
    let running = true;
    let deaths = 0;
    let born = 0;
    const join = async (): Promise<void> => {
      const number = born++;
      const worker = await pool.transcoder({ secret: `${ADA}.rig${number}`, capacity: 2, reconnect: "never" });
      workers.set(number, worker);
      worker.behaviour = (task, self) => {
        if (Math.random() * DEATHS_ONE_IN < 1 && running) {
          deaths++;
          workers.delete(number);
          // Somebody else's machine is switched on elsewhere.
          void join().catch(() => {});
          return behaviours.die()(task, self);
        }
        return behaviours.after(Math.random() * 60, readyUpload)(task, self);
      };
    };
    for (let i = 0; i < workerCount; i++) await join();
    await until(() => orchestrator.live[0]?.capacity === 2 * workerCount, 30_000);

    const counts = { done: 0, error: 0 };
    const errors = new Set<string>();
    const endsAt = performance.now() + seconds * 1_000;
    await Promise.all(
      Array.from({ length: streamCount }, async (_, stream) => {
        for (let seq = 0; performance.now() < endsAt; seq++) {
          const outcome = await orchestrator.transcode({ session: `stream${stream}`, seq });
          counts[outcome.kind]++;
          if (outcome.kind === "error") errors.add(outcome.text);
        }
      }),
    );
    running = false;
    process.stderr.write(
      `${JSON.stringify({ seconds, workers: workerCount, streams: streamCount, ...counts, deaths })}\n`,
    );
    expect(orchestrator.complaints).toEqual({
      ejected: 0,
      unknownResults: 0,
      duplicateResults: 0,
      unauthorized: 0,
      broken: 0,
    });
    expect([...errors]).toEqual([]);
    expect(counts.done).toBeGreaterThan(0);
    expect(orchestrator.results).toHaveLength(counts.done + counts.error);
    expect((await pool.credited()).segments).toBe(counts.done);
  },
  (seconds + 120) * 1_000,
);
