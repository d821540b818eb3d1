import { randomUUID } from "node:crypto";
import { silentLogger } from "@openpool/base";
import { workerAlertSchema } from "@openpool/protocol";
import { describe, expect, test } from "vitest";
import { hashOfHook } from "../hooks/read-module.ts";
import { createJobBooker } from "../ledger/schemes/index.ts";
import { TermsBook } from "../ledger/terms.ts";
import { openRollups } from "../store/index.ts";
import { PgSchemeStore } from "../store/scheme-store.ts";
import { openLedgerWorld, termsVersion } from "../store/testing/ledger-world.ts";
import { ada, bob, creditOf } from "../store/testing/sample-credit.ts";
import type { NewEvent } from "../store/types.ts";
import { verifyWebhook } from "./channels/standard-webhook.ts";
import {
  HOUR,
  joined,
  left,
  linkIn,
  MINUTE,
  name,
  openWorld,
  SECRET,
  subjects,
  subscribeByMail,
  type World,
} from "./testing/world.ts";
import { OPERATOR_ALERTS } from "./types.ts";
import { type PoolNow, watchedProblems } from "./watch.ts";

/** Kinds that somebody was told of here. */
const heard = new Set<string>();
async function remember(world: World): Promise<void> {
  const rows = await world.store.database.query<{ kind: string; destination: string }>(
    "select distinct kind, split_part(destination, ':', 1) as destination from openpool.alert_outbox where state = 'sent'",
  );
  for (const { kind, destination } of rows) heard.add(`${kind} ${destination}`);
}

const rollupsOf = ({ store, clock }: World) =>
  openRollups(store.database.connection, { logger: silentLogger, clock, onAppended: (call) => store.onAppended(call) });

