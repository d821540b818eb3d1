import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import fc from "fast-check";
import { Client } from "pg";
import { describe, expect, test, vi } from "vitest";
import { creditFor } from "../ledger/credit-for.ts";
import { TermsBook } from "../ledger/terms.ts";
import { workerAccount } from "../ledger/types.ts";
import { bookUnit } from "../ledger/unit.ts";
import { CHECK_HALT, checkLedger, LedgerChecker, type PaidChain } from "./ledger-check.ts";
import { closePeriods } from "./ledger-periods.ts";
import { rebuildLedger } from "./ledger-rebuild.ts";
import { ledgerStep } from "./ledger-reader.ts";
import { postEntries } from "./ledger-store.ts";
import { WorkerNumbers } from "./ledger-writer.ts";
import { clientConfig } from "./pg-connection.ts";
import { PgPayoutStore } from "./payout-store.ts";
import { pruneMonth } from "./retention.ts";
import { openLedgerWorld, termsVersion } from "./testing/ledger-world.ts";
import { ada, bob, creditOf, newJob } from "./testing/sample-credit.ts";

const t0 = Date.parse("2026-01-30T00:00:00Z");
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
type World = Awaited<ReturnType<typeof openLedgerWorld>>;

const rules = (world: World) => ({ terms: world.terms, bookJob: bookUnit });

function rebuild(world: World, verify: boolean, nowMs: () => number) {
  return rebuildLedger(world.connection, { ...rules(world), verify, nowMs });
}

async function head(client: Client): Promise<bigint> {
  return BigInt((await client.query<{ position: string }>("select position from openpool.log_head")).rows[0]!.position);
}

/** What the books see of a payout: planned, then final or failed, beside its line. */
async function pay(world: World, worker: WorkerAddress, amountWei: bigint, atMs: number, final: boolean) {
  const line = newJob();
  const run = newJob();
  await world.client.query(
    `insert into openpool.payout_runs (id, state, created_at, finished_at, chain_id, payer, asset, total_wei, details)
     values ($1, 'done', $2, $2, 1, $3, 'eth', $4, '{}')`,
    [run, new Date(atMs), ada, amountWei],
  );
  await world.client.query(
    `insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount, asset, method,
       method_reason, state, tx_hash, planned_at, finished_at)
     values ($1, $2, 1, $3, $3, $4, 0, $4, 'eth', 'transfer', 'a test', $5, $6, $7, $7)`,
    [line, run, worker, amountWei, final ? "final" : "returned", final ? "0x12" : null, new Date(atMs)],
  );
  const move = (rule: string, from: "owed" | "paying", to: "paying" | "paid" | "owed") => ({
    id: newJob(),
    source: `${line}/${rule}`,
    rule,
    termsVersion: 1,
    atMs,
    postings: [
      { account: workerAccount(worker, from), amountWei: -amountWei },
      { account: workerAccount(worker, to), amountWei },
    ],
    data: { line },
  });
  const last = final ? move("paid", "paying", "paid") : move("returned", "paying", "owed");
  await postEntries(world.client, [move("plan", "owed", "paying")]);
  await postEntries(world.client, [last]);
}

/** What was kept of the ends of closed months, where it is not what the entries before them sum to. */
async function wrongClosings(client: Client): Promise<readonly unknown[]> {
  const { rows } = await client.query(
    `select p.period, a.account, c.balance_wei as kept, sum(x.amount_wei) as sum
     from openpool.ledger_periods p cross join openpool.ledger_accounts a
       left join openpool.ledger_closings c on c.period = p.period and c.account = a.account
       left join (openpool.ledger_postings x join openpool.ledger_entries e on e.id = x.entry)
         on x.account = a.id and e.time < p.ends_at
     group by 1, 2, 3 having coalesce(c.balance_wei, 0) <> coalesce(sum(x.amount_wei), 0)`,
  );
  return rows;
}

