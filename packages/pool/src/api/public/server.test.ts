import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { get as httpsGet } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { PoolError, systemClock } from "@openpool/base";
import {
  type Coded,
  codedSchema,
  earningsAnswerSchema,
  isReasonCode,
  jobsAnswerSchema,
  poolAnswerSchema,
  problemSchema,
  rigAnswerSchema,
  rigsAnswerSchema,
  solvencyAnswerSchema,
  statusAnswerSchema,
  whyAnswerSchema,
  workerAnswerSchema,
  workerRigsAnswerSchema,
  workersAnswerSchema,
} from "@openpool/protocol";
import { format, resolveConfig } from "prettier";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LinkAction, linkToken } from "../../alerts/links.ts";
import { reasonOfFacts } from "./amounts.ts";
import { examples } from "./examples.gen.ts";
import { createPayoutsView } from "./payout-view.ts";
import { publicApiOptions } from "./server.ts";
import { liveRig, START } from "./testing/samples.ts";
import { ada, bob, carol, openWorld, type World } from "./testing/world.ts";

const PUBLIC_URL = "https://pool.example.com";
let world: World;
beforeAll(async () => {
  world = await openWorld({ publicUrl: PUBLIC_URL });
  await world.store.append([
    { type: "pool.started", data: { generation: 1, version: "0.1.0", pid: 7 } },
    { type: "rig.joined", worker: ada, rig: "rig1", data: { capacity: 4, version: "0.8.12", connection: "c1" } },
  ]);
  for (let i = 0; i < 5; i++) {
    world.clock.advance(1_000);
    await world.work(ada, i % 2 ? "attic" : "rig1", 13_824_000n + BigInt(i));
  }
  await world.work(bob, "big", 27_648_000n, { attempts: 2, tookMs: 320 });
  await world.store.append([
    {
      type: "attempt.failed",
      worker: ada,
      rig: "attic",
      data: { kind: "disconnected", text: "secret words", tookMs: 9 },
    },
    { type: "job.failed", data: { job: "x", seq: "1", reason: "r", text: "t" } },
  ]);
  await world.rollups.catchUp();
});
afterAll(() => world[Symbol.asyncDispose]());

const unknown = "0x00000000000000000000000000000000000000A1";

const settings = `/v1/workers/${carol.address}/settings`;
const settingsRoute = "/v1/workers/{address}/settings";
const payTo = {
  payTo: "0x00000000219ab540356cBB839Cbe05303d7705Fa",
  minimumWei: "20000000000000000",
  maxGasSharePpm: 5_000,
};
const subscription = {
  worker: ada,
  channel: "ntfy",
  target: "https://ntfy.example.net/my-rigs",
  kinds: ["rig-offline", "payout-paid"],
  quiet: { from: "22:00", to: "07:00", timeZone: "Europe/Berlin" },
};
/** Stands in the examples for the token of a link. */
const TOKEN = "TOKEN";
interface Sent {
  readonly method: "POST" | "PUT" | "DELETE";
  readonly sent?: unknown;
}
const remove: Sent = { method: "DELETE" };

