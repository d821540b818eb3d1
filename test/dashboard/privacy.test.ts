import { connect, createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { openGatewayClient } from "@openpool/push";
import { silentLogger, systemClock } from "@openpool/base";
import type { Browser, Response } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ADA, BOB, push, until } from "../e2e/pool.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { openBrowser, openPage, visit } from "./browser.ts";
import { machine, type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 120_000 });

const STREAM_KEY = "live-7f3a-stream-key-of-a-customer";
/** Of this machine, and of nobody else in this test. */
const GATEWAY_IP = "127.0.0.77";
const RIG_IP = "127.0.0.88";
const FFMPEG_TEXT = "/home/ada/videos/secret-customer.mp4: moov atom not found at 0xdeadbeef";
const NOTE = "owes me a beer, phone 555-0100";
const MAILBOX = "ada.private@example.com";

let way: Server;
let world: PagesWorld;
let browser: Browser;
let credential: string;
/** What nobody may read who is not the operator. */
let secrets: readonly string[];

/** The way of gateways to the pool: from an address of their own. */
async function startWay(): Promise<Server> {
  const server = createServer((from) => {
    const to = connect({ host: "127.0.0.1", port: world.pool.running.listen.port, localAddress: GATEWAY_IP });
    from.pipe(to).pipe(from);
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Asks the operator's port. */
async function operate(path: string): Promise<string> {
  return (await fetch(`${world.pool.running.adminUrl}${path}`)).text();
}

beforeAll(async () => {
  [way, browser] = await Promise.all([startWay(), openBrowser()]);
  const address = `https://127.0.0.1:${(way.address() as AddressInfo).port}`;
  world = await startPagesWorld({
    serviceUri: address,
    alerts: {
      publicUrl: "http://127.0.0.1:0",
      settings: {
        mail: { url: "smtp://127.0.0.1:9", from: "pool@example.com" },
        telegram: undefined,
        operator: [],
      },
    },
  });
  const { admin } = world.pool.running.node;
  await world.join(`${ADA}.rig1`);
  const failing = await world.join(`${BOB}.loud`);
  for (const [rig, transcoder] of Object.entries({ loud: failing })) {
    transcoder.moveTo(RIG_IP);
    await until(() => admin.status().rigs.some((one) => one.rig === rig && one.remoteAddress === RIG_IP), 30_000);
  }
  await world.report(`${ADA}.rig1`, machine);
  failing.behaviour = behaviours.error(FFMPEG_TEXT);
  const gateway = openGatewayClient({ orchestrator: address }, { logger: silentLogger, clock: systemClock });
  // Until the rig that fails was trusted with some, and is not any more.
  const standing = (): string | undefined => admin.status().rigs.find((one) => one.rig === "loud")?.standing;
  for (let stream = 0; standing() === "new" && stream < 40; stream++) await push(gateway, `${STREAM_KEY}-${stream}`, 0);
  await gateway[Symbol.asyncDispose]();
  await admin.setWorker(BOB, { note: NOTE });
  credential = (await admin.addWorker(ADA, "rig1")).secret;
  await fetch(`${world.url}/v1/alerts`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ worker: ADA, channel: "email", target: MAILBOX, kinds: ["rig-offline"] }),
  });
  secrets = [STREAM_KEY, GATEWAY_IP, RIG_IP, FFMPEG_TEXT, "moov atom", "/home/ada", NOTE, MAILBOX, credential];
  secrets = [...secrets, world.pool.dataDir, "manifest"];
}, 180_000);
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
  await new Promise((resolve) => way.close(resolve));
});

/** Those of the secrets that a text holds, however it is written. */
function leaks(text: string): readonly string[] {
  const plain = text.replaceAll("\\/", "/").replaceAll("&#x2F;", "/").toLowerCase();
  return secrets.filter((secret) => plain.includes(secret.toLowerCase()));
}

test("the pool has what nobody may read: this test would find it", async () => {
  const events = await operate("/events?type=attempt.failed,job.failed,rig.standing");
  expect(leaks(events)).toEqual(expect.arrayContaining([FFMPEG_TEXT]));
  expect(leaks(await operate("/admin/v1/gateways"))).toEqual([GATEWAY_IP]);
  expect(leaks(await operate("/rigs"))).toEqual(expect.arrayContaining([RIG_IP, FFMPEG_TEXT]));
  expect(leaks(await operate("/workers"))).toEqual([NOTE]);
});

/** Every path of the description that is read, with every worker and rig that there is, and one that is not. */
async function everyPath(): Promise<readonly string[]> {
  const { paths } = await world.ask<{ paths: Record<string, Record<string, unknown>> }>("/v1/openapi.json");
  const rigs = [
    [ADA, "rig1"],
    [BOB, "loud"],
    ["0x00000000219ab540356cBB839Cbe05303d7705Fa", "none"],
  ] as const;
  const id = "019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e11";
  const all = Object.entries(paths).flatMap(([path, methods]) =>
    "get" in methods && path !== "/v1/events"
      ? rigs.map(([address, name]) => path.replace("{address}", address).replace("{name}", name).replace("{id}", id))
      : [],
  );
  const more = ["/v1/docs", "/v1/openapi.json", "/v1/rigs?limit=100", "/v1/workers?state=offline", "/v1/no-such-route"];
  return [...new Set([...all, ...more])];
}

test("no public route holds stream keys, addresses of machines, what FFmpeg said, or what the operator noted", async () => {
  const paths = await everyPath();
  expect(paths.length).toBeGreaterThan(40);
  const found: string[] = [];
  for (const path of paths) {
    const answer = await fetch(`${world.url}${path}`);
    const headers = JSON.stringify([...answer.headers]);
    for (const secret of leaks(`${await answer.text()} ${headers}`)) found.push(`${path}: ${secret}`);
  }
  expect(found).toEqual([]);
});

test("no stream of events does, from the first event to one that comes", async () => {
  for (const path of ["/v1/events", `/v1/events?worker=${BOB}`, `/v1/events?worker=${ADA}`]) {
    const end = new AbortController();
    const answer = await fetch(`${world.url}${path}`, { headers: { "last-event-id": "0" }, signal: end.signal });
    let text = "";
    let sent = false;
    for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (!sent) await world.stream(`${STREAM_KEY}-${path}`, 1);
      sent = true;
      if (text.includes("event: facts")) break;
    }
    end.abort();
    expect([path, leaks(text)]).toEqual([path, []]);
  }
});

test("no page does, nor anything that it asks for", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const bodies: Promise<string>[] = [];
  page.on("response", (response: Response) => {
    if (/text\/event-stream/.test(response.headers()["content-type"] ?? "")) return;
    bodies.push(
      response.text().then(
        (text) => `${response.url()} ${text}`,
        () => "",
      ),
    );
  });
  const pages = ["/", "/workers", "/join", "/payouts", "/transparency", "/status", "/settings"];
  const own = [ADA, BOB].flatMap((worker) => [`/w/${worker}`, `/settings/${worker}`]);
  for (const path of [...pages, ...own, `/w/${ADA}/rig1`, `/w/${BOB}/loud`]) {
    await visit(watched, `${world.url}${path}`);
    expect([path, leaks(await page.content())]).toEqual([path, []]);
  }
  const texts = await Promise.all(bodies);
  expect(texts.length).toBeGreaterThan(20);
  // The word itself is one of the program's; what it names is not in it.
  const files = texts.filter((text) => text.split("?")[0]?.includes("/v1/"));
  expect(files.flatMap((text) => leaks(text).map((secret) => `${text.split(" ", 1)[0]}: ${secret}`))).toEqual([]);
});
