import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, systemClock } from "@openpool/base";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openOperatedPool, type OperatedPool } from "./testing/pool.ts";
import type { Ran } from "./testing/run.ts";

// A database and dozens of commands, on a machine that may be busy.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const ada = `0x${"11".repeat(20)}`;

let pool: OperatedPool;
beforeAll(async () => {
  pool = await openOperatedPool(async (dataDir) => {
    const config = join(dataDir, "pool.yaml");
    await writeFile(config, "commission: 10%\nhold-time: 30m\nscheme: segment\nterms-file: first-terms.yaml\n");
    await writeFile(
      join(dataDir, "first-terms.yaml"),
      `schemeOptions: { amountWei: "900", uptime: { budgetWeiPerDay: "0" } }\noverrides:\n  - name: own machines\n    workers: ["${ada}"]\n    commissionPpm: 0\n`,
    );
    return { config };
  });
});
afterAll(() => pool[Symbol.asyncDispose]());

function operate(...args: readonly string[]): Promise<Ran> {
  return pool.operate(...args);
}

test("settings make the first version of the terms; later ones are announced and never begin at once", async () => {
  const shown = await operate("terms", "show");
  expect(shown.out).toMatch(/^version 1, in force/);
  expect(shown.out).toMatch(/commissionPpm +100000\n/);
  expect(shown.out).toMatch(/holdMs +1800000\n/);
  expect(shown.out).toMatch(/scheme +segment\n/);
  expect(JSON.parse((await operate("terms", "show", "--json")).out)).toMatchObject({
    schemeOptions: { amountWei: "900", uptime: { budgetWeiPerDay: "0" } },
    overrides: [{ name: "own machines", workers: [ada], commissionPpm: "0" }],
  });
  expect(await operate("terms", "set", "--effective", "1s", "--commission", "5%")).toMatchObject({
    code: 4,
    err: expect.stringContaining("New terms begin at"),
  });
  const dry = await operate("terms", "set", "--effective", "1d", "--commission", "5%", "--dry-run");
  expect(dry.out).toMatch(/commissionPpm +100000 +50000\nversion 2 would count from /);
  // It says what the announcement would say, also where that is no.
  for (const [why, ...flags] of [
    ["New terms begin at", "--effective", "1s", "--commission", "5%"],
    ['no scheme "luck"', "--effective", "1d", "--scheme", "luck"],
    ["says just that already", "--effective", "1d"],
    ["priceSource", "--effective", "1d", "--price-source", "luck"],
  ] as const) {
    expect(await operate("terms", "set", ...flags, "--dry-run")).toMatchObject({
      code: 4,
      err: expect.stringContaining(why),
    });
  }
  const file = join(pool.dataDir, "terms.yaml");
  await writeFile(file, `overrides:\n  - name: a partner\n    workers: ["${ada}"]\n    commissionPpm: 0\n`);
  const set = await operate("terms", "set", "--effective", "1d", "--commission", "5%", "--file", file);
  expect(set).toMatchObject({ code: 0, out: expect.stringContaining("version 2 counts from ") });
  const { current, versions } = JSON.parse((await operate("terms", "show", "--all", "--json")).out) as {
    current: number;
    versions: { version: number; commissionPpm: string; overrides: unknown[] }[];
  };
  expect([current, versions.map((one) => one.commissionPpm)]).toEqual([1, ["100000", "50000"]]);
  expect(versions[1]?.overrides).toEqual([{ name: "a partner", workers: [ada], commissionPpm: "0" }]);
  const diff = await operate("terms", "diff");
  expect(diff.out).toMatch(/commissionPpm +100000 +50000\n/);
  expect(diff.out).not.toContain("holdMs");
  expect(await operate("terms", "set", "--effective", "2d", "--commission", "5%")).toMatchObject({
    code: 4,
    err: expect.stringContaining("says just that already"),
  });
  expect(await operate("terms", "set", "--effective", "soon", "--commission", "5")).toMatchObject({ code: 2 });
  expect((await operate("terms", "set", "--effective", "2d", "--scheme", "lottery")).code).toBe(4);
});

