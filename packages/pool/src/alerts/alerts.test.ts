import { silentLogger } from "@openpool/base";
import { describe, expect, test, vi } from "vitest";
import { ada, bob } from "../store/testing/sample-credit.ts";
import type { NewEvent } from "../store/types.ts";
import { Alerts, type Subscribed, type SubscribeRequest } from "./alerts.ts";
import { noAlertSettings } from "./settings.ts";
import {
  HOUR,
  joined,
  left,
  linkIn,
  MINUTE,
  name,
  openWorld,
  publicUrl,
  SECRET,
  subjects,
  subscribeByMail,
} from "./testing/world.ts";

describe("who subscribes by mail", () => {
  test("is asked first, then told, and hears no more after the link at the end of every message", async () => {
    const world = await openWorld();
    await world.alerts.subscribe({
      worker: ada,
      channel: "email",
      target: "ada@example.com",
      kinds: ["payout-paid"],
      owned: false,
    });
    await world.alerts.sender.send();
    expect(world.mail.taken.map((one) => one.to)).toEqual([["ada@example.com"]]);
    const paid = (n: number): NewEvent => ({
      type: "payout.paid",
      worker: ada,
      data: { run: "r", amountWei: `${n}000000000000000000`, payTo: ada, hash: `0x${"ab".repeat(32)}` },
    });
    await world.append(paid(1));
    await world.pass();
    expect(world.mail.taken).toHaveLength(1);
    await world.alerts.follow("confirm", linkIn(world.mail.taken[0]!.raw, "confirm"));
    await world.append(paid(2), { ...paid(3), worker: bob });
    await world.pass();
    expect(subjects(world).slice(1)).toEqual([`${name} was paid`]);
    const { raw } = world.mail.taken[1]!;
    expect(raw).toContain("2 ETH arrived at");
    expect(raw).toMatch(
      /^List-Unsubscribe: <https:\/\/pool\.example\.com\/v1\/alerts\/unsubscribe\?token=[\w.-]+>\r$/m,
    );
    expect(raw).toContain("List-Unsubscribe-Post: List-Unsubscribe=One-Click");
    await world.alerts.follow("unsubscribe", linkIn(raw, "unsubscribe"));
    await world.append(paid(4));
    await world.pass(HOUR);
    expect(world.mail.taken).toHaveLength(2);
  });

  test("gets one request to confirm, however often somebody asks, and few a day for one address", async () => {
    const world = await openWorld();
    const ask = (worker = ada): Promise<unknown> =>
      world.alerts.subscribe({
        worker,
        channel: "email",
        target: "ada@example.com",
        kinds: ["payout-paid"],
        owned: false,
      });
    await ask();
    await ask();
    await world.pass();
    expect(world.mail.taken).toHaveLength(1);
    const others = Array.from({ length: 4 }, (_, i) => `0x${String(i + 1).repeat(40)}` as typeof ada);
    for (const worker of others) await ask(worker);
    await expect(ask(bob)).rejects.toMatchObject({ info: { code: "alerts/too-many" } });
  });

  test("is not kept from its own subscription by what others made for the same target", async () => {
    const world = await openWorld();
    const ask = (owned: boolean, kinds: SubscribeRequest["kinds"]): Promise<Subscribed> =>
      world.alerts.subscribe({ worker: ada, channel: "email", target: "ada@example.com", kinds, owned });
    const paid: NewEvent = {
      type: "payout.paid",
      worker: ada,
      data: { amountWei: "10", sendAmount: "7", asset: "eth", payTo: ada, hash: "0x12" },
    };
    // Others' may even have been confirmed.
    await subscribeByMail(world, { kinds: ["no-work"] });
    expect(await ask(true, ["standing"])).toMatchObject({ state: "pending" });
    // It asks anew: the link of before is of no use any more, and the newest words count.
    await world.pass();
    const old = linkIn(world.mail.taken.at(-1)!.raw, "confirm");
    expect(await ask(true, ["rig-offline"])).toMatchObject({ state: "pending" });
    await world.pass();
    await expect(world.alerts.follow("confirm", old)).rejects.toThrow("This subscription is over");
    await world.alerts.follow("confirm", linkIn(world.mail.taken.at(-1)!.raw, "confirm"));
    expect(await ask(true, ["payout-paid"])).toMatchObject({ state: "active" });
    expect(await world.alerts.subscriptions(ada)).toMatchObject([{ state: "active", kinds: ["payout-paid"] }]);
    const before = world.mail.taken.length;
    // What others make of it afterwards asks nobody anything.
    await ask(false, ["payout-paid"]);
    await world.append(paid);
    await world.pass();
    expect(subjects(world).slice(before)).toEqual([`${name} was paid`]);
    expect(world.mail.taken.at(-1)!.raw.replaceAll(/=?\r\n/g, " ")).toContain("0.000000000000000007 ETH");
  });

  test("cannot confirm or end anything with a token that was changed or is for something else", async () => {
    const world = await openWorld();
    await subscribeByMail(world);
    const token = linkIn(world.mail.taken[0]!.raw, "confirm");
    for (const bad of [`${token}x`, token.replace(/.$/, (last) => (last === "A" ? "E" : "A")), "", "a.b"]) {
      await expect(world.alerts.follow("confirm", bad)).rejects.toMatchObject({ info: { code: "alerts/bad-link" } });
    }
    await expect(world.alerts.follow("unsubscribe", token)).rejects.toMatchObject({
      info: { code: "alerts/bad-link" },
    });
  });
});

