/** What is measured of a whole pool, each against a program freshly started. */
import { setTimeout as sleep } from "node:timers/promises";
import { behaviours, type FakeTranscoder, startFakeTranscoder } from "../../test/peers/fake-transcoder.ts";
import { readyProfiles, SOURCE_DURATION_MS, sourceSegment } from "../../test/peers/media.ts";
import { type PublisherAnswer, startStockGateway } from "../../test/peers/stock-gateway.ts";
import { hostHeader } from "../../test/peers/wire.ts";
import { getInfo } from "./gateways.ts";
import { measure, type Measured, type MeasureOptions } from "./measure.ts";
import { quantile, round } from "./numbers.ts";
import { type PoolProcess, startPoolProcess } from "./pool-process.ts";
import { type LoadWorker, startLoadWorker } from "./workers.ts";

/**
 * A pool runs for weeks, and V8 compiles all the while: the first few hundred segments cost about a third more than those
 * after a thousand, which are what is measured.
 */
const WARM_UP_SEGMENTS = 1_000;

const secretOf = (worker: number): string => `0x00000000000000000000000000000000000000AA.rig${worker}`;

type LoadPlan = Pick<MeasureOptions, "streams" | "segments" | "paceMs" | "probeInfo"> & {
  readonly workers: number;
  readonly delayMs: number;
};

async function startWorkers(
  pool: PoolProcess,
  plan: Pick<LoadPlan, "workers" | "delayMs">,
  onTask?: (worker: number, task: { readonly segment: string; readonly atMs: number }) => void,
): Promise<LoadWorker[]> {
  const workers = await Promise.all(
    Array.from({ length: plan.workers }, (_, i) =>
      startLoadWorker({
        address: pool.address,
        secret: secretOf(i),
        capacity: 256,
        delayMs: plan.delayMs,
        onTask: (task) => onTask?.(i, task),
      }),
    ),
  );
  await untilThereIsRoom(pool);
  return workers;
}

/** A registration is not acknowledged; that a gateway is let in is the sign of it. */
async function untilThereIsRoom(pool: PoolProcess): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return void (await getInfo(pool.address));
    } catch (error) {
      if (tries === 50) throw error;
      await sleep(100);
    }
  }
}

async function stopAll(workers: readonly AsyncDisposable[]): Promise<void> {
  for (const worker of workers) await worker[Symbol.asyncDispose]();
}

/** `creditMs`: what the durable record adds to an answer, the mean. */
type Throughput = Measured & { readonly creditMs: number };

/** Transcoders that answer at once, streams that send as fast as they are answered (or every `paceMs`). */
export async function throughput(plan: Pick<LoadPlan, "streams" | "segments" | "paceMs">): Promise<Throughput> {
  await using pool = await startPoolProcess();
  const workers = await startWorkers(pool, { workers: 2, delayMs: 0 });
  const warmUp = WARM_UP_SEGMENTS;
  let before = creditsOf(pool);
  const measured = await measure({
    ...plan,
    address: pool.address,
    pid: pool.pid,
    probeInfo: true,
    warmUp,
    workers,
    onStart: () => (before = creditsOf(pool)),
  });
  const [from, to] = [await before, await creditsOf(pool)];
  await stopAll(workers);
  return { ...measured, creditMs: round((1000 * (to.seconds - from.seconds)) / (to.count - from.count)) };
}

async function creditsOf(pool: PoolProcess): Promise<{ readonly seconds: number; readonly count: number }> {
  const text = await pool.ask("/metrics");
  const read = (name: string): number =>
    Number(new RegExp(`^openpool_credit_seconds_${name}\\{.*\\} (.*)$`, "m").exec(text)?.[1]);
  return { seconds: read("sum"), count: read("count") };
}

export interface WorkerLost {
  readonly lost: number;
  readonly segments: number;
  /** Segments that the worker had when it was lost. */
  readonly hadInHand: number;
  /** From the loss to the moment at which another worker had the segment, in ms: the median and the longest. */
  readonly nextAttemptMs: { readonly p50: number; readonly max: number };
  readonly longestMs: number;
}

