import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { afterEach, describe, expect, test } from "vitest";
import { times } from "../../../../../test/chance.ts";
import { type Deliver, type DeliverOptions, openDeliver } from "../deliver.ts";
import { composeMessage, type Message } from "../message.ts";
import { openHttpSink } from "../testing/http-sink.ts";
import { openMailSink } from "../testing/mail-sink.ts";
import { alert, links, publicUrl } from "../testing/sample-alert.ts";
import {
  DISCORD_WEBHOOK,
  NTFY_CLOSED_TOPIC,
  NTFY_TOKEN,
  openDiscord,
  openNtfy,
  openTelegram,
  type ServiceSink,
  TELEGRAM_BLOCKED,
  TELEGRAM_CHAT,
  TELEGRAM_TOKEN,
} from "../testing/service-apis.ts";
import type { Channel } from "../types.ts";
import { parseDiscordUrl } from "./discord.ts";
import { mustUpgrade } from "./mail.ts";
import { newWebhookSecret } from "./standard-webhook.ts";

const ID = "019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e11";
const message = composeMessage(ID, [alert], links, { poolName: "Harbour Pool", publicUrl });
const asking: Message = { ...message, confirmUrl: `${publicUrl}/v1/alerts/confirm?token=y` };

let opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.toReversed()) await one[Symbol.asyncDispose]();
  opened = [];
});
function keep<T extends AsyncDisposable>(one: T): T {
  opened.push(one);
  return one;
}
function deliverWith(more: Partial<DeliverOptions> = {}): Deliver {
  return keep(
    openDeliver({
      mail: undefined,
      telegram: undefined,
      publicHost: "pool.example.com",
      refuse: () => true,
      nowMs: () => Date.now(),
      ...more,
    }),
  );
}
const how = { trusted: true, signal: new AbortController().signal };

/** A service with a way to its channel. */
interface Service {
  readonly sink: ServiceSink;
  readonly deliver: Deliver;
  readonly channel: Channel;
}
const services = {
  async discord(): Promise<Service> {
    const sink = keep(await openDiscord());
    return { sink, deliver: deliverWith(), channel: { kind: "discord", url: `${sink.url}${DISCORD_WEBHOOK}` } };
  },
  async ntfy(): Promise<Service> {
    const sink = keep(await openNtfy());
    return { sink, deliver: deliverWith(), channel: { kind: "ntfy", url: `${sink.url}/my-rigs` } };
  },
  async telegram(): Promise<Service> {
    const sink = keep(await openTelegram());
    const deliver = deliverWith({ telegram: { token: TELEGRAM_TOKEN, api: sink.url } });
    return { sink, deliver, channel: { kind: "telegram", chat: TELEGRAM_CHAT } };
  },
};

describe.each(Object.entries(services))("%s", (_name, open) => {
  test("takes what is sent, with the links that it needs", async () => {
    const { sink, deliver, channel } = await open();
    for (const one of [message, asking]) expect(await deliver.send(channel, one, how)).toEqual({ ok: true });
    const [told, asked] = sink.accepted.map((one) => one.body);
    expect(told).toContain("is offline");
    expect(told).toContain(links.unsubscribeUrl);
    expect(told).not.toContain("/confirm?");
    expect(asked).toContain(asking.confirmUrl);
  });

  test("takes whatever there is to tell, in any writing and of any length", async () => {
    const { sink, deliver, channel } = await open();
    const words = fc.array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 3_000 }), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme", minLength: 1, maxLength: 400 }), words, async (title, all) => {
        const told = { ...asking, title: `${title}.`, text: `${all.join("\n")}.` };
        expect(await deliver.send(channel, told, how)).toEqual({ ok: true });
      }),
      { numRuns: times(40) },
    );
    for (const letter of ["x", "\n", '"', "é", "…", "🐎"]) {
      const told = { ...asking, title: letter.repeat(3_000), text: letter.repeat(9_000) };
      expect([letter, await deliver.send(channel, told, how)]).toEqual([letter, { ok: true }]);
    }
    expect(sink.accepted.length).toBe(46);
  });

  test("that is busy is asked again as late as it wants", async () => {
    const { sink, deliver, channel } = await open();
    sink.askToWait(65);
    const result = await deliver.send(channel, message, how);
    expect(result).toMatchObject({ ok: false, permanent: false });
    // ntfy does not say how long.
    if (channel.kind !== "ntfy") expect(result).toMatchObject({ retryAfterMs: 65_000 });
    sink.askToWait(undefined);
    expect(await deliver.send(channel, message, how)).toEqual({ ok: true });
  });
});

