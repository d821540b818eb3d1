import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bin } from "../e2e/program.ts";
import { startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { SECRET, writeSecret } from "./pool.ts";

interface Finding {
  readonly level: "ok" | "warn" | "fail";
  readonly what: string;
  readonly text: string;
  readonly advice?: string;
}

interface Asked {
  readonly addr: string;
  readonly cliAddr?: string | undefined;
  /** Default: the right one. */
  readonly secret?: string;
}

/** `openpool doctor --upstream …`, as an operator runs it: what it says of each orchestrator, and how it ends. */
async function doctor(upstreams: Readonly<Record<string, Asked>>) {
  const lines = Object.entries(upstreams).map(([name, { secret = SECRET }]) => `${name}=${secret}`);
  await using secret = await writeSecret(lines.join("\n"));
  const dataDir = await mkdtemp(join(tmpdir(), "openpool-doctor-"));
  const args = ["doctor", "--json", "--data-dir", dataDir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
  args.push("--upstream-secret-file", secret.file);
  for (const [name, { addr, cliAddr }] of Object.entries(upstreams)) {
    args.push("--upstream", `${name}=${addr}`);
    if (cliAddr !== undefined) args.push("--upstream-cli", `${name}=${cliAddr}`);
  }
  try {
    const { code, out } = await new Promise<{ code: number; out: string }>((resolve) => {
      const child = execFile(process.execPath, [bin, ...args], (_error, stdout) =>
        resolve({ code: child.exitCode ?? -1, out: stdout }),
      );
    });
    const findings = JSON.parse(out) as readonly Finding[];
    return { code, about: (name: string) => findings.filter(({ what }) => what === `upstream ${name}`) };
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function listen(answer: (socket: net.Socket) => void): Promise<{ readonly addr: string } & AsyncDisposable> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    answer(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    addr: `127.0.0.1:${typeof address === "object" && address ? address.port : 0}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

test("an orchestrator that can be worked for is found so: way, secret, version, room, price", async () => {
  await using orchestrator = await startStockOrchestrator({ secret: SECRET, price: "1200" });
  const { code, about } = await doctor({ main: orchestrator });
  expect(about("main").map(({ level }) => level)).toEqual(["ok", "ok", "ok", "ok", "ok"]);
  const [way, secret, version, room, price] = about("main");
  expect(way?.text).toContain("reached over TLS and HTTP/2");
  expect(secret?.text).toContain("takes the secret");
  expect(version?.text).toBe("go-livepeer 0.9.1");
  expect(room).toMatchObject({
    text: "it has room for sessions",
    advice: expect.stringContaining("-maxSessions auto"),
  });
  expect(price?.text).toContain("1200/1 wei");
  expect(code).toBe(0);
  // It was asked, and nothing was left there.
  expect(orchestrator.transcoders).toEqual([]);
}, 120_000);

test("what is in the way of others is said of each: secret, sessions, address, a port that is something else", async () => {
  await using right = await startStockOrchestrator({ secret: SECRET });
  await using auto = await startStockOrchestrator({ secret: SECRET, price: "1200", maxSessions: "auto" });
  await using plain = await listen((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await using silent = await listen((socket) => socket.resume());
  const { code, about } = await doctor({
    wrong: { ...right, secret: "wrong" },
    auto,
    nobody: { addr: "127.0.0.1:1" },
    plain,
    silent,
  });
  expect(code).not.toBe(0);
  expect(about("wrong").filter(({ level }) => level === "fail")).toMatchObject([
    { text: "it does not take the secret", advice: expect.stringContaining("--upstream-secret-file") },
  ]);
  expect(about("auto").find(({ text }) => text.includes("-maxSessions"))).toMatchObject({
    level: "ok",
    text: expect.stringContaining("its -maxSessions is auto"),
    advice: expect.stringContaining("as many as the pool offers"),
  });
  expect(about("nobody")).toMatchObject([{ level: "fail", text: expect.stringContaining("ECONNREFUSED") }]);
  expect(about("plain")).toMatchObject([{ level: "fail", text: expect.stringContaining("cannot be used") }]);
  expect(about("silent")).toMatchObject([{ level: "fail", text: expect.stringContaining("did not answer within") }]);
  expect([...right.transcoders, ...auto.transcoders]).toEqual([]);
}, 120_000);
