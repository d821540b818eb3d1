import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ConditionRule, type ConditionState, newCondition, observe, ripen } from "./conditions.ts";
import type { Alert } from "./types.ts";

const rule: ConditionRule = { kind: "rig-offline", raiseAfterMs: 300_000, clearAfterMs: 120_000 };
const fresh = newCondition({ kind: "rig-offline", subject: "0xA.rig", threshold: "" }, { rig: "rig" }, 0);
const MINUTE = 60_000;

/** Goes through what is seen at which minute, looking every minute; answers when what was told. */
function told(seen: readonly (readonly [minute: number, bad: boolean])[], untilMinute: number): string[] {
  let state: ConditionState = fresh;
  const said: string[] = [];
  for (let minute = 0; minute <= untilMinute; minute++) {
    const nowMs = minute * MINUTE;
    for (const [at, bad] of seen) if (at === minute) state = observe(state, rule, { bad, atMs: nowMs }, nowMs);
    const result = ripen(state, nowMs);
    ({ state } = result);
    if (result.alert) said.push(`${minute} ${result.alert.phase}`);
  }
  return said;
}

describe("a condition", () => {
  test("is told when it lasts, and again when it is over", () => {
    expect(
      told(
        [
          [1, true],
          [20, false],
        ],
        60,
      ),
    ).toEqual(["6 raised", "22 cleared"]);
  });

  test("that is over before it counts is not told at all", () => {
    expect(
      told(
        [
          [1, true],
          [5, false],
          [10, true],
          [14, false],
        ],
        60,
      ),
    ).toEqual([]);
  });

  test("that comes back at once is not told to be over", () => {
    expect(
      told(
        [
          [1, true],
          [10, false],
          [11, true],
          [12, false],
          [13, true],
        ],
        60,
      ),
    ).toEqual(["6 raised"]);
  });

  test("that keeps coming back must stay well for longer each time", () => {
    const seen = [
      [1, true],
      [10, false],
      [20, true],
      [30, false],
      [50, true],
      [60, false],
    ] as const;
    expect(told(seen, 120)).toEqual(["6 raised", "12 cleared", "25 raised", "34 cleared", "55 raised", "68 cleared"]);
  });

  test("that is seen again as it was is the same one, so that nobody writes it", () => {
    const bad = observe(fresh, rule, { bad: true, atMs: 7, data: { a: 1, b: 2 } }, 7);
    expect(observe(bad, rule, { bad: true, atMs: 8, data: { b: 2, a: 1 } }, 8)).toBe(bad);
    expect(observe(bad, rule, { bad: true, atMs: 8, data: { a: 3, b: 2 } }, 8).data).toEqual({ a: 3, b: 2 });
    expect(observe(fresh, rule, { bad: false, atMs: 7, data: { a: 1 } }, 7)).toBe(fresh);
  });

  test("names when it began, not when it was told", () => {
    const bad = observe(fresh, rule, { bad: true, atMs: 7 }, 7);
    expect(ripen(bad, 7 + rule.raiseAfterMs).alert).toMatchObject({ atMs: 7, phase: "raised", rig: "rig" });
  });

  test("is raised and cleared in turns and never twice under one key, whatever is seen", () => {
    const step = fc.record({ afterMs: fc.integer({ min: 1, max: 4_000_000 }), bad: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let state: ConditionState = fresh;
        let nowMs = 0;
        const alerts: Alert[] = [];
        for (const { afterMs, bad } of steps) {
          nowMs += afterMs;
          const before = ripen(state, nowMs);
          if (before.alert) alerts.push(before.alert);
          state = observe(before.state, rule, { bad, atMs: nowMs }, nowMs);
        }
        expect(alerts.map((one) => one.phase)).toEqual(alerts.map((_, i) => (i % 2 === 0 ? "raised" : "cleared")));
        expect(new Set(alerts.map((one) => one.key)).size).toBe(alerts.length);
      }),
    );
  });
});
