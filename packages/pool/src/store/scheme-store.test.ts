import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import { expect, test } from "vitest";
import { Hooks } from "../hooks/hooks.ts";
import { hashOfHook } from "../hooks/read-module.ts";
import { createHookRunner } from "../hooks/runner.ts";
import { tryHook } from "../hooks/try-hook.ts";
import { bigintsAsText } from "../api/admin-json.ts";
import type { IncomeEvent } from "../income/income-reader.ts";
import { createJobBooker, type JobHooks } from "../ledger/schemes/index.ts";
import { TermsBook } from "../ledger/terms.ts";
import { hookVerdicts } from "./schema/13-hook-verdicts.ts";
import { PgSchemeStore } from "./scheme-store.ts";
import { openLedgerWorld, termsVersion } from "./testing/ledger-world.ts";
import { ada, bob, creditOf } from "./testing/sample-credit.ts";

const t0 = "2026-01-01T00:00:00Z";
const HOUR = 3_600_000;

async function openWorld(terms: TermsBook, hooks?: JobHooks, clock = stoppedClock(t0)) {
  const bookJob = createJobBooker(terms, hooks);
  const world = await openLedgerWorld(clock, terms, bookJob);
  const schemes = new PgSchemeStore(world.connection, { clock });
  return {
    ...world,
    clock,
    schemes,
    now: () => ({ nowMs: clock.now(), terms: terms.at(clock.now()), sharing: () => true }),
    balances: async () => {
      const accounts = await world.ledger.accounts();
      expect([...accounts.values()].reduce((a, b) => a + b, 0n)).toBe(0n);
      return accounts;
    },
    async [Symbol.asyncDispose]() {
      await schemes[Symbol.asyncDispose]();
      await world[Symbol.asyncDispose]();
    },
  };
}

function ticket(ref: string, grossWei: bigint, keptWei = grossWei, block = 1): IncomeEvent {
  return {
    type: "income.received",
    data: {
      ref,
      at: t0,
      block,
      tx: "0x1",
      kind: "tickets",
      grossWei: String(grossWei),
      keptWei: String(keptWei),
      faceWei: String(grossWei),
    },
  };
}
const progress = (number: number) => ({ chainId: 1, marks: [{ number, hash: `0x${number}` }] });

test("income of a period is shared by its work, once, held for the hold time and then owed", async () => {
  const terms = new TermsBook([termsVersion(1, { scheme: "proportional", schemeOptions: {}, holdMs: HOUR })]);
  await using world = await openWorld(terms);
  const { store, schemes, ledger, clock, now } = world;
  // 25 % commission: 3/4 of 1000 and of 3000.
  await store.credit(creditOf(ada, "one", 1n));
  await store.credit(creditOf(bob, "one", 3n));
  clock.advance(1);
  expect(await schemes.settle("2026-01-01", now().nowMs, now())).toBe("behind");
  await world.catchUp();
  expect((await ledger.statement(ada, {}, undefined, 10)).rows.map((row) => [row.scheme, row.amountWei])).toEqual([
    ["proportional", 0n],
  ]);
  expect(await schemes.settle("2026-01-01", now().nowMs, now())).toBe("nothing-to-share");
  clock.advance(1);
  await schemes.commitIncome("x", [ticket("1:a:0", 10_000n, 8_000n)], progress(5), now());
  expect(await schemes.settle("2026-01-01", now().nowMs, now())).toBe("settled");
  expect(await schemes.settle("2026-01-01", now().nowMs, now())).toBe("nothing-to-share");
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 1_500n, owedWei: 0n });
  expect(await ledger.balance(bob)).toMatchObject({ heldWei: 4_500n, owedWei: 0n });
  const accounts = await world.balances();
  expect(accounts.get("pool:commission")).toBe(2_000n);
  expect(accounts.get("pool:delegators")).toBe(2_000n);
  expect(accounts.get("pool:income:shared")).toBe(0n);
  // Holds of an hour end with a minute.
  clock.advance(HOUR + 60_000);
  await world.catchUp();
  expect(await ledger.balance(bob)).toMatchObject({ heldWei: 0n, owedWei: 4_500n });
  const { rows } = await ledger.statement(bob, {}, undefined, 10);
  expect(rows.map((row) => [row.kind, row.amountWei])).toEqual([
    ["credit", 0n],
    ["settle", 4_500n],
  ]);
  expect(rows.reduce((sum, row) => sum + row.amountWei, 0n)).toBe(4_500n);
});

