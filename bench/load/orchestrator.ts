import { readyRenditions } from "../../test/peers/media.ts";
import type { StockOrchestrator } from "../../test/peers/stock-orchestrator.ts";

export interface AttachedLoad {
  /** Streams at once, each one segment after another. */
  readonly streams: number;
  readonly segments: number;
}

export interface AttachedRun {
  /** From the task on its way to the pool until its result is in, in ms. */
  readonly latenciesMs: readonly number[];
  readonly tookMs: number;
  /** Tasks without the right renditions, by reason. */
  readonly lost: ReadonlyMap<string, number>;
}

let runs = 0;

/** An orchestrator gives tasks to the pool behind it as fast as they are answered. */
export async function runOrchestrator(orchestrator: StockOrchestrator, load: AttachedLoad): Promise<AttachedRun> {
  const latenciesMs: number[] = [];
  const lost = new Map<string, number>();
  const run = runs++;
  let taken = 0;
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: load.streams }, async (_, stream) => {
      const session = `bench-${run}-${stream}`;
      for (let seq = 0; taken++ < load.segments; seq++) {
        const outcome = await orchestrator.transcode({ session, seq });
        if (outcome.kind === "error") lost.set(outcome.text, (lost.get(outcome.text) ?? 0) + 1);
        else if (!outcome.renditions.every(({ data }, i) => readyRenditions[i]?.data.equals(data)))
          lost.set("wrong renditions", (lost.get("wrong renditions") ?? 0) + 1);
        else latenciesMs.push(outcome.tookMs);
      }
      orchestrator.endSession(session);
    }),
  );
  return { latenciesMs, tookMs: performance.now() - startedMs, lost };
}
