import { once } from "node:events";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { fromBinary } from "@bufbuild/protobuf";
import { type Logger, silentLogger } from "@openpool/base";
import { decodeGrpcFrame, RegisterRequestSchema } from "@openpool/protocol";
import { expect, test } from "vitest";
import { dump, headerOf, readJson, type RecordedFile } from "../conformance/recorded.ts";
import { ADA, startTestPool, until } from "../e2e/pool.ts";
import { attachedTo, writeSecret } from "./pool.ts";

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
