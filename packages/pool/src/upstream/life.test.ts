import { expect, test } from "vitest";
import { type Opening, OrchestratorLives } from "./life.ts";

const CERT = "a".repeat(64);
const NEXT = "b".repeat(64);

/** On a registration with who is there, and with one that died without a word. */
const alive = (): Promise<boolean> => Promise.resolve(true);
const dead = (): Promise<boolean> => Promise.resolve(false);

/** One that has given the tasks 0 to 10 over one registration. */
async function grown(
  answers: () => Promise<boolean> = alive,
): Promise<{ readonly lives: OrchestratorLives; readonly first: Opening }> {
  const lives = new OrchestratorLives();
  const first = await lives.opening(CERT, answers);
  for (let task = 0n; task <= 10n; task++) expect(lives.ofTask(first, task, false)).toBe(1);
  return { lives, first };
}

test("tasks over several registrations may overtake each other", async () => {
  const { lives, first } = await grown();
  const second = await lives.opening(CERT, alive);
  for (const [from, task] of [
    [second, 12n],
    [first, 11n],
    [second, 14n],
    [first, 13n],
  ] as const) {
    expect(lives.ofTask(from, task, false)).toBe(1);
  }
});

test("one connection of several that was cut is no restart, whatever order tasks come in then", async () => {
  const { lives, first } = await grown();
  const other = await lives.opening(CERT, alive);
  lives.ended(other);
  const again = await lives.opening(CERT, alive);
  expect(lives.ofTask(first, 12n, false)).toBe(1);
  expect(lives.ofTask(again, 11n, false)).toBe(1);
});

test("another certificate is another life, once, over however many registrations, and takes no answers of the one before", async () => {
  const { lives, first } = await grown();
  lives.ended(first);
  const [second, third] = [await lives.opening(NEXT, alive), await lives.opening(NEXT, alive)];
  expect(await lives.takesAnswer(first, 1, NEXT)).toBe(false);
  expect(lives.ofTask(third, 0n, false)).toBe(2);
  expect(lives.ofTask(second, 1n, false)).toBe(2);
  expect(lives.ofTask(third, 2n, false)).toBe(2);
  // What the dead one had sent is read only now.
  expect(lives.ofTask(first, 11n, false)).toBe(0);
  expect(lives.ofTask(second, 3n, false)).toBe(2);
  expect(await lives.takesAnswer(first, 1, NEXT)).toBe(false);
  // A connection to the dead one may look open still.
  expect(await lives.takesAnswer(second, 2, CERT)).toBe(false);
  expect(await lives.takesAnswer(second, 2, NEXT)).toBe(true);
});

test("another certificate while registrations with the one before are there is a renewed one", async () => {
  const { lives, first } = await grown();
  const second = await lives.opening(NEXT, alive);
  expect(await lives.takesAnswer(first, 1, NEXT)).toBe(true);
  expect(lives.ofTask(second, 11n, false)).toBe(1);
  expect(lives.ofTask(first, 12n, false)).toBe(1);
  // All that came before the change is gone in the end, and one more change comes.
  lives.ended(first);
  expect(await lives.takesAnswer(first, 1, NEXT)).toBe(true);
  const third = await lives.opening("c".repeat(64), alive);
  expect(lives.ofTask(third, 13n, false)).toBe(1);
});

test("a renewed certificate that is seen on a connection for answers first is no other life", async () => {
  const { lives, first } = await grown();
  const second = await lives.opening(NEXT, alive);
  lives.ended(first);
  // No task came on the second one so far, but it began while the first was there.
  expect(await lives.takesAnswer(first, 1, NEXT)).toBe(true);
  expect(lives.ofTask(second, 11n, false)).toBe(1);
});

test("another certificate and ids that begin again are another life, though who gave the ones before answers still", async () => {
  const { lives, first } = await grown();
  const second = await lives.opening(NEXT, alive);
  expect(lives.ofTask(second, 0n, false)).toBe(2);
  expect(lives.ofTask(second, 1n, false)).toBe(2);
  expect(lives.isOpen(first)).toBe(true);
});

test("another certificate while the registration with the one before only looks open is another life, which takes no answers", async () => {
  const { lives, first } = await grown(dead);
  expect(await lives.takesAnswer(first, 1, NEXT)).toBe(false);
  expect(await lives.takesAnswer(first, 1, CERT)).toBe(true);
  // Others work for it too: its first task here has a higher id than all before.
  const second = await lives.opening(NEXT, alive);
  expect(lives.ofTask(second, 20n, false)).toBe(2);
  expect(await lives.takesAnswer(first, 1, NEXT)).toBe(false);
  expect(await lives.takesAnswer(second, 2, NEXT)).toBe(true);
});

test("behind a proxy's certificate nothing goes to the next life once it is known, though a dead registration looks open", async () => {
  const { lives, first } = await grown(dead);
  const second = await lives.opening(CERT, alive);
  expect(lives.ofTask(second, 0n, false)).toBe(2);
  expect(await lives.takesAnswer(first, 1, CERT)).toBe(false);
  expect(lives.isOpen(first)).toBe(false);
  expect(await lives.takesAnswer(second, 2, CERT)).toBe(true);
});

test("a certificate for which many answers wait is asked about once", async () => {
  let asked = 0;
  const { lives, first } = await grown(() => Promise.resolve(++asked > 0));
  const taken = await Promise.all(Array.from({ length: 20 }, () => lives.takesAnswer(first, 1, NEXT)));
  expect(taken).toEqual(Array.from({ length: 20 }, () => true));
  expect(asked).toBe(1);
});

test("behind a proxy's certificate ids that begin again are another life, once, over however many registrations", async () => {
  const { lives } = await grown();
  const [second, third] = [await lives.opening(CERT, alive), await lives.opening(CERT, alive)];
  expect(lives.ofTask(third, 0n, false)).toBe(2);
  expect(lives.ofTask(second, 1n, false)).toBe(2);
  expect(lives.ofTask(third, 2n, false)).toBe(2);
});

test("a task with the id of one that is being done is from another life", async () => {
  const { lives, first } = await grown();
  expect(lives.ofTask(first, 5n, true)).toBe(2);
});
