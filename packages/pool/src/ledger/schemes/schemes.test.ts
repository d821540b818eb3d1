import { checksumAddress, type WorkerAddress } from "@openpool/protocol";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bookHeldByFee,
  bookHeldShare,
  bookIncome,
  bookJob,
  bookUptimeSlot,
  FEE_WORK,
  fixedAmountWei,
  heldBy,
  type HookShare,
  type PayScheme,
  POOL_WORK,
  readScheme,
  schemeAccounts,
  settlePeriod,
  shareOut,
  slotBudgetWei,
  workOf,
} from "./index.ts";
import type { CreditedJob, JobBooking } from "../types.ts";

const workers = [1, 2, 3, 4, 5].map((n) => checksumAddress(new Uint8Array(20).fill(n)));
const [ada, bob] = workers as [WorkerAddress, WorkerAddress];
const noHook = (): HookShare => {
  throw new Error("no hook here");
};

function work(change: Partial<CreditedJob> = {}): CreditedJob {
  const feeWei = change.feeWei ?? 1_000n;
  const commissionWei = change.commissionWei ?? feeWei / 4n;
  return {
    event: "event",
    job: "job",
    price: { pricePerUnitWei: 1n, pixelsPerUnit: 1n },
    commissionPpm: 250_000n,
    worker: ada,
    rig: "rig1",
    source: "source:gateway",
    atMs: 0,
    segments: 1,
    pixels: 1n,
    durationMs: 2_000,
    renditions: [{ width: 640, height: 360, frames: 60 }],
    earnedWei: feeWei - commissionWei,
    ...change,
    feeWei,
    commissionWei,
  };
}

/** What all bookings together leave at each account. */
function balancesOf(bookings: readonly (JobBooking | undefined)[]): Map<string, bigint> {
  const balances = new Map<string, bigint>();
  for (const booking of bookings) {
    for (const { account, amountWei } of booking?.postings ?? []) {
      balances.set(account, (balances.get(account) ?? 0n) + amountWei);
    }
  }
  return balances;
}
const sumOf = (values: Iterable<bigint>): bigint => [...values].reduce((sum, value) => sum + value, 0n);
const sumOfPostings = (booking: JobBooking): bigint => sumOf(booking.postings.map((one) => one.amountWei));
const workBalances = (balances: Map<string, bigint>): Map<string, bigint> =>
  new Map([...balances].filter(([account]) => account.startsWith("work:")));

const anyWei = fc.oneof(fc.bigInt(0n, 100n), fc.bigInt(0n, 10n ** 30n));
const anyWork: fc.Arbitrary<CreditedJob> = fc
  .record({
    worker: fc.constantFrom(...workers),
    feeWei: anyWei,
    ppm: fc.bigInt(0n, 1_000_000n),
    durationMs: fc.integer({ min: 0, max: 20_000 }),
    renditions: fc.integer({ min: 1, max: 5 }),
  })
  .map(({ ppm, renditions, feeWei, ...rest }) =>
    work({
      ...rest,
      feeWei,
      commissionWei: (feeWei * ppm) / 1_000_000n,
      renditions: Array.from({ length: renditions }, () => ({ width: 640, height: 360, frames: 60 })),
    }),
  );
const anyScheme: fc.Arbitrary<PayScheme> = fc.oneof(
  fc.constant<PayScheme>({ kind: "unit" }),
  fc.record({
    kind: fc.constant("segment" as const),
    per: fc.constantFrom("segment" as const, "rendition-second" as const),
    amountWei: anyWei,
  }),
  fc.constant<PayScheme>({ kind: "proportional", periodMs: 1 }),
  fc.record({ kind: fc.constant("blend" as const), lambdaPpm: fc.bigInt(0n, 1_000_000n), periodMs: fc.constant(1) }),
);