describe("a rig", () => {
  test("that goes away for long is told once, and that it is back once, over restarts of the pool", async () => {
    const world = await openWorld();
    await subscribeByMail(world);
    await world.append(joined("one"));
    await world.pass();
    await world.append(left("one"));
    await world.pass();
    await world.pass(2 * MINUTE);
    await world.restart();
    await world.pass(2 * MINUTE);
    expect(subjects(world)).toHaveLength(1);
    await world.pass(2 * MINUTE);
    await world.restart();
    await world.pass();
    expect(subjects(world).slice(1)).toEqual([`${name}.one is offline`]);
    await world.append(joined("one", "c2"));
    await world.restart();
    await world.pass(3 * MINUTE);
    await world.pass(3 * MINUTE);
    expect(subjects(world).slice(1)).toEqual([`${name}.one is offline`, `${name}.one is online again`]);
  });

  test("that comes right back, has another connection, or was only missed is not told", async () => {
    const world = await openWorld();
    await subscribeByMail(world);
    await world.append(joined("back"), joined("two", "a"), joined("two", "b"), joined("there"));
    await world.pass();
    await world.append(left("back"), left("two", "a"), left("there"));
    world.online = (rig) => rig === "there";
    await world.pass(MINUTE);
    await world.append(joined("back", "c2"));
    await world.pass(10 * MINUTE);
    expect(subjects(world)).toHaveLength(1);
  });

  test("whose pool was killed is told only if it does not come back", async () => {
    const world = await openWorld();
    await subscribeByMail(world);
    await world.append(joined("back"), joined("gone"));
    await world.pass();
    await world.append({ type: "pool.started", data: { generation: 2 } });
    await world.append(joined("back", "d1"));
    await world.pass();
    await world.pass(6 * MINUTE);
    expect(subjects(world).slice(1)).toEqual([`${name}.gone is offline`]);
  });

  test("several at once come as one message", async () => {
    const world = await openWorld();
    await subscribeByMail(world);
    await world.append(joined("a"), joined("b"), joined("c"));
    await world.pass();
    await world.append(left("a"), left("b"), left("c"));
    await world.pass();
    await world.pass(6 * MINUTE);
    expect(subjects(world).slice(1)).toEqual([`3 alerts: ${name}.a is offline, …`]);
  });
});

describe("the operator", () => {
  test("gets what failed again later with the same id, and finds what was given up to send it anew", async () => {
    const world = await openWorld();
    world.hook.answer = () => ({ status: 503 });
    await world.append({ type: "log.resumed", data: { reason: "full disk", since: "2026-01-01T00:00:00.000Z" } });
    await world.pass();
    expect(world.hook.taken).toHaveLength(1);
    await world.pass(5_000);
    expect(world.hook.taken).toHaveLength(1);
    await world.pass(10_000);
    expect(world.hook.taken).toHaveLength(2);
    await world.restart();
    for (let i = 0; i < 12; i++) await world.pass(25 * HOUR);
    expect(new Set(world.hook.taken.map((one) => one.headers["webhook-id"])).size).toBe(1);
    expect(world.hook.taken).toHaveLength(10);
    expect(await world.alerts.deliveries({ state: "dead", limit: 10 })).toMatchObject([
      { error: "the webhook answered 503", attempts: 10 },
    ]);
    world.hook.answer = () => ({ status: 200 });
    expect(await world.alerts.replay(undefined)).toBe(1);
    await world.pass();
    expect(world.hook.taken).toHaveLength(11);
    expect(await world.alerts.counts()).toEqual({ waiting: 0, sent: 1, dead: 0 });
  });

  test("waits as long as the other side asks", async () => {
    const world = await openWorld();
    world.hook.answer = () => ({ status: 429, headers: { "retry-after": "120" } });
    await world.append({ type: "log.resumed", data: {} });
    await world.pass();
    await world.pass(100_000);
    expect(world.hook.taken).toHaveLength(1);
    await world.pass(21_000);
    expect(world.hook.taken).toHaveLength(2);
  });

  test("can test the channels", async () => {
    const world = await openWorld();
    expect(await world.alerts.test()).toMatchObject([{ kind: "webhook", error: undefined }]);
    world.hook.answer = () => ({ status: 401 });
    expect(await world.alerts.test()).toMatchObject([{ error: "the webhook answered 401" }]);
  });
});

