import { stoppedClock, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { times } from "../../../../test/chance.ts";
import { creditFor } from "../ledger/credit-for.ts";
import { TermsBook } from "../ledger/terms.ts";
import { closePeriods } from "./ledger-periods.ts";
import { PgPayoutStore } from "./payout-store.ts";
import { openLedgerWorld, termsVersion } from "./testing/ledger-world.ts";
import { pay, wrongClosings } from "./testing/payments.ts";
import { ada, creditOf, newJob } from "./testing/sample-credit.ts";

const t0 = Date.parse("2026-01-30T00:00:00Z");
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

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

  test(
    "the books balance, statements sum to balances, and a rebuild comes to the same",
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
          const clock = stoppedClock(t0);
          const versions = [
            termsVersion(1, { holdMs: 5_000, overrides: [{ name: "own", workers: [workers[2]!], commissionPpm: 0n }] }),
          ];
          await using world = await openLedgerWorld(clock, new TermsBook(versions));
          const { store, ledger, terms, client } = world;
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
              case "die":
                await world.dieAt(one.at);
                break;
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
                expect((await world.rebuild(false)).differences).toEqual([]);
                expect(await wrongClosings(client)).toEqual([]);
                break;
            }
          }
          await world.catchUp();
          expect((await world.check()).violations).toEqual([]);
          expect((await world.rebuild(true)).differences).toEqual([]);
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
        { numRuns: times(16) },
      );
    },
    times(120_000),
  );
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
