import { type Clock, errorText, type Logger, openScope, PoolError } from "@openpool/base";
import type { LedgerPort, RebuildState } from "./api/types.ts";
import { defaultTerms, TermsKeeper } from "./ledger/terms-keeper.ts";
import { diffTerms, type TermsBook, type TermsDocument } from "./ledger/terms.ts";
import type { BookJob } from "./ledger/types.ts";
import type { LedgerNow } from "./metrics.ts";
import {
  closedMonths,
  closePeriodsOf,
  type EventExport,
  exportMonth,
  LedgerChecker,
  LedgerReader,
  type LedgerStore,
  type PaidChain,
  type PgConnection,
  PgLedgerStore,
  pruneMonth,
  rebuildLedger,
  type Store,
} from "./store/index.ts";

export interface BooksDeps {
  readonly connection: PgConnection;
  readonly store: Store;
  readonly logger: Logger;
  readonly clock: Clock;
  /** How jobs are booked, whatever scheme their terms name. */
  readonly bookJob: (terms: TermsBook) => BookJob;
  /** Where months of the event log go, and how many of them stay in it; undefined: all. */
  readonly retention: { readonly dir: string; readonly keepMonths: number | undefined };
  /** The chain that is paid on; undefined as long as nothing is. */
  readonly chain?: () => PaidChain | undefined;
}

/** The books of a running pool, kept up with its event log. */
export interface Books extends AsyncDisposable {
  readonly store: LedgerStore;
  readonly terms: TermsKeeper;
  readonly port: LedgerPort;
  /** For metrics; of a database that does not answer, what is known without it. */
  now(): Promise<LedgerNow>;
}

/** Whether a month can be closed is asked so often. */
const CLOSE_EVERY_MS = 10 * 60 * 1000;

