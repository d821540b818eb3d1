import { expect, test } from "vitest";
import { type Opening, OrchestratorLives } from "./life.ts";

const CERT = "a".repeat(64);
const NEXT = "b".repeat(64);

/** One that has given the tasks 0 to 10 over one registration. */
function grown(): { readonly lives: OrchestratorLives; readonly first: Opening } {
  const lives = new OrchestratorLives();
  const first = lives.opening(CERT);
  for (let task = 0n; task <= 10n; task++) expect(lives.ofTask(first, task, false)).toBe(1);
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
    expect(lives.ofTask(from, task, false)).toBe(1);
  }
});

test("one connection of several that was cut is no restart, whatever order tasks come in then", () => {
  const { lives, first } = grown();
  const other = lives.opening(CERT);
  lives.ended(other);
  const again = lives.opening(CERT);
  expect(lives.ofTask(first, 12n, false)).toBe(1);
  expect(lives.ofTask(again, 11n, false)).toBe(1);
});

test("another certificate is another life, once, over however many registrations, and takes no answers of the one before", () => {
  const { lives, first } = grown();
  lives.ended(first);
  const [second, third] = [lives.opening(NEXT), lives.opening(NEXT)];
  expect(lives.takesAnswer(first, 1, NEXT)).toBe(false);
  expect(lives.ofTask(third, 0n, false)).toBe(2);
  expect(lives.ofTask(second, 1n, false)).toBe(2);
  expect(lives.ofTask(third, 2n, false)).toBe(2);
  // What the dead one had sent is read only now.
  expect(lives.ofTask(first, 11n, false)).toBe(0);
  expect(lives.ofTask(second, 3n, false)).toBe(2);
  expect(lives.takesAnswer(first, 1, NEXT)).toBe(false);
  // A connection to the dead one may look open still.
  expect(lives.takesAnswer(second, 2, CERT)).toBe(false);
  expect(lives.takesAnswer(second, 2, NEXT)).toBe(true);
});

test("another certificate while registrations with the one before are there is a renewed one", () => {
  const { lives, first } = grown();
  const second = lives.opening(NEXT);
  expect(lives.takesAnswer(first, 1, NEXT)).toBe(true);
  expect(lives.ofTask(second, 11n, false)).toBe(1);
  expect(lives.ofTask(first, 12n, false)).toBe(1);
  // All that came before the change is gone in the end, and one more change comes.
  lives.ended(first);
  expect(lives.takesAnswer(first, 1, NEXT)).toBe(true);
  const third = lives.opening("c".repeat(64));
  expect(lives.ofTask(third, 13n, false)).toBe(1);
});

test("a renewed certificate that is seen on a connection for answers first is no other life", () => {
  const { lives, first } = grown();
  const second = lives.opening(NEXT);
  lives.ended(first);
  // No task came on the second one so far, but it began while the first was there.
  expect(lives.takesAnswer(first, 1, NEXT)).toBe(true);
  expect(lives.ofTask(second, 11n, false)).toBe(1);
});

test("another certificate and ids that begin again are another life, though a dead registration still looks open", () => {
  const { lives, first } = grown();
  const second = lives.opening(NEXT);
  expect(lives.ofTask(second, 0n, false)).toBe(2);
  expect(lives.ofTask(second, 1n, false)).toBe(2);
  expect(lives.isOpen(first)).toBe(true);
});

test("behind a proxy's certificate ids that begin again are another life, once, over however many registrations", () => {
  const { lives } = grown();
  const [second, third] = [lives.opening(CERT), lives.opening(CERT)];
  expect(lives.ofTask(third, 0n, false)).toBe(2);
  expect(lives.ofTask(second, 1n, false)).toBe(2);
  expect(lives.ofTask(third, 2n, false)).toBe(2);
});

test("a task with the id of one that is being done is from another life", () => {
  const { lives, first } = grown();
  expect(lives.ofTask(first, 5n, true)).toBe(2);
});
