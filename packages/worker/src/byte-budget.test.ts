import { expect, test } from "vitest";
import { createByteBudget } from "./byte-budget.ts";

const signal = new AbortController().signal;

test("lets those wait who want more than is free, first come first served", async () => {
  const budget = createByteBudget(100);
  const first = await budget.take(60, signal);
  const order: string[] = [];
  const large = budget.take(80, signal).then((release) => {
    order.push("large");
    return release;
  });
  const small = budget.take(10, signal).then((release) => {
    order.push("small");
    return release;
  });
  expect(budget.takenBytes).toBe(60);
  first?.();
  await Promise.all([large, small]);
  expect(order).toEqual(["large", "small"]);
  expect(budget.takenBytes).toBe(90);
});

test("grants more than the whole budget when nothing else is taken", async () => {
  const budget = createByteBudget(100);
  const release = await budget.take(500, signal);
  expect(budget.takenBytes).toBe(500);
  release?.();
  release?.();
  expect(budget.takenBytes).toBe(0);
});

test("who stops waiting gets nothing and lets the next one through", async () => {
  const budget = createByteBudget(100);
  const held = await budget.take(50, signal);
  const impatient = new AbortController();
  const never = budget.take(100, impatient.signal);
  const next = budget.take(50, signal);
  impatient.abort();
  expect(await never).toBeUndefined();
  expect(await next).toBeTypeOf("function");
  held?.();
  expect(budget.takenBytes).toBe(50);
});
