import { execFileSync, spawn } from "node:child_process";
import net from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { bindSocket, inheritedSockets, ListenError } from "./listening.ts";

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function listening(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  cleanup.push(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  return (server.address() as net.AddressInfo).port;
}

const connects = (port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    cleanup.push(() => socket.destroy());
    socket.once("connect", () => resolve("connected"));
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
  });

describe("a bound socket", () => {
  test("is accepted on by a child, and queues connections when that child has died", async () => {
    const bound = await bindSocket("listen", { host: "127.0.0.1", port: 0 });
    cleanup.push(() => bound.close());
    const { port } = bound.address;
    expect(await connects(port)).toBe("ECONNREFUSED");
    const acceptor = `require("net").createServer((s) => s.end("hello")).listen({ fd: 3 }, 4096, () => console.log("up"))`;
    const spawnChild = async (): Promise<ReturnType<typeof spawn>> => {
      const child = spawn(process.execPath, ["-e", acceptor], { stdio: ["ignore", "pipe", "inherit", bound.fd] });
      await new Promise((resolve) => child.stdout!.once("data", resolve));
      return child;
    };
    const first = await spawnChild();
    expect(await connects(port)).toBe("connected");
    const gone = new Promise((resolve) => first.once("exit", resolve));
    first.kill("SIGKILL");
    await gone;
    // Nobody accepts, and nobody is refused.
    const waiting = net.connect(port, "127.0.0.1");
    const answer = new Promise((resolve) => waiting.once("data", (data) => resolve(data.toString())));
    await new Promise((resolve) => waiting.once("connect", resolve));
    const second = await spawnChild();
    cleanup.push(() => second.kill("SIGKILL"));
    expect(await answer).toBe("hello");
  });

  test.each([
    ["127.0.0.1", "EADDRINUSE", "another program listens there"],
    ["203.0.113.1", "EADDRNOTAVAIL", "no such address"],
    ["no-such-host.invalid", "", "host name is not known"],
  ])(
    "on %s that cannot be had says what to do",
    async (host, _code, advice) => {
      const port = await listening();
      const error = await bindSocket("admin-listen", { host, port }).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(ListenError);
      expect((error as Error).message).toContain(advice);
      expect((error as Error).message).toContain("--admin-listen");
      // A resolver that does not answer takes its time to say so.
    },
    60_000,
  );

  test("belongs to nobody who was not given it", async () => {
    const bound = await bindSocket("listen", { host: "127.0.0.1", port: 0 });
    cleanup.push(() => bound.close());
    const seen = execFileSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" });
    // 0 to 2 are how we talk to it.
    expect(seen).not.toMatch(/ ([3-9]|\d\d+) -> socket:/);
  });
});

test.each([
  [{}, undefined],
  [{ LISTEN_PID: "41", LISTEN_FDS: "1" }, undefined],
  [{ LISTEN_PID: "42" }, undefined],
  [{ LISTEN_PID: "42", LISTEN_FDS: "x" }, undefined],
  [
    { LISTEN_PID: "42", LISTEN_FDS: "1" },
    { public: 3, admin: undefined },
  ],
  [
    { LISTEN_PID: "42", LISTEN_FDS: "1", LISTEN_FDNAMES: "openpool.socket" },
    { public: 3, admin: undefined },
  ],
  [
    { LISTEN_PID: "42", LISTEN_FDS: "2", LISTEN_FDNAMES: "admin:public" },
    { public: 4, admin: 3 },
  ],
  [
    { LISTEN_PID: "42", LISTEN_FDS: "1", LISTEN_FDNAMES: "admin" },
    { public: undefined, admin: 3 },
  ],
])("systemd's environment %j means %j", (env, expected) => {
  expect(inheritedSockets(env, 42)).toEqual(expected);
});
