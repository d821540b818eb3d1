import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PoolError, silentLogger } from "@openpool/base";
import { type AdminPort, openAdminHandler, openAdminToken, type PoolStatus, writeAdminFile } from "@openpool/pool";
import { checksumAddress } from "@openpool/protocol";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Ran, run } from "./testing/run.ts";

const ada = checksumAddress(new Uint8Array(20).fill(0x11));

/** A pool as the admin port shows it, kept in memory. */
class MemoryPool implements AdminPort {
  readonly calls: unknown[] = [];
  readonly listeners = new Set<() => void>();
  log: { type: string; data: Record<string, unknown> }[] = [];
  rig = {
    worker: ada,
    rig: "rig1",
    state: "connected",
    connections: 1,
    capacity: 4,
    sessions: 1,
    jobsInFlight: 1,
    standing: "trusted",
    reason: "did 12 of 12 segments in time",
  };
  status = (): PoolStatus =>
    ({ version: "0.1.0", sessions: 1, capacity: 4, rigs: [this.rig] }) as unknown as PoolStatus;
  unhealthy = (): readonly string[] => [];
  unready = (): readonly string[] => [];
  metrics = async (): Promise<string> => "";
  events: AdminPort["events"] = async ({ after, since, types, limit }) =>
    this.log
      .map((one, i) => ({
        v: 1 as const,
        id: `id${i}`,
        position: BigInt(i + 1),
        time: new Date(Date.UTC(2026, 0, 1, 0, i)).toISOString(),
        worker: ada,
        rig: "rig1",
        ...one,
      }))
      .filter((one) => one.position > (after ?? 0n) && Date.parse(one.time) >= (since ?? 0))
      .filter((one) => !types || types.includes(one.type))
      .slice(0, limit);
  append(type: string, data: Record<string, unknown> = {}): void {
    this.log.push({ type, data });
    for (const listener of this.listeners) listener();
  }
  onEvents(callback: () => void): () => void {
    this.listeners.add(callback);
    return () => void this.listeners.delete(callback);
  }
  balances: AdminPort["balances"] = async () => {
    const sums = { segments: 1234n, pixels: 56_789_012n, creditedWei: 1_500_000_000_000_000_000n };
    return [{ worker: ada, ...sums, rigs: [{ name: "rig1", ...sums }] }];
  };
  workers: AdminPort["workers"] = async () => ({
    workers: [{ worker: ada, locked: true, banned: undefined, note: "a friend" }],
    credentials: [
      { id: "c1", name: { worker: ada, rig: "rig1" }, createdAt: "2026-01-01T00:00:00.000Z", revokedAt: undefined },
    ],
  });
  addWorker: AdminPort["addWorker"] = async (address, rig = "default") => {
    this.calls.push(["add", address, rig]);
    return { id: "c2", secret: "op_secret", name: `${address}.${rig}` };
  };
  revokeCredential: AdminPort["revokeCredential"] = async (id) => {
    if (id !== "c1") throw new PoolError({ code: "admin/unknown-credential" }, `There is no credential ${id}.`);
    this.calls.push(["revoke", id]);
  };
  setWorker: AdminPort["setWorker"] = async (address, change) => {
    this.calls.push(["set", address, change]);
    return { worker: ada, locked: false, banned: undefined, note: undefined };
  };
  gateways: AdminPort["gateways"] = () => [];
  partitions: AdminPort["partitions"] = async () => [{ month: "2026-11", bytes: 4096 }];
  drainRig: AdminPort["drainRig"] = async (name) => void this.calls.push(["drain", name]);
  setUpstreamDrained: AdminPort["setUpstreamDrained"] = async (name, drained) =>
    void this.calls.push(["upstream", name, drained]);
  failing: string | undefined;
  alerts: NonNullable<AdminPort["alerts"]> = {
    counts: async () => ({ waiting: 0, sent: 1, dead: 1 }),
    deliveries: async ({ state }) => [
      {
        id: "019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e11",
        destination: "operator:discord-12345678",
        alert: {
          key: "no-workers",
          kind: "no-workers",
          phase: "raised",
          worker: null,
          rig: null,
          threshold: null,
          atMs: Date.parse("2026-01-01T00:00:00Z"),
          data: {},
        },
        state: state ?? "sent",
        attempts: 1,
        nextAtMs: 0,
        createdAtMs: 0,
        sentAtMs: undefined,
        error: state === "dead" ? "Discord answered 404" : undefined,
      },
    ],
    replay: async (ids) => {
      this.calls.push(["replay", ids]);
      return ids?.length ?? 1;
    },
    test: async () => [{ channel: "discord-12345678", kind: "discord", error: this.failing }],
  };
  undrainRig: AdminPort["undrainRig"] = async (name) => void this.calls.push(["undrain", name]);
  decisions: AdminPort["decisions"] = () => [
    { at: "2026-01-01T00:00:00.000Z", chosen: false, reason: "full: 4 of 4 sessions" },
  ];
}