describe("whatever happens, in whatever order", () => {
  const workers = ["a1", "b0", "c4"].map((byte) => parseAddress(`0x${byte.repeat(20)}`) as WorkerAddress);
  const wei = fc.oneof(fc.bigInt(0n, 12n), fc.bigInt(0n, 10n ** 24n));
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("credit" as const),
        worker: fc.nat(2),
        rig: fc.constantFrom("one", "two"),
        pixels: wei,
        price: fc.bigInt(0n, 10n ** 15n),
        per: fc.bigInt(1n, 10n ** 9n),
        source: fc.constantFrom(undefined, "gateway", "upstream:east"),
        late: fc.boolean(),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 900, HOUR, 3 * DAY) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("read" as const), most: fc.constantFrom(1, 3, 1_000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("die" as const), at: fc.nat(12) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant("terms" as const),
        ppm: fc.bigInt(0n, 1_000_000n),
        hold: fc.constantFrom(0, 5_000, DAY),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant("adjust" as const),
        worker: fc.nat(2),
        wei: fc.bigInt(-1_000n, 1_000n),
        /** A job of its own, so many back. */
        corrects: fc.option(fc.nat(3), { nil: undefined }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("pay" as const),
        worker: fc.nat(2),
        final: fc.boolean(),
        part: fc.bigInt(1n, 3n),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("close" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("rebuild" as const) }) },
  );

  test("the books balance, statements sum to balances, and a rebuild comes to the same", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const clock = stoppedClock(t0);
        const versions = [
          termsVersion(1, { holdMs: 5_000, overrides: [{ name: "own", workers: [workers[2]!], commissionPpm: 0n }] }),
        ];
        await using world = await openLedgerWorld(clock, new TermsBook(versions));
        const { store, ledger, terms, client, connection } = world;
        let fees = 0n;
        let jobs = 0;
        const earned: { readonly job: string; readonly worker: WorkerAddress }[] = [];
        for (const one of steps) {
          switch (one.do) {
            case "credit": {
              const worker = workers[one.worker]!;
              const now = terms.at(clock.now());
              const amounts = creditFor({
                pixels: one.pixels,
                price: { pricePerUnitWei: one.price, pixelsPerUnit: one.per },
                commissionPpm: terms.of(now, worker).commissionPpm,
              });
              fees += amounts.feeWei;
              jobs++;
              const job = newJob();
              earned.push({ job, worker });
              await store.credit({
                job,
                earner: { worker, rig: one.rig },
                segments: 1,
                ...amounts,
                data: {
                  source: one.source,
                  termsVersion: one.late ? undefined : now.version,
                  durationMs: 2_000,
                  renditions: [{ width: 640, height: 360, frames: 60, pixels: "1" }],
                },
              });
              break;
            }
            case "wait":
              clock.advance(one.ms);
              break;
            case "read":
              await world.step(one.most);
              break;
            case "die": {
              // The process ends in the middle of a transaction: after so many of its statements.
              const victim = new Client({ ...clientConfig(connection, "victim"), pipeline: true });
              victim.on("error", () => {});
              await victim.connect();
              const query = victim.query.bind(victim) as (...args: unknown[]) => Promise<unknown>;
              let left = one.at;
              victim.query = ((...args: unknown[]) => {
                if (left-- === 0) throw new Error("killed");
                return query(...args);
              }) as typeof victim.query;
              await ledgerStep(victim, {
                ...rules(world),
                numbers: new WorkerNumbers(),
                nowMs: clock.now(),
                newId: world.newId,
                monotonicMs: clock.monotonicMs,
              }).catch(() => {});
              victim.query = query as typeof victim.query;
              await victim.end();
              break;
            }
            case "terms": {
              versions.push(
                termsVersion(versions.length + 1, {
                  effectiveAtMs: clock.now() + 60_000,
                  commissionPpm: one.ppm,
                  holdMs: one.hold,
                }),
              );
              terms.load(versions);
              break;
            }
            case "adjust": {
              const worker = workers[one.worker]!;
              const jobsOf = earned.filter((job) => job.worker === worker);
              const adjusted = ledger.adjust({
                worker,
                amountWei: one.wei,
                reason: "a test",
                corrects: one.corrects === undefined ? undefined : jobsOf.at(-1 - one.corrects)?.job,
                termsVersion: 1,
              });
              await adjusted.catch((error: { info?: { code?: string } }) => {
                expect(["ledger/negative-balance", "ledger/bad-adjustment"]).toContain(error.info?.code);
              });
              break;
            }
            case "pay": {
              const worker = workers[one.worker]!;
              const { owedWei } = await ledger.balance(worker);
              if (owedWei >= one.part) await pay(world, worker, owedWei / one.part, clock.now(), one.final);
              break;
            }
            case "close":
              await closePeriods(client, clock.now());
              break;
            case "rebuild":
              expect((await rebuild(world, false, clock.now)).differences).toEqual([]);
              expect(await wrongClosings(client)).toEqual([]);
              break;
          }
        }
        await world.catchUp();
        expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
        expect((await rebuild(world, true, clock.now)).differences).toEqual([]);
        expect(await wrongClosings(client)).toEqual([]);
        const accounts = await ledger.accounts();
        expect([...accounts.values()].reduce((sum, one) => sum + one, 0n)).toBe(0n);
        expect((await ledger.totals()).feesWei).toBe(fees);
        let rows = 0;
        for (const worker of workers) {
          const { heldWei, owedWei, payingWei } = await ledger.balance(worker);
          const page = await ledger.statement(worker, {}, undefined, 10_000);
          rows += page.rows.filter((row) => row.kind === "credit").length;
          const unpaid = heldWei + owedWei + payingWei;
          expect(page.rows.reduce((sum, row) => sum + row.amountWei, 0n)).toBe(unpaid);
          // Any cut of time: what was before and what is in it make what is at its end.
          const cut = t0 + 2 * HOUR;
          const first = await ledger.statementSums(worker, { toMs: cut });
          const second = await ledger.statementSums(worker, { fromMs: cut });
          expect([second.openingWei, second.closingWei]).toEqual([first.closingWei, unpaid]);
          const held = page.rows.filter((row) => row.state === "held").reduce((sum, row) => sum + row.amountWei, 0n);
          expect(held).toBe(heldWei);
        }
        expect(rows).toBe(jobs);
        expect(await store.checkTotals()).toEqual([]);
      }),
      { numRuns: 8 },
    );
  }, 120_000);
});

