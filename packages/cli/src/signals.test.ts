import { afterEach, expect, test, vi } from "vitest";
import { watchSignals } from "./signals.ts";

afterEach(() => vi.restoreAllMocks());

test("the first signal asks to stop, its echo is no second one, a later one ends the process", () => {
  let nowMs = 1_000;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  const exits: number[] = [];
  const before = process.listenerCount("SIGINT");
  const signals = watchSignals((code) => exits.push(code));
  expect(signals.stop.aborted).toBe(false);
  process.emit("SIGINT", "SIGINT");
  nowMs += 5;
  process.emit("SIGINT", "SIGINT");
  expect([signals.stop.aborted, signals.kill.aborted, exits]).toEqual([true, false, []]);
  nowMs += 2_000;
  process.emit("SIGTERM", "SIGTERM");
  expect([signals.kill.aborted, exits]).toEqual([true, [143]]);
  signals.forget();
  expect(process.listenerCount("SIGINT")).toBe(before);
});

test("SIGHUP calls whoever asked for it, and otherwise asks to stop", () => {
  const signals = watchSignals(() => {});
  const hangups: string[] = [];
  signals.onHangup(() => hangups.push("restart"));
  process.emit("SIGHUP", "SIGHUP");
  expect([signals.stop.aborted, hangups]).toEqual([false, ["restart"]]);
  signals.forget();
  const others = watchSignals(() => {});
  process.emit("SIGHUP", "SIGHUP");
  expect(others.stop.aborted).toBe(true);
  others.forget();
});

test("the end of the process that started this one counts as a signal", () => {
  const signals = watchSignals(() => {});
  // Only ours is called: the test runner listens too.
  process.listeners("disconnect").at(-1)?.();
  expect(signals.stop.aborted).toBe(true);
  signals.forget();
});

test("a process whose starter was gone before it watched ends too", () => {
  const { connected } = process;
  try {
    process.connected = false;
    const signals = watchSignals(() => {});
    expect(signals.stop.aborted).toBe(true);
    signals.forget();
  } finally {
    process.connected = connected;
  }
});
