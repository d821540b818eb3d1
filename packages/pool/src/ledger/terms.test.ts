import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { stoppedClock } from "@openpool/base";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { releaseAtMs } from "./hold.ts";
import { defaultTerms, MIN_NOTICE_MS, PAYOUT_NOTICE_MS, TermsKeeper } from "./terms-keeper.ts";
import {
  diffTerms,
  everyTerms,
  parseTermsDocument,
  type Terms,
  TermsBook,
  termsDocumentJson,
  TermsError,
  termsFor,
} from "./terms.ts";

const ada = parseAddress(`0x${"11".repeat(20)}`) as WorkerAddress;
const bob = parseAddress(`0x${"22".repeat(20)}`) as WorkerAddress;

function version(number: number, change: Partial<Terms> = {}): Terms {
  return { version: number, effectiveAtMs: 0, announcedAtMs: 0, ...defaultTerms, ...change };
}

describe("a document of terms", () => {
  test("is read back as it was written", () => {
    const document = {
      ...defaultTerms,
      commissionPpm: 12_345n,
      schemeOptions: { amountWei: "10" },
      overrides: [{ name: "own", workers: [ada, bob], commissionPpm: 0n, holdMs: 5, minimumPayoutWei: 10n ** 30n }],
    };
    expect(parseTermsDocument(JSON.parse(JSON.stringify(termsDocumentJson(document))))).toEqual(document);
  });

  test.each([
    [{ commissionPpm: "1000001" }, "commissionPpm"],
    [{ commissionPpm: "0.25" }, "commissionPpm"],
    [{ holdMs: -1 }, "holdMs"],
    [{ minimumPayoutWei: "1e18" }, "minimumPayoutWei"],
    [{ scheme: "Unit!" }, "scheme"],
    [{ gasBorneBy: "nobody" }, "gasBorneBy"],
    [{ comission: "250000" }, "comission"],
    [{ overrides: [{ name: "x", workers: ["0x12"] }] }, "overrides"],
  ])("with %j is refused", (change, field) => {
    const parse = (): unknown => parseTermsDocument({ ...termsDocumentJson(defaultTerms), ...change });
    expect(parse).toThrow(TermsError);
    expect(parse).toThrow(field);
  });
});

test("a worker has the terms of the first override that names it, and another scheme begins with its own parameters", () => {
  const terms = version(1, {
    schemeOptions: { a: "1" },
    overrides: [
      { name: "own", workers: [ada], commissionPpm: 0n, scheme: "segment" },
      { name: "all", workers: [ada, bob], commissionPpm: 1n, holdMs: 1 },
    ],
  });
  expect(termsFor(terms, ada)).toMatchObject({
    commissionPpm: 0n,
    scheme: "segment",
    schemeOptions: {},
    holdMs: 3_600_000,
  });
  expect(termsFor(terms, bob)).toMatchObject({
    commissionPpm: 1n,
    scheme: "unit",
    schemeOptions: { a: "1" },
    holdMs: 1,
  });
});

test("an override changes what it names, for whom it names, and nothing else: all terms of a version are those of its workers", () => {
  const cal = parseAddress(`0x${"33".repeat(20)}`) as WorkerAddress;
  const scheme = fc.constantFrom("unit", "blend", undefined);
  const override = fc.record({
    name: fc.constant("some"),
    workers: fc.subarray([ada, bob, cal], { minLength: 1 }),
    commissionPpm: fc.option(fc.bigInt(0n, 9n), { nil: undefined }),
    scheme,
    schemeOptions: fc.option(fc.record({ of: fc.constant("override") }), { nil: undefined }),
    holdMs: fc.option(fc.nat(9), { nil: undefined }),
    minimumPayoutWei: fc.option(fc.bigInt(0n, 9n), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(override, { maxLength: 4 }), (overrides) => {
      const terms = version(1, { schemeOptions: { of: "pool" }, overrides });
      const all = everyTerms(terms);
      expect(all).toHaveLength(overrides.length + 1);
      for (const worker of [ada, bob, cal]) {
        const own = overrides.find((one) => one.workers.includes(worker));
        const its = termsFor(terms, worker);
        expect(all).toContainEqual(its);
        expect(its).toEqual({
          ...all[0],
          ...Object.fromEntries(Object.entries(own ?? {}).filter(([key, value]) => key in its && value !== undefined)),
          schemeOptions: own?.schemeOptions ?? (own?.scheme === undefined ? { of: "pool" } : {}),
        });
      }
    }),
  );
});

test("at every moment the last version that has begun is in force, and a later one replaces what was announced before it", () => {
  const versions = fc.array(fc.nat(20), { maxLength: 8 });
  fc.assert(
    fc.property(versions, fc.nat(25), (effective, now) => {
      const all = [0, ...effective].map((effectiveAtMs, i) => version(i + 1, { effectiveAtMs }));
      const book = new TermsBook(all);
      const begun = all.filter((one) => one.effectiveAtMs <= now);
      expect(book.at(now).version).toBe(Math.max(...begun.map((one) => one.version)));
    }),
  );
});

test("a hold is never shorter than promised, and at most ten minutes longer", () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31), fc.nat(40 * 86_400_000), (at, hold) => {
      const longer = releaseAtMs(at, hold) - (at + hold);
      expect(longer).toBeGreaterThanOrEqual(0);
      expect(longer).toBeLessThan(600_000);
    }),
  );
  expect(releaseAtMs(1_234, 0)).toBe(1_234);
  expect(releaseAtMs(1_234, 5_000)).toBe(7_000);
  expect(releaseAtMs(1_234, 3_600_000)).toBe(3_660_000);
});