/** The requests of the examples, by the route that they show. From the sign-in to the sign-out they have its cookie. */
const requests: readonly (readonly [route: string, name: string, url: string, more?: Sent])[] = [
  ["/v1/pool", "pool", "/v1/pool"],
  ["/v1/earnings", "day", "/v1/earnings?window=30d&step=day"],
  ["/v1/terms", "terms", "/v1/terms"],
  ["/v1/solvency", "solvency", "/v1/solvency"],
  ["/v1/status", "status", "/v1/status"],
  ["/v1/workers", "online", "/v1/workers?state=online&sort=earned&limit=10"],
  ["/v1/rigs", "fast", "/v1/rigs?sort=speed&limit=1"],
  ["/v1/leaderboard", "jobs", "/v1/leaderboard?by=jobs&window=7d"],
  ["/v1/workers/{address}", "known", `/v1/workers/${ada}`],
  ["/v1/workers/{address}", "unknown", `/v1/workers/${unknown}`],
  ["/v1/workers/{address}", "typo", `/v1/workers/${ada.replace("0xA1a1", "0xA1A1")}`],
  ["/v1/workers/{address}/rigs", "rigs", `/v1/workers/${ada}/rigs`],
  ["/v1/workers/{address}/rigs/{name}", "rig", `/v1/workers/${ada}/rigs/rig1`],
  ["/v1/workers/{address}/rigs/{name}", "missing", `/v1/workers/${ada}/rigs/nobody`],
  ["/v1/workers/{address}/why", "why", `/v1/workers/${ada}/why`],
  ["/v1/workers/{address}/jobs", "newest", `/v1/workers/${ada}/jobs?limit=1`],
  ["/v1/workers/{address}/earnings", "hour", `/v1/workers/${ada}/earnings?window=7d&step=day`],
  ["/v1/workers/{address}/earnings", "too-coarse", `/v1/workers/${ada}/earnings?window=1h&step=day`],
  ["/v1/workers/{address}/payouts", "payouts", `/v1/workers/${ada}/payouts`],
  ["/v1/workers/{address}/statements.csv", "all", `/v1/workers/${ada}/statements.csv`],
  ["/v1/workers/{address}/payouts.csv", "none", `/v1/workers/${ada}/payouts.csv`],
  ["/v1/workers/{address}/jobs.csv", "rig", `/v1/workers/${ada}/jobs.csv?rig=attic`],
  ["/v1/workers/{address}/earnings.csv", "days", `/v1/workers/${ada}/earnings.csv?window=7d&step=day`],
  ["/v1/earnings.csv", "days", "/v1/earnings.csv?window=7d&step=day"],
  ["/v1/workers.csv", "all", "/v1/workers.csv"],
  ["/v1/rigs.csv", "online", "/v1/rigs.csv?state=online"],
  ["/v1/payouts", "payouts", "/v1/payouts"],
  ["/v1/payouts.csv", "none", "/v1/payouts.csv"],
  ["/v1/payouts/{id}", "none", "/v1/payouts/1"],
  ["/v1/problems", "problems", "/v1/problems"],
  ["/v1/alerts", "offered", "/v1/alerts"],
  ["/v1/alerts", "subscribed", "/v1/alerts", { method: "POST", sent: subscription }],
  ["/v1/alerts", "bad-target", "/v1/alerts", { method: "POST", sent: { ...subscription, target: "my-rigs" } }],
  ["/v1/alerts/confirm", "asks", `/v1/alerts/confirm?token=${TOKEN}`],
  ["/v1/alerts/confirm", "confirmed", `/v1/alerts/confirm?token=${TOKEN}`, { method: "POST" }],
  ["/v1/alerts/confirm", "cut-off", "/v1/alerts/confirm?token=0f0f"],
  ["/v1/alerts/unsubscribe", "asks", `/v1/alerts/unsubscribe?token=${TOKEN}`],
  ["/v1/alerts/unsubscribe", "ended", `/v1/alerts/unsubscribe?token=${TOKEN}`, { method: "POST" }],
  ["/v1/sign-in", "text", `/v1/sign-in?address=${carol.address}`],
  [settingsRoute, "not-signed-in", settings],
  ["/v1/sign-in", "signed", "/v1/sign-in", { method: "POST" }],
  ["/v1/session", "signed-in", "/v1/session"],
  [`${settingsRoute}/rigs/{name}`, "name", `${settings}/rigs/shed`, { method: "PUT", sent: { label: "Garden shed" } }],
  [
    `${settingsRoute}/pay-to`,
    "document",
    `${settings}/pay-to?${new URLSearchParams({ ...payTo, maxGasSharePpm: "5000" })}`,
  ],
  [`${settingsRoute}/pay-to`, "change", `${settings}/pay-to`, { method: "PUT", sent: payTo }],
  [settingsRoute, "all", settings],
  [`${settingsRoute}/pay-to`, "take-back", `${settings}/pay-to`, remove],
  [`${settingsRoute}/lock`, "too-early", `${settings}/lock`, { method: "PUT", sent: { locked: true } }],
  [`${settingsRoute}/credentials`, "bad-name", `${settings}/credentials`, { method: "POST", sent: { rig: "a b" } }],
  [`${settingsRoute}/credentials/{id}`, "unknown", `${settings}/credentials/0f0f0f`, remove],
  [
    `${settingsRoute}/alerts`,
    "no-mail",
    `${settings}/alerts`,
    { method: "POST", sent: { channel: "email", target: "carol@example.com", kinds: ["payout-paid"] } },
  ],
  [
    `${settingsRoute}/alerts/{id}`,
    "unknown",
    `${settings}/alerts/00000000-0000-4000-8000-000000000000`,
    { method: "PUT", sent: { kinds: ["payout-paid"] } },
  ],
  [`${settingsRoute}/alerts/{id}`, "end-unknown", `${settings}/alerts/00000000-0000-4000-8000-000000000000`, remove],
  ["/v1/session", "out", "/v1/session?everywhere=true", remove],
];

/** The token of a link in the messages of the one subscription. */
async function tokenOf(action: LinkAction): Promise<string> {
  const [row] = (await world.sql(
    "select s.id, c.link_key from openpool.alert_subscriptions s, openpool.alert_cursor c",
    [],
  )) as { id: string; link_key: string }[];
  return row === undefined ? "" : linkToken(row.link_key, action, row.id);
}

/** Asks as the examples do: what a wallet has to sign is signed on the way, and links have their tokens. */
async function askAll(): Promise<object[]> {
  const made: object[] = [];
  let cookie = "";
  let last: { message?: string; nonce?: string; document?: never } = {};
  for (const [route, name, url, { method, sent } = { method: undefined }] of requests) {
    let body = sent;
    if (route === "/v1/sign-in" && method === "POST") {
      const message = last.message ?? "";
      body = { message, signature: await carol.signMessage({ message }) };
    }
    if (route.endsWith("/pay-to") && method === "PUT") {
      const { nonce, document } = last;
      body = { ...payTo, nonce, signature: await carol.signTypedData(document!) };
    }
    const token = url.endsWith(TOKEN) ? await tokenOf(route.endsWith("confirm") ? "confirm" : "unsubscribe") : TOKEN;
    const answer = await world.get(url.replace(TOKEN, token), { cookie, origin: PUBLIC_URL }, method, body);
    cookie = answer.headers.get("set-cookie")?.split(";")[0] ?? cookie;
    if (answer.status === 200) last = answer.body;
    const { status, body: answered } = answer;
    const told = typeof answered === "string" ? (answered as string).replaceAll(token, TOKEN) : answered;
    made.push({ route, name, url, method, sent: body, status, body: told });
  }
  return made;
}

