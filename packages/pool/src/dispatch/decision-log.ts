import { decided, type DecisionReason, decisionText, secondsFact } from "./decision-text.ts";
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

/** The newest decisions about one rig, in a ring that is overwritten in place: nothing is allocated once it is full. */
export class DecisionLog {
  readonly #limit: number;
  readonly #lines: Line[] = [];
  #next = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(note: DecisionNote, why: PassedOver, expectedMs: number): void {
    const last = this.#lines[(this.#next + this.#limit - 1) % this.#limit];
    if (last !== undefined) {
      // A rig with several connections is looked at several times: the best of them speaks for it.
      if (last.note === note) {
        if (why === "chosen" || (last.why !== "chosen" && last.why !== "slower")) {
          last.why = why;
          last.expectedMs = expectedMs;
        }
        return;
      }
      // A session that stays where it is, again: one line, or it would push out everything else.
      const same = last.why === "chosen" && why === "chosen" && isSame(last.note.reason, note.reason);
      if (same && last.note.session === note.session) {
        last.note = note;
        last.expectedMs = expectedMs;
        last.times++;
        return;
      }
    }
    const line = this.#lines[this.#next];
    if (line === undefined) {
      this.#lines.push({ note, why, expectedMs, times: 1 });
    } else {
      line.note = note;
      line.why = why;
      line.expectedMs = expectedMs;
      line.times = 1;
    }
    this.#next = (this.#next + 1) % this.#limit;
  }

  /** Newest first. */
  read(standingReason: string): RigDecision[] {
    const out: RigDecision[] = [];
    for (let back = 1; back <= this.#lines.length; back++) {
      const line = this.#lines[(this.#next - back + 2 * this.#limit) % this.#limit];
      if (line === undefined) continue;
      const { note, why, expectedMs, times } = line;
      const reason = reasonOf(note, why, expectedMs, standingReason);
      const chosen = why === "chosen";
      out.push({ atMs: note.atMs, job: note.job, session: note.session, chosen, reason, times });
    }
    return out;
  }
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
