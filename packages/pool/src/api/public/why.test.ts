import fc from "fast-check";
import { expect, test } from "vitest";
import { times } from "../../../../../test/chance.ts";
import type { LivePool, LiveRig } from "./ports.ts";
import { liveRig } from "./testing/samples.ts";
import { ada, bob } from "./testing/world.ts";
import { supplyOf } from "./why.ts";

const standings = ["trusted", "new", "probation", "barred"] as const;
const rigs = fc.array(
  fc.record({
    worker: fc.constantFrom(ada, bob),
    standing: fc.constantFrom(...standings),
    streams: fc.integer({ min: 0, max: 4 }),
    success: fc.constantFrom(1, 0.5),
  }),
  { maxLength: 12 },
);
const poolOf = (all: readonly LiveRig[]): LivePool =>
  ({ rigs: new Map(all.map((rig) => [`${rig.worker}.${rig.rig}`, rig])) }) as unknown as LivePool;

test("ahead of a rig are the free rigs of others that would be ahead of it if there were just the two", () => {
  fc.assert(
    fc.property(rigs, (facts) => {
      const all = facts.map((one, i) => liveRig(one.worker, `rig${i}`, { ...one, capacity: 4, speeds: [] }));
      const supply = supplyOf(poolOf(all));
      for (const rig of all) {
        const ahead = all.filter((other) => supplyOf(poolOf([rig, other])).aheadOf(rig) > 0);
        expect(supply.aheadOf(rig)).toBe(ahead.length);
      }
    }),
    { numRuns: times(50) },
  );
});
