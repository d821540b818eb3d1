/**
 * Many workers that die at random behind an orchestrator that never gives a late one another chance. Short by default;
 * `OPENPOOL_STRESS_SECONDS=600 OPENPOOL_STRESS_WORKERS=300 OPENPOOL_STRESS_STREAMS=64 OPENPOOL_STRESS_PACE_MS=2000` is the long
 * run, in which each stream sends a segment every two seconds, as live ones do. `OPENPOOL_STRESS_SEED` repeats the chances of a
 * run, which prints its own. All peers share this process: what is sent is
 * small, since this is about workers and answers, not about throughput.
 */
import { expect, test } from "vitest";
import { ADA, until } from "../e2e/pool.ts";
import { behaviours, type FakeTranscoder, readyUpload } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions } from "../peers/media.ts";
import { startAttachedPool } from "./pool.ts";

const setting = (name: string, fallback: number): number => Number(process.env[`OPENPOOL_STRESS_${name}`] ?? fallback);
const seconds = setting("SECONDS", 4);
const workerCount = setting("WORKERS", 12);
const streamCount = setting("STREAMS", 6);
const seed = setting("SEED", Date.now() % 2 ** 31);
/** Between the segments of a stream; 0: as fast as they are answered. */
const paceMs = setting("PACE_MS", 0);
/** The largest rendition is a source as good as any. */
const source = readyRenditions[2]!.data;
const profiles = readyProfiles.slice(0, 2);
/** Of this many tasks, one kills its worker in the middle of it. */
const DEATHS_ONE_IN = 25;

/** Numbers from 0 to 1 that look like chance and are the same for the same seed (a linear congruence modulo 2³²). */
function chancesOf(start: number): () => number {
  let state = (start * 2_654_435_761) >>> 0;
  return () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
}

test(
  "with workers that die at random every task is answered, none twice, in time, and credits equal answers",
  async () => {
    await using attached = await startAttachedPool({
      attached: { gateways: false },
      orchestrator: { keepBodies: false },
    });
    const { orchestrator, pool } = attached;
    // oxlint-disable-next-line no-console -- who wants the same chances again needs it
    console.log(`OPENPOOL_STRESS_SEED=${seed}`);
    const workers = new Map<number, FakeTranscoder>();
    let running = true;
    let deaths = 0;
    let born = 0;
    const join = async (): Promise<void> => {
      const number = born++;
      const worker = await pool.transcoder({ secret: `${ADA}.rig${number}`, capacity: 2, reconnect: "never" });
      workers.set(number, worker);
      const random = chancesOf(seed + number);
      worker.behaviour = (task, self) => {
        if (random() * DEATHS_ONE_IN < 1 && running) {
          deaths++;
          workers.delete(number);
          // Somebody else's machine is switched on elsewhere.
          void join().catch(() => {});
          return behaviours.die()(task, self);
        }
        return behaviours.after(random() * 60, readyUpload)(task, self);
      };
    };
    for (let i = 0; i < workerCount; i++) await join();
    // One place is kept free for each that is present and has less than its share.
    await until(() => (orchestrator.live[0]?.capacity ?? 0) >= 2 * workerCount - 2, 30_000);

    const counts = { done: 0, error: 0 };
    const errors: Record<string, number> = {};
    const endsAt = performance.now() + seconds * 1_000;
    await Promise.all(
      Array.from({ length: streamCount }, async (_, stream) => {
        for (let seq = 0; performance.now() < endsAt; seq++) {
          const outcome = await orchestrator.transcode({ session: `stream${stream}`, seq, source, profiles });
          counts[outcome.kind]++;
          if (outcome.kind === "error") errors[outcome.text] = (errors[outcome.text] ?? 0) + 1;
          const restMs = paceMs - outcome.tookMs;
          if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
        }
      }),
    );
    running = false;
    process.stderr.write(
      `${JSON.stringify({ seconds, workers: workerCount, streams: streamCount, paceMs, ...counts, deaths, errors, ...orchestrator.complaints })}\n`,
    );
    expect(orchestrator.complaints).toEqual({
      ejected: 0,
      unknownResults: 0,
      duplicateResults: 0,
      unauthorized: 0,
      broken: 0,
    });
    expect(errors).toEqual({});
    expect(counts.done).toBeGreaterThan(0);
    expect(orchestrator.results).toHaveLength(counts.done + counts.error);
    expect((await pool.credited()).segments).toBe(counts.done);
  },
  (seconds + 120) * 1_000,
);
