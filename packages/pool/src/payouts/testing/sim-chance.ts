import { PoolError } from "@openpool/base";

/** A small generator of chance (mulberry32): a seed tells a whole run. */
export function chanceOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The process that asked is gone. */
export class Crash extends Error {}

/** What the engine refuses is no answer; a crash is more than that. */
export function refused(error: unknown): undefined {
  if (!(error instanceof PoolError)) throw error;
}

/** Everything asked through it can crash the asker before or after it happened, or fail, or find that another leads. */
export function unsteady<T extends object>(
  target: T,
  trouble: () => "crash" | "fail" | undefined,
  mayUse: (name: string) => boolean,
): T {
  return new Proxy(target, {
    get(of, name) {
      const value: unknown = Reflect.get(of, name);
      if (typeof value !== "function" || typeof name !== "string") return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const act = (): void => {
          const what = trouble();
          if (what === "crash") throw new Crash(name);
          if (what === "fail") throw new PoolError({ code: "store/unavailable" }, `no answer to ${name}`);
        };
        act();
        if (!mayUse(name)) throw new PoolError({ code: "payout/not-leader" }, "Another process pays.");
        const result: unknown = await Reflect.apply(value, of, args);
        act();
        return result;
      };
    },
  });
}