describe("rebuilding", () => {
  test("finds what was changed behind the pool's back, leaves it when only verifying, and puts it right when not", async () => {
    const clock = stoppedClock(t0);
    await using world = await openLedgerWorld(clock);
    const { store, ledger, client } = world;
    for (let i = 1n; i <= 5n; i++) await store.credit(creditOf(i === 5n ? bob : ada, "one", i));
    await world.catchUp();
    await ledger.adjust({ worker: bob, amountWei: 10n, reason: "a gift", termsVersion: 1 });
    await client.query("update openpool.ledger_lines set amount_wei = amount_wei + 1 where fee_wei = 1000");
    await client.query("update openpool.ledger_accounts set balance_wei = balance_wei + 1 where account like '%:owed'");
    const found = await rebuild(world, true, clock.now);
    expect(found).toMatchObject({ jobs: 5, replaced: false });
    expect(found.differences.map((one) => one.what).toSorted()).toEqual(
      [`statement of ${ada}`, `worker:${ada}:owed`, `worker:${bob}:owed`].toSorted(),
    );
    expect((await rebuild(world, true, clock.now)).differences).toHaveLength(3);
    expect(await rebuild(world, false, clock.now)).toMatchObject({ replaced: true });
    expect((await rebuild(world, true, clock.now)).differences).toEqual([]);
    expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
    expect(await ledger.balance(bob)).toMatchObject({ owedWei: 3_760n });
    // What comes next is booked into the rebuilt books.
    await store.credit(creditOf(ada, "one", 1n));
    await world.catchUp();
    expect(await ledger.balance(ada)).toMatchObject({ owedWei: 8_250n });
  });

  test("dates releases as they were: months that are closed say the same afterwards, and so do those that come", async () => {
    const clock = stoppedClock(t0);
    await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
    const { store, ledger, client } = world;
    const closings = async (): Promise<unknown> =>
      (await client.query("select * from openpool.ledger_closings order by period, account")).rows;
    for (let day = 0; day < 70; day += 5) {
      await store.credit(creditOf(day % 10 === 0 ? ada : bob, "one", BigInt(4 + day)));
      clock.advance(DAY + HOUR);
      await world.catchUp();
      const { owedWei } = await ledger.balance(ada);
      if (day % 15 === 0) await pay(world, ada, owedWei, clock.now(), true);
      clock.advance(4 * DAY - HOUR);
      await world.catchUp();
      if (day === 35) {
        expect(await closePeriods(client, clock.now())).toEqual(["2026-01", "2026-02"]);
        const before = await closings();
        expect(await rebuild(world, false, clock.now)).toMatchObject({ replaced: true, differences: [] });
        expect(await closings()).toEqual(before);
      }
    }
    expect(await closePeriods(client, clock.now())).toEqual(["2026-03"]);
    expect(await wrongClosings(client)).toEqual([]);
    const { rows } = await client.query("select * from openpool.ledger_closings where balance_wei < 0");
    expect(rows.map((row: { account: string }) => row.account)).toEqual([
      "source:gateway",
      "source:gateway",
      "source:gateway",
    ]);
  });

  test("needs no events of months that were closed and taken out of the log", async () => {
    const clock = stoppedClock(t0);
    await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: 3 * DAY })]));
    const { store, ledger, client } = world;
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    await expect(client.query("select openpool.drop_events_month('2026-01-01')")).rejects.toThrow(/not closed/);
    expect(await closePeriods(client, clock.now())).toEqual([]);
    clock.advance(2 * DAY + 2 * HOUR);
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    expect(await closePeriods(client, clock.now())).toEqual(["2026-01"]);
    expect(await client.query("select * from openpool.ledger_closings order by account")).toMatchObject({
      rows: [
        { account: "pool:commission", balance_wei: "1000" },
        { account: "source:gateway", balance_wei: "-4000" },
        { account: `worker:${ada}:held`, balance_wei: "3000" },
      ],
    });
    await expect(client.query("select openpool.drop_events_month('2026-01-01')")).rejects.toThrow(/not exported/);
    const dir = await mkdtemp(join(tmpdir(), "openpool-exports-"));
    try {
      await store.append([{ type: "fact", data: { n: 1 } }]);
      const { file, rows } = await pruneMonth(world.connection, "2026-01", dir, clock.now());
      expect(rows).toBe(1);
      await expect(pruneMonth(world.connection, "2026-01", dir, clock.now())).rejects.toThrow(/store\/not-prunable/);
      expect(await ledger.closedPeriods()).toMatchObject([
        { period: "2026-01", lines: 1, droppedAtMs: expect.any(Number) },
      ]);
      const kept = await store.events({ limit: 10 });
      expect(kept.map((event) => event.type)).toEqual(["job.credited", "fact"]);
      expect(await store.checkTotals()).toEqual([]);
      await store.rebuildTotals();
      expect(await store.checkTotals()).toEqual([]);
      clock.advance(DAY);
      await world.catchUp();
      expect(await ledger.balance(ada)).toMatchObject({ heldWei: 3_000n, owedWei: 3_000n });
      const right = async (jobs: number): Promise<void> => {
        expect(await rebuild(world, false, clock.now)).toMatchObject({ jobs, differences: [] });
        expect((await rebuild(world, true, clock.now)).differences).toEqual([]);
        expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
      };
      await right(2);
      // Of a file that was changed nothing is used; one that is gone is not needed, and the month is what it was sealed as.
      const whole = await readFile(file);
      await writeFile(file, gzipSync(gunzipSync(whole).toString().replace('"segments":1', '"segments":2')));
      await expect(rebuild(world, true, clock.now)).rejects.toThrow(/store\/export-damaged/);
      await rm(file);
      await right(1);
      await client.query("update openpool.ledger_lines set rig = 'other' where at < '2026-02-01'");
      expect((await rebuild(world, true, clock.now)).differences).toMatchObject([{ what: "the closed month 2026-01" }]);
      expect((await checkLedger(client, rules(world), undefined)).violations).toMatchObject([{ check: "closed" }]);
      await writeFile(file, whole);
      // From the file again the books are what they were.
      expect((await rebuild(world, false, clock.now)).differences).toMatchObject([{ what: `statement of ${ada}` }]);
      await right(2);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  test("books nothing into a closed month: what comes late stands in the next one", async () => {
    const clock = stoppedClock(t0);
    await using world = await openLedgerWorld(clock);
    const { store, ledger, client } = world;
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    await closePeriods(client, t0 + 5 * DAY);
    // The clock of the node that says so is behind.
    await store.credit(creditOf(ada, "one", 8n));
    await world.catchUp();
    const february = Date.parse("2026-02-01T00:00:00Z");
    const { rows } = await ledger.statement(ada, { fromMs: february }, undefined, 10);
    expect(rows.map((row) => [row.atMs, row.amountWei])).toEqual([[february, 6_000n]]);
    expect((await rebuild(world, true, clock.now)).differences).toEqual([]);
  });

  test("lets a month go whose late credits stand in a later one, once that is closed, and finds all of them again", async () => {
    const clock = stoppedClock(t0);
    await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: 20 * DAY })]));
    const { store, ledger, client, connection } = world;
    const dir = await mkdtemp(join(tmpdir(), "openpool-exports-"));
    const prune = (month: string) => pruneMonth(connection, month, dir, clock.now());
    const right = async (jobs: number): Promise<void> => {
      expect(await rebuild(world, false, clock.now)).toMatchObject({ jobs, differences: [] });
      expect((await rebuild(world, true, clock.now)).differences).toEqual([]);
      expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
    };
    try {
      await store.credit(creditOf(ada, "one", 4n));
      await world.catchUp();
      expect(await closePeriods(client, t0 + 5 * DAY)).toEqual(["2026-01"]);
      // The clock of the node that says so is behind; beside it one goes right.
      await store.credit(creditOf(ada, "one", 8n));
      await store.credit(creditOf(bob, "one", 1n));
      clock.advance(3 * DAY);
      await store.credit(creditOf(ada, "one", 4n));
      await world.catchUp();
      await expect(prune("2026-01")).rejects.toThrow(/booked into a month that is not closed yet/);
      clock.advance(40 * DAY);
      await store.credit(creditOf(bob, "one", 4n));
      await world.catchUp();
      expect(await closePeriods(client, clock.now())).toEqual(["2026-02"]);
      // Books of before, which mixed what came late with what did not.
      await client.query(`update openpool.ledger_entries set data = '{"jobs":2}' where data->>'late' is not null`);
      await expect(prune("2026-01")).rejects.toThrow(/run openpool ledger rebuild once/);
      await right(5);
      const january = await prune("2026-01");
      expect(january.rows).toBe(3);
      await right(5);
      const february = await prune("2026-02");
      expect(february.rows).toBe(1);
      const balances = [await ledger.balance(ada), await ledger.balance(bob)];
      expect(balances).toMatchObject([{ owedWei: 12_000n }, { owedWei: 750n, heldWei: 3_000n }]);
      // Whichever of the files is there: what came late is booked once.
      for (const gone of [[], [january], [february], [january, february]]) {
        const files = await Promise.all(gone.map(async ({ file }) => ({ file, bytes: await readFile(file) })));
        for (const { file } of files) await rm(file);
        await right(5 - gone.reduce((sum, { rows }) => sum + rows, 0));
        expect([await ledger.balance(ada), await ledger.balance(bob)]).toEqual(balances);
        for (const { file, bytes } of files) await writeFile(file, bytes);
      }
      expect(await store.checkTotals()).toEqual([]);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});

