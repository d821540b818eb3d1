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
    behind: false,
    silent: false,
    /** As after a restart. */
    open: () =>
      new SchemeKeeper({
        clock,
        logger: silentLogger,
        terms: new TermsBook(versions),
        readyWorkers: () => world.ready,
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
        tell: async () => {},
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

test("a slot goes to who was ready at every look in it", async () => {
  const world = openKeeper(termsVersion(1, { schemeOptions: { uptime: { budgetWeiPerDay: "144", slotMs: 600_000 } } }));
  await using keeper = world.open();
  // Right after a start nobody is judged.
  world.clock.advance(60_000);
  await keeper.look();
  world.ready = [ada];
  world.clock.advance(10_000);
  await keeper.look();
  world.ready = [ada, bob];
  world.clock.advance(600_000);
  await keeper.look();
  expect(world.slots).toEqual([[Date.parse("2026-01-01T00:30:00Z") / 600_000, [ada]]]);
  keeper.stop();
});

test("a slot that could not be booked is booked later, and those after it too", async () => {
  const uptime = { uptime: { budgetWeiPerDay: "144", slotMs: 600_000 } };
  const ended = { ...termsVersion(2), effectiveAtMs: Date.parse("2026-01-01T00:50:00Z") };
  const world = openKeeper(termsVersion(1, { schemeOptions: uptime }), ended);
  await using keeper = world.open();
  // It looks when it is told only.
  keeper.stop();
  const first = Date.parse("2026-01-01T00:30:00Z") / 600_000;
  world.clock.advance(60_000);
  await keeper.look();
  world.silent = true;
  world.clock.advance(600_000);
  await keeper.look();
  world.ready = [ada];
  world.clock.advance(10_000);
  await keeper.look();
  expect(world.slots).toEqual([]);
  world.silent = false;
  // The last slot under terms with a bonus is over with them.
  world.clock.advance(600_000);
  await keeper.look();
  expect(world.slots).toEqual([
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