test("a period is settled once, also when new work and income have come and it is tried again", async () => {
  const terms = new TermsBook([termsVersion(1, { scheme: "proportional", schemeOptions: {} })]);
  await using world = await openWorld(terms);
  const { store, schemes, now } = world;
  const both = async (period: string) => {
    await store.credit(creditOf(ada, "one", 1n));
    await world.catchUp();
    await schemes.addByHand({ ref: `bank ${period}`, wei: 1_000n, pot: undefined, note: undefined }, now());
  };
  await both("one");
  expect(
    await Promise.all([schemes.settle("p1", now().nowMs, now()), schemes.settle("p1", now().nowMs, now())]),
  ).toContain("settled");
  await both("two");
  expect(await schemes.settle("p1", now().nowMs, now())).toBe("already-settled");
  expect(await schemes.settle("p2", now().nowMs, now())).toBe("settled");
  world.clock.advance(1);
  await world.catchUp();
  expect((await world.balances()).get(`worker:${ada}:owed`)).toBe(1_500n);
  expect(await schemes.lastPeriod()).toBe("p2");
});

test("a period waits for its own end in the books, not for what comes after it, and not for a clock that jumped ahead", async () => {
  const terms = new TermsBook([termsVersion(1, { scheme: "proportional", schemeOptions: {} })]);
  await using world = await openWorld(terms);
  const { store, schemes, clock, now } = world;
  const endsMs = clock.now() + HOUR;
  await store.credit(creditOf(ada, "one", 1n));
  clock.advance(2 * HOUR);
  expect(await schemes.settle("p", endsMs, now())).toBe("behind");
  await world.catchUp();
  // Under load there is always something that is not booked yet.
  await store.credit(creditOf(ada, "one", 1n));
  await schemes.addByHand({ ref: "bank", wei: 1_000n, pot: undefined, note: undefined }, now());
  expect(await schemes.settle("p", endsMs, now())).toBe("settled");
  const later = Date.parse("2026-06-01T00:00:00Z");
  expect(await schemes.settle("q", later, { ...now(), nowMs: later + HOUR })).toBe("behind");
});

test("income is booked once a reference, and taken back with its block", async () => {
  const terms = new TermsBook([termsVersion(1)]);
  await using world = await openWorld(terms);
  const { schemes, now } = world;
  const time = { ...now(), sharing: () => false };
  await schemes.commitIncome("x", [ticket("1:a:0", 100n, 90n, 7), ticket("1:b:0", 50n, 50n, 9)], progress(9), time);
  await schemes.commitIncome("x", [ticket("1:a:0", 100n, 90n, 7)], progress(9), time);
  expect((await world.balances()).get("pool:income:tickets")).toBe(140n);
  expect(await schemes.refsAfter(1, 8)).toEqual(["1:b:0"]);
  await schemes.commitIncome("x", [{ type: "income.reverted", data: { ref: "1:b:0" } }], progress(8), time);
  await schemes.commitIncome("x", [{ type: "income.reverted", data: { ref: "1:b:0" } }], progress(8), time);
  expect((await world.balances()).get("pool:income:tickets")).toBe(90n);
  expect(await schemes.incomeTotals(0)).toMatchObject({ redeemedWei: 100n, keptWei: 90n, wins: 1 });
  expect(await schemes.loadProgress("x")).toEqual(progress(8));
  expect(await schemes.refsAfter(1, 8)).toEqual([]);
});

test("income comes back with the fork that it was in, as often as the chain returns to it", async () => {
  const terms = new TermsBook([termsVersion(1)]);
  await using world = await openWorld(terms);
  const { schemes, now } = world;
  const time = { ...now(), sharing: () => false };
  for (let i = 0; i < 3; i++) {
    expect(await schemes.knownRefs(["1:a:0"])).toEqual(new Set());
    await schemes.commitIncome("x", [ticket("1:a:0", 100n)], progress(9), time);
    await schemes.commitIncome("x", [ticket("1:a:0", 100n)], progress(9), time);
    expect((await world.balances()).get("pool:income:tickets")).toBe(100n);
    expect(await schemes.incomeTotals(0)).toMatchObject({ keptWei: 100n });
    await schemes.commitIncome("x", [{ type: "income.reverted", data: { ref: "1:a:0" } }], progress(8), time);
    expect((await world.balances()).get("pool:income:tickets")).toBe(0n);
  }
});