describe("the keeper of the terms", () => {
  const t0 = Date.parse("2026-01-01T00:00:00Z");
  function openKeeper(clock = stoppedClock(t0), kept: Terms[] = []) {
    return {
      clock,
      kept,
      keeper: TermsKeeper.open(defaultTerms, {
        clock,
        store: {
          terms: async () => [...kept],
          async addTerms(terms) {
            if (kept.some((one) => one.version === terms.version)) throw new Error("conflict");
            kept.push(terms);
          },
        },
      }),
    };
  }

  test("makes version 1 of the settings once, and keeps it whatever the settings become", async () => {
    const first = openKeeper();
    expect((await first.keeper).current).toMatchObject({ version: 1, effectiveAtMs: t0, commissionPpm: 250_000n });
    const second = openKeeper(stoppedClock(t0 + 1), first.kept);
    expect((await second.keeper).current).toMatchObject({ version: 1, effectiveAtMs: t0 });
    expect(first.kept).toHaveLength(1);
  });

  test("announces a change ahead of time, never backwards, and lets it count from its moment on", async () => {
    const { clock, keeper: opening, kept } = openKeeper();
    const keeper = await opening;
    const change = { ...termsDocumentJson(defaultTerms), commissionPpm: "100000" };
    for (const atMs of [t0 - 1, t0, t0 + MIN_NOTICE_MS - 1]) {
      await expect(keeper.announce(change, atMs)).rejects.toMatchObject({ info: { code: "terms/retroactive" } });
    }
    await expect(keeper.announce({ ...change, scheme: "luck" }, t0 + MIN_NOTICE_MS)).rejects.toThrow(
      'no scheme "luck"',
    );
    expect(await keeper.announce(change, t0 + MIN_NOTICE_MS)).toMatchObject({ version: 2, announcedAtMs: t0 });
    await expect(keeper.announce(change, t0 + 2 * MIN_NOTICE_MS)).rejects.toMatchObject({
      info: { code: "terms/unchanged" },
    });
    expect(keeper.current.version).toBe(1);
    clock.advance(MIN_NOTICE_MS);
    expect(keeper.current).toMatchObject({ version: 2, commissionPpm: 100_000n });
    expect(kept).toHaveLength(2);
    expect(diffTerms(keeper.book.version(1), keeper.book.version(2))).toEqual([
      { field: "commissionPpm", from: "250000", to: "100000" },
    ]);
    await keeper[Symbol.asyncDispose]();
  });

  test("lets how much is paid out change only two days ahead, for anybody, and takes such a change back before it counts", async () => {
    const { clock, keeper: opening } = openKeeper();
    const keeper = await opening;
    const document = termsDocumentJson(defaultTerms);
    const soon = t0 + MIN_NOTICE_MS;
    const own = { name: "partners", workers: [ada], minimumPayoutWei: "7" };
    for (const change of [{ gasBorneBy: "worker" }, { minimumPayoutWei: "7" }, { overrides: [own] }]) {
      await expect(keeper.announce({ ...document, ...change }, soon, "only-try")).rejects.toThrow(
        /terms\/retroactive.*from 2026-01-03T00:00:00.000Z on/,
      );
      await keeper.announce({ ...document, ...change }, t0 + PAYOUT_NOTICE_MS, "only-try");
    }
    const same = { ...own, minimumPayoutWei: String(defaultTerms.minimumPayoutWei) };
    await keeper.announce({ ...document, overrides: [same, own] }, soon);
    await keeper.announce({ ...document, gasBorneBy: "worker" }, t0 + PAYOUT_NOTICE_MS);
    // Nothing that is announced for later begins sooner in the company of something else.
    await expect(keeper.announce({ ...document, gasBorneBy: "worker", holdMs: 5 }, soon)).rejects.toThrow(
      /retroactive/,
    );
    await keeper.announce({ ...document, holdMs: 5 }, soon);
    clock.advance(PAYOUT_NOTICE_MS);
    expect(keeper.current).toMatchObject({ gasBorneBy: "pool", holdMs: 5 });
    await keeper[Symbol.asyncDispose]();
  });

  test("refuses an override with an uptime budget of its own, and says where it belongs", async () => {
    const { keeper: opening, kept } = openKeeper();
    const keeper = await opening;
    const uptime = { budgetWeiPerDay: "1000" };
    const document = termsDocumentJson(defaultTerms);
    const own = { name: "partners", workers: [ada], schemeOptions: { uptime } };
    await expect(keeper.announce({ ...document, overrides: [own] }, t0 + MIN_NOTICE_MS)).rejects.toThrow(
      /terms\/invalid.*"partners" has the parameter uptime.*common schemeOptions/,
    );
    expect(kept).toHaveLength(1);
    await keeper.announce({ ...document, schemeOptions: { uptime } }, t0 + MIN_NOTICE_MS);
    await keeper[Symbol.asyncDispose]();
  });

  test("sees what another node announced", async () => {
    const { clock, keeper: opening, kept } = openKeeper();
    const keeper = await opening;
    kept.push(version(2, { announcedAtMs: t0, effectiveAtMs: t0 + 60_000, commissionPpm: 0n }));
    clock.advance(15_000);
    await expect.poll(() => keeper.book.versions.length).toBe(2);
    await keeper[Symbol.asyncDispose]();
  });
});
