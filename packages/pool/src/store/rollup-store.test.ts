import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { times } from "../../../../test/chance.ts";
import { openRollups } from "./rollup-store.ts";
import { noSums, type Rollups, type RollupSums } from "./rollup-types.ts";
import { ada, bob, creditOf } from "./testing/sample-credit.ts";
import { openTestStore } from "./testing/test-store.ts";
import type { Store } from "./types.ts";

const HOUR_MS = 3_600_000;
type TestStore = Awaited<ReturnType<typeof openTestStore>>;

const open = (store: TestStore, clock = systemClock): Promise<Rollups> =>
  openRollups(store.database.connection, {
    logger: silentLogger,
    clock,
    onAppended: (callback) => store.onAppended(callback),
  });

async function work(
  store: Store,
  worker: WorkerAddress,
  rig: string,
  pixels: bigint,
  data: Record<string, unknown> = {},
): Promise<void> {
  const credit = creditOf(worker, rig, pixels);
  await store.credit({ ...credit, data: { attempts: 1, durationMs: 2_000, tookMs: 700, ...data } });
}

test("adds up the pool, each worker and each rig", async () => {
  await using store = await openTestStore();
  await using rollups = await open(store);
  await work(store, ada, "rig1", 1_000n);
  await work(store, ada, "rig2", 3n, { attempts: 2, tookMs: 1_000 });
  await work(store, bob, "rig1", 10n, { renditions: [{ pixels: "10", claimedPixels: "12" }] });
  await store.append([
    { type: "attempt.failed", worker: ada, rig: "rig1", data: { kind: "late" } },
    { type: "job.failed", data: { reason: "deadline" } },
    { type: "job.failed", data: { reason: "deadline" } },
  ]);
  await rollups.catchUp();
  const of = async (subject: Parameters<Rollups["totals"]>[0]): Promise<RollupSums> => rollups.totals(subject);
  expect(await of({})).toEqual({
    jobs: 3n,
    lostJobs: 2n,
    rescuedJobs: 1n,
    failedAttempts: 1n,
    pixels: 1_013n,
    claimedPixels: 1_015n,
    feeWei: 1_013_000n,
    earnedWei: 759_750n,
    sourceMs: 6_000n,
    workMs: 2_400n,
  });
  expect(await of({ worker: ada })).toMatchObject({ jobs: 2n, lostJobs: 0n, failedAttempts: 1n, pixels: 1_003n });
  expect(await of({ worker: ada, rig: "rig2" })).toMatchObject({ jobs: 1n, rescuedJobs: 1n, failedAttempts: 0n });
  expect(await of({ worker: bob, rig: "nobody" })).toEqual(noSums);
  const [minutes, hours] = await rollups.sums({ worker: ada }, [
    { step: "minute", fromMs: Date.now() - HOUR_MS },
    { step: "hour", fromMs: Date.now() - 2 * HOUR_MS },
  ]);
  expect(minutes).toEqual(await of({ worker: ada }));
  expect(hours).toEqual(minutes);
  const latency = await rollups.latency({}, Date.now() - 2 * HOUR_MS);
  expect([latency[2], latency[4], latency.reduce((sum, n) => sum + n, 0)]).toEqual([2, 1, 3]);
});

test("counts each event once, whoever counts and however often it is begun anew", async () => {
  await using store = await openTestStore();
  const many = 300;
  for (let i = 0; i < many; i++) void work(store, i % 2 ? ada : bob, `rig${i % 7}`, BigInt(i));
  await using first = await open(store);
  await using second = await open(store);
  await store.append([{ type: "pool.started", data: {} }]);
  await Promise.all([first.catchUp(), second.catchUp()]);
  const killed = await open(store);
  void killed[Symbol.asyncDispose]();
  await work(store, ada, "rig1", 5n);
  await Promise.all([first.catchUp(), second.catchUp()]);
  expect(await second.totals({})).toMatchObject({
    jobs: BigInt(many + 1),
    pixels: BigInt((many * (many - 1)) / 2 + 5),
  });
});