describe("the check", () => {
  const wrongs: [string, string, string][] = [
    [
      "an account",
      "update openpool.ledger_accounts set balance_wei = balance_wei + 1 where account = 'pool:commission'",
      "sum",
    ],
    ["a row's amount", "update openpool.ledger_lines set amount_wei = 7", "log"],
    ["a row that is gone", "delete from openpool.ledger_lines", "log"],
    [
      "a row for no job",
      "insert into openpool.ledger_lines select worker, at, gen_random_uuid(), entry, kind, 0, terms_version, release_at, rig, gen_random_uuid() from openpool.ledger_lines",
      "job",
    ],
    ["a posting", "update openpool.ledger_postings set amount_wei = amount_wei + 1", "postings"],
    ["a hold", "update openpool.ledger_holds set amount_wei = 1", "holds"],
    // As if more had been shared of what hooks held back than ever waited.
    [
      "what waits for its hook",
      "insert into openpool.ledger_accounts (account, balance_wei) values ('pool:unshared', -1)",
      "negative",
    ],
  ];
  test.each(wrongs)(
    "finds %s that was changed, halts payouts, and lifts the halt once it is right again",
    async (_what, sql, check) => {
      await using world = await openLedgerWorld(systemClock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
      const { store, ledger, client, connection } = world;
      await store.credit(creditOf(ada, "one", 4n));
      await world.catchUp();
      await using checker = new LedgerChecker(connection, {
        ...rules(world),
        logger: silentLogger,
        clock: systemClock,
        ledger,
        record: (event) => store.append([event]),
      });
      expect(await checker.check(true)).toMatchObject({ violations: [], jobs: 1, whole: true });
      await client.query(sql);
      const { violations } = await checker.check(true);
      expect(violations.map((one) => one.check)).toContain(check);
      expect(await ledger.halts()).toMatchObject([
        { name: CHECK_HALT, reason: expect.stringContaining(violations[0]!.message) },
      ]);
      expect(await store.events({ types: ["ledger.violated"], limit: 5 })).toHaveLength(1);
      await rebuild(world, false, () => Date.now());
      expect((await checker.check(true)).violations).toEqual([]);
      expect(await ledger.halts()).toEqual([]);
    },
  );

  test("finds a payout that is final and not booked, and one that is booked and was never made", async () => {
    const clock = stoppedClock(t0);
    await using world = await openLedgerWorld(clock);
    const { store, ledger, client } = world;
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    await pay(world, ada, 1_000n, clock.now(), true);
    await pay(world, ada, 500n, clock.now(), false);
    const look = async (): Promise<readonly string[]> =>
      (await checkLedger(client, rules(world), await head(client))).violations.map((one) => one.message);
    expect(await look()).toEqual([]);
    expect(await ledger.balance(ada)).toMatchObject({ owedWei: 2_000n, payingWei: 0n, paidWei: 1_000n });
    await client.query("update openpool.payout_lines set amount_wei = 999 where state = 'final'");
    expect(await look()).toEqual([expect.stringContaining("paid 999 wei in transaction 0x12; booked are 1000")]);
    await client.query("delete from openpool.payout_lines where state = 'final'");
    expect(await look()).toEqual([expect.stringContaining("pays a line that does not exist")]);
    await client.query("update openpool.payout_lines set state = 'final'");
    expect(await look()).toHaveLength(2);
  });

  test("of another process's halt looks at everything soon after its start, and lifts it", async () => {
    const clock = stoppedClock(t0);
    await using world = await openLedgerWorld(clock);
    const { store, ledger, connection, client } = world;
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    await ledger.halt(CHECK_HALT, "something was wrong", []);
    await client.query("update openpool.ledger_checks set position = $1", [await head(client)]);
    await using checker = new LedgerChecker(connection, {
      ...rules(world),
      logger: silentLogger,
      clock,
      ledger,
      record: async () => {},
    });
    await vi.waitFor(
      () => {
        clock.advance(20_000);
        expect(checker.last?.whole).toBe(true);
      },
      { timeout: 20_000, interval: 100 },
    );
    expect(clock.now() - t0).toBeLessThan(HOUR);
    await vi.waitFor(async () => expect(await ledger.halts()).toEqual([]));
  });

  test("asks the chain about what was paid: a transaction that is not there, did nothing or moved is told", async () => {
    const clock = stoppedClock(t0);
    await using world = await openLedgerWorld(clock);
    const { store, client } = world;
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    await pay(world, ada, 1_000n, clock.now(), true);
    await client.query("update openpool.payout_lines set block = 7");
    type Receipt = Awaited<ReturnType<PaidChain["receiptOf"]>>;
    const look = (receipt: Receipt | Error, { chainId = 1, after }: { chainId?: number; after?: bigint } = {}) => {
      const receiptOf = async (): Promise<Receipt> => {
        if (receipt instanceof Error) throw receipt;
        return receipt;
      };
      return checkLedger(client, { ...rules(world), chain: () => ({ chainId, receiptOf }) }, after);
    };
    const fine = { blockNumber: 7, succeeded: true };
    expect(await look(fine)).toMatchObject({ violations: [], transactions: 1 });
    for (const [receipt, why] of [
      [{ none: "the chain does not know it" }, "the chain does not know it"],
      [{ ...fine, succeeded: false }, "it did nothing"],
      [{ ...fine, blockNumber: 8 }, "it is in block 8 and was in 7"],
    ] as const) {
      const message = `1 payments are booked as made in transaction 0x12, and by the chain: ${why}`;
      expect((await look(receipt)).violations).toEqual([{ check: "chain", message }]);
    }
    // Another chain's payments are none of its business, and nodes that do not answer prove nothing.
    expect(await look({ none: "what?" }, { chainId: 2 })).toMatchObject({ violations: [], transactions: 0 });
    expect(await look({ none: "what?" }, { after: 0n })).toMatchObject({ violations: [] });
    expect(await look(new Error("no quorum"))).toMatchObject({ violations: [], chainProblem: "no quorum" });
  });

  test("of what is new looks at that alone, and goes on where it was", async () => {
    await using world = await openLedgerWorld(systemClock);
    const { store, ledger, connection } = world;
    const open = () =>
      new LedgerChecker(connection, {
        ...rules(world),
        logger: silentLogger,
        clock: systemClock,
        ledger,
        record: async () => {},
      });
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    {
      await using checker = open();
      expect(await checker.check(false)).toMatchObject({ jobs: 1, position: 1n, whole: false });
    }
    await store.credit(creditOf(ada, "one", 4n));
    await store.credit(creditOf(ada, "one", 4n));
    await world.catchUp();
    await using checker = open();
    await vi.waitFor(async () => expect(await checker.check(false)).toMatchObject({ jobs: 2, violations: [] }));
  });
});

test("books that are always a little behind have caught up once they know all that there was when they were asked", async () => {
  await using world = await openLedgerWorld(systemClock);
  await using payer = new PgPayoutStore(world.connection, { clock: systemClock, newId: newJob });
  for (let i = 0; i < 5; i++) await world.store.credit(creditOf(ada, "one", 1n));
  let isBusy = true;
  const work = async (): Promise<void> => {
    while (isBusy) {
      await world.store.credit(creditOf(ada, "one", 1n));
      await world.step(1);
    }
  };
  const working = work();
  expect(await payer.booksCatchUp(Date.now())).toBe(true);
  isBusy = false;
  await working;
});

test("a correction of a credit of nothing that is still held is held with it", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
  const { store, ledger, client } = world;
  const credit = creditOf(ada, "one", 0n);
  await store.credit(credit);
  await world.catchUp();
  await ledger.adjust({ worker: ada, amountWei: 70n, reason: "forgotten", corrects: credit.job, termsVersion: 1 });
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 70n, owedWei: 0n });
  expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
  expect((await rebuild(world, true, clock.now)).differences).toEqual([]);
  clock.advance(DAY + HOUR);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 70n });
  expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
});