test("in quiet hours only what is urgent comes, the rest as one message after them", async () => {
  const world = await openWorld();
  const wall = (ms: number): string => new Date(ms).toISOString().slice(11, 16);
  const nowMs = world.clock.now();
  await subscribeByMail(world, { quiet: { from: wall(nowMs - HOUR), to: wall(nowMs + 3 * HOUR), timeZone: "UTC" } });
  await world.append(joined("a"), joined("b"));
  await world.pass();
  await world.append(left("a"), left("b"), {
    type: "payto.requested",
    worker: ada,
    data: { payTo: bob, paidTo: ada, thresholdWei: "0", effectiveAtMs: nowMs },
  });
  await world.pass();
  await world.pass(10 * MINUTE);
  expect(subjects(world).slice(1)).toEqual([`Somebody asked to change the payout address of ${name}`]);
  await world.pass(3 * HOUR);
  expect(subjects(world).slice(2)).toEqual([`2 alerts: ${name}.a is offline, …`]);
});

test("quiet hours hold what is tried again and what is sent late, also of what was given up and is sent anew", async () => {
  const world = await openWorld();
  const { clock } = world;
  const wall = (ms: number): string => new Date(ms).toISOString().slice(11, 16);
  const paid: NewEvent = { type: "payout.paid", worker: ada, data: { amountWei: "1", payTo: ada, hash: "0x12" } };
  // They begin in a minute or two.
  const fromMs = Math.floor(clock.now() / MINUTE + 2) * MINUTE;
  await subscribeByMail(world, { quiet: { from: wall(fromMs), to: wall(fromMs + 8 * HOUR), timeZone: "UTC" } });
  const asked = world.mail.taken.length;
  world.mail.refuse = 451;
  await world.append(paid);
  await world.pass();
  expect(await world.alerts.counts()).toMatchObject({ waiting: 1 });
  world.mail.refuse = undefined;
  // Its next try would be due in them, and something else was due before them and is found only now.
  await world.pass(fromMs + MINUTE - clock.now());
  await world.append({ ...paid, data: { ...paid.data, amountWei: "2" } });
  await world.pass();
  const change = (sql: string): Promise<unknown> =>
    world.store.database.query(`update openpool.alert_outbox set ${sql} and state = 'waiting'`);
  await change("next_at = created_at where attempts = 0");
  await world.pass();
  await world.pass(HOUR);
  await change("state = 'dead' where attempts = 1");
  expect(await world.alerts.replay(undefined)).toBe(1);
  await world.pass();
  expect(world.mail.taken).toHaveLength(asked);
  // What cannot wait does not.
  await world.append({ type: "payto.cancelled", worker: ada, data: {} });
  await world.pass();
  expect(subjects(world).slice(asked)).toEqual([`The new payout address of ${name} was cancelled`]);
  await world.pass(8 * HOUR);
  expect(await world.alerts.counts()).toMatchObject({ waiting: 0, dead: 0 });
  const text = world.mail.taken.slice(asked + 1).map(({ raw }) => raw);
  for (const wei of ["0.000000000000000001", "0.000000000000000002"]) {
    expect(text.filter((raw) => raw.replaceAll(/=\r\n/g, "").includes(wei))).toHaveLength(1);
  }
});

