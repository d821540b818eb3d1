/**
 * A pool that is treated badly, and the questions that are asked after each piece of bad input: does it still serve, did
 * it give back what it held, did it say anything that it should not have said?
 */
import http2 from "node:http2";
import type { Clock, LogFields, Logger } from "@openpool/base";
import type { PoolOptions } from "@openpool/pool";
import { DOWNLOAD_TIMEOUT_MS, type Profile } from "@openpool/protocol";
import type { GatewayClient } from "@openpool/push";
import { expect, vi } from "vitest";
import { headerOf, segData } from "../conformance/gateway.ts";
import { forgeToken, type Target } from "../conformance/target.ts";
import { ADA, CALM_MS, startTestPool, type TestPool, until } from "../e2e/pool.ts";
import type { FakeTranscoder } from "../peers/fake-transcoder.ts";
import { readyProfiles, sourceSegment } from "../peers/media.ts";
import { connectH2, goClientSettings, parseHostPort } from "../peers/wire.ts";

// Every test of a fortress ends with asking whether it settles, and that may take as long as `SETTLE_MS`, more than once.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: LogFields;
}

export interface Fortress extends AsyncDisposable {
  readonly pool: TestPool;
  /** For the words of a gateway, `test/conformance/gateway.ts`. */
  readonly target: Target;
  readonly log: readonly LogLine[];
  /** The honest worker that is there all the time, unless the test asked for none. */
  readonly worker: FakeTranscoder | undefined;
  readonly gateway: GatewayClient;
  status(): ReturnType<TestPool["running"]["node"]["admin"]["status"]>;
  /** Connections of the public port, as its metrics say. */
  connections(): Promise<number>;
  /** A stream's name that no test has used yet. */
  name(): string;
  /**
   * Everything that was begun is over, all memory is given back, a normal segment goes through, and the log holds nothing
   * to be ashamed of and at most so many warnings.
   */
  unharmed(after?: { readonly warnings?: number }): Promise<void>;
}

const SQUEEZE_BYTES = 299_000_000;
const SQUEEZE_WAIT_MS = 2_000;
/** Far longer than any peer that stalls is waited for. */
const SETTLE_MS = 60_000;
/** Bodies take whole quarters of a megabyte. */
const sizeOf = (bytes: number): number => Math.ceil(bytes / 262_144) * 262_144;

/** Nothing of these may ever stand in a log. */
const SECRETS = /correct-horse|BEGIN [A-Z ]*PRIVATE KEY|op_[\w-]{20}/;

