import { everyTerms, type Terms, type TermsBook, type WorkerTerms } from "../terms.ts";
import type { BookingHooks, BookJob, CreditedJob, HookShare, HookVerdict, JobUnderTerms } from "../types.ts";
import { bookJob } from "./book-job.ts";
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
  return everyTerms(terms).some(({ scheme }) => scheme === "proportional" || scheme === "blend");
}

function namesHook(terms: Terms): boolean {
  return everyTerms(terms).some(({ schemeOptions }) => schemeOptions["hook"] !== undefined);
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
  const book: BookJob = (job, its, { share, note } = {}) => {
    const { scheme } = schemeOf(its);
    const booking = bookJob(scheme, job, {
      sharing: isSharing(its.version),
      share: (hash) => share ?? { kind: "failed", hash, why: "this program was started without hooks" },
    });
    return note === undefined ? booking : { ...booking, data: { ...booking.data, note } };
  };
  return Object.assign(book, {
    hooks: {
      inUse: () => terms.versions.some(namesHook),
      wants(_job: CreditedJob, its: WorkerTerms) {
        const { scheme, hook } = schemeOf(its);
        return scheme.kind === "hook" ? "share" : hook === undefined ? undefined : "note";
      },
      async ask(jobs: readonly JobUnderTerms[]) {
        const toShare = new Map<string, CreditedJob[]>();
        const toNote = new Map<string, CreditedJob[]>();
        for (const { job, terms: its } of jobs) {
          const { scheme, hook } = schemeOf(its);
          if (scheme.kind === "hook") push(toShare, scheme.hash, job);
          if (hook !== undefined) push(toNote, hook, job);
        }
        const verdicts = new Map<string, HookVerdict>();
        const add = (job: CreditedJob, verdict: HookVerdict): void => {
          verdicts.set(job.event, { ...verdicts.get(job.event), ...verdict });
        };
        if (!hooks) return verdicts;
        for (const [hash, group] of toShare) {
          const answers = await hooks.share(hash, group);
          for (const [i, job] of group.entries()) add(job, { share: answers[i] });
        }
        for (const [hash, group] of toNote) {
          const answers = await hooks.notes(hash, group);
          for (const [i, job] of group.entries()) add(job, { note: answers[i] });
        }
        return verdicts;
      },
    } satisfies BookingHooks,
  });
}

function push(groups: Map<string, CreditedJob[]>, key: string, job: CreditedJob): void {
  const group = groups.get(key);
  if (group) group.push(job);
  else groups.set(key, [job]);
}
