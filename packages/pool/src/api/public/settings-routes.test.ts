import { request } from "node:http";
import { PoolError } from "@openpool/base";
import { parseAddress, type WorkerAddress, type WorkerSettingsAnswer } from "@openpool/protocol";
import { type PrivateKeyAccount, privateKeyToAccount } from "viem/accounts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { SESSION_MS } from "../../settings/sign-in.ts";
import { creditOf } from "../../store/testing/sample-credit.ts";
import { liveRig } from "./testing/samples.ts";
import { TOKEN } from "./testing/settings.ts";
import { ada, openWorld, type World } from "./testing/world.ts";

const PUBLIC_URL = "https://pool.example.com";
let world: World;
let accounts = 0;
/** Two workers of each test's own, and where it asks from: limits count by address. */
let carol: PrivateKeyAccount;
let dave: PrivateKeyAccount;
let settings: string;
beforeAll(async () => {
  world = await openWorld({ publicUrl: PUBLIC_URL, trustProxy: true });
});
afterAll(() => world[Symbol.asyncDispose]());
beforeEach(() => {
  const account = (): PrivateKeyAccount => privateKeyToAccount(`0x${(++accounts).toString(16).padStart(64, "0")}`);
  [carol, dave] = [account(), account()];
  settings = `/v1/workers/${carol.address}/settings`;
  const rig = liveRig(parseAddress(carol.address) as WorkerAddress, "shed");
  world.live = { ...world.live, rigs: new Map([[`${carol.address}.shed`, rig]]) };
});

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: { code?: string; issues?: { where: string; problem: string }[] } & Record<string, unknown>;
}

/** As the pool's own pages ask. */
async function ask(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>> = {},
  sent?: unknown,
): Promise<Answer> {
  const from = { origin: PUBLIC_URL, "x-forwarded-for": `10.0.${accounts >> 8}.${accounts & 255}` };
  return world.get(path, { ...from, ...headers }, method, sent);
}
async function textFor(address: string): Promise<string> {
  const { body } = await ask("GET", `/v1/sign-in?address=${address}`);
  return String(body["message"]);
}
async function enter(message: string, account = carol): Promise<Answer> {
  return ask("POST", "/v1/sign-in", {}, { message, signature: await account.signMessage({ message }) });
}
interface Cookie extends Record<string, string> {
  readonly cookie: string;
}
async function signIn(account = carol): Promise<Cookie> {
  const answer = await enter(await textFor(account.address), account);
  expect(answer.status).toBe(200);
  return { cookie: answer.headers.get("set-cookie")!.split(";")[0]! };
}
const read = async (cookie: Cookie): Promise<WorkerSettingsAnswer> => {
  const { status, body } = await ask("GET", settings, cookie);
  expect(status).toBe(200);
  return body as unknown as WorkerSettingsAnswer;
};
/** What this test's worker changed, as the log tells it. */
const changes = async (): Promise<unknown[]> =>
  (await world.store.events({ types: ["settings.changed", "worker.changed"], limit: 1_000 }))
    .filter((one) => one.worker === carol.address)
    .map(({ data }) => data);