describe("sharing out", () => {
  test("gives out exactly what there was, nobody more than a wei beside its exact part", () => {
    fc.assert(
      fc.property(anyWei, fc.array(anyWei, { maxLength: 20 }), (totalWei, weights) => {
        const named = new Map(weights.map((weight, i) => [`w${i}`, weight]));
        const shares = shareOut(totalWei, named);
        const weightSum = sumOf(weights);
        if (weightSum === 0n) {
          expect(shares.size).toBe(0);
          return;
        }
        expect(sumOf(shares.values())).toBe(totalWei);
        for (const [name, wei] of shares) {
          const scaled = totalWei * (named.get(name) ?? 0n);
          expect(wei * weightSum > scaled - weightSum && wei * weightSum < scaled + weightSum).toBe(true);
        }
      }),
    );
  });

  test("does not depend on the order in which the sharers are named", () => {
    fc.assert(
      fc.property(
        anyWei,
        fc
          .array(anyWei, { minLength: 1, maxLength: 12 })
          .chain((weights) =>
            fc.tuple(
              fc.constant(weights.map((weight, i) => [`w${i}`, weight] as const)),
              fc.shuffledSubarray([...weights.keys()], { minLength: weights.length }),
            ),
          ),
        (totalWei, [named, order]) => {
          const shuffled = order.map((i) => named[i]!);
          expect([...shareOut(totalWei, new Map(shuffled))]).toEqual([...shareOut(totalWei, new Map(named))]);
        },
      ),
    );
  });

  test("gives the wei that are left to the largest remainders, and among equals to the first by name", () => {
    expect([
      ...shareOut(
        10n,
        new Map([
          ["c", 1n],
          ["a", 1n],
          ["b", 1n],
        ]),
      ),
    ]).toEqual([
      ["a", 4n],
      ["b", 3n],
      ["c", 3n],
    ]);
    // 7 × 5/8 = 4.375, 7 × 2/8 = 1.75, 7 × 1/8 = 0.875
    expect([
      ...shareOut(
        7n,
        new Map([
          ["a", 5n],
          ["b", 2n],
          ["c", 1n],
        ]),
      ),
    ]).toEqual([
      ["a", 4n],
      ["b", 2n],
      ["c", 1n],
    ]);
  });

  test("refuses a debt and a negative weight", () => {
    expect(() => shareOut(-1n, new Map([["a", 1n]]))).toThrow(RangeError);
    expect(() => shareOut(1n, new Map([["a", -1n]]))).toThrow(RangeError);
  });
});

