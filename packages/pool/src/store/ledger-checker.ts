import { type Clock, errorText, type Logger } from "@openpool/base";
import type { ClientBase } from "pg";
import {
  type ChainComparison,
  compareWithChain,
  noteChecked,
  pageOfPaid,
  type PaidChain,
  paidTransactions,
  stillBooked,
} from "./chain-check.ts";
import { type BooksReport, checkLedger, type CheckRules, type Violation } from "./ledger-check.ts";
import type { LedgerStore } from "./ledger-store.ts";
import type { PgConnection } from "./pg-connection.ts";
import type { NewEvent } from "./types.ts";
import { withClient } from "./with-client.ts";

export interface CheckReport extends BooksReport {
  /** Transactions that were compared with the chain; fewer than there are where it did not answer. */
  readonly transactions: number;
  /** Transactions that are on the chain and cannot be compared, with why: no violation, but a person should know. */
  readonly unread: readonly string[];
  /** Why the chain could not be asked. */
  readonly chainProblem: string | undefined;
}

/** The name of the halt of a check that found something. */
export const CHECK_HALT = "ledger-check";
/** How often what is new is checked, and how often everything, whichever process did it last. */
const EVERY_MS = 20_000;
const WHOLE_EVERY_MS = 6 * 60 * 60 * 1000;
/** While payouts are halted, everything is looked at after as long again each time, and after so long at most. */
const MAX_RETRY_MS = 60 * 60 * 1000;
/** Nodes are asked for so long in a look: what is left comes in the next ones. */
const CHAIN_MS = 60_000;

export interface LedgerCheckerDeps extends CheckRules {
  readonly logger: Logger;
  readonly clock: Clock;
  /** Asked about what was paid; undefined where nothing is paid on a chain. */
  readonly chain?: (() => PaidChain | undefined) | undefined;
  readonly ledger: Pick<LedgerStore, "halt" | "liftHalt" | "halts">;
  /** Appends the fact that something is wrong, or right again. */
  record(event: NewEvent): Promise<void>;
}

/**
 * Checks the books all the time. A violation halts payouts, never work, and says what differs; the halt is lifted by a
 * check of everything that finds nothing. What the chain contradicted stands until the chain says otherwise: nodes that do
 * not answer lift nothing.
 */
export class LedgerChecker implements AsyncDisposable {
  readonly #connection: PgConnection;
  readonly #deps: LedgerCheckerDeps;
  readonly #stopped = new AbortController();
  #cancel = (): void => {};
  #running: Promise<unknown> = Promise.resolve();
  #runningAll: Promise<unknown> = Promise.resolve();
  #last: (CheckReport & { readonly atMs: number }) | undefined;
  /** On the monotonic clock; undefined: not known yet. */
  #wholeAtMs: number | undefined;
  /**
   * Payouts were halted by a check, this process's or an earlier one's, as of the last look: then everything is looked at,
   * for only that can lift the halt.
   */
  #isHalted = false;
  #retryMs = EVERY_MS;
  /** Transactions that cannot be compared: not asked about again before everything is looked at. */
  readonly #unread = new Set<string>();
  /** Transactions of which the chain said nothing: not asked about again before the others were. */
  readonly #unanswered = new Set<string>();
  /** What of these was told. */
  readonly #toldUnread = new Set<string>();
  #isChainSilent = false;

  constructor(connection: PgConnection, deps: LedgerCheckerDeps) {
    this.#connection = connection;
    this.#deps = deps;
    this.#schedule();
  }

  /** What the last look found. */
  get last(): (CheckReport & { readonly atMs: number }) | undefined {
    return this.#last;
  }

  /**
   * Looks now: at everything, or at what came since the last look. Of transactions it compares with the chain those that were
   * not compared yet, with `whole` the newest ones too, with `everyTransaction` all there ever were: that takes long, and the
   * looks that never end go on meanwhile.
   */
  async check(whole: boolean, everyTransaction = false): Promise<CheckReport> {
    const report = await this.#inTurn(() => this.#look(whole));
    if (!everyTransaction) return report;
    const next = this.#runningAll.then(() => this.#compareAll(report));
    this.#runningAll = next.catch(() => {});
    return next;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#running.then(work);
    this.#running = next.catch(() => {});
    return next;
  }

