import { expect, test } from "vitest";
import { OrchestratorLives } from "./life.ts";

const CERT = "a".repeat(64);
const NEXT = "b".repeat(64);

/** One that has given the tasks 0 to 10 over one registration. */
function grown(): { readonly lives: OrchestratorLives; readonly first: ReturnType<OrchestratorLives["opening"]> } {
  const lives = new OrchestratorLives();
  const first = lives.opening(CERT);
  expect(lives.ofTask(first, 0n, false)).toBe("new");
  for (let task = 1n; task <= 10n; task++) expect(lives.ofTask(first, task, false)).toBe("same");
  return { lives, first };
}

test("tasks over several registrations may overtake each other", () => {
  const { lives, first } = grown();
  const second = lives.opening(CERT);
  for (const [from, task] of [
    [second, 12n],
    [first, 11n],
    [second, 14n],
    [first, 13n],
  ] as const) {
    expect(lives.ofTask(from, task, false)).toBe("same");
  }
});

test("one connection of several that was cut is no restart, whatever order tasks come in then", () => {
  const { lives, first } = grown();
  const again = lives.opening(CERT);
  expect(lives.ofTask(first, 12n, false)).toBe("same");
  expect(lives.ofTask(again, 11n, false)).toBe("same");
});

test("another certificate is another life, once, over however many registrations", () => {
  const { lives, first } = grown();
  const [second, third] = [lives.opening(NEXT), lives.opening(NEXT)];
  expect(lives.ofTask(third, 0n, false)).toBe("new");
  expect(lives.ofTask(second, 1n, false)).toBe("same");
  expect(lives.ofTask(third, 2n, false)).toBe("same");
  // What the dead one had sent is read only now.
  expect(lives.ofTask(first, 11n, false)).toBe("over");
  expect(lives.ofTask(second, 3n, false)).toBe("same");
});

test("behind a proxy's certificate ids that begin again are another life, once, over however many registrations", () => {
  const { lives } = grown();
  const [second, third] = [lives.opening(CERT), lives.opening(CERT)];
  expect(lives.ofTask(third, 0n, false)).toBe("new");
  expect(lives.ofTask(second, 1n, false)).toBe("same");
  expect(lives.ofTask(third, 2n, false)).toBe("same");
});

test("a task with the id of one that is being done is from another life", () => {
  const { lives, first } = grown();
  expect(lives.ofTask(first, 5n, true)).toBe("new");
});