test("an adjustment names its reason and what it corrects, and never takes more than is owed", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { store, ledger } = world;
  const credit = creditOf(ada, "one", 4n);
  await store.credit(credit);
  await world.catchUp();
  clock.advance(1);
  const { balance } = await ledger.adjust({
    worker: ada,
    amountWei: -1_000n,
    reason: "half of it was black",
    corrects: credit.job,
    termsVersion: 1,
  });
  expect(balance.owedWei).toBe(2_000n);
  const { rows } = await ledger.statement(ada, {}, undefined, 10, "newest-first");
  expect(rows[0]).toMatchObject({
    kind: "adjusted",
    amountWei: -1_000n,
    data: { reason: "half of it was black", corrects: credit.job },
  });
  const refused = (change: object): Promise<unknown> =>
    ledger.adjust({ worker: ada, amountWei: 1n, reason: "why not", termsVersion: 1, ...change });
  await expect(refused({ amountWei: -2_001n })).rejects.toMatchObject({ info: { code: "ledger/negative-balance" } });
  await expect(refused({ corrects: newJob() })).rejects.toMatchObject({ info: { code: "ledger/unknown-entry" } });
  await expect(refused({ reason: " " })).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  expect((await ledger.balance(ada)).owedWei).toBe(2_000n);
});

