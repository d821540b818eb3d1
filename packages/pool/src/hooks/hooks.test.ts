import { silentLogger, systemClock } from "@openpool/base";
import { checksumAddress } from "@openpool/protocol";
import { afterAll, describe, expect, test, vi } from "vitest";
import type { CreditedJob } from "../ledger/types.ts";
import { Hooks } from "./hooks.ts";
import { jobInput, readOpinion, readShare } from "./interface.ts";
import { hashOfHook } from "./read-module.ts";
import { createHookRunner, type HookRunner } from "./runner.ts";

// Only where it is about being late is the limit one that a slow machine could pass.
const runner = createHookRunner({ clock: systemClock, callMs: 60_000 });
const impatient = createHookRunner({ clock: systemClock, callMs: 1_000 });
afterAll(async () => {
  await runner[Symbol.asyncDispose]();
  await impatient[Symbol.asyncDispose]();
});
vi.setConfig({ testTimeout: 120_000 });

const ada = checksumAddress(new Uint8Array(20).fill(1));
const work: CreditedJob = {
  event: "019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e12",
  price: { pricePerUnitWei: 1n, pixelsPerUnit: 1n },
  commissionPpm: 100_000n,
  job: "019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e11",
  worker: ada,
  rig: "rig1",
  source: "source:gateway",
  atMs: 0,
  segments: 1,
  pixels: 12_345_678_901_234_567_890n,
  durationMs: 2_000,
  renditions: [{ width: 640, height: 360, frames: 60 }],
  feeWei: 10n ** 30n + 1n,
  commissionWei: 10n ** 29n,
  earnedWei: 9n * 10n ** 29n + 1n,
};

async function share(source: string, by = runner): Promise<ReturnType<typeof readShare>> {
  const [answer] = await by.run(source, [{ name: "share", inputJson: jobInput(work) }]);
  return readShare("sha256:x", work.feeWei, answer!);
}

describe("a hook that plays by the rules", () => {
  test("shares a fee exactly, in whole wei beyond what numbers hold", async () => {
    const answer = await share(`
      export function share({ feeWei, worker, pixels, renditions }) {
        const commission = feeWei / 3n;
        if (pixels !== 12345678901234567890n || renditions[0].width !== 640) throw new Error("wrong input");
        return { lines: [{ to: "pool", wei: commission }, { to: worker, wei: feeWei - commission }], note: "third" };
      }`);
    const third = work.feeWei / 3n;
    expect(answer).toEqual({
      kind: "shared",
      hash: "sha256:x",
      lines: [
        { to: "pool", wei: third },
        { to: ada, wei: work.feeWei - third },
      ],
      note: "third",
    });
  });

  test("may write amounts as decimal strings, and names one payee twice", async () => {
    expect(
      await share(`export const share = ({ feeWei, worker }) =>
        [{ to: worker, wei: "1" }, { to: worker.toLowerCase(), wei: String(feeWei - 1n) }, { to: "pool", wei: 0n }]`),
    ).toMatchObject({ kind: "shared", lines: [{ to: ada, wei: work.feeWei }] });
  });

  test("may say nothing, a note or a veto about what happens", () => {
    const answered = (value: unknown) => readOpinion({ kind: "answer", json: JSON.stringify(value) });
    expect(readOpinion({ kind: "missing" })).toEqual({ veto: undefined, note: undefined });
    expect(answered(undefined)).toEqual({ veto: undefined, note: undefined });
    expect(answered({ note: "new\nhere" })).toEqual({ veto: undefined, note: "new here" });
    expect(answered({ veto: "not on Sundays" })).toEqual({ veto: "not on Sundays", note: undefined });
    expect(answered({ veto: true })).toContain("something else");
    expect(answered("no")).toContain("something else");
  });
});

