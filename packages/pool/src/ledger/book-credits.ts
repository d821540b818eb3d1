import { PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { type CreditEvent, decodeCredit } from "./decode-credit.ts";
import { releaseAtMs } from "./hold.ts";
import type { Terms, TermsBook, WorkerTerms } from "./terms.ts";
import {
  type BookJob,
  type CreditedJob,
  holderOf,
  type HookVerdicts,
  type JobUnderTerms,
  type NewEntry,
  type Posting,
} from "./types.ts";

/** The row of a job in one worker's statement. */
export interface CreditLine {
  readonly worker: WorkerAddress;
  readonly atMs: number;
  readonly entry: string;
  readonly amountWei: bigint;
  readonly termsVersion: number;
  readonly releaseAtMs: number;
  readonly scheme: string;
  readonly job: CreditedJob;
  readonly data: Readonly<Record<string, unknown>> | undefined;
}

/** What one batch of credits does to the books. */
export interface CreditBooking {
  readonly entries: readonly NewEntry[];
  readonly lines: readonly CreditLine[];
  /** What `lines` put on hold, by moment, worker and version of the terms. */
  readonly holds: readonly Hold[];
}

export interface Hold {
  readonly releaseAtMs: number;
  readonly worker: WorkerAddress;
  readonly termsVersion: number;
  readonly amountWei: bigint;
}

export interface BookingRules {
  readonly terms: TermsBook;
  readonly bookJob: BookJob;
  /** Nothing is booked before this moment, unix ms: the end of the last period that was closed. */
  readonly openSinceMs: number;
  /** Of the {@link hookedCredits} among them. */
  readonly verdicts?: HookVerdicts | undefined;
}

function creditUnderTerms(
  event: CreditEvent,
  book: TermsBook,
): { readonly job: CreditedJob; readonly version: Terms; readonly terms: WorkerTerms } {
  const { job, termsVersion } = decodeCredit(event);
  // Terms that another node announced may not be known here yet: then this is tried again.
  const version = termsVersion === undefined ? book.at(job.atMs) : book.version(termsVersion);
  return { job, version, terms: book.of(version, job.worker) };
}

/** Those of a run of credits of which hooks have to be asked, or were asked, before {@link bookCredits}. */
export function hookedCredits(
  events: readonly CreditEvent[],
  { terms, bookJob: { hooks } }: Pick<BookingRules, "terms" | "bookJob">,
): readonly (JobUnderTerms & { readonly wants: "share" | "note" })[] {
  if (!hooks?.inUse()) return [];
  return events.flatMap((event) => {
    const { job, terms: its } = creditUnderTerms(event, terms);
    const wants = hooks.wants(job, its);
    return wants === undefined ? [] : [{ job, terms: its, wants }];
  });
}

/**
 * Books a run of credits, in the order of the log: one compact entry for all of them that share a version of the terms, the
 * month that they are booked into and the month that they are of, and a line for every job. What comes late, into a later
 * month than its own, so has entries of its own: its own month may leave the log by itself. Pure, and the same whatever the runs: where they are cut changes only how many
 * entries there are.
 */
export function bookCredits(events: readonly CreditEvent[], rules: BookingRules): CreditBooking {
  const groups = new Map<string, Group>();
  const lines: CreditLine[] = [];
  const holds = new Map<string, Hold & { amountWei: bigint }>();
  for (const event of events) {
    const { job, version, terms } = creditUnderTerms(event, rules.terms);
    const { rule, postings, data } = rules.bookJob(job, terms, rules.verdicts?.get(event.id));
    const atMs = Math.max(job.atMs, rules.openSinceMs);
    const [month, ownMonth] = [monthOf(atMs), monthOf(job.atMs)];
    const key = `${month} ${ownMonth} ${version.version}`;
    const group = groups.get(key) ?? newGroup(event.id, version.version, month === ownMonth ? undefined : ownMonth);
    groups.set(key, group);
    group.jobs++;
    group.atMs = Math.max(group.atMs, atMs);
    // From when it was earned: a month that was closed moves a credit to a later one, and makes nobody wait for it.
    const releasedMs = releaseAtMs(job.atMs, terms.holdMs);
    const shares = addUp(group, job, postings);
    // The earner's job stands in its statement whatever it got for it.
    if (!shares.has(job.worker)) shares.set(job.worker, 0n);
    for (const [worker, amountWei] of shares) {
      lines.push({
        worker,
        atMs,
        entry: group.id,
        amountWei,
        termsVersion: version.version,
        releaseAtMs: releasedMs,
        scheme: rule,
        job,
        data: Object.keys(data).length === 0 ? undefined : data,
      });
      if (amountWei === 0n) continue;
      const holdKey = `${releasedMs} ${worker} ${version.version}`;
      const hold = holds.get(holdKey);
      if (hold) hold.amountWei += amountWei;
      else holds.set(holdKey, { releaseAtMs: releasedMs, worker, termsVersion: version.version, amountWei });
    }
  }
  return {
    entries: [...groups.values()].map((group) => ({
      id: group.id,
      source: `${group.id}/credit`,
      rule: "credit",
      termsVersion: group.termsVersion,
      atMs: group.atMs,
      postings: [...group.sums].map(([account, amountWei]) => ({ account, amountWei })),
      data: { jobs: group.jobs, ...(group.late === undefined ? {} : { late: group.late }) },
    })),
    lines,
    holds: [...holds.values()],
  };
}

interface Group {
  /** Of its first event. */
  readonly id: string;
  readonly termsVersion: number;
  /** The month that its credits are of, where that was closed before they came. */
  readonly late: string | undefined;
  readonly sums: Map<string, bigint>;
  atMs: number;
  jobs: number;
}

function newGroup(id: string, termsVersion: number, late: string | undefined): Group {
  return { id, termsVersion, late, sums: new Map(), atMs: 0, jobs: 0 };
}

/** Adds a job's postings to its group; answers what each worker got. */
function addUp(group: Group, job: CreditedJob, postings: readonly Posting[]): Map<WorkerAddress, bigint> {
  const shares = new Map<WorkerAddress, bigint>();
  let sum = 0n;
  for (const { account, amountWei } of postings) {
    sum += amountWei;
    group.sums.set(account, (group.sums.get(account) ?? 0n) + amountWei);
    if (!account.startsWith("worker:")) continue;
    const worker = holderOf(account);
    if (worker === undefined || amountWei < 0n) throw badBooking(job, `posts ${amountWei} wei to ${account}`);
    shares.set(worker, (shares.get(worker) ?? 0n) + amountWei);
  }
  if (sum !== 0n) throw badBooking(job, `sums to ${sum} wei and not to zero`);
  return shares;
}

function badBooking(job: CreditedJob, what: string): PoolError {
  return new PoolError(
    { code: "ledger/bad-booking" },
    `The booking of job ${job.job} ${what}; the books stop before it. Please report it.`,
  );
}

/** `2026-11`, in UTC. */
export function monthOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 7);
}