  #look(whole: boolean): Promise<CheckReport> {
    return withClient(this.#connection, "ledger check", async (client) => {
      const { clock, ledger, logger, record } = this.#deps;
      const before = await this.#told();
      const ofChain = before?.filter(isOfChain) ?? [];
      const { rows } = await client.query<{ position: string }>("select position from openpool.ledger_checks");
      const after = BigInt(rows[0]?.position ?? 0);
      const books = await checkLedger(client, this.#deps, whole ? undefined : after, this.#stopped.signal);
      // At once: nodes may be slow, and need not answer.
      if (books.violations.length > 0) await this.#halt([...books.violations, ...ofChain], before);
      const { said, stands } = await this.#askChain(client, whole, ofChain);
      const report = reportOf(books, said, stands);
      this.#last = { ...report, atMs: clock.now() };
      if (report.violations.length > 0) {
        // A look at what is new does not take back what one at everything found.
        const kept = whole || books.violations.length > 0 ? [] : (before?.filter((one) => !isOfChain(one)) ?? []);
        const isTold = before ?? (books.violations.length > 0 ? [] : undefined);
        await this.#halt([...kept, ...report.violations], isTold);
      } else if (before && whole) {
        await ledger.liftHalt(CHECK_HALT);
        logger.info("the books add up again; payouts go on");
        await record({ type: "ledger.clean", data: { jobs: report.jobs } });
      }
      this.#isHalted = report.violations.length > 0 || (before !== undefined && !whole);
      if (whole) {
        this.#wholeAtMs = clock.monotonicMs();
        this.#retryMs = report.violations.length === 0 ? EVERY_MS : Math.min(2 * this.#retryMs, MAX_RETRY_MS);
      }
      await this.#note(client, said.right, report);
      return report;
    });
  }

  /** What of the transactions that are due the chain says, and which violations of before it still does not take back. */
  async #askChain(
    client: ClientBase,
    whole: boolean,
    ofChain: readonly ChainViolation[],
  ): Promise<{ readonly said: ChainComparison; readonly stands: readonly ChainViolation[] }> {
    const known = ofChain.map((one) => one.transaction);
    const booked = known.length === 0 ? new Set<string>() : await stillBooked(client, known);
    const still = ofChain.filter((one) => booked.has(one.transaction));
    const chain = this.#deps.chain?.();
    if (!chain) return { said: NOT_ASKED, stands: still };
    if (whole) {
      this.#unread.clear();
      this.#unanswered.clear();
    }
    const paid = await paidTransactions(client, chain.chainId, {
      recent: whole,
      also: whole ? known : [],
      setAside: [...this.#unread, ...this.#unanswered, ...known],
    });
    if (paid.length === 0) {
      this.#unanswered.clear();
      return { said: NOT_ASKED, stands: still };
    }
    const { clock } = this.#deps;
    const endMs = clock.monotonicMs() + CHAIN_MS;
    const said = await compareWithChain(paid, chain, {
      signal: this.#stopped.signal,
      isLate: () => clock.monotonicMs() >= endMs,
    });
    for (const hash of said.unanswered) this.#unanswered.add(hash);
    for (const { hash } of said.unread) this.#unread.add(hash);
    this.#tellOfChain(said);
    const decided = new Set([
      ...said.right,
      ...said.wrong.map((one) => one.hash),
      ...said.unread.filter((one) => one.forGood).map((one) => one.hash),
    ]);
    return { said, stands: still.filter((one) => !decided.has(one.transaction)) };
  }

  /** Says once that nodes are silent, that they answer again, and what cannot be compared. */
  #tellOfChain({ chainProblem, unread }: ChainComparison): void {
    const { logger } = this.#deps;
    const isSilent = chainProblem !== undefined;
    if (isSilent && !this.#isChainSilent) {
      logger.warn("the books could not all be compared with the chain", { error: chainProblem });
    }
    if (!isSilent && this.#isChainSilent) logger.info("the books are compared with the chain again");
    this.#isChainSilent = isSilent;
    const untold = unread.filter(({ hash }) => !this.#toldUnread.has(hash));
    if (untold.length > 0) {
      logger.warn("payments are on the chain and cannot be compared with the books", {
        transactions: untold.map(({ hash }) => hash),
        why: untold[0]?.message,
      });
    }
    for (const { hash } of untold) this.#toldUnread.add(hash);
  }

  /** Compares all transactions there ever were, a page at a time. */
  async #compareAll(report: CheckReport): Promise<CheckReport> {
    const { chain: findChain, clock } = this.#deps;
    const chain = findChain?.();
    if (!chain) return report;
    const all = { wrong: [] as Violation[], unread: [] as string[], transactions: 0 };
    let chainProblem: string | undefined;
    let afterHash = "";
    for (;;) {
      const page = await withClient(this.#connection, "ledger check", (client) =>
        pageOfPaid(client, chain.chainId, afterHash),
      );
      const last = page.at(-1);
      if (!last) break;
      const said = await compareWithChain(page, chain, { signal: this.#stopped.signal });
      await this.#inTurn(() => this.#bookPage(said));
      all.transactions += said.right.length + said.wrong.length;
      all.wrong.push(...violationsOf(said));
      all.unread.push(...unreadOf(said));
      chainProblem ??= said.chainProblem;
      if (said.isCutShort) break;
      afterHash = last.hash;
    }
    const wrong = new Set(all.wrong.map((one) => one.transaction));
    const others = report.violations.filter((one) => one.transaction === undefined || !wrong.has(one.transaction));
    const merged = { ...report, ...all, chainProblem, violations: [...others, ...all.wrong] };
    this.#last = { ...merged, atMs: clock.now() };
    return merged;
  }

  async #bookPage(said: ChainComparison): Promise<void> {
    const found = violationsOf(said);
    if (found.length > 0) {
      const before = await this.#told();
      const now = new Set(found.map((one) => one.transaction));
      const others = before?.filter((one) => !isOfChain(one) || !now.has(one.transaction)) ?? [];
      await this.#halt([...others, ...found], before);
      this.#isHalted = true;
    }
    await withClient(this.#connection, "ledger check", (client) => this.#note(client, said.right));
  }

  /** Remembers what was found right; where that fails it is looked at again. */
  async #note(client: ClientBase, right: readonly string[], report?: CheckReport): Promise<void> {
    const { clock, logger } = this.#deps;
    try {
      await noteChecked(client, right, clock.now());
      if (!report || report.violations.some((one) => !isOfChain(one))) return;
      const isAllRight = report.whole && report.violations.length === 0 && report.chainProblem === undefined;
      await client.query(
        `update openpool.ledger_checks set position = greatest(position, $1), checked_at = $2,
           checked_whole_at = case when $3 then $2 else checked_whole_at end`,
        [report.position, new Date(clock.now()), isAllRight],
      );
    } catch (error) {
      logger.warn("what was found right in the books could not be noted", { error: errorText(error) });
    }
  }

  /** What the halt that stands says; undefined: none does. */
  async #told(): Promise<readonly Violation[] | undefined> {
    const halt = (await this.#deps.ledger.halts()).find(({ name }) => name === CHECK_HALT);
    // Written by us alone.
    return halt && (Array.isArray(halt.details) ? (halt.details as readonly Violation[]) : []);
  }

  /** @param before what was told before; undefined: this is new. */
  async #halt(violations: readonly Violation[], before: readonly Violation[] | undefined): Promise<void> {
    const { ledger, logger, record } = this.#deps;
    const more = violations.length === 1 ? "" : ` (and ${violations.length - 1} more)`;
    await ledger.halt(CHECK_HALT, `${violations[0]?.message}${more}`, violations);
    if (before) return;
    logger.error("the books do not add up; payouts are halted", { violations });
    await record({ type: "ledger.violated", data: { violations } });
  }

  #schedule(): void {
    if (this.#stopped.signal.aborted) return;
    this.#cancel = this.#deps.clock.after(EVERY_MS, () => {
      this.#lookAgain()
        .catch((error: unknown) => {
          if (this.#stopped.signal.aborted) return;
          this.#deps.logger.warn("the books could not be checked", { error: errorText(error) });
        })
        .finally(() => this.#schedule());
    });
  }

  async #lookAgain(): Promise<void> {
    const { clock } = this.#deps;
    this.#wholeAtMs ??= await this.#inTurn(() => this.#wholeBefore());
    const agoMs = clock.monotonicMs() - this.#wholeAtMs;
    await this.check(agoMs >= (this.#isHalted ? this.#retryMs : WHOLE_EVERY_MS));
  }

  /** When a process before this one found everything right, by the clock of this one: a pool that restarts often is checked too. */
  #wholeBefore(): Promise<number> {
    return withClient(this.#connection, "ledger check", async (client) => {
      const { rows } = await client.query<{ checked_whole_at: Date | null }>(
        "select checked_whole_at from openpool.ledger_checks",
      );
      const { clock } = this.#deps;
      const at = rows[0]?.checked_whole_at;
      // Never, or in the future by a clock that was set back: now is the time.
      const agoMs = at ? clock.now() - at.getTime() : -1;
      return clock.monotonicMs() - (agoMs < 0 ? WHOLE_EVERY_MS : agoMs);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    this.#cancel();
    await this.#runningAll;
    await this.#running;
  }
}

type ChainViolation = Violation & { readonly transaction: string };

function isOfChain(one: Violation): one is ChainViolation {
  return one.transaction !== undefined;
}

const NOT_ASKED: ChainComparison = {
  wrong: [],
  right: [],
  unread: [],
  unanswered: [],
  chainProblem: undefined,
  isCutShort: false,
};

function violationsOf({ wrong }: ChainComparison): readonly ChainViolation[] {
  return wrong.map(({ hash, message }) => ({ check: "chain", message, transaction: hash }));
}

function unreadOf({ unread }: ChainComparison): readonly string[] {
  return unread.map(({ hash, message }) => `transaction ${hash}: ${message}`);
}

function reportOf(books: BooksReport, said: ChainComparison, stands: readonly Violation[]): CheckReport {
  return {
    ...books,
    violations: [...books.violations, ...violationsOf(said), ...stands],
    transactions: said.right.length + said.wrong.length,
    unread: unreadOf(said),
    chainProblem: said.chainProblem,
  };
}
