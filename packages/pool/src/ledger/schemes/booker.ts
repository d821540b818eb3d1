import type { WorkerTerms, TermsBook, Terms } from "../terms.ts";
import type { BookJob, CreditedJob } from "../types.ts";
import { bookJob, type HookShare } from "./book-job.ts";
import { readScheme, type ReadScheme } from "./read-scheme.ts";

/** Runs operators' hooks; `hooks/` implements it. */
export interface JobHooks {
  /** What `share` makes of each job, in their order. */
  share(hash: string, jobs: readonly CreditedJob[]): Promise<readonly HookShare[]>;
  /** What `jobCredited` wants to be remembered of each job. */
  notes(hash: string, jobs: readonly CreditedJob[]): Promise<readonly (string | undefined)[]>;
}

/** Whether some worker shares realised income under these terms: then all work counts for it. */
export function sharesIncome(terms: Terms): boolean {
  return [terms.scheme, ...terms.overrides.map((one) => one.scheme)].some(
    (name) => name === "proportional" || name === "blend",
  );
}

function namesHook({ schemeOptions, overrides }: Terms): boolean {
  return schemeOptions["hook"] !== undefined || overrides.some((one) => one.schemeOptions?.["hook"] !== undefined);
}

/** Every scheme at work, as the terms say. Without `hooks` a job under the scheme `hook` stops the books. */
export function createJobBooker(terms: TermsBook, hooks?: JobHooks): BookJob {
  const schemes = new WeakMap<object, ReadScheme>();
  const schemeOf = (its: WorkerTerms): ReadScheme => {
    let found = schemes.get(its);
    if (!found) schemes.set(its, (found = readScheme(its.scheme, its.schemeOptions)));
    return found;
  };
  const sharing = new Map<number, boolean>();
  const isSharing = (version: number): boolean => {
    let found = sharing.get(version);
    if (found === undefined) sharing.set(version, (found = sharesIncome(terms.version(version))));
    return found;
  };
  /** By event: what was prepared. Several readers may be at work; what hooks say of a job is the same for all of them. */
  const shares = new Map<string, HookShare>();
  const notes = new Map<string, string>();

  const book: BookJob = (job, its) => {
    const { scheme } = schemeOf(its);
    const booking = bookJob(scheme, job, {
      sharing: isSharing(its.version),
      share: (hash) => shares.get(job.event) ?? { kind: "failed", hash, why: "this program was started without hooks" },
    });
    const note = notes.get(job.event);
    return note === undefined ? booking : { ...booking, data: { ...booking.data, note } };
  };
  book.prepare = async (jobs) => {
    forgetOldest(shares);
    forgetOldest(notes);
    if (!hooks || !terms.versions.some(namesHook)) return;
    const toShare = new Map<string, CreditedJob[]>();
    const toNote = new Map<string, CreditedJob[]>();
    for (const { job, terms: its } of jobs) {
      const { scheme, hook } = schemeOf(its);
      if (scheme.kind === "hook") push(toShare, scheme.hash, job);
      if (hook !== undefined) push(toNote, hook, job);
    }
    for (const [hash, group] of toShare) {
      const answers = await hooks.share(hash, group);
      for (const [i, job] of group.entries()) {
        const answer = answers[i];
        if (answer) shares.set(job.event, answer);
      }
    }
    for (const [hash, group] of toNote) {
      const answers = await hooks.notes(hash, group);
      for (const [i, job] of group.entries()) {
        const note = answers[i];
        if (note !== undefined) notes.set(job.event, note);
      }
    }
  };
  return book;
}

function push(groups: Map<string, CreditedJob[]>, key: string, job: CreditedJob): void {
  const group = groups.get(key);
  if (group) group.push(job);
  else groups.set(key, [job]);
}

/** Many times what is booked at once. */
const MAX_PREPARED = 50_000;

function forgetOldest(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    if (map.size <= MAX_PREPARED) return;
    map.delete(key);
  }
}
