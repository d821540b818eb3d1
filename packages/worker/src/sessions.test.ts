import { expect, test } from "vitest";
import { silentLogger, stoppedClock } from "@openpool/base";
import { createSessions } from "./sessions.ts";

function open(devices: readonly [string, ...string[]], maxAtWork = 100, capacityOf = (_device: string): number => 1) {
  const clock = stoppedClock();
  const ended: string[] = [];
  const sessions = createSessions(
    devices,
    { maxAtWork, capacityOf, onEnd: (id, device) => ended.push(`${id} on ${device}`) },
    { clock, logger: silentLogger },
  );
  const enter = (id: string, load = 1) => {
    const slot = sessions.enter(id, load);
    if (slot === "busy") throw new Error("busy");
    return slot;
  };
  return { sessions, clock, ended, enter };
}

test("a session begins on the least loaded device and stays there", () => {
  const { enter, sessions } = open(["a", "b"]);
  expect(enter("large", 1000).device).toBe("a");
  expect(enter("small", 10).device).toBe("b");
  expect(enter("second", 10).device).toBe("b");
  expect(enter("large", 1).device).toBe("a");
  expect(sessions.loads()).toEqual(
    new Map([
      ["a", 1],
      ["b", 20],
    ]),
  );
});

test("a device gets as much as it takes, compared with the others", () => {
  const { enter, sessions } = open(["strong", "weak"], 100, (device) => (device === "strong" ? 20 : 4));
  for (let i = 0; i < 24; i++) enter(`s${i}`, 10);
  expect([...sessions.loads()]).toEqual([
    ["strong", 200],
    ["weak", 40],
  ]);
});

test("a session that is to begin anew chooses its device again, once nothing of it is inside", () => {
  const { sessions, ended, enter } = open(["a", "b"]);
  const first = enter("s", 10);
  enter("other", 5);
  const anew = (): string => {
    const slot = sessions.enter("s", 10, true);
    if (slot === "busy") throw new Error("busy");
    slot.leave();
    return slot.device;
  };
  expect([first.device, anew()]).toEqual(["a", "a"]);
  expect(ended).toEqual([]);
  sessions.enter("third", 20);
  first.leave();
  expect(anew()).toBe("a");
  enter("fourth", 100);
  expect([anew(), ended]).toEqual(["b", ["s on a", "s on a"]]);
});

test("equal devices take turns", () => {
  const { enter } = open(["a", "b", "c"]);
  expect(["1", "2", "3", "4"].map((id) => enter(id, 0).device)).toEqual(["a", "b", "c", "a"]);
});

test("segments of a session take turns, one that gives up lets none overtake", async () => {
  const { enter } = open(["a"]);
  const [first, second, third] = [enter("s"), enter("s"), enter("s")];
  const order: string[] = [];
  void second.turn.then(() => order.push("second"));
  void third.turn.then(() => order.push("third"));
  await first.turn;
  second.leave();
  await Promise.resolve();
  expect(order).toEqual([]);
  first.leave();
  await third.turn;
  expect(order).toEqual(["second", "third"]);
});

test("more than one at work and four waiting are too many", () => {
  const { enter, sessions } = open(["a"]);
  const slots = Array.from({ length: 5 }, () => enter("s"));
  expect(sessions.enter("s", 1)).toBe("busy");
  slots[4]?.leave();
  expect(sessions.enter("s", 1)).not.toBe("busy");
});

test("more sessions at work than the pool was told of are too many", () => {
  const { enter, sessions } = open(["a"], 2);
  const first = enter("1");
  enter("2");
  expect(sessions.enter("3", 1)).toBe("busy");
  first.leave();
  expect(sessions.enter("3", 1)).not.toBe("busy");
});

test("ending a session stops its work, and the next segment begins a new one", () => {
  const { enter, sessions, ended } = open(["a"]);
  const slot = enter("s");
  expect(sessions.end("s")).toBe(true);
  expect(slot.signal.aborted).toBe(true);
  expect(sessions.end("s")).toBe(false);
  expect(enter("s").signal.aborted).toBe(false);
  expect(ended).toEqual(["s on a"]);
});

test("a session without a segment for 70 s is forgotten", () => {
  const { enter, sessions, clock, ended } = open(["a"]);
  enter("old").leave();
  const busy = enter("busy");
  clock.advance(70_000);
  enter("new");
  expect(ended).toEqual(["old on a"]);
  expect(sessions.size).toBe(2);
  busy.leave();
});

test("after a failure a session may begin anew on another device, and a device that keeps failing rests", () => {
  const { enter, sessions, clock } = open(["bad", "good"]);
  for (let i = 0; i < 3; i++) {
    const slot = enter(`s${i}`);
    sessions.report(`s${i}`, "bad", false);
    slot.leave();
  }
  expect(["a", "b", "c"].map((id) => enter(id, 0).device)).toEqual(["good", "good", "good"]);
  clock.advance(60_000);
  expect(["d", "e"].map((id) => enter(id, 0).device)).toContain("bad");
  sessions.report("a", "good", true);
});
