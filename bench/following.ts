/**
 * What it costs a pool that its books, its sums for pages and its alerts follow the event log while segments flow: credits
 * at a steady pace, CPU a job in this process and in PostgreSQL, without readers, with each of them, and with all. Run it
 * with `npx tsx --conditions=source bench/following.ts [jobs a second] [seconds]`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openScope, silentLogger, systemClock } from "@openpool/base";
import { AlertReader } from "../packages/pool/src/alerts/reader.ts";
import { defaultTerms } from "../packages/pool/src/ledger/terms-keeper.ts";
import { TermsBook } from "../packages/pool/src/ledger/terms.ts";
import { createJobBooker } from "../packages/pool/src/ledger/schemes/index.ts";
import { LedgerReader } from "../packages/pool/src/store/ledger-reader.ts";
import { openRollups, openStore, PgAlertStore, startManagedPostgres } from "../packages/pool/src/store/index.ts";
import { benchCredit, benchWorkers, cpuOf, loadNow, report, round } from "./measure.ts";

const [rate = 100, seconds = 5] = process.argv.slice(2).map(Number);
const ROUNDS = 4;
const workers = benchWorkers(60);
const deps = { logger: silentLogger, clock: systemClock };
const loadAtStart = loadNow();
const dataDir = await mkdtemp(join(tmpdir(), "openpool-bench-"));
const results: Record<string, unknown> = {};

{
  await using postgres = await startManagedPostgres({ dataDir }, deps);
  const { connection } = postgres;
  await using store = await openStore(connection, deps);
  const onAppended = (callback: () => void): (() => void) => store.onAppended(callback);
  const terms = new TermsBook([{ version: 1, effectiveAtMs: 0, announcedAtMs: 0, ...defaultTerms }]);

  /** Credits at the pace, each as a segment would bring it: alone. */
  async function flow(forSeconds: number): Promise<void> {
    const from = performance.now();
    const open = new Set<Promise<unknown>>();
    for (let i = 0; i < rate * forSeconds; i++) {
      const wait = from + (i * 1_000) / rate - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const done: Promise<unknown> = store
        .credit(benchCredit(workers[i % workers.length]!))
        .finally(() => open.delete(done));
      open.add(done);
    }
    await Promise.all(open);
  }

  const readers = {
    books: (): AsyncDisposable =>
      new LedgerReader(connection, { ...deps, terms, bookJob: createJobBooker(terms), onAppended }),
    sums: (): Promise<AsyncDisposable> => openRollups(connection, { ...deps, onAppended }),
    async alerts(): Promise<AsyncDisposable> {
      const scope = openScope();
      const alerts = scope.use(new PgAlertStore(connection, deps));
      scope.use(new AlertReader({ ...deps, store: alerts, operatorChannels: [], onNews: () => {} }));
      return scope;
    },
  };
  const sets: readonly (readonly (keyof typeof readers)[])[] = [
    [],
    ["books"],
    ["sums"],
    ["alerts"],
    ["books", "sums", "alerts"],
  ];
  // Until the hot paths are compiled.
  await flow(5);
  const spent = sets.map(() => ({ ownMs: 0, serverMs: 0 }));
  // In turns, so that what else the machine does falls on all of them.
  for (let turn = 0; turn < ROUNDS; turn++) {
    for (const [i, set] of sets.entries()) {
      const scope = openScope();
      for (const name of set) scope.use(await readers[name]());
      await flow(1);
      const server = await cpuOf.postgres(postgres.clusterDir);
      const own = process.cpuUsage();
      await flow(seconds);
      const used = process.cpuUsage(own);
      spent[i]!.ownMs += (used.user + used.system) / 1_000;
      spent[i]!.serverMs += (await cpuOf.postgres(postgres.clusterDir)) - server;
      await scope[Symbol.asyncDispose]();
    }
  }
  const jobs = rate * seconds * ROUNDS;
  for (const [i, set] of sets.entries()) {
    results[set.join(" + ") || "no reader"] = {
      "node CPU ms/job": round(spent[i]!.ownMs / jobs, 3),
      "postgres CPU ms/job": round(spent[i]!.serverMs / jobs, 3),
    };
  }
}
await rm(dataDir, { recursive: true, force: true });

await report("following the event log", { "jobs a second": rate, seconds, rigs: workers.length }, results, loadAtStart);
