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
  /** Why the chosen one. */
  reason: string;
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
      const same = last.why === "chosen" && why === "chosen" && last.note.reason === note.reason;
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
      const reason =
        why === "chosen" ? `chosen: ${note.reason}` : `not chosen: ${words(note, why, expectedMs, standingReason)}`;
      out.push({ atMs: note.atMs, job: note.job, session: note.session, chosen: why === "chosen", reason, times });
    }
    return out;
  }
}

function words(note: DecisionNote, why: PassedOver, expectedMs: number, standingReason: string): string {
  switch (why) {
    case "chosen":
      return "";
    case "full":
      return "full";
    case "unable":
      return "it lacks a capability that the job needs";
    case "too-old":
      return "the gateway wants a newer go-livepeer than the version that it announced";
    case "slower":
      if (note.chosen === undefined) {
        return note.second
          ? "a second attempt was not worth it at that moment"
          : "no place was free at that moment";
      }
      return `about ${seconds(expectedMs)} expected, ${seconds(note.expectedMs)} at ${note.chosen}`;
    case "probation":
      return `on probation (${standingReason})`;
    case "barred":
      return `barred (${standingReason})`;
    case "draining":
      return "draining";
    case "silent":
      return "an earlier task ran late and nothing was heard since";
    case "busy":
      return "it said that it was busy";
    case "failed-it":
      return "it had failed this job before";
    case "has-it":
      return "it works on this job already";
    case "session-queue-full":
      return "enough segments of this session wait there already";
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