describe("signing in", () => {
  test("sets a cookie that no script and no other site gets, for an hour", async () => {
    const answer = await enter(await textFor(carol.address));
    expect(answer.headers.get("set-cookie")).toMatch(
      /^__Host-openpool-session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=3600; Secure$/,
    );
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const cookie = { cookie: answer.headers.get("set-cookie")!.split(";")[0]! };
    expect((await ask("GET", "/v1/session", cookie)).body).toMatchObject({ worker: carol.address });
    world.clock.advance(SESSION_MS);
    expect((await ask("GET", "/v1/session", cookie)).body).toMatchObject({ worker: null });
    expect((await ask("GET", settings, cookie)).body.code).toBe("api/not-signed-in");
  });

  test("keeps only the hash of what is in the cookie", async () => {
    const [, token] = (await signIn()).cookie.split("=");
    const kept = await world.sql("select * from openpool.signin_sessions where worker = $1", [carol.address]);
    expect(kept).toHaveLength(1);
    expect(JSON.stringify(kept)).not.toContain(token);
  });

  test("counts a text once", async () => {
    const message = await textFor(carol.address);
    expect((await enter(message)).status).toBe(200);
    const again = await enter(message);
    expect([again.status, again.body.code, again.body.issues?.[0]?.where]).toEqual([
      401,
      "api/sign-in-refused",
      "nonce",
    ]);
    expect(again.headers.get("set-cookie")).toBeNull();
  });

  test("uses a text up only with a good signature, and only one of many at once gets in", async () => {
    const message = await textFor(carol.address);
    expect((await enter(message, dave)).status).toBe(401);
    const all = await Promise.all(Array.from({ length: 5 }, () => enter(message)));
    expect(all.map((one) => one.status).toSorted()).toEqual([200, 401, 401, 401, 401]);
  });

  const altered: readonly (readonly [what: string, change: (text: string) => string, where: string])[] = [
    ["for another domain", (text) => text.replace(/^\S+/, "pool.evil.example"), "domain"],
    ["for another page", (text) => text.replace("URI: https://", "URI: http://"), "uri"],
    ["on another chain", (text) => text.replace("Chain ID: 42161", "Chain ID: 1"), "chainId"],
    ["of another version", (text) => text.replace("Version: 1", "Version: 2"), "version"],
    ["with a nonce that we never gave", (text) => text.replace(/Nonce: ..../, "Nonce: 0000"), "nonce"],
    ["with a nonce that we never gave, of any form", (text) => text.replace(/Nonce: \w+/, "Nonce: x"), "nonce"],
    ["made later", (text) => text.replace("Issued At: 2026-11-21", "Issued At: 2026-11-22"), "issuedAt"],
    ["good for longer", (text) => text.replace("Time: 2026", "Time: 2027"), "expirationTime"],
    ["with other words", (text) => text.replace("moves no money", "moves money"), "message"],
    ["with a line more", (text) => `${text}\nResources:\n- https://evil.example`, "message"],
    ["with a second nonce", (text) => `${text}\nNonce: 1`, "nonce"],
    [
      "in another form of the address",
      (text) => text.replaceAll(carol.address, carol.address.toLowerCase()),
      "address",
    ],
    ["that is none", () => "hello", "message"],
  ];
  test.each(altered)("takes no text %s, however well it is signed", async (_what, change, where) => {
    const message = change(await textFor(carol.address));
    const answer = await enter(message);
    expect([answer.status, answer.body.issues?.[0]?.where]).toEqual([401, where]);
    expect(answer.headers.get("set-cookie")).toBeNull();
  });

  test("takes no text after ten minutes", async () => {
    const message = await textFor(carol.address);
    world.clock.advance(10 * 60_000);
    const answer = await enter(message);
    expect([answer.status, answer.body.issues?.[0]?.where]).toEqual([401, "expirationTime"]);
  });

  test("takes no signature of somebody else, and none that is none", async () => {
    const message = await textFor(carol.address);
    const byDave = await dave.signMessage({ message });
    const other = await carol.signMessage({ message: `${message} ` });
    for (const signature of [
      byDave,
      other,
      `0x${"00".repeat(65)}`,
      `0x${"ff".repeat(65)}`,
      `0x${"12".repeat(2_000)}`,
    ]) {
      const answer = await ask("POST", "/v1/sign-in", {}, { message, signature });
      expect([answer.status, answer.body.issues?.[0]?.where]).toEqual([401, "signature"]);
    }
    for (const signature of ["0x", "", "0xzz", `0x${"00".repeat(9_000)}`, 5, null]) {
      expect((await ask("POST", "/v1/sign-in", {}, { message, signature })).status).toBe(400);
    }
  });

  test("ends here, and everywhere", async () => {
    const [one, two, three] = [await signIn(), await signIn(), await signIn()];
    expect((await read(one)).sessions).toBe(3);
    const out = await ask("DELETE", "/v1/session", one);
    expect(out.headers.get("set-cookie")).toContain("Max-Age=0");
    expect((await ask("GET", settings, one)).status).toBe(401);
    expect((await read(two)).sessions).toBe(2);
    await ask("DELETE", "/v1/session?everywhere=true", two);
    expect((await ask("GET", settings, three)).status).toBe(401);
  });

  test("keeps the newest ten sessions of a worker", async () => {
    const cookies: Cookie[] = [];
    for (let i = 0; i < 12; i++) {
      world.clock.advance(1_000);
      cookies.push(await signIn());
    }
    const alive = await Promise.all(cookies.map(async (cookie) => (await ask("GET", settings, cookie)).status === 200));
    expect(alive).toEqual([false, false, ...Array<boolean>(10).fill(true)]);
  });

  test("is for the pool's own address alone, whatever a request claims", async () => {
    const message = await textFor(carol.address);
    expect(message).toMatch(/^pool\.example\.com wants/);
    const evil = message.replaceAll("pool.example.com", "evil.example");
    const sent = { message: evil, signature: await carol.signMessage({ message: evil }) };
    const headers = { origin: "https://evil.example", "x-forwarded-host": "evil.example" };
    expect((await ask("POST", "/v1/sign-in", headers, sent)).body.code).toBe("api/wrong-origin");
    expect((await ask("POST", "/v1/sign-in", {}, sent)).body.issues?.[0]?.where).toBe("domain");
  });

  test("works by the names of this machine, from this machine, where the operator has named no other", async () => {
    await using local = await openWorld();
    const { url } = local.api;
    const { body } = (await local.get(`/v1/sign-in?address=${carol.address}`)) as Answer;
    const message = String(body["message"]);
    expect(message).toMatch(/^127\.0\.0\.1:\d+ wants/);
    const sent = { message, signature: await carol.signMessage({ message }) };
    const answer = await local.get("/v1/sign-in", { origin: url }, "POST", sent);
    expect(answer.headers.get("set-cookie")).toMatch(/^openpool-session=[\w-]{43}; .*Max-Age=3600$/);
    // A name that leads here and is somebody else's.
    const rebound = await new Promise<number | undefined>((resolve, reject) => {
      const path = `${url}/v1/sign-in?address=${carol.address}`;
      request(path, { headers: { host: "evil.example" } }, (response) => resolve(response.resume().statusCode))
        .on("error", reject)
        .end();
    });
    expect(rebound).toBe(404);
    await using proxied = await openWorld({ trustProxy: true });
    const far = await proxied.get(`/v1/sign-in?address=${carol.address}`, { "x-forwarded-for": "203.0.113.1" });
    expect([far.status, (far as Answer).body.code]).toEqual([404, "api/not-configured"]);
  });

  test("is limited for each address", async () => {
    const message = await textFor(carol.address);
    const signature = await dave.signMessage({ message });
    const all = await Promise.all(
      Array.from({ length: 21 }, () => ask("POST", "/v1/sign-in", {}, { message, signature })),
    );
    expect(all.filter((one) => one.status === 429)).toHaveLength(1);
  });
});

