/** A long way between two peers: a proxy that passes on every byte later, in order, and as many at once as there are. */
import type net from "node:net";
import { startMiddle } from "./middle.ts";

export interface Distance extends AsyncDisposable {
  /** `HOST:PORT` of the near end. */
  readonly addr: string;
  /** Connections that came, those that have ended included. */
  readonly connections: number;
  /** Passes nothing on, and accepts nobody further along, until called back. */
  hold(): { release(): void };
  /** The connections of now swallow everything from here on, as when a router forgot them; new ones work. */
  forget(): void;
  /** Passes so much on in a second, on each connection and in each direction, from here on. */
  slow(bytesPerSecond: number): void;
  /** Ends all connections, and refuses new ones, until called back. */
  cut(): { restore(): void };
}

/** @param oneWayMs what a byte takes in each direction. */
export async function startDistance(target: string, oneWayMs: number): Promise<Distance> {
  const forgotten = new WeakSet<net.Socket>();
  let connections = 0;
  let isCut = false;
  /** What waits for the end of a hold, in order. */
  let held: (() => void)[] | undefined;

  let bytesPerMs = Infinity;
  const carry = (from: net.Socket, to: net.Socket): void => {
    /** What is on its way: each timer lets the first of it go, whichever timer it is. */
    const onItsWay: (() => void)[] = [];
    let freeAtMs = 0;
    const pass = (run: () => void, bytes = 0): void => {
      onItsWay.push(() => forgotten.has(from) || to.destroyed || run());
      freeAtMs = Math.max(freeAtMs, performance.now()) + bytes / bytesPerMs;
      setTimeout(
        () => {
          const first = onItsWay.shift() ?? run;
          if (held) held.push(first);
          else first();
        },
        oneWayMs + freeAtMs - performance.now(),
      );
    };
    from.on("data", (chunk: Buffer) => pass(() => to.write(chunk), chunk.length));
    from.once("end", () => pass(() => to.end()));
    from.once("close", () => pass(() => to.destroy()));
  };
  const middle = await startMiddle(
    target,
    (near, connect) => {
      if (isCut) return void near.resetAndDestroy();
      connections++;
      const far = connect();
      carry(near, far);
      carry(far, near);
    },
    { allowHalfOpen: true },
  );
  return {
    addr: middle.addr,
    get connections() {
      return connections;
    },
    hold() {
      const mine = (held ??= []);
      return {
        release() {
          held = undefined;
          for (const run of mine) run();
        },
      };
    },
    forget() {
      for (const socket of middle.sockets) forgotten.add(socket);
    },
    slow(bytesPerSecond) {
      bytesPerMs = bytesPerSecond / 1_000;
    },
    cut() {
      isCut = true;
      for (const socket of middle.sockets) socket.resetAndDestroy();
      return { restore: () => void (isCut = false) };
    },
    [Symbol.asyncDispose]: () => middle[Symbol.asyncDispose](),
  };
}