test("an adjustment with a key is booked once, however often it is asked for", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock);
  const { ledger } = world;
  const ask = (change: object = {}) =>
    ledger.adjust({ worker: ada, amountWei: 500n, reason: "a gift", key: "gift-7", termsVersion: 1, ...change });
  const first = await ask();
  const again = await ask();
  expect([first.repeated, again.repeated, again.entry]).toEqual([false, true, first.entry]);
  expect(again.balance.owedWei).toBe(500n);
  await expect(ask({ amountWei: 501n })).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  await expect(ask({ worker: bob })).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  expect((await ask({ key: "gift-8" })).balance.owedWei).toBe(1_000n);
});

test("a credit that is held is corrected where it is: less of it is released, at its own moment, and the statement sums", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
  const { store, ledger, client } = world;
  const credit = creditOf(ada, "one", 4n);
  await store.credit(credit);
  await store.credit(creditOf(ada, "one", 8n));
  await world.catchUp();
  const correct = (amountWei: bigint) =>
    ledger.adjust({ worker: ada, amountWei, reason: "black pictures", corrects: credit.job, termsVersion: 1 });
  clock.advance(HOUR);
  expect((await correct(-2_000n)).balance).toMatchObject({ heldWei: 7_000n, owedWei: 0n });
  // The job has 1000 left, whatever else is held.
  await expect(correct(-1_001n)).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  await correct(500n);
  const { rows } = await ledger.statement(ada, {}, undefined, 10);
  expect(rows.map((row) => [row.kind, row.amountWei, row.state])).toEqual([
    ["credit", 3_000n, "held"],
    ["credit", 6_000n, "held"],
    ["adjusted", -2_000n, "held"],
    ["adjusted", 500n, "held"],
  ]);
  expect(rows[2]?.data).toMatchObject({ reason: "black pictures", corrects: credit.job });
  const right = async (): Promise<void> => {
    expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
    expect((await rebuild(world, true, clock.now)).differences).toEqual([]);
  };
  await right();
  expect((await rebuild(world, false, clock.now)).differences).toEqual([]);
  await right();
  clock.advance(DAY);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 7_500n });
  await right();
  // Released: from here on it is what is owed that is corrected.
  expect((await correct(-100n)).balance).toMatchObject({ heldWei: 0n, owedWei: 7_400n });
});