test("income by hand is refused the second time, and nothing is booked", async () => {
  const terms = new TermsBook([termsVersion(1)]);
  await using world = await openWorld(terms);
  const { schemes, now } = world;
  const entry = { ref: "invoice 7", wei: 5n, pot: undefined, note: "March" } as const;
  await schemes.addByHand(entry, { ...now(), sharing: () => false });
  await expect(schemes.addByHand({ ...entry, wei: 6n }, { ...now(), sharing: () => false })).rejects.toThrow(
    /income\/already-there/,
  );
  expect((await world.balances()).get("pool:income:other")).toBe(5n);
  await schemes.addByHand({ ref: "fill", wei: 9n, pot: "segment", note: undefined }, now());
  expect((await world.balances()).get("pool:pot:segment")).toBe(9n);
});

test("an uptime slot is given out once, in equal parts, beside what jobs earn", async () => {
  const terms = new TermsBook([termsVersion(1)]);
  await using world = await openWorld(terms);
  const { schemes, now } = world;
  const bonus = { budgetWeiPerDay: 144_000n, slotMs: 600_000 };
  expect(await schemes.bookUptime(bonus, 3, [ada, bob], now())).toBe("booked");
  expect(await schemes.bookUptime(bonus, 3, [ada], now())).toBe("already-booked");
  expect(await schemes.bookUptime(bonus, 4, [], now())).toBe("nobody-ready");
  const accounts = await world.balances();
  expect(accounts.get("pool:pot:uptime")).toBe(-1_000n);
  expect(accounts.get(`worker:${ada}:held`)).toBe(500n);
});

test("a slot that was decided and not booked is found in the log, as the first who decided it said", async () => {
  await using world = await openWorld(new TermsBook([termsVersion(1)]));
  const { store, schemes, now } = world;
  const bonus = { budgetWeiPerDay: 144_000n, slotMs: 600_000 };
  const number = Date.parse(t0) / bonus.slotMs;
  const decided = (slot: number, passed: readonly string[]) => ({
    type: "uptime.decided",
    data: {
      slot: new Date(slot * bonus.slotMs).toISOString(),
      slotMs: bonus.slotMs,
      budgetWeiPerDay: "144000",
      passed,
      failed: [],
      unchecked: [],
    },
  });
  await store.append([decided(number + 1, [ada])]);
  await store.append([decided(number, [ada, bob]), decided(number, [ada]), decided(number + 2, [])]);
  const [first, second, ...others] = await schemes.unbookedSlots(0);
  expect([first, second, others]).toEqual([
    { uptime: bonus, number, passed: [ada, bob] },
    { uptime: bonus, number: number + 1, passed: [ada] },
    [],
  ]);
  expect(await schemes.bookUptime(bonus, number, [ada, bob], now())).toBe("booked");
  expect(await schemes.unbookedSlots(0)).toEqual([second]);
  expect(await schemes.unbookedSlots(Date.parse(t0) + HOUR)).toEqual([]);
});