describe("measured alerts", () => {
  test("tell of failing rigs and of no work, at the thresholds that the subscriber gave", async () => {
    const world = await openWorld();
    const { store } = world;
    await using rollups = await rollupsOf(world);
    await subscribeByMail(world, { thresholds: { noWorkHours: 2, successPercent: 80, realTimeRatio: 1 } });
    for (let i = 0; i < 15; i++)
      await store.credit({ ...creditOf(ada, "one", 1n), data: { attempts: 1, durationMs: 2_000, tookMs: 4_000 } });
    await world.append(
      ...Array.from({ length: 10 }, () => ({ type: "attempt.failed", worker: ada, rig: "one", data: {} })),
    );
    for (let i = 0; i < 25; i++)
      await store.credit({ ...creditOf(ada, "good", 1n), data: { attempts: 1, durationMs: 2_000, tookMs: 1_000 } });
    await rollups.catchUp();
    await world.pass();
    expect(subjects(world)).toHaveLength(1);
    await world.pass(6 * MINUTE);
    expect(subjects(world).slice(1)).toEqual([`${name}.one fails too often`]);
    expect(world.mail.taken[1]!.raw).toContain("60");
    await world.pass(2 * HOUR);
    expect(subjects(world)[2]).toBe(`${name} got no work for 2 hours`);
    await store.credit({ ...creditOf(ada, "good", 1n), data: { attempts: 1, durationMs: 2_000, tookMs: 1_000 } });
    await rollups.catchUp();
    await world.pass(2 * MINUTE);
    expect(subjects(world)[3]).toBe(`${name} works again`);
    await remember(world);
  });

  test("of no work count from the minute of the last segment, whatever the hour, and say which it was", async () => {
    const world = await openWorld();
    const { store, clock } = world;
    await using rollups = await rollupsOf(world);
    clock.advance(HOUR - (clock.now() % HOUR));
    await subscribeByMail(world, { kinds: ["no-work"], thresholds: { noWorkHours: 2 } });
    await world.pass(59 * MINUTE);
    const at = new Date(clock.now()).toISOString();
    expect(at).toContain(":59:00");
    await store.credit({ ...creditOf(ada, "one", 1n), data: { attempts: 1, durationMs: 2_000, tookMs: 1_000 } });
    await rollups.catchUp();
    await world.pass(2 * HOUR - 5 * MINUTE);
    expect(subjects(world)).toHaveLength(1);
    await world.pass(6 * MINUTE);
    expect(subjects(world).slice(1)).toEqual([`${name} got no work for 2 hours`]);
    expect(world.mail.taken[1]!.raw).toContain(at.slice(11, 16));
  });

  test("that nobody listens to any more end unheard, and whoever subscribes next is told anew", async () => {
    const world = await openWorld();
    const { store } = world;
    await using rollups = await rollupsOf(world);
    await subscribeByMail(world, { kinds: ["no-work"], thresholds: { noWorkHours: 2 } });
    await store.credit({ ...creditOf(ada, "one", 1n), data: { attempts: 1, durationMs: 2_000, tookMs: 1_000 } });
    await rollups.catchUp();
    await world.pass();
    await world.pass(3 * HOUR);
    await world.pass(6 * MINUTE);
    const told = `${name} got no work for 2 hours`;
    expect(subjects(world).slice(1)).toEqual([told]);
    await world.alerts.follow("unsubscribe", linkIn(world.mail.taken.at(-1)!.raw, "unsubscribe"));
    await world.pass(2 * MINUTE);
    await subscribeByMail(world, { kinds: ["no-work"], thresholds: { noWorkHours: 2 } });
    const before = world.mail.taken.length;
    await world.pass(2 * HOUR + MINUTE);
    await world.pass(6 * MINUTE);
    expect(subjects(world).slice(before)).toEqual([told]);
  });

  test("tell of slow rigs", async () => {
    const world = await openWorld();
    const { store } = world;
    await using rollups = await rollupsOf(world);
    await subscribeByMail(world);
    for (let i = 0; i < 25; i++)
      await store.credit({ ...creditOf(ada, "slow", 1n), data: { attempts: 1, durationMs: 2_000, tookMs: 4_000 } });
    await rollups.catchUp();
    await world.pass();
    await world.pass(6 * MINUTE);
    expect(subjects(world).slice(1)).toEqual([`${name}.slow is slow`]);
    expect(world.mail.taken[1]!.raw).toContain("0.5 seconds of video");
    await remember(world);
  });

  test("tell of credits that wait because the pool's hook failed, once over restarts, and that they were shared", async () => {
    const world = await openWorld();
    const { store, clock } = world;
    await using rollups = await rollupsOf(world);
    const hash = hashOfHook("export {}");
    const terms = new TermsBook([termsVersion(1, { scheme: "hook", schemeOptions: { hook: hash } })]);
    const bookJob = createJobBooker(terms, {
      share: async (_hash, jobs) => jobs.map(() => ({ kind: "failed", hash, why: "secret words" })),
      notes: async (_hash, jobs) => jobs.map(() => undefined),
    });
    await using books = await openLedgerWorld(clock, terms, bookJob, store);
    await using schemes = new PgSchemeStore(books.connection, { clock });
    await subscribeByMail(world, { kinds: ["credit-held"] });
    for (const worker of [ada, ada, bob]) await store.credit(creditOf(worker, "one", 5n));
    await Promise.all([rollups.catchUp(), books.catchUp()]);
    await world.pass(MINUTE);
    await world.restart();
    await world.pass(MINUTE);
    const wait = `Credits of ${name} wait`;
    expect(subjects(world).slice(1)).toEqual([wait]);
    const raw = world.mail.taken[1]!.raw.replaceAll(/=?\r\n/g, " ");
    expect(raw).toContain("0.00000000000001 ETH");
    expect(raw).not.toContain("secret words");
    for (const held of await schemes.heldJobs(10)) {
      const time = { nowMs: clock.now(), terms: terms.version(held.termsVersion) };
      expect(await schemes.releaseHeld(held, undefined, time)).toBe(true);
    }
    await world.pass(MINUTE);
    await world.pass(2 * MINUTE);
    expect(subjects(world).slice(1)).toEqual([wait, `No credit of ${name} waits any more`]);
    await remember(world);
  });
});