test("to a credit of nothing that is held something can be added, which is released with it", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: DAY })]));
  const { store, ledger, client } = world;
  const credit = { ...creditOf(ada, "one", 4n), feeWei: 0n, commissionWei: 0n, earnedWei: 0n };
  await store.credit(credit);
  await world.catchUp();
  const correct = (amountWei: bigint) =>
    ledger.adjust({ worker: ada, amountWei, reason: "the price was wrong", corrects: credit.job, termsVersion: 1 });
  expect((await correct(500n)).balance).toMatchObject({ heldWei: 500n, owedWei: 0n });
  await expect(correct(-501n)).rejects.toMatchObject({ info: { code: "ledger/bad-adjustment" } });
  // All of it taken back again: nothing is released, and nothing is left behind.
  expect((await correct(-500n)).balance).toMatchObject({ heldWei: 0n });
  await correct(1n);
  const right = async (): Promise<void> => {
    expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
    expect((await rebuild(world, false, clock.now)).differences).toEqual([]);
  };
  await right();
  clock.advance(2 * DAY);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 1n });
  await right();
});

test("the books are rebuilt beside a process that pays", async () => {
  await using world = await openLedgerWorld(systemClock);
  await using payer = new PgPayoutStore(world.connection, { clock: systemClock, newId: newJob });
  await payer.openRuns();
  await world.store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  expect(await rebuild(world, true, systemClock.now)).toMatchObject({ jobs: 1, differences: [] });
  expect(await rebuild(world, false, systemClock.now)).toMatchObject({ replaced: true });
});