test("counted anew, the sums are the same", async () => {
  await using store = await openTestStore();
  await using rollups = await open(store);
  for (let i = 0; i < 50; i++) await work(store, i % 3 ? ada : bob, `rig${i % 4}`, BigInt(i * i));
  await rollups.catchUp();
  const all = (): Promise<readonly object[]> =>
    store.database.query(
      `select 'm' as t, m.subject, m.at, jobs, pixels, fee, earned, positions::text as more from openpool.rollup_minutes m
       union all select 'h', h.subject, h.at, jobs, pixels, fee, earned, h.l3::text from openpool.rollup_hours h
       union all select 'd', d.subject, d.at, jobs, pixels, fee, earned, d.l2::text from openpool.rollup_days d
       order by 1, 2, 3`,
    );
  const before = await all();
  await rollups.rebuild();
  expect(await all()).toEqual(before);
  expect(before.length).toBeGreaterThan(12);
});

test("the sums of any stream of events are those of the events", async () => {
  await using store = await openTestStore();
  await using rollups = await open(store);
  const sums = new Map<string, RollupSums>();
  const add = (key: string, what: Partial<RollupSums>): void => {
    const old = sums.get(key) ?? noSums;
    const next = { ...old };
    for (const [name, value] of Object.entries(what) as [keyof RollupSums, bigint][]) next[name] = old[name] + value;
    sums.set(key, next);
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          worker: fc.constantFrom(ada, bob),
          rig: fc.constantFrom("a", "b"),
          pixels: fc.bigInt(0n, 10n ** 20n),
          tookMs: fc.nat(20_000),
          attempts: fc.integer({ min: 1, max: 4 }),
          kind: fc.constantFrom("job", "failed", "lost", "other"),
        }),
        { maxLength: 25 },
      ),
      async (events) => {
        await Promise.all(
          events.map(async ({ worker, rig, pixels, tookMs, attempts, kind }) => {
            const keys = ["", worker, `${worker}.${rig}`];
            if (kind === "job") {
              const fee = pixels * 1000n;
              const one: Partial<RollupSums> = {
                jobs: 1n,
                pixels,
                claimedPixels: pixels,
                feeWei: fee,
                earnedWei: fee - (fee * 250_000n) / 1_000_000n,
                rescuedJobs: attempts > 1 ? 1n : 0n,
                sourceMs: 2_000n,
                workMs: BigInt(tookMs),
              };
              for (const key of keys) add(key, one);
              await work(store, worker, rig, pixels, { tookMs, attempts });
            } else if (kind === "failed") {
              for (const key of keys) add(key, { failedAttempts: 1n });
              await store.append([{ type: "attempt.failed", worker, rig, data: {} }]);
            } else {
              if (kind === "lost") add("", { lostJobs: 1n });
              await store.append([{ type: kind === "lost" ? "job.failed" : "claim.differed", data: {} }]);
            }
          }),
        );
        await rollups.catchUp();
        for (const [key, expected] of sums) {
          const [worker, rig] = key.split(".") as [WorkerAddress | "", string | undefined];
          expect(await rollups.totals(worker === "" ? {} : { worker, rig })).toEqual(expected);
        }
      },
    ),
    { numRuns: times(15) },
  );
});

test("minutes are dropped after two days, hours after 400, and days stay", async () => {
  const clock = stoppedClock(Date.now());
  await using store = await openTestStore({ clock });
  await using rollups = await open(store, clock);
  await work(store, ada, "rig1", 7n);
  await rollups.catchUp();
  const kept = async (table: string): Promise<number> => {
    // It looks every ten minutes.
    clock.advance(HOUR_MS / 6);
    return (await store.database.query(`select from openpool.${table}`)).length;
  };
  clock.advance(50 * HOUR_MS);
  await expect.poll(() => kept("rollup_minutes")).toBe(0);
  expect(await kept("rollup_hours")).toBeGreaterThan(0);
  clock.advance(400 * 24 * HOUR_MS);
  await expect.poll(() => kept("rollup_hours")).toBe(0);
  expect(await rollups.totals({ worker: ada })).toMatchObject({ jobs: 1n });
  const [line] = await rollups.lines("day", 0);
  expect(line).toMatchObject({ worker: ada, sums: { jobs: 1n } });
});