test("every example of the description is what the pool answers, and every route has one", async () => {
  const made = await askAll();
  const file = join(import.meta.dirname, "examples.gen.ts");
  const text = `/** What the example requests answered in the test of the examples, which makes this file anew with \`vitest -u\`. */
export const examples: readonly {
  readonly route: string;
  readonly name: string;
  readonly url: string;
  readonly method?: string;
  readonly sent?: unknown;
  readonly status: number;
  readonly body: unknown;
}[] = ${JSON.stringify(made)};
`;
  const style = (await resolveConfig(file)) ?? {};
  await expect(await format(text, { ...style, filepath: file })).toMatchFileSnapshot(file);
  const { body } = await world.get("/v1/openapi.json");
  const paths = Object.keys((body as { paths: object }).paths);
  expect(paths.filter((path) => path !== "/v1/events" && !requests.some(([route]) => route === path))).toEqual([]);
  expect(requests.filter(([route]) => !paths.includes(route))).toEqual([]);
});

test("every sentence that has a code is what its code and facts make, in every answer", async () => {
  const codes = new Set<string>();
  const check = (said: unknown, { code, facts }: Coded, field: string): void => {
    expect(isReasonCode(code), `${code} of ${field} has no words`).toBe(true);
    if (!isReasonCode(code)) return;
    const { sentence, action } = reasonOfFacts(code, facts);
    // What to do next is said with why.
    expect(said, code).toBe(field === "nextAction" && action !== null ? `${sentence} ${action}` : sentence);
    codes.add(code);
  };
  const walk = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    const one = value as Record<string, unknown>;
    const whole = codedSchema.safeParse(value);
    const said = one["sentence"] ?? one["detail"] ?? one["reason"];
    if (whole.success && said !== undefined) check(said, whole.data, "sentence");
    for (const [name, inner] of Object.entries(one)) {
      const coded = codedSchema.safeParse(inner);
      if (name.endsWith("Coded") && coded.success) {
        const field = name.slice(0, -"Coded".length);
        check(one[field], coded.data, field);
      } else walk(inner);
    }
  };
  walk(examples);
  // Of every kind that there is.
  expect([...codes]).toEqual(
    expect.arrayContaining([
      "no-payouts",
      "rig-has-room",
      "standing-good-in-a-row",
      "test-passed",
      "held",
      "has-streams",
    ]),
  );
});

test("the description is OpenAPI 3.1 with the meaning of every field, and a page for people without a script", async () => {
  const { body, headers } = await world.get("/v1/openapi.json");
  const document = body as { openapi: string; paths: Record<string, { get: { responses: object } }> };
  expect(document.openapi).toBe("3.1.0");
  expect(headers.get("content-type")).toContain("application/json");
  const text = JSON.stringify(document.paths["/v1/workers/{address}"]);
  expect(text).toContain("in all: heldWei + owedWei + payingWei + paidWei");
  const page = String((await world.get("/v1/docs")).body);
  expect(page).toContain("/v1/workers/{address}/why");
  expect(page).not.toContain("<script");
});