let dataDir: string;
let pool: MemoryPool;
let server: { readonly url: string; close(): Promise<void> };
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "openpool-commands-"));
  pool = new MemoryPool();
  await serve();
});
afterEach(async () => {
  await server.close();
  await rm(dataDir, { recursive: true });
});

async function serve(): Promise<void> {
  const { token, tokenFile } = await openAdminToken(dataDir);
  const handler = await openAdminHandler({ token, host: "127.0.0.1" }, { port: pool, logger: silentLogger });
  const listener = createServer({ pauseOnConnect: true }, (socket) => handler.accept(socket)).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;
  server = {
    url,
    async close() {
      await handler[Symbol.asyncDispose]();
      listener.close();
    },
  };
  await writeAdminFile(dataDir, { url, tokenFile, pid: process.pid });
}

/** Runs a command of an operator whose environment names the data directory. */
function operate(args: readonly string[]): Promise<Ran> {
  return run(args, { env: { OPENPOOL_DATA_DIR: dataDir } });
}

describe("balances", () => {
  test("--json is an array with wei and pixels as decimal strings", async () => {
    const sums = { segments: 1234, pixels: "56789012", creditedWei: "1500000000000000000" };
    const { code, out, err } = await operate(["balances", "--json"]);
    expect([code, err]).toEqual([0, ""]);
    expect(JSON.parse(out)).toEqual([{ worker: ada, ...sums, rigs: [{ name: "rig1", ...sums }] }]);
  });

  test("for people are a table in ETH", async () => {
    expect((await operate(["balances"])).out.split("\n")[1]).toMatch(/^0x1{40} +1 234 +56 789 012 +1\.5$/);
  });

  test("are found by the flag too, and by the pool's own settings file", async () => {
    expect((await run(["balances", "--data-dir", dataDir])).code).toBe(0);
    expect(await run(["balances", "--data-dir", join(dataDir, "other")])).toMatchObject({
      code: 3,
      err: expect.stringContaining("[cli/no-pool]"),
    });
  });
});

test("a pool that has gone without a word is told apart from one that never was", async () => {
  await server.close();
  expect(await operate(["balances"])).toMatchObject({
    code: 3,
    out: "",
    err: expect.stringMatching(/\[cli\/pool-unreachable\].*ECONNREFUSED/),
  });
});