describe("a stolen cookie", () => {
  test("changes nothing from another site, from a form, or without saying where from", async () => {
    const cookie = await signIn();
    const label = `${settings}/rigs/shed`;
    for (const origin of ["https://evil.example", "null", "http://pool.example.com", `${PUBLIC_URL}:8443`]) {
      const answer = await ask("PUT", label, { ...cookie, origin }, { label: "mine" });
      expect([answer.status, answer.body.code]).toEqual([403, "api/wrong-origin"]);
    }
    expect((await world.get(label, cookie, "PUT", { label: "mine" })).status).toBe(403);
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
      const answer = await ask("PUT", label, { ...cookie, "content-type": type }, { label: "mine" });
      expect(answer.status).toBe(400);
    }
    const preflight = await fetch(`${world.api.url}${label}`, {
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "PUT" },
    });
    expect(preflight.headers.get("access-control-allow-methods")).not.toContain("PUT");
    expect(preflight.headers.get("access-control-allow-credentials")).toBeNull();
    expect((await read(cookie)).rigs[0]?.label).toBeNull();
    expect(await changes()).toEqual([]);
  });

  test("is of use for its own worker only", async () => {
    const cookie = await signIn(dave);
    for (const [method, path, sent] of [
      ["GET", settings, undefined],
      ["PUT", `${settings}/rigs/shed`, { label: "mine" }],
      ["PUT", `${settings}/lock`, { locked: false }],
      ["GET", `${settings}/pay-to?payTo=${dave.address}`, undefined],
      ["DELETE", `${settings}/pay-to`, undefined],
      ["POST", `${settings}/credentials`, { rig: "x" }],
      ["POST", `${settings}/alerts`, { channel: "ntfy", target: "https://ntfy.sh/x", kinds: ["no-work"] }],
    ] as const) {
      const answer = await ask(method, path, cookie, sent);
      expect([path, answer.status, answer.body.code]).toEqual([path, 403, "api/not-yours"]);
    }
  });
});

