import { type Need, needKey } from "@openpool/protocol";
import { DueHeap } from "./due-heap.ts";
import type { Job, Session, WaitingSessions } from "./model.ts";

/** What each job that a session has running adds to the deadline by which it waits, in milliseconds. */
const RUNNING_MS = 2_000;

/** Looks at connections that may be in vain before a queue is left for the next event: about 0.1 ms. */
const PATIENCE = 6_000;
const MAX_NEEDS = 16;

/** How waiting jobs start. */
export interface Service {
  /** Whether anybody could start at all. */
  readonly mayStart: () => boolean;
  /** False: nobody can take it now. */
  readonly start: (job: Job) => boolean;
  /** How many there are to look at. */
  readonly connections: number;
}

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

  /** Lets jobs start, the most urgent session of each need first, until nobody takes any more. */
  serve(service: Service): void {
    if (this.#sessions === 0) return;
    const visited: WaitingSessions[] = [];
    for (const queue of this.#queues.values()) {
      if (visited.length >= MAX_NEEDS) break;
      if (queue.heap.size === 0) this.#queues.delete(queue.key);
      else visited.push(queue);
    }
    const all = visited.length === this.#queues.size;
    for (const queue of visited) {
      // Who was left out comes first the next time.
      if (!all) {
        this.#queues.delete(queue.key);
        this.#queues.set(queue.key, queue);
      }
      this.#serve(queue, service);
    }
  }

  #serve({ heap }: WaitingSessions, { mayStart, start, connections }: Service): void {
    const missed: Session[] = [];
    let patience = PATIENCE;
    for (let first = heap.peek(); first !== undefined && patience > 0; first = heap.peek()) {
      const session = first.value;
      const { waiting } = session;
      let started = false;
      for (let i = 0; i < waiting.length && patience > 0; i++) {
        const job = waiting[i]!;
        // Who failed it before narrows the choice for this job, where its session runs already for all of the session;
        // a job without any of that speaks for those behind it.
        const failed = job.failures.some((failure) => failure.weight > 0);
        if (failed && patience <= PATIENCE / 3) continue;
        started = mayStart() && start(job);
        if (started) {
          waiting.splice(i, 1);
          break;
        }
        const particular = failed || session.jobs.size > waiting.length;
        patience -= particular ? connections + 1 : PATIENCE / 3;
        if (!failed) break;
      }
      if (started) {
        this.enter(session);
      } else {
        heap.remove(first);
        missed.push(session);
      }
    }
    for (const session of missed) this.enter(session);
  }
}
