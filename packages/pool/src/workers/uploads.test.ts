import { stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { Uploads } from "./uploads.ts";

const open = (mostBytesOfOne = 100): Uploads => new Uploads({ mostBytesOfOne }, { clock: stoppedClock() });
const some = { key: "a", peer: "203.0.113.7", bytes: 60, withinMs: 1_000 };

test("a newer upload of the same thing takes the place of the one that is under way", () => {
  const uploads = open();
  const first = uploads.begin(some)!;
  const second = uploads.begin(some)!;
  expect([first.signal.aborted, first.replaced]).toEqual([true, true]);
  // The late end of the first is not that of the second.
  first.end();
  const third = uploads.begin(some)!;
  expect([second.replaced, third.replaced, third.signal.aborted]).toEqual([true, false, false]);
});

test("one address has no more on its way than its share, another one is not held up by it", () => {
  const uploads = open();
  const first = uploads.begin(some)!;
  expect(uploads.begin({ ...some, key: "b" })).toBeUndefined();
  expect(uploads.begin({ ...some, key: "c", peer: "203.0.113.8" })).toBeDefined();
  first.end();
  first.end();
  expect(uploads.begin({ ...some, key: "b" })).toBeDefined();
});

test("the addresses of one IPv6 network are one", () => {
  const uploads = open();
  expect(uploads.begin({ ...some, peer: "2001:db8::1" })).toBeDefined();
  expect(uploads.begin({ ...some, key: "b", peer: "2001:db8::2" })).toBeUndefined();
});

test("a single upload is taken however large it is, and ends when its time is over", () => {
  const clock = stoppedClock();
  const uploads = new Uploads({ mostBytesOfOne: 100 }, { clock });
  const upload = uploads.begin({ ...some, bytes: 1_000 })!;
  clock.advance(999);
  expect(upload.signal.aborted).toBe(false);
  clock.advance(1);
  expect([upload.signal.aborted, upload.replaced]).toEqual([true, false]);
});
