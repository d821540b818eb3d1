import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { systemClock } from "@openpool/base";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { PoolOptions } from "../options.ts";
import { DataDirInUseError } from "./data-dir-lock.ts";
import { bindSocket, ListenError } from "./listening.ts";
import { requestRestart, runSupervisor, type SupervisorDeps } from "./supervisor.ts";
import { ask, hold, noDatabase, recordingLogger, standInChild, standInOptions } from "./testing/stand-in-pool.ts";
import type { Supervisor } from "./types.ts";

let dataDir: string;
let cleanup: (() => unknown)[];

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "openpool-supervisor-"));
  cleanup = [() => rmSync(dataDir, { recursive: true, force: true })];
});
afterEach(async () => {
  for (const step of cleanup.reverse()) await step();
});

/** Other tests may have the machine for a while. */
const patience = { timeout: 20_000 };

/** What the supervisor logged, of all in this file. */
const log = recordingLogger();

async function start(options: Partial<PoolOptions> = {}, deps: Partial<SupervisorDeps> = {}): Promise<Supervisor> {
  const supervisor = await runSupervisor(standInOptions(dataDir, options), {
    ...standInChild,
    logger: log.logger,
    clock: systemClock,
    version: "test",
    ...deps,
  });
  cleanup.push(() => supervisor[Symbol.asyncDispose]());
  return supervisor;
}

async function generationAt(port: number): Promise<number> {
  return Number((await ask(port)).text.split(" ")[0]);
}

/** Opens connections, one after another in several lines, until stopped; every one must be answered. */
function load(port: number, lines: number): { stop(): Promise<{ answered: number; failed: unknown[] }> } {
  const going = new AbortController();
  let answered = 0;
  const failed: unknown[] = [];
  const running = Array.from({ length: lines }, async (_, i) => {
    while (!going.signal.aborted) {
      // Every third request is under way for a while, so that an old process has something to finish.
      await ask(port, i % 3 === 0 ? "/slow?ms=40" : "/").then(
        (answer) => (answer.status === 200 ? answered++ : failed.push(answer)),
        (error: unknown) => failed.push(error),
      );
    }
  });
  return {
    async stop() {
      going.abort();
      await Promise.all(running);
      return { answered, failed };
    },
  };
}

