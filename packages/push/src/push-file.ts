import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Profile } from "@openpool/protocol";
import { type GatewayDependencies, openGatewayClient } from "./gateway-client.ts";
import type { SegmentOutcome } from "./outcome.ts";
import { defaultProfiles } from "./profiles.ts";
import { type SegmentFileOptions, segmentFile } from "./segments.ts";

export interface PushOptions extends SegmentFileOptions {
  /** `https://HOST:PORT` of any Livepeer orchestrator. */
  readonly orchestrator: string;
  /** Default: the two presets of a stock gateway. */
  readonly profiles?: readonly Profile[] | undefined;
  /** Streams at once, each with a manifest id of its own. Default: 1. */
  readonly streams?: number | undefined;
  /**
   * Segments of each stream; the source is repeated as long as it takes. `"forever"`: until `signal` fires. Default: the
   * source once.
   */
  readonly count?: number | "forever" | undefined;
  /** `"real-time"`: one segment per its own duration, as a live publisher sends. Default: as fast as they are answered. */
  readonly pace?: "real-time" | "as-answered" | undefined;
  /** Renditions are written to `<outDir>/<manifest id>/<rendition>/<seq>.ts`. */
  readonly outDir?: string | undefined;
  /** What manifest ids begin with. Default: `push`. */
  readonly manifestPrefix?: string | undefined;
}

export interface PushedSegment {
  readonly stream: number;
  readonly manifestId: string;
  readonly seq: number;
  readonly sourceBytes: number;
  readonly durationMs: number;
  readonly outcome: SegmentOutcome;
  /** Where the renditions were written, in the order of the profiles. */
  readonly files: readonly string[];
}

/** In real time a publisher does not wait for answers; this many segments of a stream may be on their way. */
const MAX_IN_FLIGHT = 4;

/**
 * Pushes a file or a folder to an orchestrator and yields how each segment went, as they end. The next segment of a
 * stream waits until the last result was taken, so a slow consumer slows the push. When `signal` fires, what is in flight
 * is cancelled and the iteration ends; sessions are ended at the orchestrator either way. Throws `SourceError` when the
 * source cannot be read.
 */
export async function* pushFile(
  options: PushOptions,
  dependencies: GatewayDependencies,
): AsyncGenerator<PushedSegment, void, undefined> {
  const { orchestrator, profiles = defaultProfiles, streams = 1, pace = "as-answered" } = options;
  const { clock } = dependencies;
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  await using source = await segmentFile({ ...options, signal }, dependencies);
  await using client = openGatewayClient({ orchestrator }, dependencies);
  const total = options.count === "forever" ? Number.POSITIVE_INFINITY : (options.count ?? source.count);
  const results = createHandover<PushedSegment>();

  const pushOne = async (stream: number, manifestId: string, seq: number): Promise<void> => {
    const { data, durationMs } = await source.read(seq % source.count);
    const outcome = await client.pushSegment({
      manifestId,
      seq,
      data,
      durationMs,
      profiles,
      container: source.container,
      signal,
    });
    const files = await writeRenditions(options.outDir, manifestId, seq, outcome);
    await results.give({ stream, manifestId, seq, sourceBytes: data.length, durationMs, outcome, files });
  };

  const runAsAnswered = async (stream: number, manifestId: string): Promise<void> => {
    for (let seq = 0; seq < total; seq++) {
      signal.throwIfAborted();
      await pushOne(stream, manifestId, seq);
    }
  };

  const runInRealTime = async (stream: number, manifestId: string): Promise<void> => {
    const inFlight = new Set<Promise<void>>();
    const failures: unknown[] = [];
    let dueMs = clock.monotonicMs();
    for (let seq = 0; seq < total && failures.length === 0; seq++) {
      await sleep(Math.max(0, dueMs - clock.monotonicMs()), undefined, { signal });
      while (inFlight.size >= MAX_IN_FLIGHT) await Promise.race(inFlight);
      dueMs += (await source.read(seq % source.count)).durationMs;
      const one: Promise<void> = pushOne(stream, manifestId, seq)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => inFlight.delete(one));
      inFlight.add(one);
    }
    await Promise.all(inFlight);
    if (failures.length > 0) throw failures[0];
  };

  const runStream = async (stream: number): Promise<void> => {
    const manifestId = `${options.manifestPrefix ?? "push"}-${randomBytes(4).toString("hex")}`;
    try {
      await (pace === "real-time" ? runInRealTime : runAsAnswered)(stream, manifestId);
      await client.endStream(manifestId);
    } catch (error) {
      // Told to stop is no failure; anything else ends the other streams too.
      if (!signal.aborted) results.close(error);
      stop.abort();
    }
  };

  const streaming = Promise.all(Array.from({ length: streams }, (_, stream) => runStream(stream)));
  void streaming.then(() => results.close());
  try {
    yield* results;
  } finally {
    stop.abort();
    results.close();
    await streaming;
  }
}

/** Passes values from many givers to one taker; a giver waits until its value was taken or nobody takes any more. */
function createHandover<Value>() {
  const waiting: { readonly value: Value; readonly taken: () => void }[] = [];
  let closed = false;
  let failure: unknown;
  let wake: (() => void) | undefined;
  return {
    give(value: Value): Promise<void> {
      if (closed) return Promise.resolve();
      return new Promise((taken) => {
        waiting.push({ value, taken });
        wake?.();
      });
    },
    /** Ends the taking, with an error if there is one. */
    close(error?: unknown): void {
      closed = true;
      failure ??= error;
      for (const one of waiting.splice(0)) one.taken();
      wake?.();
    },
    async *[Symbol.asyncIterator](): AsyncGenerator<Value, void, undefined> {
      for (;;) {
        const next = waiting.shift();
        if (next) {
          try {
            yield next.value;
          } finally {
            next.taken(); // also when the taker leaves
          }
        } else if (closed) {
          if (failure !== undefined) throw failure;
          return;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
          wake = undefined;
        }
      }
    },
  };
}

async function writeRenditions(
  outDir: string | undefined,
  manifestId: string,
  seq: number,
  outcome: SegmentOutcome,
): Promise<string[]> {
  if (outDir === undefined || outcome.kind !== "done") return [];
  return Promise.all(
    outcome.renditions.map(async ({ profile, data, url }) => {
      // Names are any text at all; as a folder only harmless characters.
      const folder = path.join(outDir, manifestId, profile.name.replaceAll(/[^\w.-]|^\.+/g, "_"));
      await mkdir(folder, { recursive: true });
      const file = path.join(folder, `${seq}${url.endsWith(".mp4") ? ".mp4" : ".ts"}`);
      await writeFile(file, data);
      return file;
    }),
  );
}