test("a webhook of Discord that was deleted is over, one that was mistyped is no webhook", async () => {
  const { deliver, sink } = await services.discord();
  const gone: Channel = { kind: "discord", url: `${sink.url}${DISCORD_WEBHOOK}x` };
  expect(await deliver.send(gone, message, how)).toMatchObject({ ok: false, permanent: true, gone: true });
  const [, webhook] = DISCORD_WEBHOOK.split("/v10");
  for (const version of ["", "/v6", "/v10"]) {
    expect(parseDiscordUrl(`https://discord.com/api${version}${webhook}?thread_id=7`)?.href).toBe(
      `https://discord.com${DISCORD_WEBHOOK}?thread_id=7`,
    );
  }
});

test("a topic of ntfy that is not open to all takes the operator's token, and a message that comes twice is one", async () => {
  const { deliver, sink } = await services.ntfy();
  const closed = { kind: "ntfy", url: `${sink.url}/${NTFY_CLOSED_TOPIC}` } as const;
  expect(await deliver.send(closed, message, how)).toMatchObject({ ok: false, permanent: true, gone: false });
  expect(await deliver.send({ ...closed, token: "tk_wrong" }, message, how)).toMatchObject({ permanent: true });
  for (let i = 0; i < 2; i++)
    expect(await deliver.send({ ...closed, token: NTFY_TOKEN }, message, how)).toEqual({ ok: true });
  expect(sink.accepted.map((one) => (JSON.parse(one.body) as { sequence_id: string }).sequence_id)).toEqual([ID, ID]);
});

test("a Telegram chat that is not there, or blocked the bot, is given up; a wrong token of the bot is the operator's", async () => {
  const { deliver, sink } = await services.telegram();
  for (const chat of [TELEGRAM_BLOCKED, "7"]) {
    const result = await deliver.send({ kind: "telegram", chat }, message, how);
    expect(result).toMatchObject({ ok: false, permanent: true });
  }
  const wrong = deliverWith({ telegram: { token: "1:wrong", api: sink.url } });
  expect(await wrong.send({ kind: "telegram", chat: TELEGRAM_CHAT }, message, how)).toMatchObject({
    permanent: false,
    gone: false,
  });
});