test("a mail server that never answers keeps no process from ending, and nobody gets a mail twice that does not say so", async () => {
  const world = await openWorld();
  const { clock, store } = world;
  const targets = Array.from({ length: 5 }, (_, i) => `ada${i}@example.com`);
  const ask = (target: string): Promise<Subscribed> =>
    world.alerts.subscribe({ worker: ada, channel: "email", target, kinds: ["payout-paid"], owned: false });
  world.mail.silent = true;
  for (const target of targets) await ask(target);
  const leased = async (): Promise<number> =>
    (await store.database.query("select from openpool.alert_outbox where leased_until is not null")).length;
  // Mails under way keep nobody else waiting, but no more than two are under way.
  const patience = { timeout: 50_000, interval: 50 };
  await vi.waitFor(async () => {
    if ((await leased()) < 5) clock.advance(3_000);
    expect([await leased(), world.mail.taken.length]).toEqual([5, 2]);
  }, patience);
  const endMs = clock.now();
  let ended = false;
  const ending = world.alerts[Symbol.asyncDispose]().then(() => (ended = true));
  await vi.waitFor(() => {
    if (clock.now() - endMs < 10_000) clock.advance(1_000);
    expect(ended).toBe(true);
  }, patience);
  await ending;
  expect(world.mail.taken).toHaveLength(2);
  world.mail.silent = false;
  await world.restart();
  await world.pass();
  const told = (): string[] => world.mail.taken.flatMap((one) => one.to);
  expect(told().toSorted()).toEqual(targets);
  // Of the two whose answer never came nobody knows: they come again, as the same mails.
  await world.pass(3 * MINUTE);
  expect(await world.alerts.counts()).toEqual({ waiting: 0, sent: 5, dead: 0 });
  const again = world.mail.taken.slice(5);
  expect(again.flatMap((one) => one.to).toSorted()).toEqual(told().slice(0, 2).toSorted());
  for (const { raw } of again) expect(raw.replaceAll(/=?\r\n/g, " ")).toContain("You may have this already");
});

test("a pool without pages any more tells subscribers nothing, and its operator as before", async () => {
  const world = await openWorld();
  await subscribeByMail(world);
  await world.alerts[Symbol.asyncDispose]();
  world.publicUrl = undefined;
  await world.restart();
  await world.append({ type: "payout.returned", worker: ada, data: { amountWei: "1", payTo: ada } });
  await world.append({ type: "payout.paid", worker: ada, data: { amountWei: "1", payTo: ada, hash: "0x12" } });
  await world.pass();
  await world.pass(HOUR);
  expect([world.mail.taken.length, world.titles()]).toEqual([1, [`A payout for ${name} did not go through`]]);
  world.publicUrl = publicUrl;
  await world.restart();
  await world.pass(HOUR);
  expect(subjects(world).slice(1)).toEqual([`${name} was paid`]);
  // What waited for days is no news.
  world.publicUrl = undefined;
  await world.restart();
  await world.append({ type: "payout.paid", worker: ada, data: { amountWei: "1", payTo: ada, hash: "0x34" } });
  await world.pass();
  await world.pass(49 * HOUR);
  expect(await world.alerts.counts()).toMatchObject({ waiting: 0, dead: 1 });
});

test("two processes that read at the same time tell everything once", async () => {
  const world = await openWorld();
  const first = world.alerts;
  await world.restart();
  await using second = await Alerts.open(
    { settings: noAlertSettings, publicUrl, poolName: "" },
    { store: world.alertStore, logger: silentLogger, clock: world.clock },
  );
  await first[Symbol.asyncDispose]();
  await subscribeByMail(world);
  const paid: NewEvent = { type: "payout.paid", worker: ada, data: { amountWei: "1", payTo: ada, hash: "0x" } };
  for (let i = 0; i < 5; i++) {
    await world.append(paid);
    await Promise.all([world.alerts.reader.look(), second.reader.look()]);
  }
  await world.pass();
  await world.pass();
  const rows = await world.store.database.query<{ n: string }>(
    "select count(*) as n from openpool.alert_outbox where kind = 'payout-paid'",
  );
  expect(rows[0]?.n).toBe("5");
});