describe("a job", () => {
  test("is booked so that its postings sum to zero, under every scheme", () => {
    fc.assert(
      fc.property(anyScheme, anyWork, fc.boolean(), (scheme, one, sharing) => {
        expect(sumOfPostings(bookJob(scheme, one, { sharing, share: noHook }))).toBe(0n);
      }),
    );
  });

  test("leaves the same balances in whatever order jobs come", () => {
    fc.assert(
      fc.property(
        anyScheme,
        fc
          .array(anyWork, { minLength: 1, maxLength: 15 })
          .chain((jobs) => fc.tuple(fc.constant(jobs), fc.shuffledSubarray(jobs, { minLength: jobs.length }))),
        (scheme, [jobs, shuffled]) => {
          const book = (list: readonly CreditedJob[]): [string, bigint][] =>
            [...balancesOf(list.map((one) => bookJob(scheme, one, { sharing: true, share: noHook })))].sort();
          expect(book(shuffled)).toEqual(book(jobs));
        },
      ),
    );
  });

  test("shared by a hook is given out exactly, whatever that says, and in whatever order jobs come and runs are cut", () => {
    const to = fc.constantFrom<WorkerAddress | "pool">("pool", ...workers);
    const hashes = fc.constantFrom("sha256:a", "sha256:b");
    // What a hook says of a job: a division of its fee among anybody, or that it failed.
    const anyShare = fc.uniqueArray(fc.tuple(to, fc.bigInt(0n, 1_000n)), { maxLength: 6, selector: ([who]) => who });
    const anyJob = fc.tuple(anyWork, anyShare, hashes).map(([job, weights, hash]) => {
      const shares = shareOut(job.feeWei, new Map(weights));
      const said: HookShare =
        shares.size === 0
          ? { kind: "failed", hash, why: "it failed" }
          : { kind: "shared", hash, lines: [...shares].map(([who, wei]) => ({ to: who, wei })) };
      return { job, hash, said };
    });
    fc.assert(
      fc.property(
        fc
          .array(anyJob, { minLength: 1, maxLength: 15 })
          .chain((jobs) =>
            fc.tuple(fc.constant(jobs), fc.shuffledSubarray(jobs, { minLength: jobs.length }), fc.nat(jobs.length)),
          ),
        ([jobs, shuffled, cut]) => {
          const book = (list: typeof jobs): readonly JobBooking[] =>
            list.map((one) =>
              bookJob({ kind: "hook", hash: one.hash }, one.job, { sharing: true, share: () => one.said }),
            );
          const all = balancesOf(book(jobs));
          expect(sumOf(all.values())).toBe(0n);
          expect(-(all.get("source:gateway") ?? 0n)).toBe(sumOf(jobs.map((one) => one.job.feeWei)));
          const sorted = (balances: Map<string, bigint>) => [...balances].filter(([, wei]) => wei !== 0n).sort();
          expect(sorted(balancesOf(book(shuffled)))).toEqual(sorted(all));
          // A process that ends in between and one that goes on book together what one alone does.
          expect(sorted(balancesOf([...book(jobs.slice(0, cut)), ...book(jobs.slice(cut))]))).toEqual(sorted(all));
        },
      ),
    );
  });

  test("under `unit` goes to commission and worker as its event says", () => {
    const { postings } = bookJob({ kind: "unit" }, work(), { sharing: false, share: noHook });
    expect(postings).toEqual([
      { account: "source:gateway", amountWei: -1_000n },
      { account: schemeAccounts.commission, amountWei: 250n },
      { account: heldBy(ada), amountWei: 750n },
    ]);
  });

  test("under `segment` earns the fixed amount, and the pot has the difference, also below zero", () => {
    const perSecond = { kind: "segment", per: "rendition-second", amountWei: 1_000n } as const;
    expect(fixedAmountWei(perSecond, work({ durationMs: 1_999 }))).toBe(1_999n);
    const balances = balancesOf([
      bookJob({ kind: "segment", per: "segment", amountWei: 800n }, work(), { sharing: false, share: noHook }),
    ]);
    expect(balances.get(heldBy(ada))).toBe(800n);
    expect(balances.get(schemeAccounts.segmentPot)).toBe(-50n);
    expect(balances.get(schemeAccounts.commission)).toBe(250n);
  });

  test("under `proportional` earns nothing yet: its work is counted, the commission's part of it as the pool's", () => {
    const balances = balancesOf([
      bookJob({ kind: "proportional", periodMs: 1 }, work(), { sharing: true, share: noHook }),
    ]);
    expect(balances).toEqual(
      new Map([
        [POOL_WORK, 250n],
        [workOf(ada), 750n],
        [schemeAccounts.work, -1_000n],
      ]),
    );
  });

  test("whose hook failed waits whole, and goes where a working hook, or its own fee, says later", () => {
    const held = bookJob({ kind: "hook", hash: "h" }, work(), {
      sharing: false,
      share: (hash) => ({ kind: "failed", hash, why: "it threw" }),
    });
    expect(held.rule).toBe("hook-held");
    expect(balancesOf([held]).get(schemeAccounts.heldByHook)).toBe(1_000n);
    const late = bookHeldShare(work(), { kind: "shared", hash: "h2", lines: [{ to: bob, wei: 1_000n }], note: "late" });
    expect(balancesOf([held, late])).toEqual(
      new Map([
        ["source:gateway", -1_000n],
        [schemeAccounts.heldByHook, 0n],
        [heldBy(bob), 1_000n],
      ]),
    );
    const byFee = balancesOf([held, bookHeldByFee(work())]);
    expect([byFee.get(schemeAccounts.heldByHook), byFee.get(heldBy(ada))]).toEqual([0n, 750n]);
  });
});