describe("the operator", () => {
  test("is told over a signed webhook what the pool finds wrong with itself, and when it is over", async () => {
    const world = await openWorld();
    const halt = { code: "ledger/unbalanced", message: "The books differ." };
    world.watched = { problems: [{ kind: "halt", subject: "books", data: halt }], unknown: [] };
    await world.pass();
    await world.pass(2 * MINUTE);
    world.watched = undefined;
    await world.pass(5 * MINUTE);
    world.watched = { problems: [], unknown: [] };
    await world.pass(2 * MINUTE);
    await world.pass(2 * MINUTE);
    expect(world.titles()).toEqual(["The pool stopped its payouts", "Payouts are no longer halted"]);
    const { headers, body } = world.hook.taken[0]!;
    const header = (key: string): string => String(headers[key]);
    const signed = {
      id: header("webhook-id"),
      timestamp: header("webhook-timestamp"),
      signature: header("webhook-signature"),
    };
    expect(verifyWebhook(SECRET, signed, body, Number(signed.timestamp) * 1_000)).toBe(true);
    expect(JSON.parse(body)).toMatchObject({
      type: "alert.halt",
      data: { phase: "raised", facts: { message: "The books differ." } },
    });
  });

  test("is told of an orchestrator that is lost, and of changed terms", async () => {
    const world = await openWorld();
    await world.append({ type: "upstream.joined", data: { upstream: "east" } });
    await world.pass();
    await world.append(
      { type: "upstream.left", data: { upstream: "east", why: "x" } },
      { type: "terms.announced", data: { version: 2, effectiveAt: "2026-12-01T00:00:00.000Z", terms: {} } },
      { type: "log.resumed", data: { reason: "No space left on device", since: "2026-11-30T00:00:00.000Z" } },
    );
    await world.pass();
    await world.pass(3 * MINUTE);
    const told = ["The pool's terms change", "The event log could not be written for a while"];
    expect(world.titles()).toEqual([...told, "No longer registered with east"]);
    await world.append({ type: "upstream.joined", data: { upstream: "east" } });
    await world.pass();
    await world.pass(3 * MINUTE);
    expect(world.titles().at(-1)).toBe("Registered with east again");
    await remember(world);
  });

  test("is not told of an orchestrator that a restart or the operator leaves, and is of one that is lost after that", async () => {
    const world = await openWorld();
    const started = (generation: number) => ({ type: "pool.started", data: { generation } });
    const upstream = (what: "joined" | "left", generation: number, more = {}) => ({
      type: `upstream.${what}`,
      data: { upstream: "east", generation, ...more },
    });
    const told = async (...events: readonly NewEvent[]): Promise<readonly string[]> => {
      const before = world.titles().length;
      await world.append(...events);
      await world.pass();
      await world.pass(3 * MINUTE);
      return world.titles().slice(before);
    };
    expect(await told(started(1), upstream("joined", 1))).toEqual([]);
    expect(await told(upstream("joined", 2), started(2), upstream("left", 1))).toEqual([]);
    expect(await told(started(3), upstream("left", 2), upstream("joined", 3))).toEqual([]);
    expect(await told(upstream("left", 3, { drained: true }))).toEqual([]);
    expect(await told(upstream("joined", 3))).toEqual([]);
    const lost = "No longer registered with east";
    expect(await told(upstream("left", 3))).toEqual([lost]);
    expect(await told(upstream("joined", 3))).toEqual(["Registered with east again"]);
    // Nobody looked for longer than the delay: the next process has its time to register.
    await world.append(upstream("left", 3));
    await world.pass();
    await world.append(started(4));
    await world.pass(10 * MINUTE);
    expect(await told(upstream("joined", 4))).toEqual([]);
    expect(await told(upstream("left", 4))).toEqual([lost]);
    expect(await told(upstream("left", 4, { drained: true }))).toEqual([]);
    expect(await told(upstream("joined", 4))).toEqual([]);
  });

  const facts = { chain: undefined, payoutBalanceWei: 1n };
  const calm: PoolNow = { halts: [], violations: [], solvency: { warnings: [], facts }, rigs: 1, floats: [] };
  test("keeps a missing reserve raised while nobody can look, and not where there is nothing to look at any more", () => {
    const unknownOf = (solvency: PoolNow["solvency"]): unknown => watchedProblems({ ...calm, solvency }).unknown;
    const kept = [{ kind: "solvency", subject: "reserve-negative" }];
    expect(unknownOf({ warnings: [], facts: { chain: "unknown", payoutBalanceWei: 1n } })).toEqual(kept);
    expect(unknownOf({ warnings: [], facts: { chain: undefined, payoutBalanceWei: "unknown" } })).toEqual(kept);
    expect(unknownOf({ warnings: [], facts: { chain: undefined, payoutBalanceWei: undefined } })).toEqual([]);
  });
  const warns = (code: "reserve-negative" | "hook-holds" | "bad-luck"): PoolNow["solvency"] => ({
    warnings: [{ code, text: `${code}: 1 ETH.` }],
    facts,
  });
  const blind: Partial<PoolNow> = { violations: undefined, solvency: undefined, floats: undefined };
  test.each<[what: string, change: Partial<PoolNow>, afterMs: number, bad: string, good: string]>([
    [
      "a halt",
      { halts: [{ name: "payouts", reason: "A nonce is taken." }] },
      0,
      "The pool stopped its payouts",
      "Payouts are no longer halted",
    ],
    [
      "books that do not add up",
      { violations: ["1 wei too much"] },
      0,
      "The books do not add up",
      "The books add up again",
    ],
    [
      "debts that are not covered",
      { solvency: warns("reserve-negative") },
      6 * MINUTE,
      "What workers are owed is not covered",
      "What workers are owed is covered again",
    ],
    [
      "credits that wait for a hook",
      { solvency: warns("hook-holds") },
      0,
      "Credits wait because their hook failed",
      "No credit waits for its hook any more",
    ],
    [
      "a paying account that runs low",
      { floats: [{ asset: "eth", balance: 1n, due: 2n, state: "low", text: "Send 1 wei." }] },
      10 * MINUTE,
      "The paying account runs low",
      "The paying account holds enough again",
    ],
    ["no rig", { rigs: 0 }, 5 * MINUTE, "No rig is connected", "Rigs are connected again"],
  ])("hears of %s, in time, once over restarts, and that it is over", async (_what, change, afterMs, bad, good) => {
    const world = await openWorld();
    // Bad luck passes by itself.
    world.watched = watchedProblems({ ...calm, solvency: warns("bad-luck"), ...change });
    await world.pass();
    if (afterMs > 0) {
      await world.pass(afterMs - 1);
      expect(world.titles()).toEqual([]);
      await world.pass(1);
    }
    await world.restart();
    await world.pass(MINUTE);
    expect(world.titles()).toEqual([bad]);
    // As after a restart, while nobody could look yet: nothing is well for that, and what was seen is not forgotten.
    world.watched = watchedProblems({ ...calm, ...change, ...blind });
    await world.pass(MINUTE);
    await world.pass(11 * MINUTE);
    expect(world.titles()).toEqual([bad]);
    world.watched = watchedProblems(calm);
    await world.pass(MINUTE);
    await world.pass(11 * MINUTE);
    expect(world.titles()).toEqual([bad, good]);
    await remember(world);
  });
});