describe("what a stranger names", () => {
  test("must be on the public internet, and what it says it is", async () => {
    const world = await openWorld();
    const bad = [
      ["webhook", "http://example.com/hook"],
      ["webhook", "https://127.0.0.1/hook"],
      ["webhook", "https://[::1]/hook"],
      ["webhook", "https://[::ffff:10.0.0.1]/hook"],
      ["webhook", "https://169.254.169.254/latest/meta-data"],
      ["webhook", "https://0x7f000001/"],
      ["webhook", "https://localhost/"],
      ["webhook", "https://user:pass@example.com/"],
      ["webhook", "file:///etc/passwd"],
      ["ntfy", "https://10.0.0.1/topic"],
      ["discord", "https://example.com/api/webhooks/123456/abcdefghijklmnopqrstuvwxyz"],
      ["email", "a@b.example\r\nBcc: x@example.com"],
      ["telegram", "1; drop"],
    ] as const;
    for (const [channel, target] of bad) {
      await expect(
        world.alerts.subscribe({ worker: ada, channel, target, kinds: ["payout-paid"], owned: false }),
        target,
      ).rejects.toMatchObject({ info: { code: "alerts/bad-target" } });
    }
  });

  test("may not lead into the pool's own network by a name either", async () => {
    const world = await openWorld();
    // This name is of the internet for all that its text says, and leads to this machine.
    await world.store.database.query(
      `insert into openpool.alert_subscriptions (id, worker, channel, target, kinds, thresholds, state, owned, created_at, changed_at)
       values (gen_random_uuid(), $1, $2, 'x', '{payout-paid}', '{}', 'active', false, now(), now())`,
      [ada, JSON.stringify({ kind: "webhook", url: world.hook.url.replace("127.0.0.1", "localhost"), secret: SECRET })],
    );
    await world.append({ type: "payout.paid", worker: ada, data: { amountWei: "1" } });
    await world.pass();
    expect(world.hook.taken).toEqual([]);
    expect(await world.alerts.deliveries({ state: "dead", limit: 5 })).toMatchObject([
      { error: "the webhook: EACCES" },
    ]);
  });
});

test("a Telegram bot gets what its API expects, and a chat that blocked it is not asked again", async () => {
  const world = await openWorld();
  await world.alerts.subscribe({
    worker: ada,
    channel: "telegram",
    target: "-100123",
    kinds: ["payout-paid"],
    owned: false,
  });
  world.hook.answer = () => ({
    status: 403,
    body: '{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}',
  });
  await world.pass();
  expect(world.hook.taken[0]?.path).toBe("/bot12345:abcdefghijklmnopqrstuvwxyz/sendMessage");
  expect(JSON.parse(world.hook.taken[0]!.body)).toMatchObject({
    chat_id: "-100123",
    link_preview_options: { is_disabled: true },
  });
  await world.pass(HOUR);
  expect(world.hook.taken).toHaveLength(1);
  const [dead] = await world.alerts.deliveries({ state: "dead", limit: 1 });
  expect(dead?.error).toBe("Telegram answered 403");
});

test("a bot whose token Telegram does not know any more ends nobody's subscription", async () => {
  const world = await openWorld();
  await world.alerts.subscribe({
    worker: ada,
    channel: "telegram",
    target: "-100123",
    kinds: ["payout-paid"],
    owned: true,
  });
  for (const status of [404, 401, 404]) {
    world.hook.answer = () => ({ status });
    await world.pass(HOUR);
  }
  expect(world.hook.taken.length).toBeGreaterThan(1);
  expect(await world.alerts.subscriptions(ada)).toHaveLength(1);
  world.hook.answer = () => ({ status: 200 });
  await world.pass(24 * HOUR);
  expect(await world.alerts.counts()).toEqual({ waiting: 0, sent: 1, dead: 0 });
});

test("what is new for a destination does not end with what failed there before, and each keeps its message's id", async () => {
  const world = await openWorld();
  // A day between tries at most, give or take a tenth.
  const LONGEST_WAIT_MS = 27 * HOUR;
  await subscribeByMail(world);
  world.mail.refuse = 451;
  const paid = (amountWei: string): NewEvent => ({
    type: "payout.paid",
    worker: ada,
    data: { amountWei, payTo: ada, hash: "0x12" },
  });
  await world.append(paid("1"), paid("2"));
  await world.pass();
  for (let i = 0; i < 8; i++) await world.pass(LONGEST_WAIT_MS);
  await world.append(paid("3"));
  await world.pass();
  await world.pass(LONGEST_WAIT_MS);
  expect(await world.alerts.counts()).toEqual({ waiting: 1, sent: 1, dead: 2 });
  world.mail.refuse = undefined;
  await world.pass(LONGEST_WAIT_MS);
  expect(await world.alerts.counts()).toEqual({ waiting: 0, sent: 2, dead: 2 });
});

test("a mail server that refuses for good is not asked again, one that is busy is", async () => {
  const world = await openWorld();
  world.mail.refuse = 450;
  await world.alerts.subscribe({
    worker: ada,
    channel: "email",
    target: "ada@example.com",
    kinds: ["payout-paid"],
    owned: false,
  });
  await world.pass();
  expect(await world.alerts.counts()).toMatchObject({ waiting: 1, dead: 0 });
  world.mail.refuse = 550;
  await world.pass(20_000);
  expect(await world.alerts.deliveries({ state: "dead", limit: 5 })).toMatchObject([
    { error: "the mail server answered 550" },
  ]);
});