test("the books are adjusted, checked, rebuilt, and told as statements", async () => {
  const adjust = (wei: string, reason: string): Promise<Ran> =>
    operate("ledger", "adjust", "--worker", ada, `--wei=${wei}`, "--reason", reason);
  expect(await adjust("5000", "for a friend, with thanks")).toMatchObject({ code: 0 });
  expect(await adjust("-2000", "half")).toMatchObject({ code: 0, out: expect.stringContaining("0.000000000000003") });
  expect(await adjust("-3001", "more than there is")).toMatchObject({ code: 4 });
  expect((await adjust("1.5", "no")).code).toBe(2);
  expect(await operate("ledger", "check")).toMatchObject({
    code: 0,
    out: expect.stringContaining("the books are right"),
  });
  expect(await operate("ledger", "rebuild", "--verify")).toMatchObject({
    code: 0,
    out: expect.stringContaining("the books are what the log says"),
  });
  expect(await operate("ledger", "rebuild")).toMatchObject({ code: 0, out: expect.stringContaining("in use") });
  expect((await operate("ledger", "show")).out).toMatch(/owed +0\.000000000000003\n/);
  expect((await operate("ledger", "accounts")).out).toContain(`worker:${ada}:owed`);
  expect((await operate("ledger", "close")).out).toBe("no month is to be closed\n");
  const csv = (await operate("statements", ada)).out.split("\r\n");
  expect(csv[0]).toMatch(/^time,kind,id,rig,job,/);
  expect(csv[1]).toMatch(/,adjusted,.*,5000,booked,,1,,"for a friend, with thanks",/);
  expect(csv).toHaveLength(4);
  const json = JSON.parse((await operate("statements", ada, "--format", "json")).out) as {
    opening_wei: string;
    closing_wei: string;
    rows: { amount_wei: string }[];
  };
  expect([json.opening_wei, json.closing_wei, json.rows.map((row) => row.amount_wei)]).toEqual([
    "0",
    "3000",
    ["5000", "-2000"],
  ]);
  expect((await operate("statements", ada, "--month", "2020-01")).out.split("\r\n")).toHaveLength(2);
  expect((await operate("statements", ada, "--month", "13")).code).toBe(2);
  expect((await operate("statements", "0x12")).code).toBe(4);
  const metrics = async (): Promise<string> => (await fetch(`${pool.running.adminUrl}/metrics`)).text();
  expect(await metrics()).toMatch(/openpool_ledger_wei{.*account="owed".*} 3000\n/);
  expect(await metrics()).toMatch(/openpool_payout_halts{.*} 0\n/);
  // Solvency may be some seconds old.
  await expect
    .poll(metrics, { timeout: 60_000, interval: 500 })
    .toMatch(/openpool_solvency_wei{.*what="debt".*} 3000\n/);
});

test("income is entered by hand, once a reference, and fills pots; solvency shows it", async () => {
  expect((await operate("income", "list")).out).toContain("nothing came in yet\n");
  const enter = ["income", "add", "250000000000000000", "--ref", "invoice 17"];
  expect(await operate(...enter, "--note", "for March")).toMatchObject({
    code: 0,
    out: 'booked 0.25 ETH as "invoice 17"\n',
  });
  expect(await operate(...enter)).toMatchObject({ code: 4, err: expect.stringContaining("was entered before") });
  expect((await operate("income", "add", "0", "--ref", "nothing")).code).toBe(2);
  expect((await operate("income", "add", "7", "--ref", "x", "--pot", "coffee")).code).toBe(4);
  expect(await operate("income", "add", "7", "--ref", "a start", "--pot", "segment")).toMatchObject({ code: 0 });
  const listed = (await operate("income", "list")).out;
  expect(listed).toMatch(/ manual +0\.25 +0\.25 +manual:invoice 17 *\n/);
  const accounts = (await operate("ledger", "accounts")).out;
  expect(accounts).toMatch(/pool:income:other +250000000000000000\n/);
  expect(accounts).toMatch(/pool:pot:segment +7\n/);
  expect((await operate("solvency")).out).toMatch(/0\.25/);
  expect((await operate("ledger", "check")).code).toBe(0);
});

