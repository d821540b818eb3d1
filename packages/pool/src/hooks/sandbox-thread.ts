import { parentPort } from "node:worker_threads";
import { createSandbox } from "./sandbox.ts";

/** To the thread: a module and what to call in it. Without calls: say what it exports. */
export interface ThreadRequest {
  readonly id: number;
  readonly source: string;
  readonly calls: readonly { readonly name: string; readonly inputJson: string }[];
}

/** From the thread: once `ready`, then an answer for each call in order. */
export type ThreadMessage = "ready" | ThreadAnswer;

export interface ThreadAnswer {
  readonly id: number;
  readonly answer: ReturnType<Awaited<ReturnType<typeof createSandbox>>["call" | "exports"]>;
}

const sandbox = await createSandbox();
parentPort?.on("message", ({ id, source, calls }: ThreadRequest) => {
  if (calls.length === 0) {
    parentPort?.postMessage({ id, answer: sandbox.exports(source) } satisfies ThreadAnswer);
  }
  for (const { name, inputJson } of calls) {
    parentPort?.postMessage({ id, answer: sandbox.call(source, name, inputJson) } satisfies ThreadAnswer);
  }
});
parentPort?.postMessage("ready" satisfies ThreadMessage);
