import type { Clock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { termsProblems } from "./check-terms.ts";
import { diffTerms, parseTermsDocument, type Terms, TermsBook, type TermsDocument, TermsError } from "./terms.ts";

/** What a pool promises that was told nothing else. */
export const defaultTerms: TermsDocument = {
  commissionPpm: 250_000n,
  scheme: "unit",
  schemeOptions: {},
  priceSource: "upstream",
  holdMs: 60 * 60 * 1000,
  minimumPayoutWei: 10n ** 15n,
  schedule: { cron: "0 6 * * *", timeZone: "UTC" },
  gasBorneBy: "pool",
  overrides: [],
};

/** Terms are announced at least so long before they count: every node of a pool has read them by then. */
export const MIN_NOTICE_MS = 60_000;
/** What counts for money that was earned before it, too, is announced so long ahead: nobody's pay is cut by surprise. */
export const PAYOUT_NOTICE_MS = 2 * 24 * 60 * 60 * 1000;
/** How soon a node sees what another one announced. */
const RELOAD_MS = 15_000;

export interface TermsKeeperDeps {
  readonly clock: Clock;
  readonly store: {
    terms(): Promise<readonly Terms[]>;
    /** Keeps a version, and tells the event log of it in one step. */
    addTerms(terms: Terms): Promise<void>;
  };
}

/** The versions of the terms in this process: what counts now, and how a change is announced. */
export class TermsKeeper implements AsyncDisposable {
  readonly book = new TermsBook();
  readonly #deps: TermsKeeperDeps;
  #cancel = (): void => {};
  #closed = false;

  private constructor(deps: TermsKeeperDeps) {
    this.#deps = deps;
  }

  /** Reads the versions there are; where there are none, `first` becomes version 1, from now on. */
  static async open(first: TermsDocument, deps: TermsKeeperDeps): Promise<TermsKeeper> {
    const keeper = new TermsKeeper(deps);
    await keeper.reload();
    if (keeper.book.versions.length === 0) {
      check(first);
      const now = deps.clock.now();
      try {
        await keeper.#add({ ...first, version: 1, effectiveAtMs: now, announcedAtMs: now });
      } catch (error) {
        // Another node of this pool was faster: its first version is ours too.
        await keeper.reload();
        if (keeper.book.versions.length === 0) throw error;
      }
    }
    keeper.#follow();
    return keeper;
  }

  /** The version in force. */
  get current(): Terms {
    return this.book.at(this.#deps.clock.now());
  }

  /**
   * Announces new terms. @throws TermsError `terms/invalid`, `terms/retroactive` when they would begin sooner than in a
   * minute, or change sooner than in two days how much is paid out of what was earned, `terms/unchanged`.
   *
   * @param how `only-try`: nothing is announced; it says what would be, or throws as it would.
   */
  async announce(document: unknown, effectiveAtMs: number, how: "for-all" | "only-try" = "for-all"): Promise<Terms> {
    await this.reload();
    const parsed = parseTermsDocument(document);
    check(parsed);
    const announcedAtMs = this.#deps.clock.now();
    if (effectiveAtMs < announcedAtMs + MIN_NOTICE_MS) {
      throw new TermsError(
        { code: "terms/retroactive" },
        `New terms begin at ${new Date(announcedAtMs + MIN_NOTICE_MS).toISOString()} at the earliest: what was earned by then stays as it was promised.`,
      );
    }
    // A request takes its time: what was said to begin in two days may.
    const noticedMs = effectiveAtMs - announcedAtMs + MIN_NOTICE_MS;
    if (noticedMs < PAYOUT_NOTICE_MS && arePaidOutOtherwise(this.book.at(effectiveAtMs), parsed)) {
      throw new TermsError(
        { code: "terms/retroactive" },
        `The smallest payout and who bears the gas count for what was earned before, too: from ${new Date(announcedAtMs + PAYOUT_NOTICE_MS).toISOString()} on they may be others than those that are in force or announced for then. What else changes may begin sooner if it is announced without them.`,
      );
    }
    const last = this.book.versions.at(-1);
    if (last && diffTerms(last, parsed).length === 0) {
      throw new TermsError(
        { code: "terms/unchanged" },
        `Version ${last.version} says just that already; nothing was announced.`,
      );
    }
    const terms = { ...parsed, version: (last?.version ?? 0) + 1, effectiveAtMs, announcedAtMs };
    if (how === "for-all") await this.#add(terms);
    return terms;
  }

  async reload(): Promise<void> {
    this.book.load(await this.#deps.store.terms());
  }

  async #add(terms: Terms): Promise<void> {
    await this.#deps.store.addTerms(terms);
    await this.reload();
  }

  #follow(): void {
    if (this.#closed) return;
    this.#cancel = this.#deps.clock.after(RELOAD_MS, () => {
      // A database that does not answer is the event log's to tell; the versions that are known stay right.
      this.reload().then(
        () => this.#follow(),
        () => this.#follow(),
      );
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#cancel();
  }
}

/** Whether somebody is paid from another amount on, or with gas that somebody else bears. */
function arePaidOutOtherwise(a: TermsDocument, b: TermsDocument): boolean {
  if (a.gasBorneBy !== b.gasBorneBy || a.minimumPayoutWei !== b.minimumPayoutWei) return true;
  const [ofA, ofB] = [ownMinimums(a), ownMinimums(b)];
  return [...ofA.keys(), ...ofB.keys()].some(
    (worker) => (ofA.get(worker) ?? a.minimumPayoutWei) !== (ofB.get(worker) ?? b.minimumPayoutWei),
  );
}

/** From how much on workers with terms of their own are paid. */
function ownMinimums({ overrides, minimumPayoutWei }: TermsDocument): ReadonlyMap<WorkerAddress, bigint> {
  const found = new Map<WorkerAddress, bigint>();
  // The first that names one counts.
  for (const { workers, minimumPayoutWei: own = minimumPayoutWei } of overrides.toReversed()) {
    for (const worker of workers) found.set(worker, own);
  }
  return found;
}

function check(document: TermsDocument): void {
  const problems = termsProblems(document);
  if (problems.length > 0) throw new TermsError({ code: "terms/invalid" }, problems.join(" "));
}
