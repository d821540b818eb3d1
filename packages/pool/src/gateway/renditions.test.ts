import { stoppedClock } from "@openpool/base";
import { expect, test } from "vitest";
import { Renditions } from "./renditions.ts";

test("an answer is awaited as long as its gateway may be about to come, and kept for longer", () => {
  const clock = stoppedClock();
  const renditions = new Renditions(clock);
  const released: string[] = [];
  const put = (key: string): void =>
    renditions.put(key, [{ path: `/${key}`, data: new Uint8Array(1), contentType: "" }], () => released.push(key));
  put("a");
  clock.advance(2_000);
  put("b");
  expect(renditions.awaited).toBe(2);
  clock.advance(1_000);
  expect(renditions.awaited).toBe(1);
  clock.advance(2_000);
  renditions.expire();
  expect([renditions.awaited, released]).toEqual([0, []]);
  clock.advance(60_000);
  renditions.expire();
  expect(released).toEqual(["a", "b"]);
});
