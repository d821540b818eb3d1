import { extname } from "node:path";
import { Worker, type WorkerOptions } from "node:worker_threads";
import { type Clock, errorText } from "@openpool/base";
import type { SandboxAnswer } from "./sandbox.ts";
import type { ThreadAnswer, ThreadMessage, ThreadRequest } from "./sandbox-thread.ts";

/** One call of a function that a module exports. */
export interface HookCall {
  readonly name: string;
  readonly inputJson: string;
}

/** Runs modules of the operator's, one call at a time, each call in an engine of its own. */
export interface HookRunner extends AsyncDisposable {
  /** The answers in the order of the calls. Rejects only when the runner is closed. */
  run(source: string, calls: readonly HookCall[]): Promise<readonly SandboxAnswer[]>;
  /** Which functions a module exports, or why it cannot be read. */
  exports(source: string): Promise<{ readonly names: readonly string[] } | { readonly why: string }>;
}

const script = new URL(`./sandbox-thread${extname(import.meta.url)}`, import.meta.url);

/** A thread of its own. In a checkout that runs from its sources it has to learn first how to read them. */
function startThread(): Worker {
  const options: WorkerOptions = {
    // The sandbox needs nothing of what this process was told.
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: 128, stackSizeMb: 4 },
  };
  if (!script.pathname.endsWith(".ts")) return new Worker(script, options);
  const loader = import.meta.resolve("tsx/esm/api");
  const boot = `import(${JSON.stringify(loader)}).then(({ register }) => { register(); return import(${JSON.stringify(script.href)}) })`;
  return new Worker(boot, { ...options, eval: true });
}

/**
 * The engine counts steps, but a single step can take seconds (numbers of a million digits, a memory that is full). Whoever
 * takes this long is stopped together with its thread.
 */
const CALL_MS = 2_000;
/** For the thread to start and the engine to load, on a busy machine. */
const START_MS = 30_000;
/** A limit is waited for in so many parts: a machine that stands still uses one of them up, and no hook is blamed for it. */
const SLICES = 4;
/** After so many such calls in a row the rest of a run is not tried. */
const MAX_STOPPED = 2;

interface Waiting {
  readonly count: number;
  readonly answers: ThreadAnswer["answer"][];
  resolve(end: "done" | "late" | Error): void;
}

/**
 * A thread with QuickJS in it, started when first needed. The engine isolates; the thread keeps slow hooks away from the
 * streams, and can be ended whatever they do.
 */
export function createHookRunner({
  clock,
  callMs = CALL_MS,
}: {
  readonly clock: Clock;
  readonly callMs?: number;
}): HookRunner {
  let thread: { readonly worker: Worker; ready: boolean } | undefined;
  let waiting: { id: number; on: Waiting } | undefined;
  let lastId = 0;
  let closed = false;
  let queue: Promise<unknown> = Promise.resolve();
  let cancelTimer = (): void => {};

  const endThread = async (): Promise<void> => {
    const old = thread;
    thread = undefined;
    await old?.worker.terminate();
  };
  const arm = (): void => {
    cancelTimer();
    const limitMs = thread?.ready ? callMs : START_MS;
    const wait = (slice: number): void => {
      cancelTimer = clock.after(limitMs / SLICES, () => {
        if (slice < SLICES) return wait(slice + 1);
        const { on } = waiting ?? {};
        waiting = undefined;
        void endThread().then(() => on?.resolve("late"));
      });
    };
    wait(1);
  };
  const start = (): { readonly worker: Worker; ready: boolean } => {
    const worker = startThread();
    const started = { worker, ready: false };
    worker.unref();
    worker.on("message", (message: ThreadMessage) => {
      if (message === "ready") {
        started.ready = true;
        if (waiting) arm();
        return;
      }
      const { id, answer } = message;
      if (waiting?.id !== id) return;
      waiting.on.answers.push(answer);
      if (waiting.on.answers.length < waiting.on.count) return arm();
      cancelTimer();
      const { on } = waiting;
      waiting = undefined;
      on.resolve("done");
    });
    const gone = (error: Error): void => {
      if (thread !== started) return;
      thread = undefined;
      cancelTimer();
      const { on } = waiting ?? {};
      waiting = undefined;
      on?.resolve(error);
    };
    worker.on("error", gone);
    worker.on("exit", () => gone(new Error("its thread ended")));
    return started;
  };
  /** Asks the thread; answers as far as it came, and how it ended. */
  const ask = async (
    source: string,
    calls: readonly HookCall[],
  ): Promise<{ answers: readonly ThreadAnswer["answer"][]; end: "done" | "late" | Error }> => {
    if (closed) throw new Error("the hooks were closed");
    const answers: ThreadAnswer["answer"][] = [];
    const id = ++lastId;
    thread ??= start();
    const end = await new Promise<"done" | "late" | Error>((resolve) => {
      waiting = { id, on: { count: Math.max(1, calls.length), answers, resolve } };
      thread?.worker.postMessage({ id, source, calls } satisfies ThreadRequest);
      arm();
    });
    return { answers, end };
  };
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = queue.then(work);
    queue = turn.catch(() => {});
    return turn;
  };
  const failed = (why: string): SandboxAnswer => ({ kind: "failed", why });

  return {
    run: (source, calls) =>
      inTurn(async () => {
        const answers: SandboxAnswer[] = [];
        let stopped = 0;
        while (answers.length < calls.length) {
          if (stopped >= MAX_STOPPED) {
            answers.push(failed("not tried: calls before it had to be stopped"));
            continue;
          }
          const part = await ask(source, calls.slice(answers.length));
          // To calls the thread answers what a call came to.
          answers.push(...(part.answers as readonly SandboxAnswer[]));
          if (part.end === "done") continue;
          stopped = part.answers.length > 0 ? 1 : stopped + 1;
          answers.push(
            failed(
              part.end === "late"
                ? `it took longer than ${callMs / 1000} s`
                : `the engine ended: ${errorText(part.end)}`,
            ),
          );
        }
        return answers;
      }),
    exports: (source) =>
      inTurn(async () => {
        const { answers, end } = await ask(source, []);
        const [answer] = answers;
        if (answer !== undefined && "names" in answer) return answer;
        if (answer !== undefined && "why" in answer) return { why: answer.why };
        return { why: end === "late" ? `it took longer than ${callMs / 1000} s` : "the engine ended" };
      }),
    async [Symbol.asyncDispose]() {
      closed = true;
      cancelTimer();
      const { on } = waiting ?? {};
      waiting = undefined;
      await endThread();
      on?.resolve(new Error("the hooks were closed"));
    },
  };
}