describe("answers", () => {
  test("of the pool and of a worker add up", async () => {
    const pool = poolAnswerSchema.parse((await world.get("/v1/pool")).body);
    expect(pool.windows["24h"]).toMatchObject({ jobs: 6, lostJobs: 1, rescuedJobs: 1, failedAttempts: 1 });
    expect(pool.live).toMatchObject({ rigsOnline: 2, workersOnline: 2, streams: 4 });
    expect(pool.nextPayout).toMatchObject({ configured: false });
    const worker = workerAnswerSchema.parse((await world.get(`/v1/workers/${ada}`)).body);
    expect(worker.windows["1h"].jobs).toBe(5);
    expect(worker.balance?.earnedWei).toBe(worker.totals.earnedWei);
    expect(worker.unpaidReasons.map((one) => one.code)).toEqual(["held"]);
    expect(worker.rigs.map((rig) => [rig.rig, rig.state, rig.jobs24h])).toEqual([
      ["rig1", "online", 3],
      ["attic", "offline", 2],
    ]);
    const list = workersAnswerSchema.parse((await world.get("/v1/workers")).body);
    expect(list.items.map((one) => one.jobs24h)).toEqual([5, 1, 0]);
    const { books } = solvencyAnswerSchema.parse((await world.get("/v1/solvency")).body);
    expect(BigInt(books.creditedWei) + BigInt(books.commissionWei)).toBe(BigInt(books.feesWei));
  });

  test("to an address that never worked name the next action", async () => {
    const worker = workerAnswerSchema.parse((await world.get(`/v1/workers/${unknown.toLowerCase()}`)).body);
    expect(worker).toMatchObject({ known: false, state: "offline", rigs: [] });
    expect(worker.nextAction).toContain("join page");
    const why = whyAnswerSchema.parse((await world.get(`/v1/workers/${unknown}/why`)).body);
    expect(why.reasons[0]?.code).toBe("never-joined");
  });

  test("about a rig hold its latencies, speeds and decisions", async () => {
    const rig = rigAnswerSchema.parse((await world.get(`/v1/workers/${ada}/rigs/rig1`)).body);
    expect(rig.latency["24h"].counts[2]).toBe(3);
    expect(rig.decisions.map((one) => [one.chosen, one.times])).toEqual([
      [true, 4],
      [false, 1],
    ]);
    expect(rig.spark).toHaveLength(24);
  });

  test("list jobs page by page", async () => {
    const seen: string[] = [];
    let next: string | null = "";
    while (next !== null) {
      const path: string = `/v1/workers/${ada}/jobs?limit=2${next === "" ? "" : `&cursor=${next}`}`;
      const page = jobsAnswerSchema.parse((await world.get(path)).body);
      seen.push(...page.items.map((job) => job.pixels));
      ({ next } = page);
    }
    expect(seen).toEqual(["13824004", "13824003", "13824002", "13824001", "13824000"]);
  });

  test("page through workers and rigs without leaving one out", async () => {
    for (const list of ["workers", "rigs"]) {
      const first = (await world.get(`/v1/${list}?limit=1`)).body as { items: unknown[]; next: string; total: number };
      const rest = (await world.get(`/v1/${list}?cursor=${first.next}`)).body as { items: unknown[]; next: null };
      expect(first.items.length + rest.items.length).toBe(first.total);
      expect(rest.next).toBeNull();
    }
  });

  test("list what is away behind all that is here, whichever way they are sorted", async () => {
    for (const order of ["asc", "desc"]) {
      const states: string[] = [];
      let next: string | null = "";
      while (next !== null) {
        const path: string = `/v1/rigs?sort=name&order=${order}&limit=1${next === "" ? "" : `&cursor=${next}`}`;
        const page = rigsAnswerSchema.parse((await world.get(path)).body);
        states.push(...page.items.map(({ state }) => state));
        ({ next } = page);
      }
      expect(states).toEqual(["online", "online", "offline", "offline"]);
    }
  });

  test("say why a rig gets no work: what is ahead, its standing, its last decisions", async () => {
    const why = whyAnswerSchema.parse((await world.get(`/v1/workers/${ada}/why`)).body);
    expect(why.sentence).toBe("Its rigs have 1 of the 4 streams on the pool now.");
    expect(why.rigs.map((rig) => [rig.rig, rig.freeAhead, rig.reasons.map((one) => one.code)])).toEqual([
      ["rig1", 1, ["working", "others-ahead"]],
      ["attic", 2, ["offline"]],
    ]);
    expect(why.unpaid[0]?.code).toBe("held");
  });

  test("say how a second rig was refused while the first works on, until one joins", async () => {
    const told = async (): Promise<readonly [string | undefined, string | null]> => {
      await world.rollups.catchUp();
      const why = whyAnswerSchema.parse((await world.get(`/v1/workers/${ada}/why`)).body);
      const { nextAction } = workerAnswerSchema.parse((await world.get(`/v1/workers/${ada}`)).body);
      return [why.reasons.find(({ code }) => code === "refused")?.sentence, nextAction];
    };
    world.clock.advance(1_000);
    const rig = { worker: ada, rig: "second" };
    await world.store.append([{ type: "rig.refused", ...rig, data: { reason: "too-many-names", worker: ada } }]);
    const refused = /^A rig tried to join .* was refused: too many new rigs came under this address\./;
    // Others could do that in its name: with a rig here there is nothing that it has to do.
    expect(await told()).toEqual([expect.stringMatching(refused), null]);
    world.clock.advance(1_000);
    await world.store.append([{ type: "rig.joined", ...rig, data: {} }]);
    expect(await told()).toEqual([undefined, null]);
  });

  test("say of several idle rigs what is ahead of the best placed, and the same number everywhere", async () => {
    const before = world.live;
    const rig1 = before.rigs.get(`${ada}.rig1`)!;
    const idle = { ...rig1, streams: 0, jobsInFlight: 0, success: 0.1 };
    const spare = { ...idle, rig: "spare", success: 1, speeds: [{ kind: "h264", realTimeRatio: 60, results: 40 }] };
    world.live = { ...before, rigs: new Map(before.rigs).set(`${ada}.rig1`, idle).set(`${ada}.spare`, spare) };
    const ask = async () => {
      // What is going on is looked at again after a second.
      world.clock.advance(2_000);
      return whyAnswerSchema.parse((await world.get(`/v1/workers/${ada}/why`)).body);
    };
    const best = await ask();
    expect(best.rigs.map(({ rig, freeAhead }) => [rig, freeAhead]).slice(0, 2)).toEqual([
      ["rig1", 1],
      ["spare", 0],
    ]);
    expect([best.supply.freeAhead, best.sentence.includes("ahead")]).toEqual([0, false]);
    expect(best.reasons.map(({ code }) => code)).not.toContain("others-ahead");
    // With nothing that works as well, both wait behind another worker's.
    world.live = { ...world.live, rigs: new Map(world.live.rigs).set(`${ada}.spare`, { ...idle, rig: "spare" }) };
    const behind = await ask();
    expect(behind.supply.freeAhead).toBe(1);
    expect(behind.sentence).toContain("1 free rig is ahead of them");
    expect(behind.reasons.find(({ code }) => code === "others-ahead")?.facts).toEqual({ ahead: 1 });
    world.live = before;
    world.clock.advance(2_000);
  });

  test("never hold what a rig said, addresses of machines, or streams' names", async () => {
    for (const [, , url] of requests) {
      const text = JSON.stringify((await world.get(url)).body);
      expect(text, url).not.toMatch(/secret words|127\.0\.0\.1|remoteAddress|manifest/);
    }
  });
});