export async function openFortress(
  options: Partial<PoolOptions> = {},
  deps: { readonly clock?: Clock; readonly resident?: boolean } = {},
): Promise<Fortress> {
  const log: LogLine[] = [];
  const limitBytes = options.maxBytesInFlight ?? 256 << 20;
  const pool = await startTestPool(
    { ...options, maxBytesInFlight: limitBytes },
    { logger: recorder(log), ...(deps.clock ? { clock: deps.clock } : {}) },
  );
  const { admin } = pool.running.node;
  const worker =
    deps.resident === false
      ? undefined
      : await pool.transcoder({
          secret: `${ADA}.resident`,
          capacity: 5_000,
          // A stock one gives up a source that its gateway holds back, and must not look bad for it.
          sourceTimeoutMs: DOWNLOAD_TIMEOUT_MS,
        });
  if (worker) await pool.untilConnected(1);
  const gateway = pool.gateway();
  const warned: string[] = [];
  const onWarning = (warning: Error): void => void warned.push(warning.message);
  process.on("warning", onWarning);
  let streams = 0;
  let seenLines = 0;

  /** One normal segment; what its answer holds until it is needed elsewhere counts as held from now on. */
  const serve = async (profiles: readonly Profile[] = readyProfiles.slice(0, 1)): Promise<void> => {
    const helper = worker ? undefined : await pool.transcoder({ secret: `${ADA}.helper`, capacity: 5_000 });
    try {
      if (helper) await pool.untilConnected(1);
      const outcome = await gateway.pushSegment({
        manifestId: `normal-${streams++}`,
        seq: 0,
        data: sourceSegment,
        durationMs: CALM_MS,
        profiles,
        container: "mpegts",
      });
      expect(outcome.kind === "done" ? "done" : outcome).toBe("done");
    } finally {
      await helper?.[Symbol.asyncDispose]();
      if (helper) await pool.untilConnected(0);
    }
    await until(() => admin.status().jobsInFlight === 0);
  };
  const target: Target = {
    address: parseHostPort(pool.addr),
    isPool: true,
    secret: (rig = "rig") => `${ADA}.${rig}`,
    forgeToken: (sessionId, expiration) => forgeToken(pool.dataDir, sessionId, expiration),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };

  /**
   * Asks for more memory than there is, which makes the pool drop what it only keeps for a second look: what is left
   * then is what somebody forgot to give back.
   */
  const { session } = await connectH2(target.address, { settings: goClientSettings });
  const token = await forgeToken(pool.dataDir, "00000000000000aa", 99_999_999_999n);
  const data = await segData(token, { manifestId: Buffer.from("squeeze"), duration: 10_000 });
  const squeeze = async (): Promise<void> => {
    const held = (): number => admin.status().bytesInFlight;
    if (held() === 0) return;
    // What fits while nothing else is there must not be all that there is.
    const streams = Array.from({ length: Math.floor((limitBytes * 0.7) / SQUEEZE_BYTES) + 1 }, () =>
      session.request({
        ":method": "POST",
        ":path": "/segment",
        "livepeer-segment": headerOf(data),
        "content-length": SQUEEZE_BYTES,
      }),
    );
    for (const stream of streams) stream.on("error", () => {});
    const gone = new Promise<void>((resolve) => streams.at(-1)!.once("close", resolve));
    // Asked for once is enough: those that come after find what was dropped already.
    await Promise.race([gone, until(() => held() % sizeOf(SQUEEZE_BYTES) === 0, SQUEEZE_WAIT_MS).catch(() => {})]);
    for (const stream of streams) stream.close(http2.constants.NGHTTP2_CANCEL);
    await until(() => held() === 0, SETTLE_MS).catch(() => expect(held(), "bytes in flight when all is over").toBe(0));
  };
  await serve();

  return {
    pool,
    worker,
    gateway,
    log,
    target,
    status: () => admin.status(),
    async connections() {
      return Number(/^openpool_connections(?:\{[^}]*\})? (\d+)/m.exec(await admin.metrics())?.[1] ?? Number.NaN);
    },
    name: () => `bad-${streams++}`,
    async unharmed({ warnings = 0 } = {}) {
      await until(() => admin.status().jobsInFlight === 0, SETTLE_MS);
      await squeeze();
      await serve();
      const lines = log.slice(seenLines);
      seenLines = log.length;
      expect(lines.filter(({ level }) => level === "error")).toEqual([]);
      expect(lines.filter(({ level }) => level === "warn").length).toBeLessThanOrEqual(warnings);
      for (const line of lines) {
        const text = JSON.stringify(line);
        expect(text).not.toMatch(SECRETS);
        expect(text).not.toMatch(/\\n\s+at /);
        expect(text.length).toBeLessThan(2_000);
      }
      expect(warned).toEqual([]);
    },
    async [Symbol.asyncDispose]() {
      process.off("warning", onWarning);
      session.destroy();
      await pool[Symbol.asyncDispose]();
    },
  };
}

function recorder(lines: LogLine[]): Logger {
  const at =
    (level: LogLine["level"]) =>
    (message: string, fields: LogFields = {}): void => {
      // As a real logger does: what cannot be written must not get this far.
      lines.push({ level, message, fields: JSON.parse(JSON.stringify(fields)) as LogFields });
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => recorder(lines),
  };
}