test("a worker hears of every step of its payouts, of holds, of trust and of its address, and the operator of its part", async () => {
  const world = await openWorld();
  await subscribeByMail(world, { kinds: workerAlertSchema.options });
  const [run, intent] = [randomUUID(), randomUUID()];
  const wei = "16204000000000000";
  const sql = (text: string): Promise<unknown> => world.store.database.query(text);
  await sql(`insert into openpool.payout_runs (id, state, created_at, chain_id, payer, asset, total_wei, details)
    values ('${run}', 'sending', now(), 1, '${bob}', 'eth', ${wei}, '{}')`);
  await sql(`insert into openpool.payout_intents (id, run, kind, chain_id, payer, nonce, to_address, value_wei, data, gas_limit, lines, state)
    values ('${intent}', '${run}', 'transfer', 1, '${bob}', 0, '${ada}', ${wei}, '0x', 21000, '{}', 'sent')`);
  await sql(`insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount, asset, method,
      method_reason, state, intent, planned_at)
    values ('${randomUUID()}', '${run}', 0, '${ada}', '${ada}', ${wei}, 0, ${wei}, 'eth', 'transfer', '', 'sent', '${intent}', now())`);
  const hash = `0x${"ab".repeat(32)}`;
  const paid = { run, amountWei: wei, payTo: ada };
  const told: readonly (readonly [type: string, data: NewEvent["data"], subject: string, rig?: string])[] = [
    ["payout.planned", { run, totalWei: wei, lines: 1, waiting: 0 }, `A payout for ${name} is planned`],
    ["payout.signed", { run, intent, hash }, `A payout for ${name} is on its way`],
    ["payout.paid", { ...paid, hash }, `${name} was paid`],
    ["payout.returned", { ...paid, reason: "secret words" }, `A payout for ${name} did not go through`],
    ["payout.found", { amountWei: wei, sendAmount: wei, asset: "eth", payTo: ada, hash }, `${name} was paid`],
    ["payout.held", { reason: "secret words" }, `Payouts of ${name} are held back`],
    ["payout.released", {}, `Payouts of ${name} go on`],
    ["worker.changed", { banned: "black frames", by: "operator" }, `${name} may not work here any more`],
    ["payto.requested", { payTo: bob, effectiveAtMs: 1 }, `Somebody asked to change the payout address of ${name}`],
    ["payto.cancelled", {}, `The new payout address of ${name} was cancelled`],
    ["payto.changed", { payTo: bob }, `How ${name} is paid has changed`],
    ["rig.standing", { standing: "barred", reason: "secret words" }, `${name}.a is barred`, "a"],
    ["terms.announced", { version: 2, effectiveAt: "2026-12-01T00:00:00.000Z", terms: {} }, "The pool's terms change"],
  ];
  const ofNobody = ["payout.planned", "payout.signed", "terms.announced"];
  for (const [type, data, subject, rig] of told) {
    // One after the other: several at once come as one message.
    await world.append({
      type,
      ...(ofNobody.includes(type) ? {} : { worker: ada, rig }),
      data,
    });
    await world.pass(MINUTE);
    await expect.poll(() => subjects(world).at(-1)).toBe(subject);
  }
  // What changes nothing for the worker, and what somebody else's worker is told, is not told.
  await world.append(
    { type: "worker.changed", worker: ada, data: { banned: null, by: "operator" } },
    { type: "payout.held", worker: bob, data: { reason: "another" } },
  );
  await world.pass(MINUTE);
  await world.append(joined("attic"));
  await world.pass(MINUTE);
  await world.append(left("attic"));
  await world.pass(MINUTE);
  await world.pass(5 * MINUTE);
  expect(subjects(world).slice(1)).toEqual([...told.map(([, , subject]) => subject), `${name}.attic is offline`]);
  expect(world.mail.taken.map((one) => one.raw).join()).not.toContain("secret words");
  expect(world.titles()).toEqual([
    "A payout is planned",
    `A payout for ${name} did not go through`,
    "The pool's terms change",
  ]);
  await remember(world);
});

test("a worker hears that its payouts are held back, and nothing of what the operator said", async () => {
  const world = await openWorld();
  await subscribeByMail(world, { kinds: ["credit-held"] });
  await world.append({ type: "payout.held", worker: ada, data: { reason: "looks like a thief" } });
  await world.pass();
  await world.append({ type: "payout.released", worker: ada, data: {} });
  await world.pass();
  expect(subjects(world).slice(1)).toEqual([`Payouts of ${name} are held back`, `Payouts of ${name} go on`]);
  expect(world.mail.taken.map((one) => one.raw).join("")).not.toContain("thief");
});

test("there is no kind of alert that nobody heard above", () => {
  const all = [
    ...workerAlertSchema.options.map((kind) => `${kind} subscription`),
    ...OPERATOR_ALERTS.map((kind) => `${kind} operator`),
  ];
  expect(all.filter((one) => !heard.has(one))).toEqual([]);
});
