import { silentLogger, stoppedClock } from "@openpool/base";
import { checksumAddress, type WorkerAddress } from "@openpool/protocol";
import { expect, test, vi } from "vitest";
import { type Terms, TermsBook } from "../ledger/terms.ts";
import { termsVersion } from "../store/testing/ledger-world.ts";
import { type BookableSlot, periodMsOf, SchemeKeeper } from "./scheme-keeper.ts";

const HOUR = 3_600_000;
const PATIENCE = { timeout: 30_000 };
const [ada, bob] = [1, 2].map((n) => checksumAddress(new Uint8Array(20).fill(n))) as [WorkerAddress, WorkerAddress];

function countdown(): () => number {
  let next = 1;
  return () => (next = next / 2);
}

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
    checks: new Map<WorkerAddress, "failed" | "none" | "broken">(),
    checked: [] as WorkerAddress[],
    told: [] as Readonly<Record<string, unknown>>[],
    /** What the checks wait for. */
    hold: undefined as Promise<void> | undefined,
    /** What the log keeps of slots that nobody booked. */
    unbooked: [] as BookableSlot[],
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
          await world.hold;
          const result = world.checks.get(worker);
          if (result === "broken") throw new Error("it is broken");
          return result ?? "passed";
        },
        checkMs: 8_000,
        // The last is the first.
        random: countdown(),
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
          async unbookedSlots() {
            if (world.silent) throw new Error("the database does not answer");
            return world.unbooked;
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
    // The checks that it began are over, but for those that wait.
    await new Promise(setImmediate);
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
  expect(slot.told).toEqual([
    {
      slot: "2026-01-01T00:30:00.000Z",
      slotMs: SLOT_MS,
      budgetWeiPerDay: "144",
      passed: [ada],
      failed: [],
      unchecked: [],
    },
  ]);
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
  expect(slot.told.at(-1)).toMatchObject({
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

test("a decided slot is booked at once, without another look", async () => {
  await using slot = await openSlot(termsVersion(1, { schemeOptions: uptime }));
  slot.keeper.worked(ada);
  await slot.lookAt("00:40:00");
  await vi.waitFor(() => expect(slot.slots).toEqual([[first, [ada]]]), PATIENCE);
});

test("a slot that ended before the workers were let go is booked, though no look came any more", async () => {
  const world = openKeeper(termsVersion(1, { schemeOptions: uptime }));
  {
    await using keeper = world.open();
    world.clock.advance(60_000);
    await keeper.look();
    keeper.worked(ada);
    // Nothing of what was planned runs: the clock only shows another time.
    vi.spyOn(world.clock, "now").mockReturnValue(Date.parse("2026-01-01T00:40:01Z"));
    keeper.stop();
  }
  expect(world.slots).toEqual([[first, [ada]]]);
});

test("what was decided before a restart, and not booked, is booked after it, once", async () => {
  const world = openKeeper(termsVersion(1));
  world.unbooked = [{ uptime: { budgetWeiPerDay: 144n, slotMs: SLOT_MS }, number: first - 1, passed: [bob] }];
  world.silent = true;
  await using keeper = world.open();
  keeper.stop();
  await keeper.look();
  expect(world.slots).toEqual([]);
  world.silent = false;
  await keeper.look();
  await keeper.look();
  expect(world.slots).toEqual([[first - 1, [bob]]]);
});

test("who never answers does not keep others from their check: more are asked at once, by chance, and earlier", async () => {
  const many = Array.from({ length: 400 }, (_, i) =>
    checksumAddress(new Uint8Array(20).fill(i & 255, 0, 10).fill(1 + (i >> 8), 10)),
  );
  await using slot = await openSlot(termsVersion(1, { schemeOptions: uptime }));
  let answer = (): void => {};
  slot.world.ready = many;
  slot.world.hold = new Promise((resolve) => (answer = resolve));
  await slot.lookAt("00:40:00");
  // 400 checks of eight seconds each are more than four at once can do in a slot of ten minutes.
  expect(slot.checked).toHaveLength(11);
  expect(slot.checked).toEqual(many.slice(-11).reverse());
  answer();
  await vi.waitFor(() => expect(new Set(slot.checked).size).toBe(400), PATIENCE);
});

test("a check that breaks says nothing, and one that runs is waited for at the end, also after the workers were let go", async () => {
  const slot = await openSlot(termsVersion(1, { schemeOptions: uptime }));
  slot.checks.set(bob, "broken");
  let answer = (): void => {};
  slot.world.hold = new Promise((resolve) => (answer = resolve));
  await slot.lookAt("00:35:00");
  slot.keeper.stop();
  let over = false;
  const end = slot[Symbol.asyncDispose]().then(() => (over = true));
  await new Promise(setImmediate);
  expect(over).toBe(false);
  answer();
  await end;
  expect(slot.checked).toHaveLength(2);
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