test("what a period and a slot give is held for each worker as its own terms say", async () => {
  const overrides = [{ name: "partners", workers: [bob], holdMs: 0 }];
  const scheme = { scheme: "proportional", schemeOptions: {}, holdMs: 24 * HOUR } as const;
  await using world = await openWorld(new TermsBook([termsVersion(1, { ...scheme, overrides })]));
  const { store, schemes, ledger, clock, now } = world;
  await store.credit(creditOf(ada, "one", 1n));
  await store.credit(creditOf(bob, "one", 1n));
  clock.advance(1);
  await world.catchUp();
  await schemes.addByHand({ ref: "bank", wei: 4_000n, pot: undefined, note: undefined }, now());
  expect(await schemes.settle("p", now().nowMs, now())).toBe("settled");
  expect(await schemes.bookUptime({ budgetWeiPerDay: 144_000n, slotMs: 600_000 }, 3, [ada, bob], now())).toBe("booked");
  expect((await ledger.balance(ada)).heldWei).toBe(2_000n);
  clock.advance(1);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 2_000n, owedWei: 0n });
  expect(await ledger.balance(bob)).toMatchObject({ heldWei: 0n, owedWei: 2_000n });
  for (const [worker, state] of [
    [ada, "held"],
    [bob, "owed"],
  ] as const) {
    const { rows } = await ledger.statement(worker, {}, undefined, 10);
    expect(rows.map((row) => [row.kind, row.amountWei, row.state])).toEqual([
      ["credit", 0n, state],
      ["settle", 1_500n, state],
      ["uptime", 500n, state],
    ]);
  }
  clock.advance(24 * HOUR + 600_000);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 2_000n });
});

test("what waited for its hook is payable when it would have been, by the terms that it was earned under", async () => {
  const hash = hashOfHook("export {}");
  const hooks: JobHooks = {
    share: async (_hash, jobs) => jobs.map(() => ({ kind: "failed", hash, why: "a test" })),
    notes: async (_hash, jobs) => jobs.map(() => undefined),
  };
  const clock = stoppedClock(t0);
  const hooked = { scheme: "hook", schemeOptions: { hook: hash } };
  const terms = new TermsBook([
    termsVersion(1, { ...hooked, holdMs: 2 * HOUR, overrides: [{ name: "own", workers: [bob], holdMs: HOUR }] }),
    termsVersion(2, { ...hooked, effectiveAtMs: clock.now() + 1, holdMs: 300 * HOUR }),
  ]);
  await using world = await openWorld(terms, hooks, clock);
  const { store, schemes, ledger } = world;
  for (const worker of [ada, bob]) await store.credit(creditOf(worker, "one", 1n));
  clock.advance(HOUR + 1);
  await world.catchUp();
  for (const held of await schemes.heldJobs(10)) {
    const time = { nowMs: clock.now(), terms: terms.version(held.termsVersion) };
    expect(await schemes.releaseHeld(held, undefined, time)).toBe(true);
  }
  clock.advance(1);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 750n, owedWei: 0n });
  expect(await ledger.balance(bob)).toMatchObject({ heldWei: 0n, owedWei: 750n });
  clock.advance(HOUR);
  await world.catchUp();
  expect(await ledger.balance(ada)).toMatchObject({ heldWei: 0n, owedWei: 750n });
});

test("a fixed amount a segment comes out of the pot that the fees go into", async () => {
  const terms = new TermsBook([termsVersion(1, { scheme: "segment", schemeOptions: { amountWei: "900" } })]);
  await using world = await openWorld(terms);
  await world.store.credit(creditOf(ada, "one", 1n));
  await world.catchUp();
  expect((await world.balances()).get(`worker:${ada}:owed`)).toBe(900n);
  expect((await world.balances()).get("pool:pot:segment")).toBe(-150n);
});