describe("the end of a period", () => {
  test("gives out all income that waits, whatever schemes the jobs were under, and begins again at zero", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(anyScheme, anyWork), { minLength: 1, maxLength: 15 }),
        fc.array(fc.record({ grossWei: anyWei, keptPpm: fc.bigInt(0n, 1_000_000n) }), { maxLength: 5 }),
        (jobs, incomes) => {
          const bookings: (JobBooking | undefined)[] = [
            ...jobs.map(([scheme, one]) => bookJob(scheme, one, { sharing: true, share: noHook })),
            ...incomes.map(({ grossWei, keptPpm }, i) =>
              bookIncome({ ref: `r${i}`, kind: "tickets", grossWei, keptWei: (grossWei * keptPpm) / 1_000_000n }, true),
            ),
          ];
          const before = balancesOf(bookings);
          const sharedWei = before.get(schemeAccounts.shared) ?? 0n;
          const settled = settlePeriod("2026-11-21", workBalances(before), sharedWei);
          const after = balancesOf([...bookings, settled]);
          expect(sumOf(after.values())).toBe(0n);
          if (!settled) return;
          expect(sumOfPostings(settled)).toBe(0n);
          expect(after.get(schemeAccounts.shared)).toBe(0n);
          expect(after.get(schemeAccounts.work) ?? 0n).toBe(0n);
          for (const wei of workBalances(after).values()) expect(wei).toBe(0n);
        },
      ),
    );
  });

  test("shares income by work after each job's own commission, also where rates differ", () => {
    const scheme = { kind: "proportional", periodMs: 1 } as const;
    const context = { sharing: true, share: noHook };
    const balances = balancesOf([
      bookJob(scheme, work({ worker: ada, feeWei: 600n, commissionWei: 0n }), context),
      bookJob(scheme, work({ worker: bob, feeWei: 400n, commissionWei: 100n }), context),
    ]);
    const settled = settlePeriod("p", workBalances(balances), 2_000n);
    expect(balancesOf([settled]).get(heldBy(ada))).toBe(1_200n);
    expect(balancesOf([settled]).get(heldBy(bob))).toBe(600n);
    expect(balancesOf([settled]).get(schemeAccounts.commission)).toBe(200n);
  });

  test("does not share what others were paid by fee: that part of the income is the operator's", () => {
    const context = { sharing: true, share: noHook };
    const balances = balancesOf([
      bookJob({ kind: "unit" }, work({ worker: ada, feeWei: 500n, commissionWei: 0n }), context),
      bookJob({ kind: "proportional", periodMs: 1 }, work({ worker: bob, feeWei: 500n, commissionWei: 0n }), context),
    ]);
    const settled = balancesOf([settlePeriod("p", workBalances(balances), 900n)]);
    expect(settled.get(heldBy(ada))).toBeUndefined();
    expect(settled.get(heldBy(bob))).toBe(450n);
    expect(settled.get(schemeAccounts.tickets)).toBe(450n);
    expect(settled.get(FEE_WORK)).toBe(-500n);
  });

  test("a blend is its two parts: λ by fee, the rest by income", () => {
    const context = { sharing: true, share: noHook };
    const blend = { kind: "blend", lambdaPpm: 400_000n, periodMs: 1 } as const;
    const job = bookJob(blend, work({ feeWei: 1_000n, commissionWei: 0n }), context);
    const balances = balancesOf([job]);
    expect(balances.get(heldBy(ada))).toBe(400n);
    // The income is twice what was expected, so the other 60 % are worth twice as much.
    const settled = balancesOf([job, settlePeriod("p", workBalances(balances), 2_000n)]);
    expect(settled.get(heldBy(ada))).toBe(400n + 1_200n);
    expect(settled.get(schemeAccounts.tickets)).toBe(800n);
  });

  test("without income or without work nothing is settled, and what waits goes on waiting", () => {
    expect(settlePeriod("p", new Map([[workOf(ada), 5n]]), 0n)).toBeUndefined();
    expect(settlePeriod("p", new Map([[workOf(ada), 5n]]), -7n)).toBeUndefined();
    expect(settlePeriod("p", new Map([[workOf(ada), 0n]]), 5n)).toBeUndefined();
  });
});