const DAY_MS = 86_400_000;
/** Two months back, whatever today is: that month is over. */
const LONG_AGO_MS = 62 * DAY_MS;

/** A pool whose books began long ago, and in which it is today now. Its months are looked at often. */
async function openOldPool(
  flags: Readonly<Record<string, string>>,
): Promise<OperatedPool & { readonly month: string }> {
  let behindMs = LONG_AGO_MS;
  const clock: Clock = {
    ...systemClock,
    now: () => systemClock.now() - behindMs,
    // What waits ten minutes is the look at months that are over.
    after: (ms, work) => systemClock.after(ms === 600_000 ? 50 : ms, work),
  };
  const old = await openOperatedPool(() => flags, clock);
  const adjust = (): Promise<Ran> =>
    old.operate("ledger", "adjust", "--worker", ada, "--wei=700", "--reason", "a gift");
  expect(await adjust()).toMatchObject({ code: 0 });
  const month = new Date(clock.now()).toISOString().slice(0, 7);
  behindMs = 0;
  expect(await adjust()).toMatchObject({ code: 0 });
  await expect
    .poll(async () => (await old.operate("ledger", "show")).out, { timeout: 60_000 })
    .toMatch(/closed up to \d{4}-\d\d\n/);
  return Object.assign(old, { month });
}

test("months of the event log are exported, and taken out of it, by commands", async () => {
  await using old = await openOldPool({});
  const file = join(old.dataDir, "exports", `events-${old.month}.jsonl.gz`);
  expect(await old.operate("ledger", "export", "--month", old.month)).toMatchObject({
    code: 0,
    out: expect.stringMatching(new RegExp(`^MONTH +EVENTS +FILE *\n${old.month} +\\d+ +${file} *\n$`)),
  });
  expect(await old.operate("ledger", "export", "--month", "2020-01")).toMatchObject({
    code: 4,
    err: expect.stringContaining("the books of 2020-01 are not closed"),
  });
  expect((await old.operate("ledger", "prune", "--month", "lately")).code).toBe(4);
  // Not before the pages have counted what is in it.
  await expect
    .poll(() => old.operate("ledger", "prune", "--month", old.month), { timeout: 60_000, interval: 200 })
    .toMatchObject({ code: 0, out: expect.stringContaining(file) });
  expect(await old.operate("ledger", "prune")).toMatchObject({ code: 0 });
  expect(await old.operate("ledger", "prune")).toMatchObject({ code: 0, out: "no closed month is in the log\n" });
  expect(await old.operate("ledger", "prune", "--month", old.month)).toMatchObject({ code: 4 });
  const left = await old.operate("events", "--type", "ledger.adjusted", "--json");
  expect(left.out.trim().split("\n")).toHaveLength(1);
  // The books have both.
  expect((await old.operate("statements", ada)).out.split("\r\n")).toHaveLength(4);
  expect((await old.operate("ledger", "check")).code).toBe(0);
  expect((await old.operate("ledger", "rebuild", "--verify")).code).toBe(0);
});

test("with --events-keep the pool itself takes old months out of the log, into files", async () => {
  await using old = await openOldPool({ "events-keep": "2" });
  await expect
    .poll(async () => (await old.operate("events", "--type", "log.pruned", "--json")).out, { timeout: 60_000 })
    .toContain(`"month":"${old.month}"`);
  expect(await readdir(join(old.dataDir, "exports"))).toContain(`events-${old.month}.jsonl.gz`);
  // The month before this one stays, closed as it is.
  expect((await old.operate("ledger", "prune", "--month", old.month)).code).toBe(4);
  expect((await old.operate("ledger", "check")).code).toBe(0);
});

test("a setting that would have made other first terms is told at the next start; a default is not", async () => {
  expect(pool.warnings.join("")).not.toContain("first terms");
  await pool.restart({ commission: "20%" });
  const told = pool.warnings.filter((line) => line.includes("first terms")).map((line) => JSON.parse(line) as unknown);
  expect(told).toMatchObject([{ field: "commissionPpm", inForce: "100000", setting: "200000", version: 1 }]);
});