describe("a planned restart", () => {
  test("under load refuses and loses nothing", async () => {
    const pool = await start();
    const { port } = pool.listen;
    const before = pool.generation!;
    const traffic = load(port, 12);
    expect(await pool.restart()).toMatchObject({ kind: "restarted", generation: before + 1 });
    expect(await pool.restart()).toMatchObject({ kind: "restarted", generation: before + 2 });
    const { answered, failed } = await traffic.stop();
    expect(failed).toEqual([]);
    expect(answered).toBeGreaterThan(20);
    expect(await generationAt(port)).toBe(before + 2);
    expect(await generationAt(pool.adminListen.port)).toBe(before + 2);
  });

  test("lets the old process finish what it holds, and then that process is gone", async () => {
    const pool = await start();
    const held = await hold(pool.listen.port);
    const pid = Number((await ask(pool.listen.port)).text.split(" ")[1]);
    await pool.restart();
    expect(isAlive(pid)).toBe(true);
    expect(await held.end()).toBe("the end");
    await goneProcess(pid);
  });

  test("that cannot start its new process leaves the old one serving and says why", async () => {
    const pool = await start(
      {},
      { readOptions: () => standInOptions(dataDir, { serviceUri: "https://fails.example:1" }) },
    );
    const outcome = await pool.restart();
    expect(outcome).toEqual({ kind: "failed", message: "cannot start like this" });
    expect(await generationAt(pool.listen.port)).toBe(pool.generation);
  });

  test.each([
    ["dies", "ended before it served", 30_000],
    ["hangs", "did not serve within", 500],
  ])("whose new process %s while starting leaves the old one serving", async (how, message, patienceMs) => {
    const startTimeoutMs = 30_000;
    let restarting = false;
    const pool = await start(
      {},
      {
        readOptions: () => standInOptions(dataDir, { serviceUri: `https://${how}.example:1` }),
        limits: { startTimeoutMs },
        clock: {
          ...systemClock,
          after: (ms, run) => systemClock.after(restarting && ms === startTimeoutMs ? patienceMs : ms, run),
        },
      },
    );
    restarting = true;
    expect(await pool.restart()).toMatchObject({ kind: "failed", message: expect.stringContaining(message) });
    expect(await generationAt(pool.listen.port)).toBe(pool.generation);
  });

  test("with settings that cannot be read fails before anything is started", async () => {
    const pool = await start({}, { readOptions: () => Promise.reject(new Error("pool.yaml: price is not a number")) });
    expect(await pool.restart()).toEqual({ kind: "failed", message: "pool.yaml: price is not a number" });
    expect(pool.generation).toBe(await generationAt(pool.listen.port));
  });

  test("can be asked for from another process, by the data directory alone", async () => {
    expect(await requestRestart(dataDir)).toBeUndefined();
    const pool = await start();
    const before = pool.generation!;
    // Both ask before anything began: one restart serves both.
    const [one, other] = await Promise.all([requestRestart(dataDir), requestRestart(dataDir)]);
    expect(one).toMatchObject({ kind: "restarted" });
    expect(other).toMatchObject({ kind: "restarted" });
    expect(pool.generation).toBeGreaterThan(before);
  });

  test("hands requests on to the process that holds what they ask for", async () => {
    const pool = await start();
    const old = pool.generation!;
    const { port } = pool.listen;
    const held = await hold(port);
    await pool.restart();
    // The new process accepts, the old one answers.
    expect((await ask(port, `/?owner=${old}`)).text).toMatch(new RegExp(`^${old} `));
    const body = Buffer.alloc(3_000_000, "x");
    const echoed = await ask(port, `/echo?owner=${old}`, body);
    expect(echoed.text === body.toString()).toBe(true);
    await held.end();
  });
});

describe("a crash", () => {
  test("makes connections wait until a new process serves, and refuses none", async () => {
    const pool = await start();
    const { port } = pool.listen;
    const before = pool.generation!;
    await expect(ask(port, "/die")).rejects.toThrow();
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask(port)));
    expect(new Set(answers.map((answer) => Number(answer.text.split(" ")[0])))).toEqual(new Set([before + 1]));
  });

  test("leaves what was answered and not yet fetched to the next process", async () => {
    const pool = await start();
    const { port } = pool.listen;
    const before = pool.generation!;
    await ask(port, "/keep");
    await expect(ask(port, "/die")).rejects.toThrow();
    expect(await ask(port, `/kept?owner=${before}`)).toEqual({ status: 200, text: "kept bytes" });
    expect((await ask(port, `/other?owner=${before}`)).status).toBe(404);
  });

  test("in a row is answered with growing pauses, not with a storm of processes", async () => {
    const pool = await start();
    const { port } = pool.listen;
    const startedMs = performance.now();
    for (let i = 0; i < 3; i++) await expect(ask(port, "/die")).rejects.toThrow();
    await ask(port);
    expect(performance.now() - startedMs).toBeGreaterThan(600);
  });

  test("of a process that hangs is noticed, and the process replaced", async () => {
    const pool = await start({}, { limits: { hangTimeoutMs: 4_000 } });
    const { port } = pool.listen;
    const before = pool.generation!;
    const hanging = ask(port, "/hang").catch(() => "cut");
    expect(await hanging).toBe("cut");
    // One that the machine left no time may have been taken for hanging, too.
    expect(await generationAt(port)).toBeGreaterThan(before);
  });
});

