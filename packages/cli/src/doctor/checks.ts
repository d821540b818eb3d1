import { execFile } from "node:child_process";
import { access, constants, mkdtemp, rm, stat, statfs, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import {
  errorCode,
  errorText,
  formatHostPort,
  type HostPort,
  PoolError,
  silentLogger,
  systemClock,
} from "@openpool/base";
import { detectDevices, deviceName } from "@openpool/worker";
import { z } from "zod";
import { AdminClientError, openAdminClient } from "../admin-client.ts";

export interface Finding {
  readonly level: "ok" | "warn" | "fail";
  /** What was looked at: `ffmpeg`. */
  readonly what: string;
  /** What was found, in a line. */
  readonly text: string;
  /** What to do about it. */
  readonly advice?: string;
}

const ok = (what: string, text: string): Finding => ({ level: "ok", what, text });
const warn = (what: string, text: string, advice: string): Finding => ({ level: "warn", what, text, advice });
const fail = (what: string, text: string, advice: string): Finding => ({ level: "fail", what, text, advice });

/** Runs a program to its end; undefined: there is none of that name, or it cannot be run. */
function run(program: string, args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(program, [...args], { timeout: 10_000, maxBuffer: 1 << 24 }, (error, stdout, stderr) =>
      resolve(error && !stdout ? undefined : stdout + stderr),
    );
  });
}

export function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    return fail("node", `Node ${version} is too old`, "install Node 20.19 or newer, best 24");
  }
  return ok("node", `Node ${version}`);
}

export async function checkFfmpeg(program = "ffmpeg"): Promise<Finding[]> {
  const version = await run(program, ["-hide_banner", "-version"]);
  const probe = await run(program.replace(/ffmpeg(?=[^/\\]*$)/, "ffprobe"), ["-hide_banner", "-version"]);
  const install = "install FFmpeg, on Debian and Ubuntu with `apt-get install ffmpeg`";
  // A pool's own machine needs none.
  if (version === undefined) return [warn("ffmpeg", `${program} was not found: no worker can run here`, install)];
  const [, number = "unknown"] = /version (\S+)/.exec(version) ?? [];
  const major = Number(/^n?(\d+)\.(\d+)/.exec(number)?.[1] ?? 99);
  const minor = Number(/^n?(\d+)\.(\d+)/.exec(number)?.[2] ?? 0);
  const findings =
    major < 4 || (major === 4 && minor < 4)
      ? [fail("ffmpeg", `FFmpeg ${number} is too old`, "install 4.4 or newer, best 5.1 or newer")]
      : [ok("ffmpeg", `FFmpeg ${number}`)];
  if (probe === undefined) findings.push(fail("ffprobe", "ffprobe was not found beside FFmpeg", install));
  const encoders = (await run(program, ["-hide_banner", "-encoders"])) ?? "";
  const has = (name: string): boolean => new RegExp(`^ V\\S* ${name}\\b`, "m").test(encoders);
  const hardware = ["h264_nvenc", "h264_vaapi", "h264_qsv", "h264_amf", "h264_videotoolbox"].filter(has);
  const compiled =
    hardware.length === 0 ? "none for graphics cards" : `compiled in for graphics cards: ${hardware.join(", ")}`;
  findings.push(
    has("libx264")
      ? ok("encoders", `libx264; ${compiled}`)
      : warn(
          "encoders",
          `no libx264: this FFmpeg cannot encode H.264 on the processor; ${compiled}`,
          "install a full build",
        ),
  );
  return findings;
}

export async function checkNvidia(): Promise<Finding> {
  const query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"];
  const cards = await run("nvidia-smi", query);
  if (cards === undefined) {
    const device = await access("/dev/nvidiactl").then(
      () => true,
      () => false,
    );
    return device
      ? warn(
          "nvidia",
          "there is an NVIDIA device, but no nvidia-smi",
          "install the driver's tools (in a container: the NVIDIA toolkit)",
        )
      : ok("nvidia", "no NVIDIA card; workers use the processor or other accelerators");
  }
  const lines = cards.trim().split("\n");
  if (/failed|error/i.test(cards))
    return fail("nvidia", lines[0] ?? "nvidia-smi failed", "reinstall or reload the driver");
  return ok(
    "nvidia",
    `${lines.join("; ")} (whether a card encodes is found out by a test encode when a worker starts)`,
  );
}