test("jobs of a worker come newest first, page by page, each once, of one rig if asked", async () => {
  // Some of one minute, some of others, with minutes between them in which nothing was done.
  const clock = stoppedClock(Date.now());
  await using store = await openTestStore({ clock });
  await using rollups = await open(store, clock);
  for (let i = 0; i < 23; i++) {
    if (i > 8) clock.advance(i === 15 ? HOUR_MS : 25_000);
    await work(store, ada, i % 3 ? "rig1" : "rig2", BigInt(i));
    await work(store, bob, "rig1", 1n);
  }
  await rollups.catchUp();
  const read = async (limit: number, rig?: string): Promise<string[]> => {
    const seen: string[] = [];
    let before: Parameters<Rollups["jobs"]>[1];
    for (;;) {
      const page = await rollups.jobs({ worker: ada, rig }, before, limit);
      if (page.next) expect(page.events).toHaveLength(limit);
      seen.push(...page.events.map((event) => String(event.data["pixels"])));
      if (!page.next) return seen;
      before = page.next;
    }
  };
  for (const limit of [1, 2, 5, 9, 23, 50]) {
    expect(await read(limit)).toEqual(Array.from({ length: 23 }, (_, i) => String(22 - i)));
    expect(await read(limit, "rig2")).toEqual(["21", "18", "15", "12", "9", "6", "3", "0"]);
  }
  expect(await read(5, "nobody")).toEqual([]);
});

test("what tells how the pool itself is is kept as the log is counted, once, also when it is counted anew", async () => {
  await using store = await openTestStore();
  await using rollups = await open(store);
  await store.append([{ type: "pool.started", data: { generation: 1 } }]);
  await work(store, ada, "rig1", 1n);
  await store.append([
    { type: "payout.paused", data: { reason: "moving house" } },
    { type: "rig.joined", worker: ada, rig: "rig1", data: {} },
    { type: "payout.resumed", data: {} },
    { type: "upstream.left", data: { upstream: "orch", why: "gone" } },
    { type: "pool.no-rigs", data: { since: "2026-11-21T00:00:00.000Z" } },
  ]);
  await rollups.catchUp();
  const kept = async (limit = 10): Promise<readonly string[]> =>
    (await rollups.incidents(0, limit)).map(({ type }) => type);
  const all = ["pool.started", "payout.paused", "payout.resumed", "upstream.left", "pool.no-rigs"];
  expect(await kept()).toEqual(all);
  expect(await kept(2)).toEqual(all.slice(-2));
  expect((await rollups.incidents(0, 10))[1]?.data).toEqual({ reason: "moving house" });
  expect(await rollups.incidents(Date.now() + HOUR_MS, 10)).toEqual([]);
  await rollups.rebuild();
  expect(await kept()).toHaveLength(5);
});

test("a worker that never worked is known by how it was refused", async () => {
  await using store = await openTestStore();
  await using rollups = await open(store);
  await store.append([
    { type: "rig.refused", data: { reason: "wrong-password", explanation: "x", worker: ada } },
    { type: "rig.joined", worker: bob, rig: "r", data: {} },
    { type: "rig.refused", data: { reason: "bad-secret" } },
    { type: "rig.refused", worker: bob, rig: "second", data: { reason: "zero-capacity", worker: bob } },
  ]);
  await rollups.catchUp();
  expect(await rollups.known(ada)).toMatchObject([{ rig: "", refused: { reason: "wrong-password" } }]);
  expect((await rollups.known(bob)).map((one) => [one.rig, one.seenAtMs !== undefined, one.refused?.reason])).toEqual([
    ["", true, "zero-capacity"],
    ["r", true, undefined],
  ]);
  expect(await rollups.lines("hour", 0)).toEqual([]);
});