/** Opens the books: terms, reader, the check that never ends, the closing of months. `first` becomes version 1 of the terms. */
export async function openBooks(
  { first, named }: { readonly first: Partial<TermsDocument>; readonly named: readonly (keyof TermsDocument)[] },
  { connection, store, logger, clock, retention, chain, ...deps }: BooksDeps,
): Promise<Books> {
  const scope = openScope();
  try {
    const ledger = scope.use(new PgLedgerStore(connection, { clock }));
    const wanted = { ...defaultTerms, ...first };
    const terms = scope.use(await TermsKeeper.open(wanted, { clock, store: ledger }));
    for (const { field, from, to } of diffTerms(terms.current, wanted)) {
      const told = named.some((one) => one === field) ? "warn" : "debug";
      logger[told](
        "a setting of the first terms is not what is in force: `openpool terms set` changes terms, settings only make the first",
        { field, inForce: from, setting: to, version: terms.current.version },
      );
    }
    const bookJob = deps.bookJob(terms.book);
    const reader = scope.use(
      new LedgerReader(connection, {
        logger,
        clock,
        terms: terms.book,
        bookJob,
        onAppended: (callback) => store.onAppended(callback),
        onStuck: (reason) => ledger.halt("ledger-stuck", reason, {}),
        onMoving: () => ledger.liftHalt("ledger-stuck"),
      }),
    );
    const checker = scope.use(
      new LedgerChecker(connection, {
        logger,
        clock,
        ledger,
        terms: terms.book,
        bookJob,
        chain,
        record: (event) => store.append([event]),
      }),
    );

    let cancelClosing = (): void => {};
    const closeMonths = async (): Promise<readonly string[]> => {
      const periods = await closePeriodsOf(connection, clock.now());
      if (periods.length === 0) return periods;
      logger.info("the books of past months are closed", { periods });
      await store.append([{ type: "ledger.closed", data: { periods } }]);
      return periods;
    };
    const monthsOf = async (month: string | undefined): Promise<readonly string[]> =>
      month === undefined ? (await closedMonths(connection)).map((one) => one.month) : [month];
    const exportMonths = async (month?: string): Promise<readonly EventExport[]> => {
      const done: EventExport[] = [];
      for (const one of await monthsOf(month)) {
        done.push(await exportMonth(connection, one, retention.dir, clock.now()));
        await store.append([{ type: "log.exported", data: { ...done.at(-1) } }]);
      }
      return done;
    };
    const pruneMonths = async (months: readonly string[]): Promise<readonly EventExport[]> => {
      const done: EventExport[] = [];
      for (const one of months) {
        done.push(await pruneMonth(connection, one, retention.dir, clock.now()));
        await store.append([{ type: "log.pruned", data: { ...done.at(-1) } }]);
        logger.info("a month was exported and taken out of the event log", { ...done.at(-1) });
      }
      return done;
    };
    /** By the setting: the month that goes on counts too. */
    const keepMonths = async (): Promise<void> => {
      if (retention.keepMonths === undefined) return;
      const now = new Date(clock.now());
      const firstKept = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1 - retention.keepMonths, 1);
      const old = (await closedMonths(connection)).filter((one) => one.endsAtMs <= firstKept);
      await pruneMonths(old.map((one) => one.month));
    };
    const scheduleClosing = (): void => {
      cancelClosing = clock.after(CLOSE_EVERY_MS, () => {
        closeMonths()
          .catch((error: unknown) => logger.warn("a month could not be closed", { error: errorText(error) }))
          .then(keepMonths)
          .catch((error: unknown) => logger.warn("a month stays in the event log", { error: errorText(error) }))
          .finally(() => {
            if (!scope.signal.aborted) scheduleClosing();
          });
      });
    };
    scheduleClosing();
    scope.defer(() => cancelClosing());

    let rebuild: RebuildState = { state: "idle" };
    let rebuilding: Promise<unknown> = Promise.resolve();
    // It gives up by itself at the next page of the log, and leaves the books as they were.
    scope.defer(() => rebuilding.then(() => {}));
    const startRebuild = (verify: boolean): RebuildState => {
      if (rebuild.state === "running") {
        throw new PoolError(
          { code: "ledger/rebuild-running" },
          "The books are being rebuilt already; wait for its end.",
        );
      }
      rebuild = { state: "running", verify, jobs: 0, position: 0n };
      rebuilding = rebuildLedger(connection, {
        terms: terms.book,
        bookJob,
        verify,
        nowMs: () => clock.now(),
        signal: scope.signal,
        onProgress: ({ jobs, position }) => (rebuild = { state: "running", verify, jobs, position }),
      }).then(
        (result) => {
          logger.info(verify ? "the books were compared with the event log" : "the books were rebuilt", { ...result });
          rebuild = { state: "done", verify, ...result };
        },
        (error: unknown) => {
          logger.error("the books were not rebuilt", { error: errorText(error) });
          rebuild = { state: "failed", verify, error: errorText(error) };
        },
      );
      return rebuild;
    };

    const port: LedgerPort = {
      progress: () => reader.progress,
      terms: () => ({ current: terms.current, versions: terms.book.versions }),
      announceTerms: (...args) => terms.announce(...args),
      totals: () => ledger.totals(),
      accounts: () => ledger.accounts(),
      balances: () => ledger.balances(),
      statement: (...args) => ledger.statement(...args),
      statementSums: (...args) => ledger.statementSums(...args),
      adjust: (adjustment) => ledger.adjust({ ...adjustment, termsVersion: terms.current.version }),
      check: (...args) => checker.check(...args),
      lastCheck: () => checker.last,
      halts: () => ledger.halts(),
      closedPeriods: () => ledger.closedPeriods(),
      closeMonths,
      exportMonths,
      pruneMonths: async (month) => pruneMonths(await monthsOf(month)),
      startRebuild,
      rebuildState: () => rebuild,
    };
    const now = async (): Promise<LedgerNow> => {
      const { position, head, lagMs } = reader.progress;
      const [totals, halts] = await Promise.all([ledger.totals(), ledger.halts()]).catch(
        () => [undefined, []] as const,
      );
      return {
        eventsBehind: Number(head - position),
        lagMs,
        halts: halts.length,
        violations: checker.last?.violations.length ?? 0,
        wei: totals
          ? {
              fees: totals.feesWei,
              commission: totals.commissionWei,
              held: totals.heldWei,
              owed: totals.owedWei,
              paying: totals.payingWei,
              paid: totals.paidWei,
              gas: totals.gasWei,
              reserve: totals.reserveWei,
            }
          : {},
      };
    };
    return { store: ledger, terms, port, now, [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose]() };
  } catch (cause) {
    await scope[Symbol.asyncDispose]().then(undefined, () => {});
    throw cause;
  }
}