/** What of this machine passes a test encode, as a worker would find out at its start. */
export async function checkDevices(tempDir: string, signal: AbortSignal): Promise<Finding[]> {
  const options = { devices: "auto", ffmpegPath: "ffmpeg", nvidiaSmiPath: "nvidia-smi", tempDir };
  try {
    const { devices, findings } = await detectDevices(options, { clock: systemClock, logger: silentLogger }, signal);
    const usable = devices.map((one) => ok("device", `${one.id} (${deviceName(one)}) transcodes`));
    const others = findings
      .filter((one) => !one.usable)
      .map((one) => ok("device", `${one.device} does not: ${one.text}`));
    return [...usable, ...others];
  } catch (error) {
    if (!(error instanceof PoolError)) throw error;
    return [warn("device", errorText(error), "only workers need one")];
  }
}

/** The pool's share of disk that it wants at least, in bytes. */
const WANTED_BYTES = 2 ** 30;

export async function checkDataDir(dataDir: string): Promise<Finding[]> {
  let existing = dataDir;
  for (;;) {
    const found = await stat(existing).catch((error: unknown) => error);
    if (!(found instanceof Error)) {
      if ("isDirectory" in Object(found) && (found as Awaited<ReturnType<typeof stat>>).isDirectory()) break;
      return [fail("data directory", `${existing} is no directory`, "name another one with --data-dir")];
    }
    if (errorCode(found) !== "ENOENT" || dirname(existing) === existing) {
      return [fail("data directory", `${existing}: ${errorText(found)}`, "name another one with --data-dir")];
    }
    existing = dirname(existing);
  }
  const findings: Finding[] = [];
  try {
    const trial = await mkdtemp(join(existing, ".openpool-doctor-"));
    await writeFile(join(trial, "x"), "x");
    await rm(trial, { recursive: true });
    findings.push(ok("data directory", existing === dataDir ? `${dataDir} can be written` : `${dataDir} can be made`));
  } catch (error) {
    findings.push(
      fail(
        "data directory",
        `${existing} cannot be written (${errorCode(error) ?? errorText(error)})`,
        "change its owner, or name another one with --data-dir",
      ),
    );
  }
  const disk = await statfs(existing);
  const free = Number(disk.bavail) * Number(disk.bsize);
  const space = `${(free / 2 ** 30).toFixed(1)} GiB free`;
  findings.push(
    free < WANTED_BYTES ? warn("disk", space, "the event log grows: make room, at least 1 GiB") : ok("disk", space),
  );
  const shm = await access("/dev/shm", constants.W_OK).then(
    () => true,
    () => false,
  );
  if (process.platform === "linux" && !shm) {
    findings.push(warn("memory files", "/dev/shm cannot be written", "in a container, mount it (--shm-size=256m)"));
  }
  return findings;
}

/** Whether a server could listen there now. */
export async function checkPort(
  what: string,
  address: HostPort,
  setting: string,
  /** An orchestrator that the pool is to work for has this port. */
  orchestrators = false,
): Promise<Finding> {
  const where = formatHostPort(address);
  if (address.port === 0) return ok(what, `${where}: a free one is taken`);
  const problem = await new Promise<string | undefined>((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(errorCode(error) ?? errorText(error)));
    server.listen(address.port, address.host, () => server.close(() => resolve(undefined)));
  });
  if (problem === undefined) return ok(what, `${where} is free`);
  if (problem === "EADDRINUSE" && orchestrators) {
    return warn(what, `${where} is the orchestrator's`, `give the pool another ${setting}, such as 0.0.0.0:8945`);
  }
  if (problem === "EADDRINUSE") {
    return warn(
      what,
      `${where} is taken`,
      `right if the pool runs there; otherwise stop the other program or choose another ${setting}`,
    );
  }
  return fail(what, `${where} cannot be listened on (${problem})`, `choose another ${setting}`);
}

const statusSchema = z.object({
  version: z.string(),
  sessions: z.number(),
  capacity: z.number(),
  rigs: z.array(z.object({ state: z.string() })),
});

/** How the pool of a data directory is; undefined: none runs there. */
export async function checkRunningPool(dataDir: string): Promise<Finding | undefined> {
  try {
    const pool = await openAdminClient(dataDir);
    const status = statusSchema.parse(await pool.get("/status"));
    const connected = status.rigs.filter((one) => one.state === "connected").length;
    const text = `version ${status.version}, ${connected} rigs connected, ${status.sessions} of ${status.capacity} sessions`;
    try {
      await pool.get("/healthz");
    } catch (error) {
      if (!(error instanceof AdminClientError)) throw error;
      return fail(
        "pool",
        `it runs and is not healthy: ${errorText(error)}`,
        `see ${pool.url}/healthz and the pool's log`,
      );
    }
    return connected === 0
      ? warn("pool", text, "gateways are refused until a worker joins: openpool worker --help")
      : ok("pool", text);
  } catch (error) {
    if (!(error instanceof AdminClientError)) throw error;
    return error.info.code === "cli/no-pool"
      ? undefined
      : fail("pool", `it does not answer: ${errorText(error)}`, "if it was stopped on purpose, all is well");
  }
}

