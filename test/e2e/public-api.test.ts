import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { get } from "node:https";
import type { TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import {
  jobsAnswerSchema,
  poolAnswerSchema,
  solvencyAnswerSchema,
  statusAnswerSchema,
  whyAnswerSchema,
  workerAnswerSchema,
} from "@openpool/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { behaviours } from "../peers/fake-transcoder.ts";
import { ADA, BOB, EARNED_WEI, push, startTestPool, type TestPool, until } from "./pool.ts";

const SECRET_NAME = "a-stream-key-that-nobody-may-read";
let pool: TestPool;

beforeAll(async () => {
  pool = await startTestPool({
    api: {
      listen: { host: "127.0.0.1", port: 0 },
      named: true,
      trustProxy: false,
      identity: { name: "Test Pool", logoUrl: null, contacts: [], hardware: null, notice: null, sourceUrl: null },
    },
  });
  await pool.transcoder({ secret: `${ADA}.rig1`, behaviour: behaviours.ready(), capacity: 3 });
  await pool.transcoder({ secret: `${BOB}.idle`, behaviour: behaviours.ready(), capacity: 2 });
  await pool.untilConnected(2);
});
afterAll(() => pool?.[Symbol.asyncDispose]());

async function read<T>(schema: { parse(value: unknown): T }, path: string): Promise<T> {
  const answer = await fetch(`${pool.running.publicUrl}${path}`);
  const body: unknown = await answer.json();
  expect(JSON.stringify(body)).not.toContain(SECRET_NAME);
  return schema.parse(body);
}

test("a segment that a worker did stands on every page of it: earned, held, why, and the books add up", async () => {
  const gateway = pool.gateway();
  for (let seq = 0; seq < 3; seq++) expect((await push(gateway, SECRET_NAME, seq)).kind).toBe("done");
  const earned = async (): Promise<string> => {
    const [ada, bob] = await Promise.all([ADA, BOB].map((one) => read(workerAnswerSchema, `/v1/workers/${one}`)));
    return [ada, bob].reduce((sum, one) => sum + BigInt(one?.balance?.earnedWei ?? 0), 0n).toString();
  };
  await until(async () => (await earned()) === (3n * EARNED_WEI).toString());
  await until(async () => (await read(poolAnswerSchema, "/v1/pool")).windows["24h"].jobs === 3);
  const shown = await read(poolAnswerSchema, "/v1/pool");
  expect(shown).toMatchObject({
    identity: { name: "Test Pool" },
    live: { rigsOnline: 2, workersOnline: 2, capacity: 5, streams: 1 },
    terms: { version: 1, commissionPpm: 250_000 },
    nextPayout: { configured: false },
  });
  expect(shown.windows["1h"].earnedWei).toBe((3n * EARNED_WEI).toString());
  const solvency = await read(solvencyAnswerSchema, "/v1/solvency");
  expect(solvency.income.configured).toBe(false);

  // One of the two has the stream, the other is told why it has none.
  const whys = await Promise.all([ADA, BOB].map((one) => read(whyAnswerSchema, `/v1/workers/${one}/why`)));
  const [busy, idle] = whys.toSorted((a, b) => b.own.streams - a.own.streams);
  expect(busy?.own).toMatchObject({ streams: 1, rigsOnline: 1 });
  expect(idle?.reasons.length).toBeGreaterThan(0);
  expect(idle?.demand.streams).toBe(1);
  const jobs = await read(jobsAnswerSchema, `/v1/workers/${busy?.worker}/jobs`);
  expect(jobs.items.length).toBeGreaterThan(0);
  expect(busy?.unpaid[0]?.code).toBe("held");
  const worker = await read(workerAnswerSchema, `/v1/workers/${busy?.worker}`);
  const releaseMs = Date.parse(worker.balance?.oldestHeldReleaseAt ?? "") - Date.now();
  expect(releaseMs).toBeGreaterThan(50 * 60_000);
  const csv = await (await fetch(`${pool.running.publicUrl}/v1/workers/${busy?.worker}/statements.csv`)).text();
  const sum = csv
    .trimEnd()
    .split("\r\n")
    .slice(1)
    .reduce((total, line) => total + BigInt(line.split(",")[3] ?? "0"), 0n);
  expect(sum.toString()).toBe(worker.balance?.earnedWei);
  expect((await read(statusAnswerSchema, "/v1/status")).components.map((one) => [one.name, one.health])).toEqual([
    ["gateways", "ok"],
    ["workers", "ok"],
    ["event-log", "ok"],
    ["ledger", "ok"],
    ["payouts", "not-configured"],
  ]);
});

test("pages that other machines reach are HTTPS, with the certificate that gateways see: the one of --tls-cert", async () => {
  const file = (name: string): string =>
    fileURLToPath(new URL(`../fixtures/tls/test-only.${name}.pem`, import.meta.url));
  await using secure = await startTestPool({
    tlsCertFile: file("cert"),
    tlsKeyFile: file("key"),
    api: {
      listen: { host: "0.0.0.0", port: 0 },
      named: true,
      trustProxy: false,
      identity: { name: "", logoUrl: null, contacts: [], hardware: null, notice: null, sourceUrl: null },
    },
  });
  const { port, protocol } = new URL(secure.running.publicUrl ?? "");
  expect(protocol).toBe("https:");
  const shown = (path: string, at: number): Promise<string> =>
    new Promise((resolve, reject) => {
      get(`https://127.0.0.1:${at}${path}`, { rejectUnauthorized: false }, (answer) => {
        const { fingerprint256 } = (answer.socket as TLSSocket).getPeerCertificate();
        answer.resume().once("end", () => resolve(fingerprint256));
      }).on("error", reject);
    });
  const { fingerprint256 } = new X509Certificate(await readFile(file("cert")));
  expect(await shown("/v1/pool", Number(port))).toBe(fingerprint256);
  expect(await shown("/", secure.running.listen.port)).toBe(fingerprint256);
  // In the clear there is nothing to read.
  await expect(fetch(`http://127.0.0.1:${port}/v1/pool`)).rejects.toThrow();
});
