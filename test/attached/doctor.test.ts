import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { expect, test } from "vitest";
import { bin } from "../e2e/program.ts";
import { startFakeTranscoder } from "../peers/fake-transcoder.ts";
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

interface Listening extends AsyncDisposable {
  readonly addr: string;
}

/** A port with TLS and these protocols; none: it has not heard of protocols. */
function listenTls(protocols: readonly string[] | undefined): Promise<Listening> {
  const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/test-only.${name}.pem`, import.meta.url));
  const server = tls.createServer({
    cert: pem("cert"),
    key: pem("key"),
    ...(protocols ? { ALPNProtocols: [...protocols] } : {}),
  });
  return listenOn(server.on("secureConnection", (socket) => socket.on("error", () => {}).resume()));
}

const listen = (answer: (socket: net.Socket) => void): Promise<Listening> =>
  listenOn(net.createServer().on("connection", answer));

async function listenOn(server: net.Server): Promise<Listening> {
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
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

test("an orchestrator that can be worked for is found so: way, secret, version, room, sessions, price", async () => {
  await using orchestrator = await startStockOrchestrator({ secret: SECRET, price: "1200", maxSessions: "auto" });
  const { code, about } = await doctor({ main: orchestrator });
  expect(about("main").map(({ level }) => level)).toEqual(["ok", "ok", "ok", "ok", "ok", "ok"]);
  const [way, secret, version, room, sessions, price] = about("main");
  expect(way?.text).toContain("reached over TLS and HTTP/2");
  expect(secret?.text).toContain("takes the secret");
  expect(version?.text).toContain("go-livepeer 0.9.1");
  expect(room?.text).toContain("no transcoder is connected");
  expect(sessions).toMatchObject({
    text: "its -maxSessions is auto",
    advice: expect.stringContaining("turns gateways away while the pool is away"),
  });
  expect(price?.text).toContain("1200/1 wei");
  expect(code).toBe(0);
  // It was asked, and nothing was left there.
  expect(orchestrator.transcoders).toEqual([]);
}, 120_000);

test("one on chain, which answers only who signs, is asked all the same, whatever its sessions and its version are", async () => {
  const stock = { secret: SECRET, price: "1200", onChain: true };
  await using few = await startStockOrchestrator({ ...stock, maxSessions: 10 });
  await using auto = await startStockOrchestrator({ ...stock, maxSessions: "auto" });
  await using full = await startStockOrchestrator({ secret: SECRET, onChain: true, maxSessions: 0 });
  await using busy = await startStockOrchestrator({ ...stock, livepeer: "0.8.10" });
  await using newer = await startStockOrchestrator({ ...stock, livepeer: "1.2.3-4-gabc" });
  await using other = await startFakeTranscoder({ addr: busy.addr, secret: SECRET, capacity: 3 });
  await busy.until(() => busy.live.length === 1, 60_000);
  const { code, about } = await doctor({ few, auto, full, busy, newer });
  const said = (name: string) => about(name).map(({ level, text }) => `${level} ${text}`);
  expect(said("few")).toContain("ok it has room for sessions");
  expect(said("few")).toContain("warn its -maxSessions is a number, not auto");
  expect(said("auto")).toContain("ok its -maxSessions is auto");
  // Who does not ask its CLI port cannot know why it takes nobody.
  expect(said("full")).toContain("warn it takes no more sessions now");
  expect(about("full").find(({ text }) => text.includes("cannot be seen from here"))).toMatchObject({
    text: expect.stringContaining("its CLI port does not say"),
    advice: expect.stringContaining("livepeer_max_sessions_total"),
  });
  expect(said("busy")).toContain(
    "ok it has room for sessions; 1 transcoders with 3 sessions are connected to it already",
  );
  expect(about("busy").find(({ text }) => text.includes("transcoders are connected"))).toBeDefined();
  expect(said("busy")).toContainEqual(expect.stringMatching(/^warn go-livepeer 0\.8\.10 is older/));
  expect(said("newer")).toContainEqual(expect.stringMatching(/^warn go-livepeer 1\.2\.3-4-gabc is newer/));
  // It answers nobody without a deposit, and has no CLI port that says more.
  expect(said("full")).toContainEqual(expect.stringMatching(/^warn its version cannot be seen/));
  expect(code).toBe(0);
  expect(other.state.kind).toBe("registered");
}, 120_000);

test("what is in the way of others is said of each: secret, address, a port that is something else, TLS without HTTP/2", async () => {
  await using right = await startStockOrchestrator({ secret: SECRET });
  await using plain = await listen((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await using silent = await listen((socket) => socket.resume());
  await using old = await listenTls(["http/1.1"]);
  await using older = await listenTls(undefined);
  const { code, about } = await doctor({
    wrong: { ...right, secret: "wrong" },
    nobody: { addr: "127.0.0.1:1" },
    plain,
    silent,
    old,
    older,
  });
  expect(code).not.toBe(0);
  expect(about("wrong").filter(({ level }) => level === "fail")).toMatchObject([
    { text: "it does not take the secret", advice: expect.stringContaining("--upstream-secret-file") },
  ]);
  expect(about("nobody")).toMatchObject([{ level: "fail", text: expect.stringContaining("ECONNREFUSED") }]);
  expect(about("plain")).toMatchObject([{ level: "fail", text: expect.stringContaining("cannot be used") }]);
  expect(about("silent")).toMatchObject([{ level: "fail", text: expect.stringContaining("did not answer within") }]);
  for (const [name, { addr }] of Object.entries({ old, older })) {
    const text = `${addr} cannot be used: ${addr} does not speak HTTP/2 over TLS: is it a pool's or an orchestrator's port?`;
    expect(about(name)).toMatchObject([{ level: "fail", text, advice: expect.stringContaining("-serviceAddr") }]);
  }
  expect(right.transcoders).toEqual([]);
}, 120_000);
