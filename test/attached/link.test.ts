import { once } from "node:events";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { type Logger, silentLogger, systemClock } from "@openpool/base";
import { capabilitySetFromWords, decodeGrpcFrame, RegisterRequestSchema } from "@openpool/protocol";
import { expect, test } from "vitest";
import { createBodyMemory } from "../../packages/pool/src/bodies/body-memory.ts";
import { OrchestratorLives } from "../../packages/pool/src/upstream/life.ts";
import { openLink } from "../../packages/pool/src/upstream/link.ts";
import { Upstreams } from "../../packages/pool/src/upstream/upstreams.ts";
import type { NewEvent } from "../../packages/pool/src/store/types.ts";
import { dump, headerOf, readJson, type RecordedFile } from "../conformance/recorded.ts";
import { ADA, startTestPool, until } from "../e2e/pool.ts";
import { startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { parseHostPort } from "../peers/wire.ts";
import { attachedTo, SECRET, writeSecret } from "./pool.ts";

/** Orchestrators that are not there, to be tried at once. */
const GONE = 20;
/** Half of the first delay more or less. */
const FIRST_RETRY_MS = { least: 75, most: 225 };

/** Plays the answers of one recorded exchange to everybody, and keeps what it was asked. */
async function startRecorded(name: string) {
  const pem = (part: string) => readFileSync(new URL(`../fixtures/tls/test-only.${part}.pem`, import.meta.url));
  const [exchange] = readJson<RecordedFile>(name).exchanges;
  if (!exchange) throw new Error(`${name} holds nothing`);
  const { response } = exchange;
  const asked: { readonly headers: http2.IncomingHttpHeaders; readonly message: Uint8Array }[] = [];
  const sessions = new Set<http2.ServerHttp2Session>();
  const server = http2.createSecureServer({ cert: pem("cert"), key: pem("key") });
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      const frame = decodeGrpcFrame(Buffer.concat(chunks), 1 << 20);
      asked.push({ headers, message: frame.kind === "message" ? frame.message : new Uint8Array() });
      stream.respond(
        {
          ":status": response.status ?? 0,
          "content-type": headerOf(response.headers, "content-type"),
          trailer: (response.headers ?? []).flatMap(([key, value]) => (key === "trailer" ? [value] : [])).join(", "),
        },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers(Object.fromEntries(response.trailers ?? [])));
      stream.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    exchange,
    asked,
    addr: `127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

test("a recorded refusal of a wrong secret is understood, and who is away is tried again, each at a time of its own", async () => {
  await using orchestrator = await startRecorded("register-invalid-secret.json");
  const { request } = orchestrator.exchange;
  const recorded = fromBinary(RegisterRequestSchema, Buffer.from(request.grpcMessages?.[0] ?? "", "base64"));
  await using secret = await writeSecret(recorded.secret);
  /** The delays before each next try, by name. */
  const waits = new Map<string, number[]>();
  const warn: Logger["warn"] = (_message, fields) => {
    const { upstream, retryInMs } = fields ?? {};
    if (typeof upstream !== "string" || typeof retryInMs !== "number") return;
    waits.set(upstream, [...(waits.get(upstream) ?? []), retryInMs]);
  };
  const logger: Logger = { ...silentLogger, warn, child: () => logger };
  const gone = Array.from({ length: GONE }, (_, i) => `gone${i}`);
  const addresses = Object.fromEntries(gone.map((name) => [name, { addr: "127.0.0.1:1", cliAddr: undefined }]));
  const attached = attachedTo(
    { ...addresses, refusing: { addr: orchestrator.addr, cliAddr: undefined } },
    secret.file,
    { gateways: false },
  );
  await using pool = await startTestPool({ attached }, { logger });
  await pool.transcoder({ secret: `${ADA}.rig`, capacity: 10 * GONE });
  const status = (name: string) => pool.running.node.admin.status().upstreams.find((one) => one.name === name);

  await until(() => status("refusing")?.state === "refused", 60_000);
  expect(status("refusing")?.why).toBe("the orchestrator says: invalid secret");
  const [asked] = orchestrator.asked;
  const ours = dump(RegisterRequestSchema, fromBinary(RegisterRequestSchema, asked?.message ?? new Uint8Array()));
  expect(Object.keys(ours)).toEqual(Object.keys(dump(RegisterRequestSchema, recorded)));
  expect(ours["secret"]).toBe(recorded.secret);
  for (const [name, value] of request.headers) {
    if (name === ":authority" || name === "user-agent") continue;
    expect([name, asked?.headers[name]]).toEqual([name, value]);
  }

  await until(() => gone.every((name) => (waits.get(name)?.length ?? 0) >= 3), 60_000);
  const round = (which: number): readonly number[] => gone.map((name) => waits.get(name)?.[which] ?? 0);
  const firsts = round(0);
  expect(Math.min(...firsts)).toBeGreaterThanOrEqual(FIRST_RETRY_MS.least);
  expect(Math.max(...firsts)).toBeLessThanOrEqual(FIRST_RETRY_MS.most);
  expect(new Set(firsts).size).toBeGreaterThan(GONE / 4);
  const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);
  expect(sum(round(2))).toBeGreaterThan(sum(firsts));
}, 120_000);

const PLAIN = { capabilities: 0b011n, version: "0.9.1" };
const OTHER = { capabilities: 0b101n, version: "0.9.1" };

/** An orchestrator that takes no registration of one ability for as long as the test wants. */
async function startPicky() {
  const orchestrator = await startStockOrchestrator({ secret: SECRET });
  orchestrator.refuse = ({ capabilities }) =>
    capabilitySetFromWords(capabilities?.bitstring ?? []) === OTHER.capabilities ? "not today" : undefined;
  const registered = (): readonly bigint[] => orchestrator.live.map(({ capabilities }) => capabilities);
  return Object.assign(orchestrator, {
    untilRegistered: (...abilities: readonly bigint[]) =>
      until(() => registered().toSorted().join() === abilities.join(), 60_000),
  });
}

test("a registration that cannot be had keeps no other from being made, and none that nothing stands for; once all were good for a while its delays are forgotten", async () => {
  await using orchestrator = await startPicky();
  const lives = new OrchestratorLives();
  const waits: number[] = [];
  const warn: Logger["warn"] = (_message, fields) => void waits.push(Number(fields?.["retryInMs"]));
  const logger: Logger = { ...silentLogger, warn, child: () => logger };
  let aheadMs = 0;
  await using link = openLink(
    { name: "main", address: parseHostPort(orchestrator.addr), secret: () => Promise.resolve(SECRET) },
    {
      clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs },
      logger,
      sessionsOn: () => 1,
      opening: (fingerprint, answers) => lives.opening(fingerprint, answers),
      ended() {},
      onNotify() {},
      onState() {},
    },
  );
  link.offer([
    { ...OTHER, capacity: 2 },
    { ...PLAIN, capacity: 4 },
  ]);
  await orchestrator.untilRegistered(PLAIN.capabilities);
  await until(() => link.state.kind === "registered", 60_000);
  expect(link.complete).toBe(false);
  link.offer([{ ...OTHER, capacity: 2 }]);
  await orchestrator.untilRegistered();
  await until(() => link.state.kind === "waiting" && waits.length >= 3, 60_000);
  const { refuse } = orchestrator;
  orchestrator.refuse = undefined;
  await orchestrator.untilRegistered(OTHER.capabilities);
  await until(() => link.complete, 60_000);
  // Long after all was well again, a refusal is the first one.
  aheadMs = 10_000;
  orchestrator.refuse = refuse;
  const before = waits.length;
  link.offer([{ ...OTHER, capacity: 3 }]);
  await until(() => waits.length > before, 60_000);
  expect(waits[before]).toBeLessThanOrEqual(FIRST_RETRY_MS.most);
}, 120_000);

test("a process of the pool has taken over when each ability is registered, and hands on only those that are", async () => {
  await using orchestrator = await startPicky();
  await using secret = await writeSecret();
  const offers = [
    { ...PLAIN, capacity: 4 },
    { ...OTHER, capacity: 2 },
  ];
  const saved = (which: typeof offers) =>
    which.map((one) => ({ name: "main", ...one, capabilities: one.capabilities.toString() }));
  const events: NewEvent[] = [];
  let snapshot: unknown = { v: 1, at: systemClock.now(), offers: saved(offers) };
  const unused = (): never => {
    throw new Error("no task is given");
  };
  const warned: unknown[] = [];
  const logger: Logger = { ...silentLogger, warn: (message, fields) => void warned.push([message, fields]) };
  await using upstreams = await Upstreams.open(
    { attached: attachedTo({ main: orchestrator }, secret.file), price: { pricePerUnitWei: 1n, pixelsPerUnit: 1n } },
    {
      desk: { run: unused, inputComplete: unused, abandon: unused, endSession: unused },
      memory: createBodyMemory(1 << 20),
      store: {
        append: (some) => Promise.resolve(void events.push(...some)),
        upstreams: () => Promise.resolve([]),
        putUpstream: () => Promise.resolve(),
        getSnapshot: (name) => Promise.resolve(name === "upstream-offers" ? snapshot : undefined),
        putSnapshot: (_name, value) => Promise.resolve(void (snapshot = value)),
      },
      logger,
      clock: systemClock,
      generation: 1,
      priceRule: () => "upstream",
      room: () => ({
        supplies: offers.map((one) => ({ ...one, staying: 0, trusted: 0 })),
        gateways: { sessions: 0, present: false },
        maxSessions: undefined,
      }),
    },
  );
  expect(warned).toContainEqual([expect.stringContaining("its price is not asked for"), { upstream: "main" }]);
  await until(() => upstreams.status()[0]?.state === "registered", 60_000);
  expect(orchestrator.live.map(({ capabilities }) => capabilities)).toEqual([PLAIN.capabilities]);
  expect(await upstreams.takenOver(0)).toBe(false);
  await upstreams.save();
  expect(snapshot).toMatchObject({ offers: saved(offers.slice(0, 1)) });
  orchestrator.refuse = undefined;
  expect(await upstreams.takenOver(60_000)).toBe(true);
  await upstreams.save();
  expect(snapshot).toMatchObject({ offers: saved(offers) });

  // Why it goes is what its event says.
  const left = () => events.filter(({ type }) => type === "upstream.left").map(({ data }) => data);
  const drained = { upstream: "main", generation: 1, why: "taken out by the operator", drained: true };
  await upstreams.setDrained("main", true);
  await until(() => left().length > 0, 60_000);
  expect(left()).toEqual([drained]);
  await upstreams.setDrained("main", false);
  await until(() => upstreams.status()[0]?.state === "registered", 60_000);
  upstreams.leave("the pool is stopping");
  await until(() => left().length > 1, 60_000);
  expect(upstreams.status()).toMatchObject([{ why: "the pool is stopping" }]);
  // It is missed until it is drained.
  await upstreams.setDrained("main", true);
  expect(left()).toEqual([drained, { upstream: "main", generation: 1, why: "the pool is stopping" }, drained]);
}, 120_000);