describe("a webhook", () => {
  const secret = newWebhookSecret();

  test("is verified by an implementation of Standard Webhooks that is not ours", async () => {
    const verdicts: unknown[] = [];
    const sink = keep(
      await openHttpSink(({ body, headers }) => {
        try {
          const of = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
          verdicts.push(new Webhook(secret).verify(body, of));
          return { status: 204 };
        } catch (error) {
          verdicts.push(String(error));
          return { status: 400 };
        }
      }),
    );
    const deliver = deliverWith();
    const url = `${sink.url}/hook?of=mine`;
    expect(await deliver.send({ kind: "webhook", url, secret }, message, how)).toEqual({ ok: true });
    expect(verdicts[0]).toMatchObject({
      type: "alert.rig-offline",
      data: { title: message.title, text: message.text },
    });
    expect(sink.taken[0]).toMatchObject({ path: "/hook?of=mine", headers: { "webhook-id": ID } });
    const other = { kind: "webhook", url, secret: newWebhookSecret() } as const;
    expect(await deliver.send(other, message, how)).toMatchObject({ ok: false, permanent: false });
    const late = deliverWith({ nowMs: () => Date.now() - 600_000 });
    expect(await late.send({ kind: "webhook", url, secret }, message, how)).toMatchObject({ ok: false });
    expect(verdicts.slice(1)).toEqual([
      expect.stringContaining("No matching signature") as string,
      expect.stringContaining("timestamp too old") as string,
    ]);
  });

  test("is given up only where it says that it is gone: whatever else it answers may be otherwise later", async () => {
    const sink = keep(await openHttpSink());
    const channel = { kind: "webhook", url: sink.url, secret } as const;
    const [deliver, results] = [deliverWith(), new Map<number, unknown>()];
    for (const status of [302, 400, 401, 404, 413, 500, 410]) {
      sink.answer = () => ({ status });
      const { permanent, gone } = (await deliver.send(channel, message, how)) as { permanent: boolean; gone: boolean };
      results.set(status, [permanent, gone]);
    }
    expect([...results]).toEqual([
      ...[302, 400, 401, 404, 413, 500].map((status) => [status, [false, false]]),
      [410, [true, true]],
    ]);
  });

  test("that sends the caller elsewhere is not followed, and what it says at length is not read", async () => {
    const sink = keep(await openHttpSink(() => ({ status: 307, headers: { location: "http://127.0.0.1:9/" } })));
    const channel = { kind: "webhook", url: sink.url, secret } as const;
    expect(await deliverWith().send(channel, message, how)).toMatchObject({ ok: false, permanent: false });
    sink.answer = () => ({ status: 200, body: "x".repeat(5_000_000) });
    expect(await deliverWith().send(channel, message, how)).toEqual({ ok: true });
    expect(sink.taken).toHaveLength(2);
  });
});

describe("mail", () => {
  const file = (name: string): string =>
    readFileSync(new URL(`../../../../../test/fixtures/tls/test-only.${name}.pem`, import.meta.url), "utf8");
  const tls = { cert: file("cert"), key: file("key") };
  const mailTo = (url: string): Deliver => deliverWith({ mail: { url, from: "Pool <alerts@pool.example.com>" } });
  const channel = { kind: "email", to: "ada@example.com" } as const;

  test("goes over STARTTLS, and the password only after it", async () => {
    const sink = keep(await openMailSink(tls));
    const deliver = mailTo(`${sink.url}?tls.rejectUnauthorized=false`);
    expect(await deliver.send(channel, message, how)).toEqual({ ok: true });
    expect(sink.taken).toMatchObject([{ secure: true, to: ["ada@example.com"], from: "alerts@pool.example.com" }]);
    expect(sink.taken[0]?.raw).toContain(`Message-ID: <${ID}@pool.example.com>`);
  });

  test("does not go to a server whose certificate nobody vouches for", async () => {
    const sink = keep(await openMailSink(tls));
    expect(await mailTo(sink.url).send(channel, message, how)).toMatchObject({ ok: false, permanent: false });
    expect(sink.taken).toEqual([]);
  });

  test("does not go, and no password does, where a server must encrypt and cannot", async () => {
    const sink = keep(await openMailSink());
    expect(await mailTo(`${sink.url}?requireTLS=true`).send(channel, message, how)).toMatchObject({ ok: false });
    expect(sink.taken).toEqual([]);
    expect(["smtp://u:p@mail.example.com", "smtp://u:p@mail:587", "smtp://u:p@203.0.114.1"].every(mustUpgrade)).toBe(
      true,
    );
    const free = [
      "smtps://u:p@mail.example.com",
      "smtp://mail.example.com",
      "smtp://u:p@[::1]:25",
      "smtp://u:p@10.0.0.7",
    ];
    expect(free.some(mustUpgrade)).toBe(false);
  });

  test("with a wrong password is the operator's to correct, and tried again", async () => {
    const sink = keep(await openMailSink(tls));
    const url = sink.url.replace("secret", "wrong");
    const deliver = mailTo(`${url}?tls.rejectUnauthorized=false`);
    expect(await deliver.send(channel, message, how)).toMatchObject({ ok: false, permanent: false });
    expect(sink.taken).toEqual([]);
  });
});