describe("settings", () => {
  test("a rig gets another name on every page, as plain text", async () => {
    const cookie = await signIn();
    const label = "<img src=x onerror=alert(1)>";
    expect((await ask("PUT", `${settings}/rigs/shed`, cookie, { label })).status).toBe(200);
    expect((await read(cookie)).rigs).toMatchObject([{ rig: "shed", label }]);
    const rig = await world.get(`/v1/workers/${carol.address}/rigs/shed`);
    expect([rig.headers.get("content-type"), (rig.body as { label: string }).label]).toEqual([
      "application/json; charset=utf-8",
      label,
    ]);
    await ask("PUT", `${settings}/rigs/shed`, cookie, { label: null });
    expect((await read(cookie)).rigs[0]?.label).toBeNull();
    expect(await changes()).toEqual([
      { setting: "rig-label", label },
      { setting: "rig-label", label: null },
    ]);
  });

  test.each([
    ["nothing", ""],
    ["too much", "x".repeat(41)],
    ["a line break", "a\nb"],
    ["writing turned round", "a\u202eb"],
    ["what draws nothing", "\u200b"],
    ["piled up marks", `e${"\u0301".repeat(9)}`],
  ])("a rig is not named %s", async (_what, label) => {
    expect((await ask("PUT", `${settings}/rigs/shed`, await signIn(), { label })).status).toBe(400);
  });

  test("a rig that was never here has no name", async () => {
    const answer = await ask("PUT", `${settings}/rigs/other`, await signIn(), { label: "x" });
    expect([answer.status, answer.body.issues?.[0]?.where]).toEqual([400, "rig"]);
  });

  test("money goes elsewhere by a signature of the wallet, after a delay, and not if it is taken back", async () => {
    const cookie = await signIn();
    const change = { payTo: dave.address, minimumWei: "5", asset: TOKEN, maxGasPriceWei: "7", maxGasSharePpm: "5000" };
    const { body } = await ask("GET", `${settings}/pay-to?${new URLSearchParams(change)}`, cookie);
    const { nonce, document } = body as unknown as { nonce: string; document: never };
    const signature = await carol.signTypedData(document);
    const forged = await ask("PUT", `${settings}/pay-to`, cookie, {
      ...change,
      nonce,
      signature: await dave.signTypedData(document),
    });
    expect(forged.body.issues?.[0]?.where).toBe("signature");
    const more = await ask("PUT", `${settings}/pay-to`, cookie, { ...change, minimumWei: "6", nonce, signature });
    expect(more.body.issues?.[0]?.where).toBe("signature");
    const ahead = await ask("PUT", `${settings}/pay-to`, cookie, { ...change, nonce: "99", signature });
    expect(ahead.body.issues?.[0]?.where).toBe("nonce");
    expect((await ask("PUT", `${settings}/pay-to`, cookie, { ...change, nonce, signature })).status).toBe(200);
    expect((await read(cookie)).payout).toMatchObject({
      payTo: carol.address,
      asset: "pool",
      pending: { ...change, maxGasSharePpm: 5_000 },
    });
    const replayed = await ask("PUT", `${settings}/pay-to`, cookie, { ...change, nonce, signature });
    expect(replayed.body.issues?.[0]?.where).toBe("nonce");
    expect((await ask("DELETE", `${settings}/pay-to`, cookie)).status).toBe(200);
    expect((await read(cookie)).payout).toMatchObject({ pending: null });
    expect((await ask("DELETE", `${settings}/pay-to`, cookie)).status).toBe(400);
  });

  test("while another process of the pool still pays, a change of where money goes can be asked for in a moment", async () => {
    const cookie = await signIn();
    const change = { payTo: dave.address, minimumWei: "0", asset: "pool", maxGasPriceWei: "0", maxGasSharePpm: "0" };
    const { body } = await ask("GET", `${settings}/pay-to?${new URLSearchParams(change)}`, cookie);
    const { nonce, document } = body as unknown as { nonce: string; document: never };
    const asked = { ...change, nonce, signature: await carol.signTypedData(document) };
    const { port } = world.settings.payouts;
    const { requestPayTo } = port;
    Object.assign(port, {
      async requestPayTo() {
        throw new PoolError({ code: "payout/not-leader" }, "Another process pays.");
      },
    });
    const early = await ask("PUT", `${settings}/pay-to`, cookie, asked);
    Object.assign(port, { requestPayTo });
    expect([early.status, early.body.code, early.headers.get("retry-after")]).toEqual([503, "api/unavailable", "2"]);
    expect((await ask("PUT", `${settings}/pay-to`, cookie, asked)).status).toBe(200);
  });

  test.each([
    ["no address", { payTo: "0x12", minimumWei: "0" }],
    ["the zero address", { payTo: `0x${"0".repeat(40)}`, minimumWei: "0" }],
    ["an address with a typo", { payTo: `0x${"aB".repeat(20)}`, minimumWei: "0" }],
    ["a token that the pool does not offer", { payTo: `0x${"a1".repeat(20)}`, asset: `0x${"dd".repeat(20)}` }],
    ["a minimum beyond all measure", { payTo: `0x${"a1".repeat(20)}`, minimumWei: `1${"0".repeat(24)}` }],
  ] as const)("money does not go to %s", async (_what, change) => {
    expect((await ask("GET", `${settings}/pay-to?${new URLSearchParams(change)}`, await signIn())).status).toBe(400);
  });

  test("a locked address needs a credential, which its worker issues and revokes itself", async () => {
    const cookie = await signIn();
    expect((await ask("PUT", `${settings}/lock`, cookie, { locked: true })).status).toBe(400);
    const issued = await ask("POST", `${settings}/credentials`, cookie, { rig: "shed" });
    expect(issued.body).toMatchObject({
      name: `${carol.address}.shed`,
      secret: expect.stringMatching(/^op_/) as string,
    });
    const after = await read(cookie);
    expect(JSON.stringify(after)).not.toContain(String(issued.body["secret"]));
    expect((await ask("PUT", `${settings}/lock`, cookie, { locked: true })).status).toBe(200);
    expect((await read(cookie)).access).toMatchObject({ locked: true, credentials: [{ rig: "shed" }] });
    await ask("PUT", `${settings}/lock`, cookie, { locked: false });
    await ask("DELETE", `${settings}/credentials/${String(issued.body["id"])}`, cookie);
    expect((await read(cookie)).access).toMatchObject({ locked: false, credentials: [] });
    expect(await changes()).toEqual([
      { locked: true, by: "worker" },
      { locked: false, by: "worker" },
    ]);
  });

  test("an address without a rig or a credit issues nothing; one with a credit always may", async () => {
    const cookie = await signIn(dave);
    const issue = (): Promise<Answer> =>
      ask("POST", `/v1/workers/${dave.address}/settings/credentials`, cookie, { rig: "one" });
    expect((await issue()).body.issues?.[0]?.problem).toMatch("No rig of this address");
    await world.store.credit(creditOf(parseAddress(dave.address) as WorkerAddress, "one", 1n));
    expect((await issue()).status).toBe(200);
  });

  test("nobody revokes a credential of another worker", async () => {
    const issued = await world.settings.register.issue({ worker: ada, rig: "rig1" }, "operator");
    const answer = await ask("DELETE", `${settings}/credentials/${issued.id}`, await signIn());
    expect(answer.status).toBe(400);
    const kept = (await world.settings.register.credentials()).find((one) => one.id === issued.id);
    expect(kept).toMatchObject({ revokedAt: undefined });
  });

  test("alerts are listed, changed and ended by who asked for them", async () => {
    const cookie = await signIn();
    const hook = { channel: "webhook", target: "https://hooks.example.com/a", kinds: ["payout-paid"] };
    const added = await ask("POST", `${settings}/alerts`, cookie, hook);
    expect(added.body).toMatchObject({ state: "pending", webhookSecret: expect.stringMatching(/^whsec_/) as string });
    world.clock.advance(1_000);
    await ask("POST", `${settings}/alerts`, cookie, {
      channel: "discord",
      target: "https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwx",
      kinds: ["rig-offline"],
    });
    const [first, second] = (await read(cookie)).alerts.subscriptions;
    expect([first?.state, second?.state]).toEqual(["pending", "pending"]);
    expect(JSON.stringify(first)).not.toContain("whsec_");
    const changed = { kinds: ["no-work"], thresholds: { noWorkHours: 2 }, quiet: { from: "22:00", to: "07:00" } };
    expect((await ask("PUT", `${settings}/alerts/${second!.id}`, cookie, changed)).status).toBe(200);
    expect((await read(cookie)).alerts.subscriptions[1]).toMatchObject({
      kinds: ["no-work"],
      thresholds: { noWorkHours: 2, successPercent: 90 },
      quiet: { timeZone: "UTC" },
    });
    const other = await signIn(dave);
    const theirs = `/v1/workers/${dave.address}/settings/alerts/${second!.id}`;
    expect((await ask("DELETE", theirs, other)).status).toBe(400);
    expect((await ask("DELETE", `${settings}/alerts/${second!.id}`, cookie)).status).toBe(200);
    expect((await read(cookie)).alerts.subscriptions.map((one) => one.id)).toEqual([first?.id]);
    const told = JSON.stringify(await changes());
    expect(told).toContain('"channel":"discord"');
    expect(told).not.toContain("hooks.example.com");
  });

  test.each(["http://127.0.0.1/", "https://10.0.0.1/x", "https://user:pw@hooks.example.com/", "https://localhost/"])(
    "alerts do not go to %s",
    async (target) => {
      const answer = await ask("POST", `${settings}/alerts`, await signIn(), {
        channel: "webhook",
        target,
        kinds: ["no-work"],
      });
      expect([answer.status, answer.body.issues?.[0]?.where]).toEqual([400, "target"]);
    },
  );
});
