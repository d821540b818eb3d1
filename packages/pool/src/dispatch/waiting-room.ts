import { type Need, needKey } from "@openpool/protocol";
import { DueHeap } from "./due-heap.ts";
import type { Session, WaitingSessions } from "./model.ts";

/** What each job that a session has running adds to the deadline by which it waits, in milliseconds. */
const RUNNING_MS = 2_000;

/** Sessions with waiting jobs, by what their first one needs, the most urgent first. */
export class WaitingRoom {
  /** Empty ones go when somebody walks through. */
  readonly #queues = new Map<string, WaitingSessions>();
  #sessions = 0;

  get size(): number {
    return this.#sessions;
  }

  /** Its waiting jobs changed. Sessions wait by the deadline of their first job; what a session has running already makes it wait longer. */
  enter(session: Session): void {
    this.leave(session);
    const job = session.waiting[0];
    if (job === undefined) return;
    const key = needKey(job.spec.need);
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = { key, heap: new DueHeap() };
      this.#queues.set(key, queue);
    }
    const running = session.jobs.size - session.waiting.length;
    session.queued = { queue, due: queue.heap.add(job.spec.deadlineMs + running * RUNNING_MS, session) };
    this.#sessions++;
  }

  leave(session: Session): void {
    if (session.queued === undefined) return;
    const { queue, due } = session.queued;
    session.queued = undefined;
    this.#sessions--;
    queue.heap.remove(due);
  }

  /** Somebody waits with this need. */
  isAwaited(need: Need): boolean {
    return this.#sessions > 0 && (this.#queues.get(needKey(need))?.heap.size ?? 0) > 0;
  }

  /** Other sessions wait for a place. */
  isContended(session: Session): boolean {
    return this.#sessions > (session.queued === undefined ? 0 : 1);
  }

  /** Calls back for up to `limit` queues; who was left out comes first the next time. */
  visit(limit: number, callback: (queue: WaitingSessions) => void): void {
    if (this.#queues.size === 0) return;
    const visited: WaitingSessions[] = [];
    for (const queue of this.#queues.values()) {
      if (visited.length >= limit) break;
      if (queue.heap.size === 0) this.#queues.delete(queue.key);
      else visited.push(queue);
    }
    const all = visited.length === this.#queues.size;
    for (const queue of visited) {
      if (!all) {
        this.#queues.delete(queue.key);
        this.#queues.set(queue.key, queue);
      }
      callback(queue);
    }
  }
}
