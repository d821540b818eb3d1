import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import { poolOptions, type RunningPool, startPool, toPoolOptions } from "@openpool/pool";
import { resolveOptions } from "@openpool/base";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Ran, run } from "./testing/run.ts";

const ada = `0x${"11".repeat(20)}`;

let dataDir: string;
let pool: RunningPool;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "openpool-books-"));
  const values = new Map([
    ["data-dir", dataDir],
    ["listen", "127.0.0.1:0"],
    ["service-uri", "https://127.0.0.1:1"],
    ["admin-listen", "127.0.0.1:0"],
    ["commission", "10%"],
    ["hold-time", "30m"],
  ]);
  const resolved = resolveOptions(poolOptions, [{ origin: "flag", label: (name) => name, values }]);
  if (!resolved.ok) throw new Error(JSON.stringify(resolved.problems));
  const options = toPoolOptions(resolved.values, {
    adminListenNamed: true,
    apiListenNamed: true,
    joinPassword: undefined,
    terminal: false,
  });
  if ("problems" in options) throw new Error(JSON.stringify(options.problems));
  pool = await startPool(options, { logger: silentLogger, clock: systemClock, version: "0.0.0" });
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
  await rm(dataDir, { recursive: true, force: true });
});

function operate(...args: readonly string[]): Promise<Ran> {
  return run(args, { env: { OPENPOOL_DATA_DIR: dataDir } });
}

test("settings make the first version of the terms; later ones are announced and never begin at once", async () => {
  const shown = await operate("terms", "show");
  expect(shown.out).toMatch(/^version 1, in force/);
  expect(shown.out).toMatch(/commissionPpm +100000\n/);
  expect(shown.out).toMatch(/holdMs +1800000\n/);
  expect(await operate("terms", "set", "--effective", "1s", "--commission", "5%")).toMatchObject({
    code: 4,
    err: expect.stringContaining("New terms begin at"),
  });
  const dry = await operate("terms", "set", "--effective", "1d", "--commission", "5%", "--dry-run");
  expect(dry.out).toMatch(/commissionPpm +100000 +50000\n/);
  const file = join(dataDir, "terms.yaml");
  await writeFile(file, `overrides:\n  - name: own machines\n    workers: ["${ada}"]\n    commissionPpm: 0\n`);
  const set = await operate("terms", "set", "--effective", "1d", "--commission", "5%", "--file", file);
  expect(set).toMatchObject({ code: 0, out: expect.stringContaining("version 2 counts from ") });
  const { current, versions } = JSON.parse((await operate("terms", "show", "--all", "--json")).out) as {
    current: number;
    versions: { version: number; commissionPpm: string; overrides: unknown[] }[];
  };
  expect([current, versions.map((one) => one.commissionPpm)]).toEqual([1, ["100000", "50000"]]);
  expect(versions[1]?.overrides).toEqual([{ name: "own machines", workers: [ada], commissionPpm: "0" }]);
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
  const metrics = await (await fetch(`${pool.adminUrl}/metrics`)).text();
  expect(metrics).toMatch(/openpool_ledger_wei{.*account="owed".*} 3000\n/);
  expect(metrics).toMatch(/openpool_payout_halts{.*} 0\n/);
});