describe("the uptime bonus", () => {
  test("the slots of a day have exactly the day's budget", () => {
    fc.assert(
      fc.property(anyWei, fc.constantFrom(60_000, 600_000, 3_600_000, 86_400_000), (budgetWeiPerDay, slotMs) => {
        const slots = Array.from({ length: 86_400_000 / slotMs }, (_, slot) => slot + 1_000 * (86_400_000 / slotMs));
        expect(sumOf(slots.map((slot) => slotBudgetWei({ budgetWeiPerDay, slotMs }, slot)))).toBe(budgetWeiPerDay);
      }),
    );
  });

  test("a slot gives its budget to who was ready, in equal parts, the odd wei by address", () => {
    const bonus = { budgetWeiPerDay: 11n, slotMs: 86_400_000 };
    const booked = bookUptimeSlot(bonus, 3, [bob, ada, bob]);
    expect(booked?.postings).toEqual([
      { account: schemeAccounts.uptimePot, amountWei: -11n },
      { account: heldBy(ada), amountWei: 6n },
      { account: heldBy(bob), amountWei: 5n },
    ]);
    expect(bookUptimeSlot(bonus, 3, [])).toBeUndefined();
  });

  test("gives out the budgets of the slots that somebody passed, exactly, in whatever order slots and workers come", () => {
    const anySlots = fc.uniqueArray(fc.tuple(fc.nat(10_000), fc.subarray([...workers])), {
      maxLength: 12,
      selector: ([slot]) => slot,
    });
    fc.assert(
      fc.property(
        anyWei,
        fc.constantFrom(60_000, 600_000, 86_400_000),
        anySlots.chain((slots) =>
          fc.tuple(
            fc.constant(slots),
            fc.shuffledSubarray(slots, { minLength: slots.length }),
            fc.shuffledSubarray([...workers], { minLength: workers.length }),
          ),
        ),
        (budgetWeiPerDay, slotMs, [slots, shuffled, order]) => {
          const bonus = { budgetWeiPerDay, slotMs };
          const given = balancesOf(slots.map(([slot, passed]) => bookUptimeSlot(bonus, slot, passed)));
          expect(sumOf(given.values())).toBe(0n);
          expect(-(given.get(schemeAccounts.uptimePot) ?? 0n)).toBe(
            sumOf(slots.map(([slot, passed]) => (passed.length === 0 ? 0n : slotBudgetWei(bonus, slot)))),
          );
          const again = shuffled.map(([slot, passed]) =>
            bookUptimeSlot(
              bonus,
              slot,
              order.filter((worker) => passed.includes(worker)),
            ),
          );
          expect([...balancesOf(again)].sort()).toEqual([...given].sort());
        },
      ),
    );
  });
});

describe("the options of a scheme", () => {
  test("are read with their defaults", () => {
    expect(readScheme("unit", {}).scheme).toEqual({ kind: "unit" });
    expect(readScheme("proportional", {}).scheme).toEqual({ kind: "proportional", periodMs: 86_400_000 });
    expect(readScheme("proportional", { periodMs: "60000" }).scheme).toMatchObject({ periodMs: 60_000 });
    expect(readScheme("blend", { lambdaPpm: 300_000 }).scheme).toMatchObject({ lambdaPpm: 300_000n });
    expect(readScheme("unit", { uptime: { budgetWeiPerDay: "5" } }).uptime).toEqual({
      budgetWeiPerDay: 5n,
      slotMs: 600_000,
    });
  });

  for (const [name, given, says] of [
    ["free-beer", {}, "There is no scheme"],
    ["unit", { typo: 1 }, "typo"],
    ["segment", {}, "amountWei"],
    ["segment", { amountWei: "1.5" }, "decimal string"],
    ["segment", { amountWei: "-1" }, "decimal string"],
    ["blend", { lambdaPpm: "1000001" }, "more than"],
    ["hook", { hook: "sha256:12" }, "64 hex digits"],
    ["unit", { uptime: { budgetWeiPerDay: "5", slotMs: 7 * 60_000 } }, "whole slots"],
  ] as const) {
    test(`of ${name} ${JSON.stringify(given)} are refused: ${says}`, () => {
      expect(() => readScheme(name, given)).toThrow(says);
    });
  }
});