test("a hook shares every job as it says; those on which it fails wait, and are shared later, once", async () => {
  await using runner = createHookRunner({ clock: systemClock, callMs: 60_000 });
  const modules = new Map<string, string>();
  const hooks = new Hooks({ runner, logger: silentLogger, source: async (hash) => modules.get(hash) });
  const add = (source: string): string => {
    const hash = hashOfHook(source);
    modules.set(hash, source);
    return hash;
  };
  const hash = add(`
    export function share({ feeWei, worker, rig }) {
      if (rig === "bad") throw new Error("not this one");
      return [{ to: "${bob}", wei: feeWei / 10n }, { to: worker, wei: feeWei - feeWei / 10n }];
    }
    export const jobCredited = ({ rig }) => ({ note: "by " + rig });`);
  const terms = new TermsBook([termsVersion(1, { scheme: "hook", schemeOptions: { hook: hash } })]);
  await using world = await openWorld(terms, hooks);
  const { store, schemes, ledger, now } = world;
  await store.credit(creditOf(ada, "good", 1n));
  await store.credit(creditOf(ada, "bad", 2n));
  // Nothing waits of what is worth nothing.
  await store.credit({ ...creditOf(ada, "bad", 2n), feeWei: 0n, commissionWei: 0n, earnedWei: 0n });
  await world.catchUp();
  let accounts = await world.balances();
  expect(accounts.get(`worker:${ada}:owed`)).toBe(900n);
  expect(accounts.get(`worker:${bob}:owed`)).toBe(100n);
  expect(accounts.get("pool:unshared")).toBe(2_000n);
  const { rows } = await ledger.statement(ada, {}, undefined, 10);
  expect(rows.map((row) => [row.scheme, row.amountWei, row.data])).toEqual([
    ["hook", 900n, { hook: hash, note: "by good" }],
    ["hook-held", 0n, { hook: hash, why: expect.stringContaining("not this one"), note: "by bad" }],
    ["hook-held", 0n, { hook: hash, why: expect.stringContaining("not this one"), note: "by bad" }],
  ]);
  expect(await schemes.heldByHooks()).toMatchObject({ jobs: 1, feeWei: 2_000n });

  const [held] = await schemes.heldJobs(10);
  const mended = add("export const share = ({ feeWei, worker }) => [{ to: worker, wei: feeWei }]");
  const [share] = await hooks.share(mended, [held!.job]);
  if (share?.kind !== "shared") throw new Error("the mended hook failed");
  expect(await schemes.releaseHeld(held!, share, now())).toBe(true);
  expect(await schemes.releaseHeld(held!, undefined, now())).toBe(false);
  accounts = await world.balances();
  expect(accounts.get("pool:unshared")).toBe(0n);
  world.clock.advance(1);
  await world.catchUp();
  expect((await ledger.balance(ada)).owedWei).toBe(2_900n);
  expect(await schemes.heldJobs(10)).toEqual([]);
});

test("what a hook said stays: it is not asked again by a rebuild or a check, which come to the same", async () => {
  const module = { hash: hashOfHook("export {}"), source: "export {}" };
  const asked: string[] = [];
  let slow = true;
  // Slow at first, as on a machine that stands still: of bob's job it says something else the second time.
  const hooks: JobHooks = {
    share: async (hash, jobs) =>
      jobs.map(({ job, worker, feeWei }) => {
        asked.push(job);
        return worker === bob && slow
          ? { kind: "failed", hash, why: "it took longer than 2 s" }
          : { kind: "shared", hash, lines: [{ to: worker, wei: feeWei }] };
      }),
    notes: async (_hash, jobs) => jobs.map(({ worker }) => (slow ? `a note of ${worker}` : undefined)),
  };
  const terms = new TermsBook([termsVersion(1, { scheme: "hook", schemeOptions: { hook: module.hash } })]);
  await using world = await openWorld(terms, hooks);
  const { store, schemes, ledger, client, clock, now } = world;
  await schemes.putHook(module, ["share"], clock.now());
  await store.credit(creditOf(ada, "one", 1n));
  await store.credit(creditOf(bob, "one", 1n));
  await world.catchUp();
  slow = false;
  const [held] = await schemes.heldJobs(10);
  clock.advance(1);
  expect(await schemes.releaseHeld(held!, undefined, now())).toBe(true);
  await world.catchUp();
  const right = async (): Promise<void> => {
    expect((await world.check()).violations).toEqual([]);
    expect((await world.rebuild(true)).differences).toEqual([]);
  };
  await right();
  expect((await world.rebuild(false)).differences).toEqual([]);
  await right();
  expect((await ledger.balance(bob)).owedWei).toBe(750n);
  expect((await world.balances()).get("pool:unshared")).toBe(0n);
  expect(asked).toHaveLength(2);

  // Books from before verdicts were kept: the rows of statements tell them.
  await client.query("drop table openpool.hook_verdicts");
  await client.query(hookVerdicts.sql);
  await right();
  // Gone altogether, nothing is guessed.
  await client.query("delete from openpool.hook_verdicts");
  expect((await world.check()).violations).toMatchObject([
    { check: "log", message: expect.stringContaining("verdict-missing") },
  ]);
  await expect(world.rebuild(false)).rejects.toThrow(/ledger\/verdict-missing/);
  expect((await ledger.balance(bob)).owedWei).toBe(750n);
});