describe("a start", () => {
  test("in a data directory that is in use says which process has it", async () => {
    await start();
    const error = await start().catch((error: unknown) => error);
    expect(error).toBeInstanceOf(DataDirInUseError);
    expect((error as DataDirInUseError).info).toEqual({
      code: "supervisor/data-dir-in-use",
      dataDir,
      pid: process.pid,
    });
    expect((error as Error).message).toContain(`process id ${process.pid}`);
  });

  test("on a port that is taken says so and leaves nothing behind", async () => {
    const other = net.createServer().listen(0, "127.0.0.1");
    cleanup.push(() => other.close());
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as net.AddressInfo;
    const listen = { host: "127.0.0.1", port };
    const error = await start({ listen }).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ListenError);
    expect((error as ListenError).info).toEqual({ code: "supervisor/address-in-use", address: listen });
    // The data directory is free again, and the default admin port makes way where a named one does not.
    await expect(start({ adminListen: listen })).rejects.toThrow("--admin-listen");
    const pool = await start({ adminListen: listen, adminListenNamed: false });
    expect(pool.adminListen.port).not.toBe(port);
    expect(await generationAt(pool.adminListen.port)).toBe(pool.generation);
  });

  test("beside one that takes the same default port in the same moment gets a free one, and is heard of only then", async () => {
    const other = await bindSocket("api-listen", { host: "127.0.0.1", port: 0 });
    cleanup.push(() => other.close());
    const { port } = other.address;
    const identity = { name: "a pool", logoUrl: null, contacts: [], hardware: null, notice: null, sourceUrl: null };
    const before = log.lines.length;
    const pool = await start(
      { api: { listen: other.address, named: false, trustProxy: false, identity } },
      {
        async openDatabase(options, deps) {
          // Ours is bound by now, and nobody listens yet.
          const server = net.createServer().listen({ fd: other.fd });
          cleanup.push(() => server.close());
          await new Promise((resolve) => server.once("listening", resolve));
          return noDatabase(options, deps);
        },
      },
    );
    expect(pool.apiListen!.port).not.toBe(port);
    expect(await generationAt(pool.apiListen!.port)).toBe(pool.generation);
    const announced = log.lines.slice(before).filter((line) => line.message === "announced");
    expect(announced.map((line) => line.fields["generation"])).toEqual([pool.generation]);
  });

  test("whose process fails ends with that process's reason", async () => {
    await expect(start({ serviceUri: "https://fails.example:1" })).rejects.toThrow("cannot start like this");
    expect(readdirSync(dataDir)).toEqual(["generation"]);
  });

  test("brings a generation that was never used before", async () => {
    writeFileSync(join(dataDir, "generation"), "4095\n");
    const pool = await start();
    expect(pool.generation).toBe(1);
    await pool[Symbol.asyncDispose]();
    expect((await start()).generation).toBe(2);
  });
});