describe("events", () => {
  beforeEach(() => {
    pool.append("pool.started", { generation: 1 });
    pool.append("job.credited", { job: "j1", text: "\u001b[31mred\nline" });
  });

  test("--json is one object a line", async () => {
    const { out } = await operate(["events", "--json", "--type", "job.credited"]);
    expect(
      out
        .trimEnd()
        .split("\n")
        .map((line): unknown => JSON.parse(line)),
    ).toMatchObject([{ v: 1, position: "2", type: "job.credited", worker: ada, rig: "rig1" }]);
  });

  test("for people are one line each, whatever a peer has sent", async () => {
    const { out } = await operate(["events"]);
    expect(out.trimEnd().split("\n")).toHaveLength(2);
    expect(out).not.toContain("\u001b");
  });

  test("since a time or so long ago", async () => {
    expect((await operate(["events", "--since", "2026-01-01T00:01:00Z"])).out).toMatch(/^\S+ {2}job\.credited/);
    expect((await operate(["events", "--since", "1d"])).out).toBe("");
    expect(await operate(["events", "--since", "yesterday", "--limit", "none"])).toMatchObject({
      code: 2,
      err: expect.stringMatching(/--since[^]*--limit/),
    });
  });

  test("are followed up to a limit, and without a time from now on", async () => {
    pool.append("rig.joined");
    const limited = await operate(["events", "--follow", "--since", "2026-01-01T00:00:00Z", "--limit", "2", "--json"]);
    expect(limited.code).toBe(0);
    expect(limited.out.trimEnd().split("\n")).toHaveLength(2);
    const stop = new AbortController();
    const following = run(["events", "--follow"], { env: { OPENPOOL_DATA_DIR: dataDir }, stop: stop.signal });
    await expect.poll(() => pool.listeners.size).toBe(1);
    stop.abort();
    // Everything in this log is of the past.
    expect((await following).out).toBe("");
  });

  test("are followed across a restart of the pool, none twice and none left out", async () => {
    const stop = new AbortController();
    let out = "";
    const following = run(["events", "--follow", "--since", "2026-01-01T00:00:00Z", "--json"], {
      env: { OPENPOOL_DATA_DIR: dataDir },
      stop: stop.signal,
      out: async (text) => void (out += text),
    });
    const seen = (): string[] =>
      out
        .split("\n")
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { position: string }).position);
    await expect.poll(seen).toEqual(["1", "2"]);
    pool.append("rig.joined");
    await expect.poll(seen).toEqual(["1", "2", "3"]);
    await server.close();
    pool.append("rig.left");
    await serve();
    await expect.poll(seen).toEqual(["1", "2", "3", "4"]);
    stop.abort();
    expect((await following).code).toBe(0);
  });
});

