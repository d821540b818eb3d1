import { silentLogger, stoppedClock } from "@openpool/base";
import { checksumAddress, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { type Terms, TermsBook } from "../ledger/terms.ts";
import { termsVersion } from "../store/testing/ledger-world.ts";
import { periodMsOf, SchemeKeeper } from "./scheme-keeper.ts";

const HOUR = 3_600_000;
const [ada, bob] = [1, 2].map((n) => checksumAddress(new Uint8Array(20).fill(n))) as [WorkerAddress, WorkerAddress];

function openKeeper(...versions: readonly Terms[]) {
  const clock = stoppedClock("2026-01-01T00:30:00Z");
  const world = {
    clock,
    ready: [ada, bob] as WorkerAddress[],
    readTo: "always" as number | "always" | undefined,
    last: undefined as string | undefined,
    settled: [] as string[],
    slots: [] as [number, readonly string[]][],
    /** What checks come to; the others pass. */
    checks: new Map<WorkerAddress, "failed" | "none">(),
    checked: [] as WorkerAddress[],
    told: [] as Readonly<Record<string, unknown>>[],
    behind: false,
    silent: false,
    /** As after a restart. */
    open: () =>
      new SchemeKeeper({
        clock,
        logger: silentLogger,
        terms: new TermsBook(versions),
        readyWorkers: () => world.ready,
        async check(worker) {
          world.checked.push(worker);
          return world.checks.get(worker) ?? "passed";
        },
        incomeReadTo: () => world.readTo,
        store: {
          lastPeriod: async () => world.last,
          skipPeriod: async (period) => void (world.last = period),
          async settle(period) {
            if (world.behind) return "behind";
            world.settled.push(period);
            world.last = period;
            return "settled";
          },
          async bookUptime(_bonus, slot, ready) {
            if (world.silent) throw new Error("the database does not answer");
            world.slots.push([slot, ready]);
            return "booked";
          },
        },
        keepDay: async () => {},
        tell: async ({ data }) => void world.told.push(data),
      }),
  };
  return world;
}
const shared = termsVersion(1, { scheme: "proportional", schemeOptions: { periodMs: HOUR } });

test("every period is settled when it is over, once, also across restarts", async () => {
  const world = openKeeper(shared);
  await using first = world.open();
  await first.look();
  world.clock.advance(HOUR / 2 - 1);
  await first.look();
  expect(world.settled).toEqual([]);
  world.clock.advance(1);
  await first.look();
  await first.look();
  await using second = world.open();
  await second.look();
  expect(world.settled).toEqual(["2026-01-01T00:00:00.000Z"]);
  world.clock.advance(HOUR);
  await second.look();
  expect(world.settled).toEqual(["2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00.000Z"]);
});

test("a period waits for the books, and for the income of its time to be read", async () => {
  const world = openKeeper(shared);
  await using keeper = world.open();
  await keeper.look();
  world.clock.advance(HOUR / 2);
  world.readTo = undefined;
  await keeper.look();
  world.readTo = Date.parse("2026-01-01T00:59:59Z");
  await keeper.look();
  world.readTo = Date.parse("2026-01-01T01:00:00Z");
  world.behind = true;
  await keeper.look();
  expect(world.settled).toEqual([]);
  world.behind = false;
  await keeper.look();
  expect(world.settled).toEqual(["2026-01-01T00:00:00.000Z"]);
});

test("what was earned before the terms stopped to share is settled like any period", async () => {
  const ended = { ...termsVersion(2), effectiveAtMs: Date.parse("2026-01-01T01:00:00Z") };
  const world = openKeeper(shared, ended);
  await using keeper = world.open();
  await keeper.look();
  world.clock.advance(HOUR / 2);
  await keeper.look();
  expect(world.settled).toEqual(["2026-01-01T00:00:00.000Z"]);
});

test("a period that was settled while the clock had jumped ahead does not stop those that come", async () => {
  const world = openKeeper(shared);
  world.last = "2026-03-01T00:00:00.000Z";
  await using keeper = world.open();
  await keeper.look();
  expect(world.settled).toEqual([]);
  world.clock.advance(HOUR);
  await keeper.look();
  expect(world.settled).toEqual(["2026-01-01T00:00:00.000Z"]);
});

const SLOT_MS = 600_000;
const uptime = { uptime: { budgetWeiPerDay: "144", slotMs: SLOT_MS } };
/** The slot that the tests begin in. */
const first = Date.parse("2026-01-01T00:30:00Z") / SLOT_MS;

/** A keeper that looks only when it is told to, in the first slot that it judges. */
async function openSlot(...versions: readonly Terms[]) {
  const world = openKeeper(...versions);
  const keeper = world.open();
  keeper.stop();
  const lookAt = async (at: string): Promise<void> => {
    world.clock.advance(Date.parse(`2026-01-01T${at}Z`) - world.clock.now());
    await keeper.look();
  };
  await lookAt("00:30:00");
  // Right after a start nobody is judged.
  await lookAt("00:31:00");
  return { ...world, world, keeper, lookAt, [Symbol.asyncDispose]: () => keeper[Symbol.asyncDispose]() };
}

test("a slot goes to who was ready at every look in it, and passed a check", async () => {
  await using slot = await openSlot(termsVersion(1, { schemeOptions: uptime }));
  slot.world.ready = [ada];
  await slot.lookAt("00:31:10");
  slot.world.ready = [ada, bob];
  await slot.lookAt("00:34:59");
  expect(slot.checked).toEqual([]);
  await slot.lookAt("00:35:00");
  expect(slot.checked).toEqual([ada]);
  await slot.lookAt("00:40:00");
  expect(slot.told).toEqual([{ slot: "2026-01-01T00:30:00.000Z", passed: [ada], failed: [], unchecked: [] }]);
  await slot.lookAt("00:40:10");
  expect(slot.slots).toEqual([[first, [ada]]]);
});

test("who is connected all the time and fails its check has no part of the slot, and neither has who was never seen to work", async () => {
  const eve = checksumAddress(new Uint8Array(20).fill(3));
  await using slot = await openSlot(termsVersion(1, { schemeOptions: uptime }));
  slot.world.ready = [ada, bob, eve];
  slot.checks.set(bob, "failed").set(eve, "none");
  // Only who is ready from the first look on counts: this is the next slot.
  for (const at of ["00:40:00", "00:45:00", "00:45:10", "00:45:20", "00:45:30", "00:50:00", "00:50:10"]) {
    await slot.lookAt(at);
  }
  expect(slot.told.at(-1)).toEqual({
    slot: "2026-01-01T00:40:00.000Z",
    passed: [ada],
    failed: [bob],
    unchecked: [eve],
  });
  expect(slot.slots.at(-1)).toEqual([first + 1, [ada]]);
  // One failure may be the network's, three are not; who could not be asked is asked again.
  const counted = (worker: WorkerAddress): number => slot.checked.filter((one) => one === worker).length;
  expect([counted(ada), counted(bob), counted(eve)]).toEqual([1, 3, 4]);
});

test("work that was verified is a check, and after a failed check the next one counts", async () => {
  await using slot = await openSlot(termsVersion(1, { schemeOptions: uptime }));
  slot.keeper.worked(ada);
  slot.checks.set(bob, "failed");
  await slot.lookAt("00:35:00");
  slot.checks.clear();
  await slot.lookAt("00:36:00");
  await slot.lookAt("00:37:00");
  await slot.lookAt("00:40:00");
  await slot.lookAt("00:40:10");
  expect(slot.checked).toEqual([bob, bob]);
  expect(slot.slots).toEqual([[first, [ada, bob]]]);
});

test("a slot in which the pool began too late to check anybody is not given out", async () => {
  const world = openKeeper(termsVersion(1, { schemeOptions: uptime }));
  world.clock.advance(300_000);
  await using keeper = world.open();
  keeper.stop();
  world.clock.advance(60_000);
  for (let i = 0; i < 60; i++) {
    await keeper.look();
    world.clock.advance(10_000);
  }
  expect(world.told).toEqual([]);
});

test("a slot that could not be booked is booked later, and those after it too", async () => {
  const ended = { ...termsVersion(2), effectiveAtMs: Date.parse("2026-01-01T00:50:00Z") };
  await using slot = await openSlot(termsVersion(1, { schemeOptions: uptime }), ended);
  slot.keeper.worked(ada);
  slot.keeper.worked(bob);
  slot.world.silent = true;
  await slot.lookAt("00:40:00");
  slot.world.ready = [ada];
  slot.keeper.worked(ada);
  await slot.lookAt("00:41:00");
  expect(slot.slots).toEqual([]);
  slot.world.silent = false;
  // The last slot under terms with a bonus is over with them.
  await slot.lookAt("00:50:00");
  await slot.lookAt("00:50:10");
  expect(slot.slots).toEqual([
    [first, [ada, bob]],
    [first + 1, [ada]],
  ]);
});

test("the shortest period of all overrides counts, and without sharing there is none", () => {
  expect(periodMsOf(termsVersion(1))).toBeUndefined();
  expect(periodMsOf(shared)).toBe(HOUR);
  const overrides = [
    { name: "x", workers: [ada], scheme: "blend", schemeOptions: { lambdaPpm: "1", periodMs: 60_000 } },
  ];
  expect(periodMsOf(termsVersion(1, { overrides }))).toBe(60_000);
  expect(periodMsOf({ ...shared, overrides })).toBe(60_000);
});
