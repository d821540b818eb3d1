/** The only way between a worker and its pool, which ends when the test says so: as when the worker's machine dies. */
import type net from "node:net";
import { startMiddle } from "./middle.ts";

/** What went over one of its connections since the path was told to watch, in bytes of TLS. */
export interface Passed {
  /** Which connection it is: 0 is the first one that was opened. */
  readonly connection: number;
  readonly toPool: number;
  readonly toWorker: number;
}

/** `reset`: every connection is reset. `hang`: they stay open, nothing passes any more, and so it is with new ones. */
export type Death = "reset" | "hang";

export interface MortalPath extends AsyncDisposable {
  /** `HOST:PORT` of the worker's end. */
  readonly addr: string;
  readonly dead: boolean;
  /** Dies as soon as the condition holds for what has passed, the bytes that made it true included. */
  dieWhen(how: Death, condition: (passed: Passed) => boolean): void;
  die(how: Death): void;
}

export async function startMortalPath(target: string): Promise<MortalPath> {
  const counts: { toPool: number; toWorker: number }[] = [];
  let dead: Death | undefined;
  let watching: { readonly how: Death; readonly condition: (passed: Passed) => boolean } | undefined;

  const die = (how: Death): void => {
    if (dead) return;
    dead = how;
    if (how === "reset") for (const socket of middle.sockets) socket.resetAndDestroy();
  };
  const middle = await startMiddle(target, (near, connect) => {
    if (dead) return dead === "reset" ? void near.resetAndDestroy() : void near.resume();
    const connection = counts.push({ toPool: 0, toWorker: 0 }) - 1;
    const far = connect();
    const carry = (from: net.Socket, to: net.Socket, direction: "toPool" | "toWorker"): void => {
      from.on("data", (chunk: Buffer) => {
        if (dead) return;
        to.write(chunk);
        const passed = counts[connection];
        if (!passed || !watching) return;
        passed[direction] += chunk.length;
        if (watching.condition({ connection, ...passed })) die(watching.how);
      });
      from.once("close", () => dead === "hang" || to.destroy());
    };
    carry(near, far, "toPool");
    carry(far, near, "toWorker");
  });
  return {
    addr: middle.addr,
    get dead() {
      return dead !== undefined;
    },
    dieWhen(how, condition) {
      for (const passed of counts) passed.toPool = passed.toWorker = 0;
      watching = { how, condition };
    },
    die,
    [Symbol.asyncDispose]: () => middle[Symbol.asyncDispose](),
  };
}
