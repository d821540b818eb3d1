import type {
  LeaderboardAnswer,
  leaderboardQuerySchema,
  Reason,
  RigsAnswer,
  rigsQuerySchema,
  RigSummary,
  WorkerAddress,
  WorkersAnswer,
  workersQuerySchema,
  WorkerSummary,
} from "@openpool/protocol";
import { formatDevices, type RigName } from "@openpool/protocol";
import type { z } from "zod";
import { type KnownSubject, noSums, type RollupLine, type RollupSums } from "../../store/rollup-types.ts";
import { asFact, inField, reasonOf } from "./amounts.ts";
import type { Board, Context } from "./context.ts";
import { BLOCK_ROWS } from "./csv-file.ts";
import { type Keyed, pageOf, sortedBy } from "./cursor.ts";
import type { LivePool, LiveRig } from "./ports.ts";
import { realTimeRatio, successPpm, sumsJson, timeOrNull } from "./sums.ts";

/** Jobs of each of the last 24 hours, oldest first. */
function sparkOf(line: RollupLine | undefined): number[] {
  const hourly = line?.hourly();
  return Array.from({ length: 24 }, (_, i) => hourly?.get(i) ?? 0);
}

function latest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((one) => one !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

/** A rig as what is going on (`live`) and what is counted (`line`) have it; one of the two may be missing. */
interface RigFacts {
  readonly name: RigName;
  readonly live: LiveRig | undefined;
  readonly line: RollupLine | undefined;
  readonly known?: KnownSubject | undefined;
}

const sumsOf = ({ line }: { readonly line: RollupLine | undefined }): RollupSums => line?.sums ?? noSums;
const stateOf = ({ live }: RigFacts): LiveRig["state"] => live?.state ?? "offline";
const lastSeenMsOf = ({ live, line, known }: RigFacts): number | undefined =>
  latest(live?.lastSeenMs, line?.seenAtMs, line?.lastJobAtMs, known?.seenAtMs, known?.lastJobAtMs);
const successOf = (rig: RigFacts): number | null =>
  rig.live ? Math.round(rig.live.success * 1_000_000) : successPpm(sumsOf(rig));

export function rigSummary(context: Context, rig: RigFacts): RigSummary {
  const { name, live, line, known } = rig;
  const machine = context.port.machines.machineOf(name);
  const lastSeenMs = lastSeenMsOf(rig);
  const sums = sumsOf(rig);
  return {
    worker: name.worker,
    rig: name.rig,
    name: `${name.worker}.${name.rig}`,
    label: context.port.settings?.labels.current.get(`${name.worker}.${name.rig}`) ?? null,
    state: stateOf(rig),
    ...inField("stateReason", stateReason(live, lastSeenMs, context.clock.now())),
    standing: live?.standing ?? null,
    ...inField("standingReason", live?.standingReason ?? null),
    device: machine ? formatDevices(machine.devices) : null,
    software: machine ? `Open Pool worker ${machine.software}` : (live?.software ?? null),
    capacity: live?.capacity ?? 0,
    streams: live?.streams ?? 0,
    jobsInFlight: live?.jobsInFlight ?? 0,
    successPpm: successOf(rig),
    realTimeRatio: realTimeRatio(sums),
    firstSeenAt: timeOrNull(line?.firstAtMs ?? known?.firstAtMs),
    lastSeenAt: timeOrNull(lastSeenMs),
    lastJobAt: timeOrNull(latest(line?.lastJobAtMs, known?.lastJobAtMs)),
    jobs24h: Number(sums.jobs),
    earned24hWei: sums.earnedWei.toString(),
    spark: sparkOf(line),
  };
}

function stateReason(live: LiveRig | undefined, lastSeenMs: number | undefined, nowMs: number): Reason {
  if (live === undefined || live.state === "offline") {
    return reasonOf("rig-offline", { agoMs: lastSeenMs === undefined ? undefined : nowMs - lastSeenMs });
  }
  if (live.state === "draining") return reasonOf("rig-draining", {});
  if (live.standing === "barred" || live.standing === "probation") {
    return reasonOf(`rig-${live.standing}`, asFact("why", live.standingReason));
  }
  if (live.streams >= live.capacity) return reasonOf("rig-full", {});
  return live.streams === 0
    ? reasonOf("rig-free", { places: live.capacity })
    : reasonOf("rig-has-room", { places: live.capacity - live.streams });
}

function allRigs(live: LivePool, board: Board): RigFacts[] {
  const out: RigFacts[] = [];
  for (const [key, rig] of live.rigs) out.push({ name: rig, live: rig, line: board.rigs.get(key) });
  for (const [key, line] of board.rigs) {
    if (!live.rigs.has(key)) out.push({ name: line, live: undefined, line });
  }
  return out;
}

const matches = (search: string | undefined, ...texts: readonly string[]): boolean =>
  search === undefined || texts.some((text) => text.toLowerCase().includes(search.toLowerCase()));

function hasDevice(context: Context, rig: RigName, model: string): boolean {
  return context.port.machines.machineOf(rig)?.devices.some((one) => one.model === model) ?? false;
}

/** Of a list, what is not of its page. */
type RigFilter = Omit<z.infer<typeof rigsQuerySchema>, "limit" | "cursor">;
type WorkerFilter = Omit<z.infer<typeof workersQuerySchema>, "limit" | "cursor">;

function* blocksOf<T, Row>(rows: readonly Keyed<T>[], order: "asc" | "desc", row: (item: T) => Row): Generator<Row[]> {
  const sorted = sortedBy(rows, order);
  for (let at = 0; at < sorted.length; at += BLOCK_ROWS)
    yield sorted.slice(at, at + BLOCK_ROWS).map(({ item }) => row(item));
}

/** All of them as they are at this moment: however long the reading takes, none comes twice or is missed as they move. */
export async function* rigRows(context: Context, query: RigFilter): AsyncGenerator<readonly RigSummary[]> {
  const rows = rigsOf(context, context.live(), await context.board("24h"), query);
  yield* blocksOf(rows, query.order, (rig) => rigSummary(context, rig));
}

export async function* workerRows(context: Context, query: WorkerFilter): AsyncGenerator<readonly WorkerSummary[]> {
  const board = await context.board("24h");
  yield* blocksOf(workersOf(context.live(), board, query), query.order, (one) => workerSummary(one, board));
}

export async function rigsAnswer(context: Context, query: z.infer<typeof rigsQuerySchema>): Promise<RigsAnswer> {
  const board = await context.board("24h");
  const live = context.live();
  const rows = rigsOf(context, live, board, query);
  const page = pageOf(rows, query);
  return {
    items: page.items.map((rig) => rigSummary(context, rig)),
    next: page.next,
    total: rows.length,
    ...context.age(live.atMs),
  };
}

/** What is searched and sorted is read as it lies there; only the rows that are shown are put into words. */
function rigsOf(context: Context, live: LivePool, board: Board, query: RigFilter): Keyed<RigFacts>[] {
  const value = (rig: RigFacts, name: string): number | string | null => {
    switch (query.sort) {
      case "earned":
        return Number(sumsOf(rig).earnedWei);
      case "jobs":
        return Number(sumsOf(rig).jobs);
      case "success":
        return successOf(rig);
      case "speed":
        return realTimeRatio(sumsOf(rig));
      case "streams":
        return rig.live?.streams ?? 0;
      case "seen":
        return lastSeenMsOf(rig) ?? null;
      case "name":
        return name;
    }
  };
  const rows: Keyed<RigFacts>[] = [];
  for (const rig of allRigs(live, board)) {
    const name = `${rig.name.worker}.${rig.name.rig}`;
    if (query.state !== undefined && stateOf(rig) !== query.state) continue;
    if (query.standing !== undefined && rig.live?.standing !== query.standing) continue;
    if (query.device !== undefined && !hasDevice(context, rig.name, query.device)) continue;
    if (!matches(query.search, name)) continue;
    rows.push({ item: rig, away: stateOf(rig) === "offline", value: value(rig, name), name });
  }
  return rows;
}

interface WorkerFacts {
  readonly worker: WorkerAddress;
  readonly rigs: readonly LiveRig[];
  readonly line: RollupLine | undefined;
}

const workerSeenMsOf = ({ rigs, line }: WorkerFacts): number | undefined =>
  latest(line?.seenAtMs, line?.lastJobAtMs, ...rigs.map((rig) => rig.lastSeenMs));

export async function workersAnswer(
  context: Context,
  query: z.infer<typeof workersQuerySchema>,
): Promise<WorkersAnswer> {
  const board = await context.board("24h");
  const live = context.live();
  const rows = workersOf(live, board, query);
  const page = pageOf(rows, query);
  return {
    items: page.items.map((one) => workerSummary(one, board)),
    next: page.next,
    total: rows.length,
    ...context.age(live.atMs),
  };
}

function workersOf(live: LivePool, board: Board, query: WorkerFilter): Keyed<WorkerFacts>[] {
  const byWorker = new Map<WorkerAddress, LiveRig[]>();
  for (const rig of live.rigs.values()) {
    const rigs = byWorker.get(rig.worker);
    if (rigs) rigs.push(rig);
    else byWorker.set(rig.worker, [rig]);
  }
  const value = (one: WorkerFacts): number | string | null => {
    switch (query.sort) {
      case "earned":
        return Number(sumsOf(one).earnedWei);
      case "jobs":
        return Number(sumsOf(one).jobs);
      case "success":
        return successPpm(sumsOf(one));
      case "speed":
        return realTimeRatio(sumsOf(one));
      case "seen":
        return workerSeenMsOf(one) ?? null;
      case "worker":
        return one.worker;
    }
  };
  const rows: Keyed<WorkerFacts>[] = [];
  for (const worker of new Set([...byWorker.keys(), ...board.workers.keys()])) {
    const item = { worker, rigs: byWorker.get(worker) ?? [], line: board.workers.get(worker) };
    if (query.state !== undefined && bestState(item.rigs) !== query.state) continue;
    if (!matches(query.search, worker)) continue;
    rows.push({ item, away: bestState(item.rigs) === "offline", value: value(item), name: worker });
  }
  return rows;
}

export function bestState(rigs: readonly Pick<LiveRig, "state">[]): LiveRig["state"] {
  if (rigs.some((rig) => rig.state === "online")) return "online";
  return rigs.some((rig) => rig.state === "draining") ? "draining" : "offline";
}

function workerSummary(facts: WorkerFacts, board: Board): WorkerSummary {
  const { worker, rigs, line } = facts;
  const sums = sumsOf(facts);
  const names = new Set([...rigs.map((rig) => rig.rig), ...(board.rigsOf.get(worker) ?? []).map((one) => one.rig)]);
  return {
    worker,
    state: bestState(rigs),
    rigsOnline: rigs.filter((rig) => rig.state !== "offline").length,
    rigs: names.size,
    streams: rigs.reduce((sum, rig) => sum + rig.streams, 0),
    jobsInFlight: rigs.reduce((sum, rig) => sum + rig.jobsInFlight, 0),
    firstSeenAt: timeOrNull(line?.firstAtMs),
    lastSeenAt: timeOrNull(workerSeenMsOf(facts)),
    lastJobAt: timeOrNull(line?.lastJobAtMs),
    jobs24h: Number(sums.jobs),
    earned24hWei: sums.earnedWei.toString(),
    successPpm: successPpm(sums),
    realTimeRatio: realTimeRatio(sums),
    spark: sparkOf(line),
  };
}

export async function leaderboardAnswer(
  context: Context,
  query: z.infer<typeof leaderboardQuerySchema>,
): Promise<LeaderboardAnswer> {
  const board = await context.board(query.window);
  const live = context.live();
  const online = new Map<string, number>();
  for (const rig of live.rigs.values()) {
    if (rig.state !== "offline") online.set(rig.worker, (online.get(rig.worker) ?? 0) + 1);
  }
  const rows = [...board.workers.values()].filter((line) => line.sums.jobs > 0n);
  const value = ({ sums }: RollupLine): number | null => {
    switch (query.by) {
      case "earned":
        return Number(sums.earnedWei);
      case "jobs":
        return Number(sums.jobs);
      case "pixels":
        return Number(sums.pixels);
      case "success":
        return successPpm(sums);
      case "speed":
        return realTimeRatio(sums);
    }
  };
  const page = pageOf(
    rows.map((item) => ({ item, away: false, value: value(item), name: item.worker })),
    { ...query, order: "desc" },
  );
  return {
    ...context.age(board.atMs),
    window: query.window,
    by: query.by,
    better: "more",
    total: rows.length,
    next: page.next,
    items: page.items.map((line, i) => ({
      rank: page.start + i + 1,
      worker: line.worker,
      rigsOnline: online.get(line.worker) ?? 0,
      sums: sumsJson(line.sums, board.fromMs, board.toMs),
    })),
  };
}
