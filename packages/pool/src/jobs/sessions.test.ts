import { stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { Sessions } from "./sessions.ts";

function open() {
  const clock = stoppedClock();
  const ended: string[] = [];
  return { clock, ended, sessions: new Sessions(clock, 70_000, (key) => ended.push(key)) };
}

test("a stream ends when its gateway is done with its last session id", () => {
  const { sessions, ended } = open();
  sessions.of("a", "stream");
  sessions.of("b", "stream");
  expect(sessions.count).toBe(1);
  sessions.end("a");
  sessions.end("a");
  sessions.end("never seen");
  expect(ended).toEqual([]);
  sessions.end("b");
  expect(ended).toEqual(["stream"]);
  expect(sessions.count).toBe(0);
});

test("a stream ends after it was silent for long, never while a segment is being worked on", () => {
  const { sessions, ended, clock } = open();
  sessions.of("a", "one");
  sessions.of("b", "two");
  sessions.enter("two");
  clock.advance(70_001);
  sessions.expire();
  expect(ended).toEqual(["one"]);
  sessions.leave("two", true);
  clock.advance(69_999);
  sessions.expire();
  expect(ended).toEqual(["one"]);
  clock.advance(2);
  sessions.expire();
  expect(ended).toEqual(["one", "two"]);
});

test("a session id that ended opens its stream again when a segment comes with it", () => {
  const { sessions, ended } = open();
  sessions.of("a", "stream");
  sessions.end("a");
  expect(sessions.of("a", "stream")).toBe("stream");
  expect(sessions.count).toBe(1);
  sessions.end("a");
  expect(ended).toEqual(["stream", "stream"]);
});

test("a stream of which nothing was ever transcoded is forgotten when its last segment is over", () => {
  const { sessions, ended } = open();
  sessions.of("a", "stream");
  sessions.enter("stream");
  sessions.enter("stream");
  sessions.leave("stream", false);
  expect(sessions.count).toBe(1);
  sessions.leave("stream", false);
  expect(sessions.count).toBe(0);
  expect(sessions.knows("a")).toBe(false);
  expect(ended).toEqual(["stream"]);
});

test("one that worked once stays, whatever happens to its segments", () => {
  const { sessions } = open();
  sessions.of("a", "stream");
  sessions.enter("stream");
  sessions.leave("stream", true);
  sessions.enter("stream");
  sessions.leave("stream", false);
  expect(sessions.count).toBe(1);
  expect(sessions.knows("a")).toBe(true);
});

test("a session id that goes over to another stream ends that one only", () => {
  const { sessions, ended } = open();
  sessions.of("a", "one");
  sessions.of("a", "two");
  sessions.end("a");
  expect(ended).toEqual(["two"]);
});

test("of a stream with a new token for every segment only the newest ids are kept", () => {
  const { sessions } = open();
  for (let i = 0; i < 10_000; i++) sessions.of(`id ${i}`, "stream");
  expect(sessions.knows("id 0")).toBe(false);
  expect(sessions.knows("id 9999")).toBe(true);
});

test("a stream whose end is said while its last segment is being answered ends with that", () => {
  const { sessions, ended } = open();
  sessions.of("a", "stream");
  sessions.enter("stream");
  sessions.end("a");
  expect(ended).toEqual([]);
  sessions.leave("stream", true);
  expect(ended).toEqual(["stream"]);
});
