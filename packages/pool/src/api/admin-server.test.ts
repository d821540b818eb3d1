import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PoolError, silentLogger } from "@openpool/base";
import { checksumAddress } from "@openpool/protocol";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { StoredEvent } from "../store/types.ts";
import { openAdminToken, readAdminFile, removeAdminFile, writeAdminFile } from "./admin-file.ts";
import { openAdminHandler } from "./admin-server.ts";
import { onOwnPort, type OwnPort } from "./testing/own-port.ts";
import type { AdminPort, PoolStatus } from "./types.ts";

const ada = checksumAddress(new Uint8Array(20).fill(7));
const token = "a-token-of-the-test";

/** The admin port's view of a pool, kept in memory. */
class MemoryPort implements AdminPort {
  reasons: string[] = [];
  readonly log: StoredEvent[] = [];
  readonly calls: unknown[] = [];
  readonly listeners = new Set<() => void>();

  append(type: string, data: Record<string, unknown> = {}): void {
    const position = BigInt(this.log.length + 1);
    this.log.push({
      v: 1,
      id: `id-${position}`,
      position,
      time: new Date(Date.UTC(2026, 0, 1) + Number(position) * 1000).toISOString(),
      type,
      data,
    });
    for (const listener of this.listeners) listener();
  }
  status = (): PoolStatus => ({ rigs: [], answered: 3 }) as unknown as PoolStatus;
  unhealthy = (): readonly string[] => this.reasons;
  unready = (): readonly string[] => [...this.reasons, "no rig has room"];
  metrics = async (): Promise<string> => "# TYPE openpool_x counter\nopenpool_x 1\n";
  events: AdminPort["events"] = async ({ after, since, types, limit }) =>
    this.log
      .filter((one) => one.position > (after ?? 0n) && Date.parse(one.time) >= (since ?? 0))
      .filter((one) => !types || types.includes(one.type))
      .slice(0, limit);
  onEvents(callback: () => void): () => void {
    this.listeners.add(callback);
    return () => void this.listeners.delete(callback);
  }
  async record(data: Readonly<Record<string, unknown>>): Promise<void> {
    this.append("admin.requested", { ...data });
  }
  balances: AdminPort["balances"] = async () => [
    {
      worker: ada,
      segments: 3n,
      pixels: 10n ** 30n,
      creditedWei: 750n,
      rigs: [{ name: "rig1", segments: 3n, pixels: 10n ** 30n, creditedWei: 750n }],
    },
  ];
  workers: AdminPort["workers"] = async () => ({ workers: [], credentials: [] });
  addWorker: AdminPort["addWorker"] = async (address, rig) => {
    this.calls.push(["add", address, rig]);
    return { id: "c1", secret: "s", name: `${address}.${rig ?? "default"}` };
  };
  revokeCredential: AdminPort["revokeCredential"] = async (id) => {
    if (id !== "c1") throw new PoolError({ code: "workers/unknown-credential" }, `there is no credential ${id}`);
    this.calls.push(["revoke", id]);
  };
  setWorker: AdminPort["setWorker"] = async (address, change) => {
    this.calls.push(["set", address, change]);
    return { worker: ada, locked: change.locked ?? false, banned: undefined, note: undefined };
  };
  gateways: AdminPort["gateways"] = () => [];
  partitions: AdminPort["partitions"] = async () => [{ month: "2026-11", bytes: 4096 }];
  drainRig: AdminPort["drainRig"] = async (name) => void this.calls.push(["drain", name]);
  setUpstreamDrained: AdminPort["setUpstreamDrained"] = async (name, drained) =>
    void this.calls.push(["upstream", name, drained]);
  undrainRig: AdminPort["undrainRig"] = async (name) => void this.calls.push(["undrain", name]);
  decisions: AdminPort["decisions"] = () => [{ at: "2026-01-01T00:00:00.000Z", chosen: false, reason: "full" }];
}

let port: MemoryPort;
let server: OwnPort;
beforeEach(async () => {
  port = new MemoryPort();
  server = await onOwnPort(await openAdminHandler({ token, host: "127.0.0.1" }, { port, logger: silentLogger }));
});
afterEach(() => server[Symbol.asyncDispose]());

const withToken = { authorization: `Bearer ${token}` };