describe("a hook that does not", () => {
  const whys: readonly (readonly [what: string, source: string, why: RegExp])[] = [
    ["never ends", "export function share() { for (;;); }", /too many steps/],
    ["never ends while it is read", "for (;;);", /too many steps/],
    ["backtracks for ever", 'export const share = () => /^(a+)+$/.test("a".repeat(40) + "b")', /too many steps/],
    [
      "fills memory with arrays",
      "export const share = () => { const a = []; for (;;) a.push(a.slice()); }",
      /memory|longer|steps/,
    ],
    ["fills memory with text", 'export const share = () => { let s = "x"; for (;;) s += s; }', /threw|memory/],
    ["calls itself for ever", "export const share = () => share();", /call stack/],
    [
      "computes with numbers of a hundred thousand digits",
      "export function share() { let x = 3n ** 200000n; for (let i = 0; i < 1000; i++) x * x; }",
      /longer than/,
    ],
    [
      "throws",
      'export function share() { throw new Error("no\\u001b[31m luck") }',
      /it threw Error: no {1,2}\[31m luck \(hooks\.js:1/,
    ],
    ["throws text", 'export function share() { throw "hm" }', /it threw hm/],
    [
      "throws something that bites",
      "export function share() { throw new Proxy({}, { get() { throw 1 } }) }",
      /threw|read/,
    ],
    ["is no program", "export function share( {", /SyntaxError/],
    ["has no share", "export function shares() {}", /exports no function share/],
    ["exports a share that is none", "export const share = 5", /exports no function share/],
    ["is async", "export async function share() { return [] }", /must not be async/],
    ["waits at the top", "await 1; export function share() { return [] }", /exports no function share/],
    ["imports", 'import fs from "fs"; export const share = () => []', /could not load module/],
    ["imports later", 'export const share = () => import("fs")', /must not be async/],
    ["answers nothing", "export function share() {}", /did not answer an array/],
    ["answers text", 'export const share = () => "all to me"', /did not answer an array/],
    ["answers in a circle", "export function share() { const a = []; a.push(a); return a }", /circular/],
    ["answers more than there is room for", 'export const share = () => ["x".repeat(100000)]', /characters/],
    [
      "answers too many lines",
      "export const share = ({ worker }) => Array(65).fill({ to: worker, wei: 0n })",
      /65 lines/,
    ],
    ["loses a wei", "export const share = ({ feeWei, worker }) => [{ to: worker, wei: feeWei - 1n }]", /sum to/],
    ["makes a wei", "export const share = ({ feeWei, worker }) => [{ to: worker, wei: feeWei + 1n }]", /sum to/],
    [
      "takes from one for another",
      'export const share = ({ feeWei, worker }) => [{ to: worker, wei: feeWei + 5n }, { to: "pool", wei: -5n }]',
      /less than nothing/,
    ],
    ["gives numbers", "export const share = ({ worker }) => [{ to: worker, wei: 5 }]", /amounts are BigInt/],
    ["gives parts of a wei", 'export const share = ({ worker }) => [{ to: worker, wei: "1.5" }]', /no whole number/],
    [
      "gives what is no amount",
      "export const share = ({ worker }) => [{ to: worker, wei: { valueOf: 5 } }]",
      /no whole number/,
    ],
    ["gives to nobody", 'export const share = ({ feeWei }) => [{ to: "me", wei: feeWei }]', /no address/],
    [
      "gives to the zero address",
      `export const share = ({ feeWei }) => [{ to: "0x${"0".repeat(40)}", wei: feeWei }]`,
      /no address/,
    ],
    [
      "adds fields",
      "export const share = ({ feeWei, worker }) => [{ to: worker, wei: feeWei, from: 1 }]",
      /did not answer an array/,
    ],
    [
      "changes what numbers and JSON are",
      `JSON.parse = () => ({}); JSON.stringify = () => "[]"; BigInt.prototype.toJSON = () => "7"; String = () => "9";
       globalThis.BigInt = () => 1n;
       export const share = ({ feeWei, worker }) => [{ to: worker, wei: feeWei }]`,
      /sum to|did not answer/,
    ],
    [
      "never ends while it is written down",
      "Object.prototype.toJSON = () => [{}]; export const share = () => []",
      /longer|threw|steps/,
    ],
    [
      "asks for the time",
      "export const share = () => { throw new Error(typeof Date + typeof performance) }",
      /undefinedundefined/,
    ],
    ["asks for chance", "export const share = () => Math.random()", /not a function/],
    [
      "looks for the world",
      "export const share = () => { throw new Error([typeof process, typeof require, typeof fetch, typeof setTimeout, typeof console].join()) }",
      /undefined,undefined,undefined,undefined,undefined/,
    ],
    [
      "looks for the world behind its functions",
      'export const share = () => { throw new Error(typeof (() => {}).constructor("return this")().process) }',
      /: undefined/,
    ],
  ];
  for (const [what, source, why] of whys) {
    test(`${what}: its job is held, and it is said why`, async () => {
      const answer = await share(source, why.source.includes("longer") ? impatient : runner);
      expect(answer.kind).toBe("failed");
      expect(answer.kind === "failed" && answer.why).toMatch(why);
    });
  }

  test("remembers nothing from one job to the next", async () => {
    const source =
      "let n = 0; export const share = () => { globalThis.m = (globalThis.m ?? 0) + 1; throw `${++n} ${m}` }";
    const call = { name: "share", inputJson: jobInput(work) };
    const answers = await runner.run(source, [call, call, call]);
    expect(answers.map((one) => one.kind === "failed" && one.why)).toEqual(Array(3).fill("it threw 1 1"));
  });

  test("costs other jobs nothing: those before and behind one that has to be stopped are shared", async () => {
    const source = `export function share({ feeWei, worker, job }) {
      let x = 3n ** 200000n;
      if (job === "slow") for (let i = 0; i < 100000; i++) x * x;
      return [{ to: worker, wei: feeWei }];
    }`;
    const jobs = ["a", "slow", "b"].map((job) => ({ name: "share", inputJson: jobInput({ ...work, job }) }));
    await using strict = createHookRunner({ clock: systemClock, callMs: 5_000 });
    const answers = await strict.run(source, jobs);
    expect(answers.map((one) => readShare("h", work.feeWei, one).kind)).toEqual(["shared", "failed", "shared"]);
  });

  test("is not tried for ever: after two calls in a row that had to be stopped the rest of the run is held", async () => {
    const source = "export function share() { let x = 3n ** 200000n; for (let i = 0; i < 1000; i++) x * x; }";
    const call = { name: "share", inputJson: jobInput(work) };
    const answers = await impatient.run(source, [call, call, call, call]);
    expect(answers.map((one) => one.kind === "failed" && one.why)).toEqual([
      "it took longer than 1 s",
      "it took longer than 1 s",
      "not tried: calls before it had to be stopped",
      "not tried: calls before it had to be stopped",
    ]);
  });
});

test("a module says which functions it has, or why it cannot be read", async () => {
  expect(await runner.exports("export function share() {} export const note = 1; export default () => 1;")).toEqual({
    names: ["default", "share"],
  });
  expect(await runner.exports("export function (")).toMatchObject({ why: expect.stringContaining("SyntaxError") });
});

test("of a rig that comes back as it was the hook is not asked again, unless it failed the first time", async () => {
  let calls = 0;
  let broken = false;
  const counting: HookRunner = {
    run(source, asked) {
      calls += asked.length;
      return broken ? Promise.resolve([{ kind: "failed", why: "a slow machine" }]) : runner.run(source, asked);
    },
    exports: (source) => runner.exports(source),
    [Symbol.asyncDispose]: async () => {},
  };
  const module = `export const workerJoined = ({ rig, capacity }) => (capacity > 4 ? { veto: rig + " is too large" } : {});`;
  const hash = hashOfHook(module);
  const hooks = new Hooks({ runner: counting, logger: silentLogger, source: async () => module });
  const joined = (rig: string, capacity: number) =>
    hooks.workerJoined(hash, { worker: ada, rig, version: "1", capacity });
  const [first, beside] = await Promise.all([joined("attic", 4), joined("attic", 4)]);
  expect([first.veto, beside.veto, (await joined("attic", 4)).veto]).toEqual([undefined, undefined, undefined]);
  expect(calls).toBe(1);
  // It is another one now.
  expect((await joined("attic", 5)).veto).toBe("attic is too large");
  expect((await joined("attic", 5)).veto).toBe("attic is too large");
  expect(calls).toBe(2);
  broken = true;
  expect((await joined("cellar", 9)).veto).toBeUndefined();
  broken = false;
  expect((await joined("cellar", 9)).veto).toBe("cellar is too large");
});
