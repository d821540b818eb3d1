import { silentLogger, type StoppedClock, stoppedClock } from "@openpool/base";
import { formatRig, type RigName, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { openRollups, PgRigNames } from "../store/index.ts";
import { ada, bob, creditOf } from "../store/testing/sample-credit.ts";
import { openTestStore } from "../store/testing/test-store.ts";
import { RigNames, type RigNameRecord, type RigNameStore } from "./rig-names.ts";

const DAY_MS = 86_400_000;
const rig = (name: string, worker: WorkerAddress = ada): RigName => ({ worker, rig: name });

/** A pool with little room for names, and what was taken out of its books. */
async function small(saved: readonly RigNameRecord[] = []) {
  const clock = stoppedClock("2026-11-21T12:00:00Z");
  const here = new Set<string>();
  const forgotten: string[] = [];
  const store: RigNameStore & { fails: boolean } = {
    fails: false,
    read: () => Promise.resolve(saved),
    forget(names) {
      if (store.fails) return Promise.reject(new Error("no database"));
      forgotten.push(...names.map(formatRig));
      return Promise.resolve();
    },
  };
  const isHere = (name: RigName): boolean => here.has(formatRig(name));
  const names = await RigNames.open(
    { store, clock, logger: silentLogger, isHere },
    { perWorker: 3, inAll: 5, keptMs: 7 * DAY_MS },
  );
  const join = (name: RigName): boolean => {
    const admitted = names.admit(name);
    if (admitted) here.add(formatRig(name));
    return admitted;
  };
  const leave = (name: RigName): void => void here.delete(formatRig(name));
  const sweep = async (): Promise<void> => {
    // One may be under way that began before the clock was put forward.
    await names.sweep();
    await names.sweep();
  };
  return { clock, names, store, forgotten, join, leave, sweep };
}

test("a new name takes the place of the longest unseen one of its address, never of one that is here", async () => {
  const { names, join, leave, forgotten, sweep } = await small();
  for (const name of ["a", "b", "c"]) expect(join(rig(name))).toBe(true);
  expect(join(rig("d"))).toBe(false);
  leave(rig("b"));
  leave(rig("c"));
  expect(join(rig("d"))).toBe(true);
  // One that comes back is not new.
  expect(join(rig("c"))).toBe(true);
  expect(names.unproven).toBe(3);
  await sweep();
  expect(forgotten).toEqual([formatRig(rig("b"))]);
});

test("addresses cannot crowd each other out of a place that somebody holds", async () => {
  const { join, leave, forgotten, sweep } = await small();
  for (const name of ["a", "b", "c"]) join(rig(name));
  for (const name of ["a", "b"]) join(rig(name, bob));
  expect(join(rig("c", bob))).toBe(false);
  leave(rig("a"));
  expect(join(rig("c", bob))).toBe(true);
  await sweep();
  expect(forgotten).toEqual([formatRig(rig("a"))]);
});

test("what did a job takes nobody's place and is not forgotten", async () => {
  const saved = [{ name: rig("old"), seenAtMs: 0, worked: true }];
  const { join, leave, names, forgotten, clock, sweep } = await small(saved);
  for (const name of ["a", "b", "c"]) join(rig(name));
  expect(join(rig("old"))).toBe(true);
  names.worked(rig("a"));
  expect(join(rig("d"))).toBe(true);
  for (const name of ["old", "a", "b", "c", "d"]) leave(rig(name));
  clock.advance(8 * DAY_MS);
  await sweep();
  expect(forgotten.toSorted()).toEqual(["b", "c", "d"].map((name) => formatRig(rig(name))));
  expect(names.unproven).toBe(0);
});

test("a name without a job is forgotten some days after it was last here, also by the process after this one", async () => {
  const seen = (name: string, at: string): RigNameRecord => {
    return { name: rig(name), seenAtMs: Date.parse(at), worked: false };
  };
  const { join, names, forgotten, clock, sweep } = await small([
    seen("long-gone", "2026-11-01T00:00:00Z"),
    seen("returns", "2026-11-02T00:00:00Z"),
    seen("gone", "2026-11-20T00:00:00Z"),
  ]);
  join(rig("returns"));
  await sweep();
  expect(forgotten).toEqual([formatRig(rig("long-gone"))]);
  clock.advance(6 * DAY_MS);
  await sweep();
  expect(forgotten).toHaveLength(2);
  // It is still here, however long it had no work.
  clock.advance(30 * DAY_MS);
  await sweep();
  expect(names.unproven).toBe(1);
});

test("nobody takes a place any more while too many wait to be taken out", async () => {
  const { join, leave, sweep, store, forgotten } = await small();
  const joins = (name: string): boolean => {
    const admitted = join(rig(name));
    leave(rig(name));
    return admitted;
  };
  store.fails = true;
  const admitted = Array.from({ length: 20 }, (_, i) => joins(`rig${i}`)).filter(Boolean);
  // Three that stay, and five that wait to be taken out.
  expect(admitted.length).toBe(8);
  await sweep();
  expect(joins("late")).toBe(false);
  store.fails = false;
  await sweep();
  expect(forgotten.length).toBe(5);
  expect(joins("late")).toBe(true);
});

test("what could not be taken out is taken out later", async () => {
  const { join, leave, sweep, store, forgotten, clock } = await small();
  join(rig("a"));
  leave(rig("a"));
  clock.advance(8 * DAY_MS);
  store.fails = true;
  await sweep();
  expect(forgotten).toEqual([]);
  store.fails = false;
  await sweep();
  expect(forgotten).toEqual([formatRig(rig("a"))]);
});

test("of rigs and addresses that never did a job nothing stays in the database; what worked stays whole", async () => {
  const clock: StoppedClock = stoppedClock("2026-11-21T12:00:00Z");
  await using store = await openTestStore({ clock });
  await using rollups = await openRollups(store.database.connection, {
    logger: silentLogger,
    clock,
    onAppended: (callback) => store.onAppended(callback),
  });
  const stranger = "0x00000000000000000000000000000000000000AA" as WorkerAddress;
  const invented = [rig("invented"), rig("one", bob), rig("two", bob)];
  await store.append([
    ...[rig("works"), ...invented].map(({ worker, rig: name }) => {
      return { type: "rig.joined", worker, rig: name, data: { connection: "c1" } };
    }),
    { type: "attempt.failed", worker: bob, rig: "one", data: { kind: "late" } },
    { type: "rig.refused", data: { reason: "wrong-password", worker: stranger } },
  ]);
  await store.credit({ ...creditOf(ada, "works", 1_000n), data: { attempts: 1, durationMs: 2_000, tookMs: 700 } });
  await rollups.catchUp();
  await store.database.query(
    `insert into openpool.alert_conditions (kind, subject, threshold, worker, rig, bad, since, raised, episodes, connections, data)
     select 'rig-offline', worker || '.' || rig, '', worker, rig, true, now(), true, 1, '{}', '{}'
     from openpool.rollup_subjects where rig <> ''`,
  );
  const left = async (table: string) =>
    (
      await store.database.query<{ name: string }>(
        `select worker || '.' || rig as name from openpool.${table} where worker <> '' order by 1`,
      )
    ).map((row) => row.name);
  const names = new PgRigNames(store.database.connection);
  expect((await names.read()).map(({ name, worked }) => `${formatRig(name)} ${worked}`).toSorted()).toEqual(
    [`${formatRig(rig("works"))} true`, ...invented.map((one) => `${formatRig(one)} false`)].toSorted(),
  );
  // Of what is believed in memory the database knows better.
  await names.forget([rig("works"), ...invented], clock.now() - DAY_MS);
  const rigs = [formatRig(rig("works"))];
  expect(await left("alert_conditions")).toEqual(rigs);
  expect(await left("rollup_subjects")).toEqual([`${stranger}.`, `${bob}.`, `${ada}.`, ...rigs].toSorted());
  await names.forget([], clock.now() + DAY_MS);
  expect(await left("rollup_subjects")).toEqual([`${ada}.`, ...rigs]);
  expect(await rollups.totals({ worker: ada })).toMatchObject({ jobs: 1n });
  // One that comes back is counted as if it were new.
  await store.append([{ type: "rig.joined", worker: bob, rig: "one", data: { connection: "c2" } }]);
  await rollups.catchUp();
  expect((await rollups.known(bob)).map((one) => one.rig)).toEqual(["", "one"]);
});