describe("workers", () => {
  test("add shows the secret once, on stdout alone", async () => {
    const { code, out, err } = await operate(["workers", "add", ada.toLowerCase(), "--name", "rig2"]);
    expect(code).toBe(0);
    expect(out).toContain("secret  op_secret\n");
    expect(err).not.toContain("op_secret");
    expect(pool.calls).toEqual([["add", ada, "rig2"]]);
    const json = await operate(["workers", "add", ada, "--json"]);
    expect(JSON.parse(json.out)).toEqual({ id: "c2", secret: "op_secret", name: `${ada}.default` });
  });

  test("lock, unlock, ban, unban, set and revoke reach the pool", async () => {
    await operate(["workers", "lock", ada]);
    await operate(["workers", "unlock", ada]);
    await operate(["workers", "ban", ada, "--reason", "lies about pixels"]);
    await operate(["workers", "unban", ada]);
    await operate(["workers", "set", ada, "--note", ""]);
    expect(await operate(["workers", "revoke", "c1"])).toMatchObject({ code: 0, out: "c1 is revoked\n" });
    expect(pool.calls).toEqual([
      ["set", ada, { locked: true }],
      ["set", ada, { locked: false }],
      ["set", ada, { banned: "lies about pixels" }],
      ["set", ada, { banned: null }],
      ["set", ada, { note: null }],
      ["revoke", "c1"],
    ]);
  });

  test("what the pool refuses is told, with an exit code of its own", async () => {
    expect(await operate(["workers", "revoke", "c9"])).toEqual({
      code: 4,
      out: "",
      err: "openpool: [cli/refused] the pool refused: There is no credential c9.\n",
    });
  });

  test("a mistyped address is told before the pool is asked", async () => {
    expect(await run(["workers", "ban", "0x12"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("40 hex digits"),
    });
  });

  test("list shows addresses and credentials", async () => {
    const { out } = await operate(["workers", "list"]);
    expect(out).toMatch(new RegExp(`${ada} +locked +a friend`));
    expect(out).toMatch(new RegExp(`c1 +${ada}\\.rig1 .*valid`));
  });
});

test("rigs are listed, drained and asked why they get no work", async () => {
  expect((await operate(["rigs", "list"])).out).toMatch(
    new RegExp(`${ada}\\.rig1 +connected +1/4 +1 +trusted +did 12`),
  );
  await operate(["rigs", "drain", `${ada}.rig1`]);
  await operate(["rigs", "undrain", `${ada}.rig1`]);
  expect(pool.calls).toEqual([
    ["drain", `${ada}.rig1`],
    ["undrain", `${ada}.rig1`],
  ]);
  expect((await operate(["rigs", "why", `${ada}.rig1`])).out).toContain("not chosen  full: 4 of 4 sessions");
});

test("a drain waits until the rig holds nothing, and says what it waits for", async () => {
  let looks = 0;
  pool.status = () => {
    looks++;
    const rig =
      looks > 1 ? { ...pool.rig, state: "draining", sessions: 0, jobsInFlight: 0 } : { ...pool.rig, state: "draining" };
    return { version: "0.1.0", rigs: [rig] } as unknown as PoolStatus;
  };
  const { out, err, code } = await operate(["rigs", "drain", "--wait", `${ada}.rig1`]);
  expect(err).toContain("holds 1 sessions, and no other rig has room for them");
  expect(out).toBe(`${ada}.rig1 holds nothing any more\n`);
  expect(code).toBe(0);
});

test("a drain knows its rig in lower case too, and takes one that is not there for no empty one", async () => {
  let looks = 0;
  pool.status = () => {
    const held = looks++ > 0 ? 0 : 1;
    return { rigs: [{ ...pool.rig, sessions: held, jobsInFlight: held }] } as unknown as PoolStatus;
  };
  const typed = `${ada.toLowerCase()}.rig1`;
  const waited = await operate(["rigs", "drain", "--wait", typed]);
  expect(waited.err).toContain(`${typed} holds 1 sessions`);
  expect(waited.out).toBe(`${typed} holds nothing any more\n`);
  pool.status = () => ({ rigs: [] }) as unknown as PoolStatus;
  expect(await operate(["rigs", "drain", "--wait", typed])).toMatchObject({
    code: 1,
    out: "",
    err: expect.stringContaining(`does not know ${ada}.rig1 any more`),
  });
});

test("doctor finds the running pool", async () => {
  const { out } = await operate(["doctor", "--json"]);
  expect(JSON.parse(out)).toContainEqual({
    level: "ok",
    what: "pool",
    text: "version 0.1.0, 1 rigs connected, 1 of 4 sessions",
  });
});

describe("alerts", () => {
  test("are listed, all of them or those that could not be delivered", async () => {
    expect((await operate(["alerts", "list"])).out).toMatch(
      /2026-01-01T00:00:00.000Z +sent +No rig is connected +operator:discord-12345678[^]*0 waiting, 1 sent, 1 could not be delivered/,
    );
    expect((await operate(["alerts", "dead"])).out).toMatch(/dead +No rig is connected .*Discord answered 404/);
    expect(JSON.parse((await operate(["alerts", "dead", "--json"])).out)).toMatchObject({ counts: { dead: 1 } });
  });

  test("are sent again, all or the ones that are named", async () => {
    const id = "019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e11";
    expect((await operate(["alerts", "replay"])).out).toBe("1 are sent again\n");
    await operate(["alerts", "replay", id]);
    expect(pool.calls).toEqual([
      ["replay", undefined],
      ["replay", [id]],
    ]);
    expect((await operate(["alerts", "replay", "nonsense"])).code).toBe(4);
  });

  test("are tested, and a channel that does not work fails the command", async () => {
    expect(await operate(["alerts", "test"])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/discord-12345678 +sent/),
    });
    pool.failing = "Discord answered 404";
    expect(await operate(["alerts", "test"])).toMatchObject({
      code: 1,
      out: expect.stringContaining("Discord answered 404"),
    });
  });
});