test("health is 200, and 503 with the reasons when something is wrong", async () => {
  const healthy = await fetch(`${server.url}/healthz`);
  expect([healthy.status, await healthy.json()]).toEqual([200, { ok: true, reasons: [] }]);
  port.reasons = ["the event log cannot be written"];
  const broken = await fetch(`${server.url}/healthz`);
  expect([broken.status, await broken.json()]).toEqual([503, { ok: false, reasons: port.reasons }]);
  const ready = await fetch(`${server.url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([
    503,
    { ok: false, reasons: [...port.reasons, "no rig has room"] },
  ]);
});

test("balances carry wei and pixels as decimal strings, exact at any size", async () => {
  const answer = await fetch(`${server.url}/balances`);
  const sums = { segments: 3, pixels: `1${"0".repeat(30)}`, creditedWei: "750" };
  expect(await answer.json()).toEqual([{ worker: ada, ...sums, rigs: [{ name: "rig1", ...sums }] }]);
});

test("metrics are served as Prometheus text", async () => {
  const answer = await fetch(`${server.url}/metrics`);
  expect(answer.headers.get("content-type")).toContain("text/plain; version=0.0.4");
  expect(await answer.text()).toContain("openpool_x 1");
});

describe("events", () => {
  test("are one JSON object a line, filtered and cut as asked", async () => {
    for (let i = 0; i < 4; i++) port.append(i % 2 ? "rig.connected" : "job.credited", { feeWei: 12n });
    const all = await (await fetch(`${server.url}/events`)).text();
    const lines = all
      .trimEnd()
      .split("\n")
      .map((line): unknown => JSON.parse(line));
    expect(lines).toHaveLength(4);
    expect(lines[0]).toEqual({
      v: 1,
      id: "id-1",
      position: "1",
      time: "2026-01-01T00:00:01.000Z",
      type: "job.credited",
      data: { feeWei: "12" },
    });
    const some = await (await fetch(`${server.url}/events?type=job.credited&after=1&limit=1`)).text();
    expect(JSON.parse(some)).toMatchObject({ position: "3" });
    const late = await (await fetch(`${server.url}/events?since=2026-01-01T00:00:04Z`)).text();
    expect(JSON.parse(late)).toMatchObject({ position: "4" });
    expect((await fetch(`${server.url}/events?since=yesterday`)).status).toBe(400);
    expect((await fetch(`${server.url}/events?folow=1`)).status).toBe(400);
  });

  test("longer than a page all arrive, once and in order", async () => {
    for (let i = 0; i < 1201; i++) port.append("job.credited");
    const lines = (await (await fetch(`${server.url}/events`)).text()).trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { position: string }).position)).toEqual(
      Array.from({ length: 1201 }, (_, i) => String(i + 1)),
    );
  });

  test("are streamed as they happen when followed, and the listener goes when the reader does", async () => {
    port.append("pool.started");
    const reader = new AbortController();
    const answer = await fetch(`${server.url}/events?follow=1&after=1`, { signal: reader.signal });
    const chunks = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    port.append("rig.connected");
    expect(JSON.parse((await chunks.read()).value!)).toMatchObject({ type: "rig.connected" });
    port.append("job.credited");
    expect(JSON.parse((await chunks.read()).value!)).toMatchObject({ type: "job.credited" });
    reader.abort();
    await expect.poll(() => port.listeners.size).toBe(0);
  });

  test("followed often over one connection are followed once, and by nobody when it is closed", async () => {
    port.append("pool.started");
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    socket.write("GET /events?follow=1 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20));
    const [first] = (await once(socket, "data")) as [Buffer];
    expect(first.toString()).toContain("200 OK");
    // What comes behind them on the socket is answered by the time that this is.
    await fetch(`${server.url}/status`);
    expect(port.listeners.size).toBe(1);
    socket.destroy();
    await expect.poll(() => port.listeners.size).toBe(0);
  });

  test("followed while the server stops end with it", async () => {
    const answer = await fetch(`${server.url}/events?follow=1`);
    await server[Symbol.asyncDispose]();
    await answer.text().catch(() => "cut off");
    expect(port.listeners.size).toBe(0);
  });
});

describe("changes", () => {
  const json = { ...withToken, "content-type": "application/json" };

  test("are refused without the token, with a wrong one, and do nothing then", async () => {
    for (const headers of [{}, { authorization: "Bearer wrong" }, { authorization: `Basic ${token}` }]) {
      const answer = await fetch(`${server.url}/rigs/x/drain`, { method: "POST", headers });
      expect([answer.status, await answer.json()]).toEqual([
        401,
        expect.objectContaining({ code: "admin/token-needed" }),
      ]);
    }
    expect(port.calls).toEqual([]);
  });

  test("reach the pool with the token", async () => {
    const added = await fetch(`${server.url}/workers`, {
      method: "POST",
      headers: json,
      body: JSON.stringify({ address: ada, rig: "rig1" }),
    });
    expect([added.status, await added.json()]).toEqual([201, { id: "c1", secret: "s", name: `${ada}.rig1` }]);
    const change = { locked: true, banned: null };
    await fetch(`${server.url}/workers/${ada}`, { method: "PATCH", headers: json, body: JSON.stringify(change) });
    const drained = await fetch(`${server.url}/rigs/${ada}.rig1/drain`, { method: "POST", headers: withToken });
    expect(drained.status).toBe(204);
    await fetch(`${server.url}/rigs/${ada}.rig1/undrain`, { method: "POST", headers: withToken });
    await fetch(`${server.url}/credentials/c1`, { method: "DELETE", headers: withToken });
    expect(port.calls).toEqual([
      ["add", ada, "rig1"],
      ["set", ada, change],
      ["drain", `${ada}.rig1`],
      ["undrain", `${ada}.rig1`],
      ["revoke", "c1"],
    ]);
  });

  test("are recorded before they are done, newest first, without secrets; those without the token are not", async () => {
    await fetch(`${server.url}/rigs/x/drain`, { method: "POST" });
    await fetch(`${server.url}/rigs/${ada}.rig1/drain`, { method: "POST", headers: withToken });
    await fetch(`${server.url}/workers/${ada}`, {
      method: "PATCH",
      headers: json,
      body: JSON.stringify({ note: "a friend", password: "hunter2" }),
    });
    const { items, next } = (await (await fetch(`${server.url}/admin/v1/audit?limit=1`)).json()) as {
      items: unknown[];
      next: string;
    };
    expect(items).toMatchObject([
      { action: `PATCH /workers/${ada}`, body: { note: "a friend", password: "(not recorded)" } },
    ]);
    const older = await (await fetch(`${server.url}/admin/v1/audit?cursor=${next}`)).json();
    expect(older).toMatchObject({ items: [{ action: `POST /rigs/${ada}.rig1/drain` }], next: null });
  });

  test("that make no sense are refused with what is wrong", async () => {
    const post = async (body: string): Promise<[number, unknown]> => {
      const answer = await fetch(`${server.url}/workers`, { method: "POST", headers: json, body });
      return [answer.status, await answer.json()];
    };
    expect(await post(`{"address":"0x00"}`)).toEqual([
      400,
      expect.objectContaining({ message: expect.stringContaining("address") }),
    ]);
    expect(await post(`{"address":"${ada}","rgi":"x"}`)).toEqual([
      400,
      expect.objectContaining({ message: expect.stringContaining("rgi") }),
    ]);
    expect((await post(`{`))[0]).toBe(400);
    expect((await post(`{"address":"${"x".repeat(70_000)}"}`))[0]).toBe(413);
    const unknown = await fetch(`${server.url}/credentials/c9`, { method: "DELETE", headers: withToken });
    expect([unknown.status, await unknown.json()]).toEqual([
      404,
      { code: "workers/unknown-credential", message: "there is no credential c9" },
    ]);
  });
});

/** As `fetch`, which does not let one choose the Host header. */
function statusFor(host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const { hostname, port: number } = new URL(server.url);
    const options = { hostname, port: number, path: "/status", headers: { host } };
    request(options, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    })
      .on("error", reject)
      .end();
  });
}

test("a web page that points its own name at this port learns nothing", async () => {
  for (const host of ["evil.example", "evil.example:7945", "127.0.0.1.evil.example"]) {
    expect(await statusFor(host), host).toBe(421);
  }
  for (const host of ["localhost:7945", "127.0.0.1", "[::1]:7945", "pool:7945", "a.localhost"]) {
    expect(await statusFor(host), host).toBe(200);
  }
});

test("who follows events is let go when the port closes", async () => {
  const followed = await fetch(`${server.url}/events?follow=1`);
  await server[Symbol.asyncDispose]();
  await followed.text().catch(() => "cut off");
  expect(port.listeners.size).toBe(0);
});

test("the data directory tells where the pool is, until its own process takes that back", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "openpool-admin-"));
  try {
    expect(await readAdminFile(dataDir)).toBeUndefined();
    const { token: made, tokenFile } = await openAdminToken(dataDir);
    expect((await openAdminToken(dataDir)).token).toBe(made);
    expect((await stat(tokenFile)).mode & 0o777).toBe(0o600);
    const file = { url: server.url, tokenFile, pid: 4711 };
    await writeAdminFile(dataDir, file);
    await removeAdminFile(dataDir, 4712);
    expect(await readAdminFile(dataDir)).toEqual(file);
    await removeAdminFile(dataDir, 4711);
    expect(await readAdminFile(dataDir)).toBeUndefined();
  } finally {
    await rm(dataDir, { recursive: true });
  }
});
