import { setTimeout as sleep } from "node:timers/promises";
import { seeded } from "../chance.ts";
import { ADA, startStreams, until } from "../e2e/pool.ts";
import { behaviours, type FakeTranscoder, readyUpload } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions } from "../peers/media.ts";
import type { Complaints } from "../peers/stock-orchestrator.ts";
import { startAttachedPool } from "./pool.ts";

export interface StressPlan {
  /** Repeats the chances of a run. */
  readonly seed: number;
  readonly seconds: number;
  readonly workers: number;
  readonly streams: number;
  /** Between the segments of a stream; 0: as fast as they are answered. */
  readonly paceMs: number;
  /** Of each segment: an orchestrator waits for four of them, and for eight seconds at least. */
  readonly durationMs: number;
}

/** What a run must show: nothing but tasks that are done, once, in time, and paid for. */
export interface Stressed {
  readonly tasks: number;
  readonly done: number;
  /** Tasks that were answered with an error, by what it says. */
  readonly errors: Readonly<Record<string, number>>;
  /** Answers that came, whether somebody waited for them or not. */
  readonly answers: number;
  readonly credited: number;
  /** Workers that died with a task in hand. */
  readonly deaths: number;
  readonly longestMs: number;
  readonly complaints: Complaints;
}

/** The largest rendition is a source as good as any: this is about workers and answers, not about throughput. */
const source = readyRenditions[2]!.data;
const profiles = readyProfiles.slice(0, 2);
/** Of this many tasks, one kills its worker in the middle of it. */
const DEATHS_ONE_IN = 25;
const MOST_TASK_MS = 60;
const SESSIONS_PER_WORKER = 2;

/** Many workers that die at random behind an orchestrator that gives a late one no other chance. All peers share this process. */
export async function runStress(plan: StressPlan): Promise<Stressed> {
  await using attached = await startAttachedPool({
    attached: { gateways: false },
    orchestrator: { keepBodies: false },
  });
  const { orchestrator, pool } = attached;
  let running = true;
  let deaths = 0;
  let born = 0;
  const join = async (): Promise<FakeTranscoder> => {
    const number = born++;
    const secret = `${ADA}.rig${number}`;
    const worker = await pool.transcoder({ secret, capacity: SESSIONS_PER_WORKER, reconnect: "never" });
    const random = seeded(plan.seed + number);
    worker.behaviour = (task, self) => {
      if (random() * DEATHS_ONE_IN < 1 && running) {
        deaths++;
        // Somebody else's machine is switched on elsewhere.
        void join().catch(() => {});
        return behaviours.die()(task, self);
      }
      return behaviours.after(random() * MOST_TASK_MS, readyUpload)(task, self);
    };
    return worker;
  };
  for (let i = 0; i < plan.workers; i++) await join();
  // One place is kept free for each that is present and has less than its share.
  const offered = (): number => orchestrator.live.reduce((sum, { capacity }) => sum + capacity, 0);
  await until(() => offered() >= SESSIONS_PER_WORKER * plan.workers - 2, 60_000);

  const errors: Record<string, number> = {};
  let longestMs = 0;
  const streams = startStreams(plan.streams, async (stream, seq) => {
    const outcome = await orchestrator.transcode({
      session: `stream${stream}`,
      seq,
      source,
      profiles,
      durationMs: plan.durationMs,
    });
    longestMs = Math.max(longestMs, outcome.tookMs);
    if (outcome.kind === "error") errors[outcome.text] = (errors[outcome.text] ?? 0) + 1;
    await sleep(Math.max(0, plan.paceMs - outcome.tookMs));
    return { kind: outcome.kind };
  });
  await sleep(plan.seconds * 1_000);
  await streams.stop();
  running = false;
  return {
    tasks: streams.outcomes.length,
    done: streams.done(),
    errors,
    answers: orchestrator.results.length,
    credited: (await pool.credited()).segments,
    deaths,
    longestMs: Math.round(longestMs),
    complaints: orchestrator.complaints,
  };
}

/** What is wrong with a run; nothing, if all is right. */
export function faultsOf({ tasks, done, answers, credited, errors, complaints }: Stressed): readonly string[] {
  const faults = Object.entries(complaints).flatMap(([what, count]) => (count === 0 ? [] : [`${what}: ${count}`]));
  for (const [text, count] of Object.entries(errors)) faults.push(`answered with an error: ${count} × ${text}`);
  if (tasks === 0) faults.push("nothing was done");
  if (answers !== tasks) faults.push(`${answers} answers to ${tasks} tasks`);
  if (credited !== done) faults.push(`${credited} credits for ${done} tasks`);
  return faults;
}
