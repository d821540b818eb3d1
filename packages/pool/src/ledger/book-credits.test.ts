import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bookCredits } from "./book-credits.ts";
import { creditFor } from "./credit-for.ts";
import type { CreditEvent } from "./decode-credit.ts";
import { createJobBooker } from "./schemes/index.ts";
import { defaultTerms } from "./terms-keeper.ts";
import { TermsBook } from "./terms.ts";

const workers = ["11", "22", "33"].map((byte) => parseAddress(`0x${byte.repeat(20)}`) as WorkerAddress);
const [ada, bob] = workers as [WorkerAddress, WorkerAddress];
const terms = new TermsBook([{ version: 1, effectiveAtMs: 0, announcedAtMs: 0, ...defaultTerms, holdMs: 0 }]);
const rules = { terms, bookJob: createJobBooker(terms), openSinceMs: 0 };

function event(i: number, worker: WorkerAddress, pixels: bigint, change: Record<string, unknown> = {}): CreditEvent {
  const price = { pricePerUnitWei: 1n, pixelsPerUnit: 1n };
  const amounts = creditFor({ pixels, price, commissionPpm: 250_000n });
  return {
    id: `event-${i}`,
    atMs: i,
    worker,
    rig: "one",
    data: {
      job: `job-${i}`,
      segments: 1,
      pixels: String(pixels),
      price: { pricePerUnitWei: "1", pixelsPerUnit: "1" },
      commissionPpm: "250000",
      feeWei: String(amounts.feeWei),
      commissionWei: String(amounts.commissionWei),
      earnedWei: String(amounts.earnedWei),
      ...change,
    },
  };
}

test.each([
  [0n, 0n, 0n],
  [1n, 0n, 1n],
  [3n, 0n, 3n],
  [4n, 1n, 3n],
  [10_000n, 2_500n, 7_500n],
  [1_000_000_000_000_001n, 250_000_000_000_000n, 750_000_000_000_001n],
  [10n ** 30n, 25n * 10n ** 28n, 75n * 10n ** 28n],
])("a fee of %s wei books %s for the pool and %s for the worker", (fee, commission, earned) => {
  const { entries, lines } = bookCredits([event(1, ada, fee)], rules);
  expect(entries).toHaveLength(1);
  const expected = Object.entries({
    "source:gateway": -fee,
    "pool:commission": commission,
    [`worker:${ada}:held`]: earned,
  }).filter(([, wei]) => wei !== 0n);
  expect(Object.fromEntries(entries[0]!.postings.map(({ account, amountWei }) => [account, amountWei]))).toEqual(
    Object.fromEntries(expected),
  );
  expect(lines.map((line) => line.amountWei)).toEqual([earned]);
});

test("however a run is cut, accounts, lines and holds come to the same", () => {
  const jobs = fc.array(fc.tuple(fc.nat(2), fc.bigInt(0n, 10n ** 30n)), { maxLength: 30 });
  fc.assert(
    fc.property(jobs, fc.nat(30), (list, cut) => {
      const events = list.map(([worker, pixels], i) => event(i, workers[worker]!, pixels));
      const sums = (runs: readonly (readonly CreditEvent[])[]) => {
        const booked = runs.map((run) => bookCredits(run, rules));
        const accounts = new Map<string, bigint>();
        for (const { account, amountWei } of booked.flatMap(({ entries }) => entries.flatMap((one) => one.postings))) {
          accounts.set(account, (accounts.get(account) ?? 0n) + amountWei);
        }
        const lines = booked.flatMap((one) => one.lines).map(({ entry: _entry, ...line }) => line);
        const held = booked.flatMap((one) => one.holds).reduce((sum, one) => sum + one.amountWei, 0n);
        return { accounts: [...accounts].toSorted(), lines, held };
      };
      const whole = sums([events]);
      expect(sums([events.slice(0, cut), events.slice(cut)])).toEqual(whole);
      expect(whole.accounts.reduce((sum, [, wei]) => sum + wei, 0n)).toBe(0n);
      expect(whole.lines.reduce((sum, line) => sum + line.amountWei, 0n)).toBe(whole.held);
    }),
  );
});

test("months and versions of the terms have entries of their own, and what comes late goes into the open month", () => {
  const january = Date.parse("2026-01-31T23:59:59Z");
  const february = Date.parse("2026-02-01T00:00:00Z");
  const events = [january, february, january + 1].map((atMs, i) => ({ ...event(i, ada, 4n), atMs }));
  expect(bookCredits(events, rules).entries.map((one) => [one.id, one.data])).toEqual([
    ["event-0", { jobs: 2 }],
    ["event-1", { jobs: 1 }],
  ]);
  const late = bookCredits(events, { ...rules, openSinceMs: february });
  expect(late.entries.map((one) => [one.id, one.data])).toEqual([
    ["event-0", { jobs: 2, late: "2026-01" }],
    ["event-1", { jobs: 1 }],
  ]);
  expect(late.lines.map((line) => line.atMs)).toEqual([february, february, february]);
});

describe("a scheme", () => {
  test("may give to several workers: each has a line, the earner also for nothing", () => {
    const { lines } = bookCredits([event(1, ada, 100n)], {
      ...rules,
      bookJob: ({ source, feeWei }) => ({
        rule: "hook",
        postings: [
          { account: source, amountWei: -feeWei },
          { account: `worker:${bob}:held`, amountWei: feeWei },
        ],
        data: { note: "for bob" },
      }),
    });
    expect(lines.map((line) => [line.worker, line.amountWei, line.scheme, line.data])).toEqual([
      [bob, 100n, "hook", { note: "for bob" }],
      [ada, 0n, "hook", { note: "for bob" }],
    ]);
  });

  test.each([
    ["does not sum to zero", [{ account: "pool:commission", amountWei: 1n }]],
    [
      "takes from a worker",
      [
        { account: `worker:${bob}:held`, amountWei: -1n },
        { account: `worker:${ada}:held`, amountWei: 1n },
      ],
    ],
    [
      "gives past the hold",
      [
        { account: `worker:${ada}:owed`, amountWei: 1n },
        { account: "pool:commission", amountWei: -1n },
      ],
    ],
  ])("that %s is refused", (_what, postings) => {
    const bookJob = () => ({ rule: "bad", postings, data: {} });
    expect(() => bookCredits([event(1, ada, 4n)], { ...rules, bookJob })).toThrow("[ledger/bad-booking]");
  });
});

test.each([
  ["feeWei", { feeWei: "5" }],
  ["feeWei", { feeWei: 4 }],
  ["pixels", { pixels: "-1" }],
  ["price", { price: {} }],
  ["job", { job: undefined }],
])("a credit without a usable %s stops the books", (_field, change) => {
  expect(() => bookCredits([event(1, ada, 4n, change)], rules)).toThrow("[ledger/bad-event]");
});

test("a credit under terms that are not known here is booked by nobody until they are", () => {
  const credits = [event(1, ada, 4n, { termsVersion: 2 })];
  expect(() => bookCredits(credits, rules)).toThrow(/terms\/unknown-version.*2/);
  const known = new TermsBook([...terms.versions, { ...terms.version(1), version: 2, effectiveAtMs: 1_000 }]);
  expect(bookCredits(credits, { ...rules, terms: known, bookJob: createJobBooker(known) }).lines[0]?.termsVersion).toBe(
    2,
  );
});
