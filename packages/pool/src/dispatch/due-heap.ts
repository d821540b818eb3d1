/** Something that falls due. Held by whoever may have to take it back. */
export interface Due<T> {
  readonly atMs: number;
  readonly value: T;
  /** Place in the heap; -1 once it is out. */
  index: number;
  /** Order of equals: first in, first out, so that a run can be repeated. */
  readonly order: number;
}

/** A priority queue by time whose entries can be taken out again: what is done leaves nothing behind until it is due. */
export class DueHeap<T> {
  readonly #heap: Due<T>[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  add(atMs: number, value: T): Due<T> {
    const due: Due<T> = { atMs, value, index: this.#heap.length, order: this.#order++ };
    this.#heap.push(due);
    this.#up(due.index);
    return due;
  }

  /** Does nothing when it is out already. */
  remove(due: Due<T> | undefined): void {
    if (due === undefined || due.index < 0) return;
    const at = due.index;
    const last = this.#heap.pop()!;
    due.index = -1;
    if (last === due) return;
    this.#heap[at] = last;
    last.index = at;
    this.#up(at);
    this.#down(last.index);
  }

  peek(): Due<T> | undefined {
    return this.#heap[0];
  }

  /** Takes out the first one if it is due. */
  takeDue(nowMs: number): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.atMs > nowMs) return undefined;
    this.remove(first);
    return first.value;
  }

  #before(a: Due<T>, b: Due<T>): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  }

  #up(from: number): void {
    let at = from;
    const due = this.#heap[at]!;
    while (at > 0) {
      const parent = this.#heap[(at - 1) >> 1]!;
      if (!this.#before(due, parent)) break;
      this.#heap[at] = parent;
      parent.index = at;
      at = (at - 1) >> 1;
    }
    this.#heap[at] = due;
    due.index = at;
  }

  #down(from: number): void {
    let at = from;
    const due = this.#heap[at]!;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#heap.length) break;
      if (child + 1 < this.#heap.length && this.#before(this.#heap[child + 1]!, this.#heap[child]!)) child++;
      const below = this.#heap[child]!;
      if (!this.#before(below, due)) break;
      this.#heap[at] = below;
      below.index = at;
      at = child;
    }
    this.#heap[at] = due;
    due.index = at;
  }
}
