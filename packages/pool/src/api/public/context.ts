import { type Clock, PoolError } from "@openpool/base";
import {
  addressProblemText,
  type Age,
  isAddressProblem,
  parseAddress,
  type PoolLive,
  type WindowName,
  type WorkerAddress,
} from "@openpool/protocol";
import type { RollupLine } from "../../store/rollup-types.ts";
import type { DeviceCount } from "../../workers/rig-reports.ts";
import { type Cached, cached } from "./cached.ts";
import type { LivePool, LiveRig, PublicPort } from "./ports.ts";
import { ApiError } from "./problem.ts";
import { time, WINDOW_NAMES, WINDOWS, windowStart } from "./sums.ts";

const LIVE_FRESH_MS = 1_000;

/** Every worker and rig that ever worked, and its sums of a window. */
export interface Board {
  readonly atMs: number;
  readonly fromMs: number;
  readonly toMs: number;
  /** By `<address>.<name>`. */
  readonly rigs: ReadonlyMap<string, RollupLine>;
  readonly workers: ReadonlyMap<WorkerAddress, RollupLine>;
  /** Rigs by worker. */
  readonly rigsOf: ReadonlyMap<WorkerAddress, readonly RollupLine[]>;
}

/** What the answers share: the port, and what of it is remembered for a moment. */
export interface Context {
  readonly port: PublicPort;
  readonly clock: Clock;
  /** Not older than a second. */
  live(): LivePool;
  /** Ages of numbers that were taken at this time (unix ms). */
  age(atMs: number): Age;
  board(window: WindowName): Promise<Board>;
  /** Looks at all boards and forgets them: what they are made of is then in the database's memory for the first reader. */
  warm(): Promise<void>;
}

export function createContext(port: PublicPort, clock: Clock): Context {
  let kept: { readonly pool: LivePool; readonly takenMs: number } | undefined;
  const makeBoard = async (window: WindowName): Promise<Board> => {
    const nowMs = clock.now();
    const { step, count } = WINDOWS[window];
    const fromMs = windowStart(nowMs, step, count);
    const lines = await port.rollups.lines(step, fromMs);
    const rigs = new Map<string, RollupLine>();
    const workers = new Map<WorkerAddress, RollupLine>();
    const rigsOf = new Map<WorkerAddress, RollupLine[]>();
    for (const line of lines) {
      if (line.rig === "") {
        workers.set(line.worker, line);
        continue;
      }
      rigs.set(`${line.worker}.${line.rig}`, line);
      const siblings = rigsOf.get(line.worker);
      if (siblings) siblings.push(line);
      else rigsOf.set(line.worker, [line]);
    }
    return { atMs: nowMs, fromMs, toMs: nowMs, rigs, workers, rigsOf };
  };
  const boards = Object.fromEntries(
    WINDOW_NAMES.map((window) => [
      window,
      // A look at thousands of rigs takes a while: readers get the last one meanwhile.
      cached(clock, { freshMs: 15_000, staleMs: 900_000 }, () => makeBoard(window)),
    ]),
  ) as Record<WindowName, Cached<Board>>;
  return {
    port,
    clock,
    live() {
      const nowMs = clock.monotonicMs();
      if (kept === undefined || nowMs - kept.takenMs > LIVE_FRESH_MS) kept = { pool: port.live(), takenMs: nowMs };
      return kept.pool;
    },
    age: (atMs) => ({ asOf: time(atMs), ageMs: Math.max(0, Math.round(clock.now() - atMs)) }),
    board: (window) => boards[window].get(),
    async warm() {
      for (const window of WINDOW_NAMES) await makeBoard(window).catch(() => {});
    },
  };
}

/** An address as it came, in its one right form. @throws ApiError */
export function readAddress(text: string): WorkerAddress {
  const parsed = parseAddress(text);
  if (!isAddressProblem(parsed)) return parsed;
  throw new ApiError({ code: "api/bad-address" }, `This address ${addressProblemText[parsed]}.`);
}

/** What goes on now, as everybody may see it. */
export function liveJson(context: Context): PoolLive {
  const live = context.live();
  const devices = new Map<string, { kind: DeviceCount["kind"]; rigs: number; count: number }>();
  const workers = new Set<string>();
  let rigsOnline = 0;
  for (const rig of live.rigs.values()) {
    if (rig.state === "offline") continue;
    rigsOnline++;
    workers.add(rig.worker);
    for (const { kind, model, count } of context.port.machines.machineOf(rig)?.devices ?? []) {
      const known = devices.get(model) ?? { kind, rigs: 0, count: 0 };
      devices.set(model, { kind, rigs: known.rigs + 1, count: known.count + count });
    }
  }
  return {
    ...context.age(live.atMs),
    workersOnline: workers.size,
    rigsOnline,
    rigsKnown: live.rigs.size,
    devices: [...devices]
      .map(([device, one]) => ({ device, ...one }))
      .toSorted((a, b) => b.rigs - a.rigs || (a.device < b.device ? -1 : 1))
      .slice(0, 50),
    capacity: live.capacity,
    sessionsHeld: live.sessionsHeld,
    streams: live.streams,
    jobsInFlight: live.jobsInFlight,
    latencyMs: live.latencyMs ?? null,
  };
}

/** The rigs of a worker that are connected or remembered. */
export function liveRigsOf(live: LivePool, worker: WorkerAddress): LiveRig[] {
  return [...live.rigs.values()].filter((rig) => rig.worker === worker);
}

const UNAVAILABLE = ["store/unavailable", "payout/not-leader"];

/** The database did not answer, or another process of this pool does it until it has ended: no fault of ours, and it passes. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof PoolError && UNAVAILABLE.includes(String(error.info.code));
}