/** One of four transcoders, half a second a segment, is killed, or hangs, with work in its hands. */
export async function loseWorker(how: "kill" | "hang"): Promise<WorkerLost> {
  await using pool = await startPoolProcess();
  const inHand = new Set<string>();
  const nextAttemptsMs: number[] = [];
  let lostAtMs = 0;
  const workers = await startWorkers(pool, { workers: 4, delayMs: 500 }, (_worker, { segment, atMs }) => {
    if (inHand.delete(segment)) nextAttemptsMs.push(atMs - lostAtMs);
  });
  const running = measure({ address: pool.address, streams: 8, segments: 96, warmUp: 16, paceMs: 0, workers });
  await sleep(4_000);
  while (!workers.some(({ working }) => working.size > 0)) await sleep(5);
  const victim = [...workers].sort((a, b) => b.working.size - a.working.size)[0];
  for (const segment of victim?.working ?? []) inHand.add(segment);
  const hadInHand = inHand.size;
  lostAtMs = performance.now();
  if (how === "kill") victim?.kill();
  else victim?.hang();
  const { lost, segments, latencyMs } = await running;
  await stopAll(workers);
  const nextAttemptMs = { p50: round(quantile(nextAttemptsMs, 0.5)), max: round(quantile(nextAttemptsMs, 1)) };
  return { lost, segments, hadInHand, nextAttemptMs, longestMs: latencyMs.max };
}

export interface Restarted {
  readonly segments: number;
  /** Segments whose publishers got nothing, with an unmodified gateway between. */
  readonly lost: number;
  readonly lostReasons: Readonly<Record<string, number>>;
  readonly connectionsRefused: number;
  /** Streams of which a segment was lost. */
  readonly streamsHit: number;
  readonly gatewayExited: boolean;
  readonly restartMs: number;
}

/** `openpool restart` while twenty streams of an unmodified gateway are served by three unmodified transcoders. */
export async function restartUnderLoad(streams = 20): Promise<Restarted> {
  const perStream = 10;
  await using pool = await startPoolProcess();
  const transcoders: FakeTranscoder[] = [];
  for (let i = 0; i < 3; i++) {
    const options = { addr: hostHeader(pool.address), secret: secretOf(i), capacity: 64 };
    transcoders.push(await startFakeTranscoder({ ...options, behaviour: behaviours.after(300) }));
  }
  await untilThereIsRoom(pool);
  await using gateway = startStockGateway({
    orchestrators: [`https://${hostHeader(pool.address)}`],
    profiles: readyProfiles,
  });
  const answers: { readonly stream: number; readonly answer: PublisherAnswer }[] = [];
  const publish = async (stream: number): Promise<void> => {
    await sleep((stream * 1_000) / streams);
    const open = await gateway.openStream(`stream-${stream}`);
    const pushed: Promise<void>[] = [];
    for (let seq = 0; seq < perStream; seq++) {
      pushed.push(
        open.push(seq, sourceSegment, SOURCE_DURATION_MS).then((answer) => void answers.push({ stream, answer })),
      );
      await sleep(1_000);
    }
    await Promise.all(pushed);
  };
  const publishing = Promise.all(Array.from({ length: streams }, (_, stream) => publish(stream)));
  await sleep(4_000);
  const startedMs = performance.now();
  const { code, output } = await pool.run("restart");
  const restartMs = Math.round(performance.now() - startedMs);
  if (code !== 0) throw new Error(`the restart failed: ${output}`);
  await publishing;
  await stopAll(transcoders);
  const lost = answers.filter(({ answer }) => answer.kind !== "renditions");
  const reasons: Record<string, number> = {};
  for (const { answer } of lost) {
    const reason = `${answer.kind}${"why" in answer ? `: ${answer.why}` : ""}${"text" in answer ? `: ${answer.text}` : ""}`;
    reasons[reason] = (reasons[reason] ?? 0) + 1;
  }
  return {
    segments: answers.length,
    lost: lost.length,
    lostReasons: reasons,
    connectionsRefused: lost.filter(({ answer }) => JSON.stringify(answer).includes("ECONNREFUSED")).length,
    streamsHit: new Set(lost.map(({ stream }) => stream)).size,
    gatewayExited: gateway.exited !== undefined,
    restartMs,
  };
}

/** In ms, until the pool is healthy again: its process killed (it starts another), and everything killed and started anew. */
export async function crashes(): Promise<{
  readonly crashMs: readonly number[];
  readonly killAllMs: readonly number[];
}> {
  await using pool = await startPoolProcess();
  const [crashMs, killAllMs]: [number[], number[]] = [[], []];
  for (let round = 0; round < 3; round++) {
    crashMs.push(await pool.crash());
    killAllMs.push(await pool.killAll());
  }
  return { crashMs, killAllMs };
}