describe("requests", () => {
  test("that make no sense are refused with everything that is wrong with them", async () => {
    const cases: readonly (readonly [string, number, string])[] = [
      ["/v1/workers?limit=0", 400, "api/bad-request"],
      ["/v1/workers?limit=1000000", 400, "api/bad-request"],
      ["/v1/workers?stat=online", 400, "api/bad-request"],
      ["/v1/workers?search=%27%3Bdrop%20table", 400, "api/bad-request"],
      ["/v1/workers?cursor=AAAA", 400, "api/bad-cursor"],
      ["/v1/workers/0x12", 400, "api/bad-address"],
      [`/v1/workers/${ada}/rigs/${"x".repeat(50)}`, 400, "api/bad-request"],
      [`/v1/workers/${ada}/jobs?cursor=WzEsMl0x`, 400, "api/bad-cursor"],
      [`/v1/workers/${ada}/statements.csv?from=yesterday`, 400, "api/bad-request"],
      ["/v1/nothing", 404, "api/not-found"],
      ["/v1/../../etc/passwd.txt", 404, "api/not-found"],
      ["/..%2f..%2fpackage.json", 404, "api/not-found"],
    ];
    for (const [url, status, code] of cases) {
      const answer = await world.get(url);
      expect(answer.headers.get("content-type"), url).toContain("application/problem+json");
      expect(problemSchema.parse(answer.body), url).toMatchObject({ status, code });
      expect(answer.status).toBe(status);
    }
  });

  test("that would change something are not there", async () => {
    const answer = await fetch(`${world.api.url}/v1/pool`, { method: "POST", body: "{}" });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  test("that are for the operator alone are on another port", async () => {
    for (const path of ["/admin/v1/overview", "/admin/v1/audit", "/admin", "/metrics", "/healthz", "/events"]) {
      const { status, body } = await world.get(path);
      expect([path, status, (body as { code?: string }).code]).toEqual([path, 404, "api/not-found"]);
    }
  });

  test("of any size cost nothing but an error", async () => {
    const long = "a".repeat(200_000);
    for (const path of [`/v1/workers?search=${long}`, `/v1/workers/${long}`, `/v1/events?after=${"9".repeat(5_000)}`]) {
      const { status } = await fetch(`${world.api.url}${path}`);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
    }
    const posted = await fetch(`${world.api.url}/v1/sign-in`, {
      method: "POST",
      headers: { "content-type": "application/json", origin: PUBLIC_URL },
      body: JSON.stringify({ message: long, signature: "0x" }),
    });
    expect(posted.status).toBe(400);
  });

  test("for an unchanged answer cost a few bytes", async () => {
    const first = await world.get(`/v1/workers/${ada}`);
    const tag = first.headers.get("etag")!;
    const again = await fetch(`${world.api.url}/v1/workers/${ada}`, { headers: { "if-none-match": tag } });
    expect([again.status, await again.text()]).toEqual([304, ""]);
    expect((await world.get(`/v1/workers/${bob}`, { "if-none-match": tag })).status).toBe(200);
  });

  test("with a cursor that no page gave are refused", async () => {
    for (const cursor of [
      [1e300, "1"],
      [-1e17, "1"],
      [1.5, "1"],
      [null, "1"],
      [0, "x"],
    ]) {
      const text = Buffer.from(JSON.stringify(cursor)).toString("base64url");
      const { status, body } = await world.get(`/v1/workers/${ada}/jobs?cursor=${text}`);
      expect([cursor, status, body]).toMatchObject([cursor, 400, { code: "api/bad-cursor" }]);
    }
  });

  test("for an answer that only time has passed over cost a few bytes too", async () => {
    await using served = await openWorld();
    await served.work(ada, "rig1", 1_000n);
    await served.work(bob, "big", 500n);
    await served.rollups.catchUp();
    const pass = (ms: number): void => {
      served.clock.advance(ms);
      const atMs = served.clock.now();
      const rigs = [...served.live.rigs].map(
        ([name, rig]) => [name, rig.state === "offline" ? rig : { ...rig, lastSeenMs: atMs }] as const,
      );
      served.live = { ...served.live, atMs, rigs: new Map(rigs) };
    };
    const own = ["", "/rigs", "/rigs/rig1", "/why", "/jobs", "/earnings"].map((path) => `/v1/workers/${ada}${path}`);
    const all = ["pool", "status", "solvency", "earnings", "workers", "rigs", "leaderboard"].map(
      (path) => `/v1/${path}`,
    );
    const tags = new Map<string, string>();
    pass(1);
    for (const path of [...all, ...own]) tags.set(path, (await served.get(path)).headers.get("etag") ?? "");
    pass(1_500);
    for (const [path, tag] of tags) {
      expect([path, (await served.get(path, { "if-none-match": tag })).status]).toEqual([path, 304]);
    }
    await served.work(ada, "rig1", 7n);
    await served.rollups.catchUp();
    pass(1_500);
    for (const path of ["/v1/pool", own[0]!, `/v1/workers/${ada}/jobs`]) {
      expect([path, (await served.get(path, { "if-none-match": tags.get(path)! })).status]).toEqual([path, 200]);
    }
  });

  test("from pages of others are allowed to read, and answers carry what protects readers", async () => {
    const { headers } = await world.get("/v1/pool", { origin: "https://elsewhere.example" });
    expect(headers.get("access-control-allow-origin")).toBe("*");
    expect(headers.get("content-security-policy")).toMatch(/script-src 'self';/);
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("ratelimit-limit")).toBe("1200");
    expect(headers.get("strict-transport-security")).toBeNull();
    for (const encoding of ["br", "gzip"]) {
      const packed = await fetch(`${world.api.url}/v1/pool`, { headers: { "accept-encoding": encoding } });
      expect(packed.headers.get("content-encoding")).toBe(encoding);
    }
  });

  test("beyond the limit of an address are told when to come back", async () => {
    await using strict = await openWorld({ requestsPerMinute: 2 });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push(await strict.get("/v1/terms"));
    expect(statuses.map((one) => one.status)).toEqual([200, 200, 429]);
    const last = statuses.at(-1);
    expect(last?.body).toMatchObject({ code: "api/too-many-requests" });
    expect(Number(last?.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  test("with forged forwarding headers are counted by the address that they come from", async () => {
    await using strict = await openWorld({ requestsPerMinute: 1 });
    await strict.get("/v1/terms", { "x-forwarded-for": "203.0.113.1" });
    expect((await strict.get("/v1/terms", { "x-forwarded-for": "203.0.113.2" })).status).toBe(429);
    await using proxied = await openWorld({ requestsPerMinute: 1, trustProxy: true });
    await proxied.get("/v1/terms", { "x-forwarded-for": "203.0.113.1" });
    expect((await proxied.get("/v1/terms", { "x-forwarded-for": "203.0.113.2" })).status).toBe(200);
    // What stands in front of the proxy's own word is a stranger's.
    expect((await proxied.get("/v1/terms", { "x-forwarded-for": "203.0.113.9, 203.0.113.1" })).status).toBe(429);
  });
});

test.each([
  ["earnings", earningsAnswerSchema],
  ["rigs?limit=500", rigsAnswerSchema],
  [`workers/${ada}/earnings?rig=rig1`, earningsAnswerSchema],
  [`workers/${ada}`, workerAnswerSchema],
  [`workers/${ada}/rigs`, workerRigsAnswerSchema],
  [`workers/${ada}/why`, whyAnswerSchema],
])(
  "the rows of %s, which are not checked as they are sent, hold what its schema has and nothing else",
  async (path, schema) => {
    const { body } = await world.get(`/v1/${path}`);
    expect(body).toEqual(schema.parse(body));
  },
);

test("statements are CSV that no spreadsheet takes for a formula", async () => {
  const { body, headers } = await world.get(`/v1/workers/${ada}/statements.csv`);
  const [header, ...lines] = String(body).trimEnd().split("\r\n");
  expect(headers.get("content-disposition")).toContain("attachment");
  expect(header).toMatch(/^id,time,kind,amount_wei,/);
  expect(lines.every((line) => line.split(",").length === header?.split(",").length)).toBe(true);
});

describe("pages", () => {
  test("come from the built files with the pool's name, and every path without one is the program's", async () => {
    const dir = await mkdtemp(join(tmpdir(), "openpool-pages-"));
    await mkdir(join(dir, "assets"));
    await writeFile(join(dir, "index.html"), "<!doctype html><title>pages</title>");
    await writeFile(join(dir, "assets", "main-abc.js"), "export {};");
    await using served = await openWorld({ dashboardDir: dir });
    for (const path of ["/", `/w/${ada}`, `/w/${ada}/rig1.x`, "/join?address=x"]) {
      const page = await served.get(path);
      expect([page.status, String(page.body)], path).toEqual([200, "<!doctype html><title>Example Pool</title>"]);
    }
    const script = await served.get("/assets/main-abc.js");
    expect(script.headers.get("cache-control")).toContain("immutable");
    expect((await served.get("/assets/none.js")).status).toBe(404);
    expect((await served.get("/assets/..%2f..%2f..%2fetc%2fpasswd")).status).toBeGreaterThanOrEqual(400);
    await rm(dir, { recursive: true });
  });

  test("that are not built say where the API is", async () => {
    expect(String((await world.get("/")).body)).toContain("/v1/docs");
  });
});

describe("events", () => {
  /** Reads messages of a stream until `wanted` of a name are there. */
  async function messages(
    served: World,
    path: string,
    name: string,
    wanted: number,
    headers: Record<string, string> = {},
    meanwhile: () => Promise<void> = async () => {},
  ): Promise<{ id: string | undefined; data: Record<string, never> }[]> {
    const end = new AbortController();
    const answer = await fetch(`${served.api.url}${path}`, { headers, signal: end.signal });
    expect(answer.headers.get("content-type")).toContain("text/event-stream");
    const found: { id: string | undefined; data: Record<string, never> }[] = [];
    let text = "";
    let started = false;
    try {
      for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        if (!started && text.includes("event: live")) {
          started = true;
          await meanwhile();
        }
        const parts = text.split("\n\n");
        text = parts.pop() ?? "";
        for (const part of parts) {
          const field = (key: string): string | undefined =>
            part
              .split("\n")
              .find((line) => line.startsWith(`${key}: `))
              ?.slice(key.length + 2);
          if (field("event") === name) found.push({ id: field("id"), data: JSON.parse(field("data") ?? "{}") });
        }
        if (found.length >= wanted) break;
      }
    } finally {
      end.abort();
    }
    return found;
  }

  test("are told as they happen: counted for everybody, listed for who asks for a worker", async () => {
    await using served = await openWorld({}, {}, systemClock);
    const work = async (): Promise<void> => {
      await served.work(ada, "rig1", 1_000n);
      await served.work(bob, "big", 500n);
      await served.store.append([
        {
          type: "rig.standing",
          worker: bob,
          rig: "big",
          data: {
            standing: "probation",
            reason: "success down to 50 %, the last failure: Error /home/bob/x.ts: moov atom not found",
          },
        },
        { type: "rig.refused", data: { reason: "bad-secret", explanation: "x" } },
      ]);
    };
    const sum = (found: readonly { data: Record<string, unknown> }[], name: string): number =>
      found.reduce((total, one) => total + Number(one.data[name]), 0);
    const facts = (found: readonly { data: Record<string, unknown> }[]) =>
      found.flatMap((one) => one.data["facts"] as { type: string; data: Record<string, unknown> }[]);
    const own = await messages(served, `/v1/events?worker=${ada}`, "facts", 1, {}, work);
    expect(sum(own, "jobs")).toBeGreaterThan(0);
    expect(facts(own).filter((fact) => fact.type === "job.credited").length).toBeLessThanOrEqual(1);
    // From the beginning again: everything, once, and nothing that is nobody's business.
    const all = await messages(served, `/v1/events?worker=${ada}`, "facts", 1, { "last-event-id": "0" });
    expect([sum(all, "jobs"), sum(all, "pixels")]).toEqual([2, 1_500]);
    expect(facts(all).map((fact) => fact.type)).toEqual(["job.credited", "rig.standing"]);
    expect(facts(all)[1]?.data["reason"]).toBe(
      "success down to 50 %, the last failure: it called the segment bad, and others did not",
    );
  });

  test("that were missed are told from where the reader was, or it is told to read the pages again", async () => {
    await using served = await openWorld({}, {}, systemClock);
    await served.work(ada, "rig1", 1n);
    await served.work(ada, "rig1", 2n);
    const [missed] = await messages(served, "/v1/events", "facts", 1, { "last-event-id": "1" });
    expect(missed).toMatchObject({ id: "2", data: { jobs: 1, pixels: "2" } });
    const [reset] = await messages(served, "/v1/events", "reset", 1, { "last-event-id": "99999" });
    expect(reset?.data).toEqual({});
  });

  test("streams of one address are limited, and end with the server", async () => {
    const served = await openWorld({ streamsPerAddress: 2 }, {}, systemClock);
    const first = await fetch(`${served.api.url}/v1/events`);
    const second = await fetch(`${served.api.url}/v1/events`);
    expect((await served.get("/v1/events")).status).toBe(429);
    await second.body?.cancel();
    await expect.poll(async () => (await fetch(`${served.api.url}/v1/events`)).status).toBe(200);
    await served[Symbol.asyncDispose]();
    await first.text().catch(() => "cut off");
  });
});

test("streams that are asked for over one connection are one, and leave nothing when it is closed", async () => {
  await using served = await openWorld({ streamsPerAddress: 2 }, {}, systemClock);
  const socket = connect(Number(new URL(served.api.url).port), "127.0.0.1");
  socket.write("GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(50));
  await once(socket, "data");
  const status = async (): Promise<number> => {
    const answer = await fetch(`${served.api.url}/v1/events`);
    await answer.body?.cancel();
    return answer.status;
  };
  await expect.poll(status).toBe(200);
  socket.destroy();
  // All its places are free again.
  await expect
    .poll(async () => {
      const open = await Promise.all([1, 2].map(() => fetch(`${served.api.url}/v1/events`)));
      await Promise.all(open.map((one) => one.body?.cancel()));
      return open.map((one) => one.status);
    })
    .toEqual([200, 200]);
});

test("a name that is no host of ours, and many headers, are harmless", async () => {
  const { port } = new URL(world.api.url);
  const status = await new Promise<number | undefined>((resolve, reject) => {
    request({ host: "127.0.0.1", port, path: "/v1/terms", headers: { host: "evil.example" } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    })
      .on("error", reject)
      .end();
  });
  expect(status).toBe(200);
});

test("what went wrong lately is listed, newest first, with how long it lasted", async () => {
  await using served = await openWorld(
    {},
    {
      payouts: createPayoutsView({
        port: {
          status: async () => ({ paused: "moving house", halted: undefined }),
          next: async () => ({ atMs: undefined }),
          runs: async () => [],
          runHead: async () => undefined,
          runSums: async () => new Map(),
          linesOfRun: async () => [],
          linesOf: async () => [],
          finalLines: async () => 0,
          payToChanges: async () => [],
          payees: async () => [],
        },
        clock: systemClock,
        minimumOf: () => 0n,
        payable: async () => [],
        halts: async () => [],
        paidWei: async () => 0n,
        asset: "eth",
        payer: undefined,
        chainId: 42_161,
      }),
    },
  );
  await served.store.append([
    { type: "pool.started", data: { generation: 1, version: "0.1.0", pid: 7 } },
    { type: "log.resumed", data: { reason: "No space left on device", since: "2026-11-21T12:29:00.000Z" } },
  ]);
  served.clock.advance(60_000);
  await served.store.append([{ type: "pool.started", data: { generation: 2, version: "0.1.0", pid: 8 } }]);
  // Until then the one before might only be finishing its work.
  served.clock.advance(600_000);
  await served.rollups.catchUp();
  const { components, incidents, health } = statusAnswerSchema.parse((await served.get("/v1/status")).body);
  expect(health).toBe("degraded");
  expect(components.find((one) => one.name === "payouts")).toMatchObject({ health: "degraded" });
  expect(incidents.map((one) => [one.kind, one.endedAt === null])).toEqual([
    ["payouts-paused", true],
    ["crash", false],
    ["log-unwritable", false],
  ]);
  expect(JSON.stringify(incidents)).not.toContain("No space left");
});

test("away from this machine, and without a proxy, everything is HTTPS, with the pool's certificate", async () => {
  const file = (name: string): string =>
    readFileSync(new URL(`../../../../../test/fixtures/tls/${name}.pem`, import.meta.url), "utf8");
  const identity = { certPem: file("test-only.cert"), keyPem: file("test-only.key") };
  const settings = {
    listen: { host: "0.0.0.0", port: 0 },
    named: true,
    trustProxy: false,
    identity: world.port.facts.identity,
  };
  expect(publicApiOptions(settings, identity).identity).toBe(identity);
  expect(publicApiOptions({ ...settings, trustProxy: true }, identity).identity).toBeUndefined();
  expect(publicApiOptions({ ...settings, listen: { host: "127.0.0.1", port: 0 } }, identity).identity).toBeUndefined();
  await using served = await openWorld({ identity });
  expect(served.api.url).toMatch(/^https:/);
  const shown = await new Promise<string>((resolve, reject) => {
    httpsGet(`${served.api.url}/v1/terms`, { rejectUnauthorized: false }, (answer) => {
      const { fingerprint256 } = (answer.socket as TLSSocket).getPeerCertificate();
      answer.resume().once("end", () => resolve(`${answer.statusCode} ${fingerprint256}`));
    }).on("error", reject);
  });
  expect(shown).toBe(`200 ${new X509Certificate(identity.certPem).fingerprint256}`);
});

test("while the database is away the state is still told, and the pool with the sums that are known", async () => {
  await using served = await openWorld();
  const fresh = await openWorld();
  await served.work(ada, "rig1", 1_000n);
  await served.rollups.catchUp();
  const before = poolAnswerSchema.parse((await served.get("/v1/pool")).body);
  const away = async (): Promise<never> => {
    throw new PoolError({ code: "store/unavailable" }, "the database is away");
  };
  for (const one of [served, fresh]) {
    Object.assign(one.port.rollups, { sums: away, series: away });
    one.live = { ...one.live, logWritable: false };
    // What goes on now is looked at once a second.
    one.clock.advance(2_000);
    const { status, body } = await one.get("/v1/status");
    expect(status).toBe(200);
    expect(statusAnswerSchema.parse(body)).toMatchObject({ health: "down" });
  }
  const after = poolAnswerSchema.parse((await served.get("/v1/pool")).body);
  expect([after.status.health, after.windows]).toEqual(["down", before.windows]);
  // One that knows none makes none up.
  expect((await fresh.get("/v1/pool")).status).toBe(503);
  await fresh[Symbol.asyncDispose]();
});

test("a pool without a rig, or that cannot write, says so", async () => {
  await using served = await openWorld();
  served.live = { ...served.live, rigs: new Map(), logWritable: false, capacity: 0 };
  const { body } = await served.get("/v1/status");
  expect(body).toMatchObject({ health: "down" });
  served.live = { ...served.live, rigs: new Map([[`${ada}.a`, liveRig(ada, "a")]]) };
  expect(START).toBe(new Date(served.clock.now()).toISOString());
});
