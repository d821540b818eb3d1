import { decided, type DecisionReason, decisionText, secondsFact } from "./decision-text.ts";
import { HourCount } from "./hour-count.ts";
import type { JobId, RigDecision } from "./types.ts";

/** What all rigs share of one decision, so that remembering it at 300 rigs costs 300 pointers. */
export interface DecisionNote {
  readonly atMs: number;
  readonly job: JobId;
  readonly session: string;
  /** The job is somewhere already and late there: what is chosen would work beside that. */
  readonly second: boolean;
  /** The name of the chosen rig; undefined when the job had to wait. */
  chosen: string | undefined;
  /** Why the chosen one; undefined until somebody is. */
  reason: DecisionReason | undefined;
  /** Expected time of the chosen one, in milliseconds. */
  expectedMs: number;
}

/** Why a rig was passed over; the words are made when somebody reads them. */
export type PassedOver =
  | "chosen"
  | "full"
  | "unable"
  | "too-old"
  | "slower"
  | "probation"
  | "barred"
  | "draining"
  | "silent"
  | "busy"
  | "failed-it"
  | "has-it"
  | "session-queue-full";

interface Line {
  note: DecisionNote;
  why: PassedOver;
  expectedMs: number;
  times: number;
}

/**
 * The newest decisions about one rig. What is said again of the same is one line with a number, or a stream that stays and a pool
 * that is full would push out everything else within a minute.
 */
export class DecisionLog {
  readonly #limit: number;
  /** Oldest first. */
  readonly #lines: Line[] = [];
  readonly #chosen = new HourCount();
  readonly #passedOver = new HourCount();

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(note: DecisionNote, why: PassedOver, expectedMs: number): void {
    const last = this.#lines.at(-1);
    if (last?.note === note) {
      // A rig with several connections is looked at several times: the best of them speaks for it.
      if (why !== "chosen" && (last.why === "chosen" || last.why === "slower")) return;
      if (why === "chosen" && last.why !== "chosen") {
        this.#passedOver.add(note.atMs, -1);
        this.#chosen.add(note.atMs);
      }
      last.why = why;
      last.expectedMs = expectedMs;
      return;
    }
    (why === "chosen" ? this.#chosen : this.#passedOver).add(note.atMs);
    const at = this.#lines.findLastIndex((line) => line.why === why && saysTheSame(line.note, note, why));
    const [again] = at >= 0 ? this.#lines.splice(at, 1) : [];
    if (this.#lines.length >= this.#limit) this.#lines.shift();
    this.#lines.push({ note, why, expectedMs, times: (again?.times ?? 0) + 1 });
  }

  /** Decisions of the last hour that chose this rig, and that did not. */
  lastHour(nowMs: number): { readonly chosen: number; readonly passedOver: number } {
    return { chosen: this.#chosen.sum(nowMs), passedOver: this.#passedOver.sum(nowMs) };
  }

  /** Newest first. */
  read(standingReason: string): RigDecision[] {
    return this.#lines.toReversed().map(({ note, why, expectedMs, times }) => {
      const reason = reasonOf(note, why, expectedMs, standingReason);
      return { atMs: note.atMs, job: note.job, session: note.session, chosen: why === "chosen", reason, times };
    });
  }
}

/** A session that stays where it is, or one more for which the rig was too busy or too bad. */
function saysTheSame(a: DecisionNote, b: DecisionNote, why: PassedOver): boolean {
  if (why === "chosen") return a.session === b.session && isSame(a.reason, b.reason);
  // Who was better differs from one to the next.
  return why !== "slower";
}

function isSame(a: DecisionReason | undefined, b: DecisionReason | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.code === b.code && decisionText(a) === decisionText(b));
}

function reasonOf(note: DecisionNote, why: PassedOver, expectedMs: number, standingReason: string): DecisionReason {
  switch (why) {
    case "chosen":
      return note.reason ?? decided("chosen-stays", {});
    case "slower":
      if (note.chosen === undefined) return decided(note.second ? "not-chosen-no-second" : "not-chosen-no-place", {});
      return decided("not-chosen-slower", {
        expectedS: secondsFact(expectedMs),
        bestS: secondsFact(note.expectedMs),
        best: note.chosen,
      });
    case "probation":
      return decided("not-chosen-probation", { why: standingReason });
    case "barred":
      return decided("not-chosen-barred", { why: standingReason });
    case "full":
    case "unable":
    case "too-old":
    case "draining":
    case "silent":
    case "busy":
    case "failed-it":
    case "has-it":
    case "session-queue-full":
      return decided(`not-chosen-${why}`, {});
  }
}