/** Whether the public port of a pool speaks what gateways and workers need, and how far its clock is from ours. */
export async function checkEndpoint(address: HostPort): Promise<Finding[]> {
  const where = formatHostPort(address);
  const dialled = await dial(address);
  if (typeof dialled === "string") {
    return [
      fail(
        "endpoint",
        `${where}: ${dialled}`,
        "check the address, that the pool runs, and that no firewall is between",
      ),
    ];
  }
  const { alpn, protocol, certificate, tookMs } = dialled;
  const findings = [
    alpn === "h2"
      ? ok("endpoint", `${where} speaks ${protocol} and HTTP/2, connected in ${tookMs} ms`)
      : fail(
          "endpoint",
          `${where} does not speak HTTP/2 (ALPN ${alpn || "none"})`,
          "a proxy in between must pass HTTP/2 through, or TLS untouched",
        ),
  ];
  const until = Date.parse(certificate.valid_to);
  const days = Math.floor((until - Date.now()) / 86_400_000);
  const hash = `SHA-256 ${certificate.fingerprint256}`;
  findings.push(
    days < 0
      ? warn("certificate", `it ended ${certificate.valid_to}`, "stock nodes do not mind; renew it all the same")
      : ok("certificate", `valid for ${days} days, ${hash}`),
  );
  const skew = await clockSkewMs(address);
  if (skew !== undefined) {
    const seconds = (skew / 1000).toFixed(0);
    findings.push(
      Math.abs(skew) > 30_000
        ? warn(
            "clock",
            `this machine and ${where} are ${seconds} s apart`,
            "let NTP set both clocks: session tokens carry a time",
          )
        : ok("clock", `within ${Math.max(1, Math.ceil(Math.abs(skew) / 1000))} s of ${where}`),
    );
  }
  return findings;
}

interface Dialled {
  readonly alpn: string;
  readonly protocol: string;
  readonly certificate: { readonly valid_to: string; readonly fingerprint256: string };
  readonly tookMs: number;
}

function dial(address: HostPort): Promise<Dialled | string> {
  const startedMs = performance.now();
  return new Promise((resolve) => {
    const socket: TLSSocket = connect(
      // Pools use certificates of their own making, as stock orchestrators do.
      {
        host: address.host,
        port: address.port,
        rejectUnauthorized: false,
        ALPNProtocols: ["h2", "http/1.1"],
        timeout: 5_000,
      },
      () => {
        const certificate = socket.getPeerCertificate();
        resolve({
          alpn: socket.alpnProtocol || "",
          protocol: socket.getProtocol() ?? "TLS",
          certificate: { valid_to: certificate.valid_to, fingerprint256: certificate.fingerprint256 },
          tookMs: Math.round(performance.now() - startedMs),
        });
        socket.destroy();
      },
    );
    socket.on("error", (error) => resolve(`no TLS connection (${errorCode(error) ?? errorText(error)})`));
    socket.on("timeout", () => {
      resolve("no answer within 5 s");
      socket.destroy();
    });
  });
}

/** The peer's clock minus ours, from the Date header of any answer; undefined where it sends none. */
function clockSkewMs(address: HostPort): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = connect(
      {
        host: address.host,
        port: address.port,
        rejectUnauthorized: false,
        ALPNProtocols: ["http/1.1"],
        timeout: 5_000,
      },
      () => socket.write(`GET /healthz HTTP/1.1\r\nHost: ${formatHostPort(address)}\r\nConnection: close\r\n\r\n`),
    );
    let head = "";
    const end = (): void => {
      const date = /^date: *(.+)$/im.exec(head)?.[1];
      resolve(date === undefined ? undefined : Date.parse(date) - Date.now());
      socket.destroy();
    };
    socket.on("data", (chunk) => {
      head += chunk.toString("latin1");
      if (head.includes("\r\n\r\n") || head.length > 16_384) end();
    });
    socket.on("error", () => resolve(undefined));
    socket.on("timeout", end);
    socket.on("close", end);
  });
}

/** The clock against what it was when this program was built: a machine that woke up in 1970 signs no usable token. */
export function checkClock(nowMs: number): Finding {
  const year = new Date(nowMs).getUTCFullYear();
  return year < 2025
    ? fail("clock", `it is not ${year}`, "set the clock (timedatectl set-ntp true)")
    : ok("clock", new Date(nowMs).toISOString());
}
