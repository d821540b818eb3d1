import fc from "fast-check";
import { expect, test } from "vitest";
import { type Due, DueHeap } from "./due-heap.ts";

test("entries come out by time, equals in the order in which they went in, whatever was taken out in between", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), atMs: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ kind: fc.constant("remove" as const), which: fc.nat() }),
    fc.record({ kind: fc.constant("take" as const), nowMs: fc.integer({ min: 0, max: 20 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new DueHeap<number>();
      let model: Due<number>[] = [];
      let next = 0;
      const first = () => model.reduce<Due<number> | undefined>((a, b) => (a && a.atMs <= b.atMs ? a : b), undefined);
      for (const one of steps) {
        if (one.kind === "add") {
          model.push(heap.add(one.atMs, next++));
        } else if (one.kind === "remove") {
          const due = model[one.which % Math.max(1, model.length)];
          heap.remove(due);
          heap.remove(due);
          model = model.filter((other) => other !== due);
        } else {
          const due = first();
          const ready = due !== undefined && due.atMs <= one.nowMs ? due : undefined;
          expect(heap.takeDue(one.nowMs)).toBe(ready?.value);
          model = model.filter((other) => other !== ready);
        }
        expect(heap.size).toBe(model.length);
        expect(heap.peek()?.value).toBe(first()?.value);
      }
    }),
  );
});
