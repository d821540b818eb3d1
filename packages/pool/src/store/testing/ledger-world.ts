import { Client } from "pg";
import { createJobBooker } from "../../ledger/schemes/index.ts";
import { type Terms, TermsBook, type TermsDocument } from "../../ledger/terms.ts";
import { type BookJob } from "../../ledger/types.ts";
import { checkLedger } from "../ledger-check.ts";
import { ledgerStep, type LedgerStep } from "../ledger-reader.ts";
import { rebuildLedger } from "../ledger-rebuild.ts";
import { PgLedgerStore } from "../ledger-store.ts";
import { WorkerNumbers } from "../ledger-writer.ts";
import { clientConfig } from "../pg-connection.ts";
import { createUuidV7 } from "../uuid.ts";
import { openTestStore } from "./test-store.ts";

export const plainTerms: TermsDocument = {
  commissionPpm: 250_000n,
  scheme: "unit",
  schemeOptions: {},
  priceSource: "upstream",
  holdMs: 0,
  minimumPayoutWei: 0n,
  schedule: { cron: "0 0 * * *", timeZone: "UTC" },
  gasBorneBy: "pool",
  overrides: [],
};

/** A version of the terms that begins with the epoch, or when told. */
export function termsVersion(version: number, change: Partial<Terms> = {}): Terms {
  return { version, effectiveAtMs: 0, announcedAtMs: 0, ...plainTerms, ...change };
}

export type LedgerWorld = Awaited<ReturnType<typeof openLedgerWorld>>;

/** An event log and the books on it, on a database of their own or a test's; the test decides when the ledger reads. */
export async function openLedgerWorld(
  clock: { now(): number; monotonicMs(): number; after(ms: number, f: () => void): () => void },
  terms = new TermsBook([termsVersion(1)]),
  bookJob: BookJob = createJobBooker(terms),
  given?: Awaited<ReturnType<typeof openTestStore>>,
) {
  const store = given ?? (await openTestStore({ clock }));
  const { connection } = store.database;
  const ledger = new PgLedgerStore(connection, { clock });
  const client = new Client({ ...clientConfig(connection, "openpool test ledger"), pipeline: true });
  client.on("error", () => {});
  await client.connect();
  const rules = { terms, bookJob };
  const numbers = new WorkerNumbers();
  const newId = createUuidV7(() => clock.now());
  const step = (maxJobs = 1_000): Promise<LedgerStep> =>
    ledgerStep(client, {
      ...rules,
      numbers,
      nowMs: clock.now(),
      newId,
      maxJobs,
      monotonicMs: () => clock.monotonicMs(),
    });
  return {
    store,
    ledger,
    client,
    terms,
    rules,
    connection,
    newId,
    step,
    /** Looks at all of the books. */
    check: () => checkLedger(client, rules, undefined),
    rebuild: (verify: boolean) => rebuildLedger(connection, { ...rules, verify, nowMs: () => clock.now() }),
    /** A reader of its own takes a step and dies in the middle of its transaction: in front of this of its statements. */
    async dieAt(statement: number): Promise<void> {
      const victim = new Client({ ...clientConfig(connection, "victim"), pipeline: true });
      victim.on("error", () => {});
      await victim.connect();
      const query = victim.query.bind(victim) as (...args: unknown[]) => Promise<unknown>;
      let left = statement;
      victim.query = ((...args: unknown[]) => {
        if (left-- === 0) throw new Error("killed");
        return query(...args);
      }) as typeof victim.query;
      await ledgerStep(victim, {
        ...rules,
        numbers: new WorkerNumbers(),
        nowMs: clock.now(),
        newId,
        monotonicMs: () => clock.monotonicMs(),
      }).catch(() => {});
      victim.query = query as typeof victim.query;
      await victim.end();
    },
    /** Reads until nothing is left. */
    async catchUp(maxJobs?: number): Promise<number> {
      let jobs = 0;
      for (;;) {
        const did = await step(maxJobs);
        jobs += did.jobs;
        if (did.position === did.head) return jobs;
      }
    },
    async [Symbol.asyncDispose]() {
      await client.end();
      await ledger[Symbol.asyncDispose]();
      if (!given) await store[Symbol.asyncDispose]();
    },
  };
}