describe("a stop", () => {
  test("finishes what is under way and leaves no process and no file", async () => {
    const pool = await start();
    const { port } = pool.listen;
    const held = await hold(port);
    const pid = Number((await ask(port)).text.split(" ")[1]);
    const stopping = pool[Symbol.asyncDispose]();
    // What is under way may need new connections: those are taken until it is finished.
    await expect.poll(() => ask(port).then(({ text }) => text.endsWith("draining")), patience).toBe(true);
    expect(await held.end()).toBe("the end");
    await stopping;
    await pool.closed;
    await expect(ask(port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(isAlive(pid)).toBe(false);
    expect(readdirSync(dataDir)).toEqual(["generation"]);
  });

  test("does not wait for connections that a restart left with an old process", async () => {
    const pool = await start();
    const { port } = pool.listen;
    const idle = net.connect(port, "127.0.0.1");
    cleanup.push(() => idle.destroy());
    const cut = new Promise((resolve) => idle.once("close", resolve));
    idle.resume();
    const pid = Number((await ask(port)).text.split(" ")[1]);
    await pool.restart();
    expect(await generationAt(port)).toBe(pool.generation);
    expect(isAlive(pid)).toBe(true);
    await pool[Symbol.asyncDispose]();
    expect(isAlive(pid)).toBe(false);
    await cut;
  });

  test("that is forced does not wait for anything", async () => {
    const pool = await start();
    const slow = ask(pool.listen.port, "/slow?ms=60000").catch(() => "cut");
    await ask(pool.listen.port);
    const stopping = pool[Symbol.asyncDispose]();
    pool.kill();
    await stopping;
    expect(await slow).toBe("cut");
  });
});

test("what a process logs arrives in the supervisor's log with its generation", async () => {
  const pool = await start();
  await ask(pool.listen.port, "/log");
  await expect.poll(() => log.lines.find((line) => line.message === "said something"), patience).toBeDefined();
  const line = log.lines.find((line) => line.message === "said something");
  expect(line).toMatchObject({ level: "warn", fields: { generation: pool.generation, wei: 10n ** 20n } });
  expect(line?.fields["error"]).toBeInstanceOf(Error);
});

describe("a supervisor in a process of its own", () => {
  interface Running {
    readonly process: ChildProcess;
    readonly port: number;
    readonly generation: number;
    next(): Promise<Record<string, unknown>>;
  }

  async function run(port = 0, extra: { fd?: net.Server; env?: Record<string, string> } = {}): Promise<Running> {
    const script = fileURLToPath(new URL("./testing/stand-in-supervisor.ts", import.meta.url));
    const child = spawn(process.execPath, [...standInChild.execArgv, script, dataDir, String(port)], {
      // The fourth descriptor as systemd would hand it over. `_handle` is what Node's own tests pass on here.
      stdio: ["ignore", "pipe", "inherit", ...(extra.fd ? [(extra.fd as unknown as { _handle: never })._handle] : [])],
      env: { ...process.env, ...extra.env },
    });
    cleanup.push(async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGTERM");
        await gone;
      }
    });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const next = async (): Promise<Record<string, unknown>> => {
      const { value } = (await lines.next()) as { value?: string };
      return JSON.parse(value ?? '{"kind":"ended"}') as Record<string, unknown>;
    };
    const serving = await next();
    expect(serving).toMatchObject({ kind: "serving" });
    return { process: child, port: Number(serving["port"]), generation: Number(serving["generation"]), next };
  }

  test("that is killed makes room for the next one, which serves on the same port while work is finished", async () => {
    const first = await run();
    const held = await hold(first.port);
    const pid = Number((await ask(first.port)).text.split(" ")[1]);
    first.process.kill("SIGKILL");
    await new Promise((resolve) => first.process.once("exit", resolve));
    // Its child stops accepting as soon as it notices; the next start waits for that.
    const second = await run(first.port);
    expect(second.generation).toBe(first.generation + 1);
    expect(await generationAt(first.port)).toBe(second.generation);
    expect(await held.end()).toBe("the end");
    await goneProcess(pid);
  });

  test("serves on a socket that it was handed as by systemd, and a restart leaves that socket alone", async () => {
    const socket = net.createServer();
    await new Promise<void>((resolve) => void socket.listen(0, "127.0.0.1", resolve));
    const { port } = socket.address() as net.AddressInfo;
    const running = run(0, { fd: socket, env: { LISTEN_FDS: "1", LISTEN_FDNAMES: "public" } });
    // Our own copy would take connections away; systemd's does not accept.
    socket.close();
    const pool = await running;
    expect(await generationAt(port)).toBe(pool.generation);
    const traffic = load(port, 6);
    pool.process.kill("SIGHUP");
    expect(await pool.next()).toMatchObject({ kind: "restarted", generation: pool.generation + 1 });
    const { answered, failed } = await traffic.stop();
    expect(failed).toEqual([]);
    expect(answered).toBeGreaterThan(5);
  });
});

async function goneProcess(pid: number): Promise<void> {
  await expect.poll(() => isAlive(pid), patience).toBe(false);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