test("a clock that jumps ahead closes no month that goes on, and makes nobody wait; load keeps no month open", async () => {
  const clock = stoppedClock(t0);
  await using world = await openLedgerWorld(clock, new TermsBook([termsVersion(1, { holdMs: HOUR })]));
  const { store, ledger, client } = world;
  await store.credit(creditOf(ada, "one", 4n));
  expect(await closePeriods(client, t0 + 150 * DAY)).toEqual([]);
  await world.catchUp();
  // The log ends in January: that month may be over, but nothing after it.
  expect(await closePeriods(client, t0 + 150 * DAY)).toEqual(["2026-01"]);
  expect(await closePeriods(client, t0 + 150 * DAY)).toEqual([]);
  // Booked into February, held from when it was earned.
  await store.credit(creditOf(ada, "one", 8n));
  await world.catchUp();
  clock.advance(HOUR + 60_000);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 9_000n });
  clock.advance(30 * DAY);
  await store.credit(creditOf(ada, "one", 4n));
  await world.catchUp();
  clock.advance(5 * DAY);
  // Not booked yet, and of March.
  await store.credit(creditOf(ada, "one", 4n));
  expect(await closePeriods(client, clock.now())).toEqual(["2026-02"]);
  await world.catchUp();
  expect((await checkLedger(client, rules(world), undefined)).violations).toEqual([]);
  expect((await rebuild(world, true, clock.now)).differences).toEqual([]);
});