test("hooks that take long are asked about part of a run, before anything is locked", async () => {
  const hash = hashOfHook("export {}");
  const clock = stoppedClock(t0);
  const hooks: JobHooks = {
    async share(_hash, jobs) {
      clock.advance(4_000);
      return jobs.map(({ worker, feeWei }) => ({ kind: "shared", hash, lines: [{ to: worker, wei: feeWei }] }));
    },
    notes: async (_hash, jobs) => jobs.map(() => undefined),
  };
  const terms = new TermsBook([termsVersion(1, { scheme: "hook", schemeOptions: { hook: hash } })]);
  await using world = await openWorld(terms, hooks, clock);
  await Promise.all(Array.from({ length: 60 }, () => world.store.credit(creditOf(ada, "one", 1n))));
  expect(await world.step()).toMatchObject({ jobs: 50 });
  expect(await world.step()).toMatchObject({ jobs: 10 });
  expect((await world.ledger.balance(ada)).owedWei).toBe(60_000n);
});

test("terms that name a hook which nobody has stop the books, and payouts, instead of booking by another rule", async () => {
  await using runner = createHookRunner({ clock: systemClock, callMs: 60_000 });
  const hooks = new Hooks({ runner, logger: silentLogger, source: async () => undefined });
  const hook = `sha256:${"0".repeat(64)}`;
  await using world = await openWorld(
    new TermsBook([termsVersion(1, { scheme: "hook", schemeOptions: { hook } })]),
    hooks,
  );
  await world.store.credit(creditOf(ada, "one", 1n));
  await expect(world.step()).rejects.toThrow(/hooks\/unknown-module/);
  expect(await world.ledger.accounts()).toEqual(new Map());
});

test("a hook that is tried on jobs of the log shows how it differs from what they really paid", async () => {
  // A fixed amount for each, whatever its fee; the last one is not booked yet.
  await using world = await openWorld(
    new TermsBook([termsVersion(1, { scheme: "segment", schemeOptions: { amountWei: "900" } })]),
  );
  const { store, schemes } = world;
  for (const pixels of [1n, 2n]) await store.credit(creditOf(ada, "one", pixels));
  await store.credit(creditOf(bob, "one", 3n));
  await world.catchUp();
  await store.credit(creditOf(bob, "two", 4n));
  const dir = await mkdtemp(join(tmpdir(), "openpool-hook-"));
  const file = join(dir, "hook.mjs");
  const half = `const half = feeWei / 2n; return [{ to: worker, wei: half }, { to: "pool", wei: feeWei - half }];`;
  await writeFile(
    file,
    `export const share = ({ feeWei, worker, rig }) => { if (feeWei === 1000n) throw new Error("too small"); ${half} };`,
  );
  try {
    // As the admin port tells them.
    const jobs: unknown = JSON.parse(JSON.stringify(await schemes.lastJobs(1_000), bigintsAsText));
    const trial = await tryHook(file, jobs, { clock: systemClock });
    expect(trial).toMatchObject({ jobs: 4, failed: 1, failures: [{ why: expect.stringContaining("too small") }] });
    expect(trial.payees).toEqual([
      // 2000 and 3000 wei of fees less 900 each, and a quarter of 4000.
      { to: "pool", nowWei: 1_100n + 2_100n + 1_000n, thenWei: 1_000n + 1_500n + 2_000n },
      { to: ada, nowWei: 900n, thenWei: 1_000n },
      { to: bob, nowWei: 900n + 3_000n, thenWei: 1_500n + 2_000n },
    ]);
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("a hook is kept under its hash, and tried on jobs of the log", async () => {
  await using world = await openWorld(new TermsBook([termsVersion(1)]));
  const { store, schemes } = world;
  const module = { hash: hashOfHook("export {}"), source: "export {}" };
  await schemes.putHook(module, ["share"], 5);
  await schemes.putHook(module, ["share"], 6);
  expect(await schemes.hookSource(module.hash)).toBe("export {}");
  expect(await schemes.hooks()).toEqual([{ hash: module.hash, exports: ["share"], addedAtMs: 5 }]);
  for (const pixels of [1n, 2n, 3n]) await store.credit(creditOf(ada, "one", pixels));
  expect((await schemes.lastJobs(2)).map((job) => job.pixels)).toEqual([2n, 3n]);
});
