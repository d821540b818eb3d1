import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { composeMessage, formatEth } from "../message.ts";
import { ada } from "../../store/testing/sample-credit.ts";
import { alert, links, publicUrl } from "../testing/sample-alert.ts";
import { messagesOf } from "../together.ts";
import type { Alert, ClaimedDelivery } from "../types.ts";
import { discordBody, parseDiscordUrl } from "./discord.ts";
import { isMailAddress } from "./mail.ts";
import { ntfyBody, parseNtfyUrl } from "./ntfy.ts";
import { isWebhookSecret, newWebhookSecret, signWebhook, verifyWebhook } from "./standard-webhook.ts";
import { isTelegramChat, telegramBody } from "./telegram.ts";

const context = { poolName: "Test", publicUrl };

describe("a signed webhook", () => {
  test("is signed as the example of the Standard Webhooks scheme is", () => {
    const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    expect(signWebhook(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}')).toBe(
      "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    );
  });

  test("is taken by who has the secret, and by nobody after it was changed, moved to another id or kept too long", () => {
    const secret = newWebhookSecret();
    expect(isWebhookSecret(secret)).toBe(true);
    const headers = { id: "one", timestamp: "1000", signature: `v1,bad ${signWebhook(secret, "one", 1000, "{}")}` };
    expect(verifyWebhook(secret, headers, "{}", 1_000_000)).toBe(true);
    expect(verifyWebhook(secret, headers, "{ }", 1_000_000)).toBe(false);
    expect(verifyWebhook(secret, { ...headers, id: "two" }, "{}", 1_000_000)).toBe(false);
    expect(verifyWebhook(secret, headers, "{}", 1_400_000)).toBe(false);
    expect(verifyWebhook(newWebhookSecret(), headers, "{}", 1_000_000)).toBe(false);
  });
});

describe("a message", () => {
  test("fits what Discord and Telegram take, however much there is to tell", () => {
    const many = Array.from({ length: 200 }, () => alert) as [Alert, ...Alert[]];
    const message = composeMessage("id", many, links, context);
    const { embeds } = discordBody(message) as { embeds: { title: string; description: string }[] };
    expect(embeds[0]!.title.length).toBeLessThanOrEqual(256);
    expect(embeds[0]!.description.length).toBeLessThanOrEqual(4_096);
    const { text } = telegramBody("1", message) as { text: string };
    expect(text.length).toBeLessThanOrEqual(4_096);
    expect(text).toContain(links.unsubscribeUrl);
  });

  test("of many alerts is as many messages as show them all, and the same ones when they are tried again", () => {
    // As long as they get: a name of 32 letters, a condition that came back, amounts of every digit.
    const rig = "r".repeat(28);
    const worst = Array.from({ length: 20 }, (_, i): ClaimedDelivery => {
      const data = { timesInADay: 1_234, successPercent: 12.5, realTimeRatio: 0.123, standing: "probation" };
      const kind = (["speed-low", "success-low", "rig-offline", "standing"] as const)[i % 4]!;
      const one: Alert = {
        ...alert,
        kind,
        phase: "raised",
        worker: ada,
        rig: `${rig}-${100 + i}`,
        threshold: "99.123",
        data,
      };
      return {
        id: `019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e${10 + i}`,
        destination: "subscription:x",
        alert: one,
        state: "waiting",
        attempts: 0,
        nextAtMs: 0,
        createdAtMs: 0,
        sentAtMs: undefined,
        error: undefined,
        cutOffAtMs: undefined,
        leaseUntilMs: 0,
      };
    });
    const long = { ...context, poolName: "P".repeat(60) };
    const both = { ...links, confirmUrl: `${publicUrl}/v1/alerts/confirm?token=${"y".repeat(120)}` };
    for (const kind of ["discord", "ntfy", "telegram", "email"] as const) {
      const messages = messagesOf({ kind }, worst);
      expect(messages.flat()).toEqual(worst);
      if (kind === "email") expect(messages).toHaveLength(1);
      else expect(messages.length).toBeLessThan(5);
      for (const together of messages) {
        const alerts = together.map((one) => one.alert) as [Alert, ...Alert[]];
        const message = composeMessage("id", alerts, both, long, { maybeAgain: true });
        const shown = {
          discord: () => (discordBody(message) as { embeds: { description: string }[] }).embeds[0]!.description,
          ntfy: () => (ntfyBody("t", message) as { message: string }).message,
          telegram: () => (telegramBody("1", message) as { text: string }).text,
          email: () => message.text,
        }[kind]();
        for (const one of alerts) expect(shown).toContain(one.rig);
        expect(shown).toContain("You may have this already");
        expect(shown).not.toMatch(/…$/m);
      }
      // The first of them arrived: what is left is the same as before, with the same id at its beginning.
      expect(messagesOf({ kind }, worst.slice(messages[0]!.length))).toEqual(messages.slice(1));
    }
  });

  test("pings nobody on Discord", () => {
    expect(discordBody(composeMessage("id", [alert], links, context))).toMatchObject({
      allowed_mentions: { parse: [] },
    });
  });

  test("tells amounts exactly", () => {
    expect(["0", "1", "1000000000000000000", "1500000000000000000", "123456789012345678901"].map(formatEth)).toEqual([
      "0 ETH",
      "0.000000000000000001 ETH",
      "1 ETH",
      "1.5 ETH",
      "123.456789012345678901 ETH",
    ]);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 30n }), (wei) => {
        const [whole = "", fraction = ""] = formatEth(String(wei)).replace(" ETH", "").split(".");
        expect(BigInt(whole) * 10n ** 18n + BigInt(fraction.padEnd(18, "0"))).toBe(wei);
      }),
    );
  });
});

test.each([
  ["https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz_0123456789", true],
  ["https://discord.com.evil.example/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz", false],
  ["https://discord.com:8443/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz", false],
  ["http://discord.com/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwxyz", false],
  ["https://discord.com/api/webhooks/../users/@me", false],
])("%s is a webhook of Discord: %s", (url, is) => {
  expect(parseDiscordUrl(url) !== undefined).toBe(is);
});

test("knows an address, a chat and a topic from what could do harm in their place", () => {
  expect(["a@b.example", "a+tag@b.co.uk"].every(isMailAddress)).toBe(true);
  expect(
    ["a@b", "a@b.c, d@e.f", "a@b.example\r\nBcc: x@y.z", "<a@b.example>", '"a b"@c.example', "@b.example"].some(
      isMailAddress,
    ),
  ).toBe(false);
  expect(["-1001234567890", "42", "@channel_name"].every(isTelegramChat)).toBe(true);
  expect(["", "4 2", "@a", "https://t.me/x"].some(isTelegramChat)).toBe(false);
  expect(parseNtfyUrl("https://ntfy.sh/my-topic")?.topic).toBe("my-topic");
  expect(
    ["https://ntfy.sh/", "https://ntfy.sh/a/b", "https://u:p@ntfy.sh/a", "https://ntfy.sh/a?auth=x"].map(parseNtfyUrl),
  ).toEqual([undefined, undefined, undefined, undefined]);
});
