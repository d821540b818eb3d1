import { readFileSync } from "node:fs";
import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { type Clock, type HostPort, type Logger, silentLogger, systemClock } from "@openpool/base";
import { multipartBoundary, parseMultipart } from "@openpool/protocol";
import { describe, expect, test } from "vitest";
import { createUploader, encodeAnswer, type UploadOrder, type UploadOutcome } from "./uploader.ts";

const wireFile = (name: string): Buffer =>
  readFileSync(new URL(`../../../test/fixtures/wire/${name}`, import.meta.url));

interface Recorded {
  readonly exchanges: readonly {
    readonly request: { readonly headers: [string, string][]; readonly body: { readonly file: string } };
  }[];
}

test.each(["1-rendition", "3-renditions", "fps-den", "mp4", "phash"])(
  "the body of a result is written as a stock transcoder writes it, byte for byte: %s",
  (name) => {
    const recorded = JSON.parse(wireFile(`transcode-results-${name}.json`).toString()) as Recorded;
    const { headers, body } = recorded.exchanges[0]!.request;
    const boundary = multipartBoundary(new Map(headers).get("content-type") ?? "") ?? "";
    const bytes = wireFile(body.file);
    const parts = parseMultipart(bytes, boundary, { maxParts: 20, maxPartBytes: 3e8 });
    if (typeof parts === "string") throw new Error(parts);
    const { contentType, chunks } = encodeAnswer({
      kind: "renditions",
      decodedPixels: 0n,
      parts: parts.map((part) => ({
        contentType: part.headers.get("content-type") ?? "",
        pixels: part.headers.has("pixels") ? BigInt(part.headers.get("pixels")!) : undefined,
        data: part.data,
      })),
    });
    const ours = multipartBoundary(contentType) ?? "";
    const text = Buffer.concat(chunks).toString("latin1").replaceAll(ours, boundary);
    expect(Buffer.from(text, "latin1").equals(bytes)).toBe(true);
  },
);

test("a result without renditions still has a body that ends", () => {
  const { contentType, chunks } = encodeAnswer({ kind: "renditions", decodedPixels: 0n, parts: [] });
  const boundary = multipartBoundary(contentType) ?? "";
  expect(parseMultipart(Buffer.concat(chunks), boundary, { maxParts: 1, maxPartBytes: 1 })).toEqual([]);
});

test("an error goes up as bare text", () => {
  expect(encodeAnswer({ kind: "error", text: "TranscoderBusy" })).toEqual({
    contentType: "livepeer/transcoding-error",
    chunks: [Buffer.from("TranscoderBusy")],
  });
});

const small: Omit<UploadOrder, "deadlineMs"> = {
  taskId: 7n,
  answer: { kind: "error", text: "TranscoderInvalidVideo" },
  secret: "secret",
};

interface Server extends AsyncDisposable {
  /** Of those that come from now on, each is given the next of these; the last one stays. */
  answers: readonly (number | "cut")[];
  /** False: connections are reset. */
  reachable: boolean;
  readonly results: number;
  readonly address: HostPort;
  upload(changed?: Partial<UploadOrder>, onRetry?: (retries: number) => void): Promise<UploadOutcome>;
}

/** Who takes results, or does not. */
async function startServer(): Promise<Server> {
  const pem = (name: string): Buffer =>
    readFileSync(new URL(`../../../test/fixtures/tls/test-only.${name}.pem`, import.meta.url));
  const sockets = new Set<Socket>();
  let results = 0;
  const server = http2.createSecureServer({ cert: pem("cert"), key: pem("key") }, (request, response) => {
    request.resume().once("end", () => {
      const answer = self.answers[Math.min(results++, self.answers.length - 1)] ?? 200;
      if (answer === "cut") return void request.stream.session?.destroy();
      response.writeHead(answer);
      response.end("said so");
    });
  });
  server.on("connection", (socket: Socket) => {
    if (!self.reachable) return void socket.resetAndDestroy();
    sockets.add(socket.once("close", () => sockets.delete(socket)));
  });
  server.on("sessionError", () => {});
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const self: Server = {
    answers: [200],
    reachable: true,
    address: { host: "127.0.0.1", port },
    get results() {
      return results;
    },
    async upload(changed, onRetry) {
      let retries = 0;
      const logger: Logger = { ...silentLogger, debug: () => onRetry?.(++retries) };
      await using uploader = createUploader(
        { address: self.address, maxConnections: 2 },
        { clock: systemClock, logger },
      );
      return await uploader.upload({
        ...small,
        deadlineMs: systemClock.monotonicMs() + 60_000,
        ...changed,
      });
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
  return self;
}

describe("an answer", () => {
  test("is brought again while somebody in between says that nobody is there", async () => {
    await using server = await startServer();
    server.answers = [502, 503, 504, 200];
    expect(await server.upload()).toEqual({ kind: "taken" });
    expect(server.results).toBe(4);
  });

  test.each([400, 401, 404, 415, 500])("is not brought again after a %i, which would be said again", async (status) => {
    await using server = await startServer();
    server.answers = [status, 200];
    expect(await server.upload()).toEqual({ kind: "refused", status, text: "said so" });
    expect(server.results).toBe(1);
  });

  test("is brought when its orchestrator can be reached again, however often it was tried before", async () => {
    await using server = await startServer();
    server.reachable = false;
    const outcome = await server.upload({}, (retries) => (server.reachable = retries >= 8));
    expect(outcome).toEqual({ kind: "taken" });
    expect(server.results).toBe(1);
  });

  test.each<[string, (server: Server) => void]>([
    ["cannot be reached", (server) => (server.reachable = false)],
    ["has nobody behind what answers", (server) => (server.answers = [503])],
  ])("is lost when its time is over and its orchestrator %s", async (_, trouble) => {
    await using server = await startServer();
    trouble(server);
    const outcome = await server.upload({ deadlineMs: systemClock.monotonicMs() + 500 });
    expect(outcome.kind).toBe("lost");
  });

  test("does not go to who shows another certificate than may have it", async () => {
    await using server = await startServer();
    const shown: string[] = [];
    const accepts = (fingerprint: string): Promise<boolean> => {
      shown.push(fingerprint);
      return Promise.resolve(false);
    };
    expect(await server.upload({ accepts })).toMatchObject({ kind: "lost", why: expect.stringContaining("restarted") });
    expect(shown.every((one) => /^[0-9a-f]{64}$/.test(one))).toBe(true);
    expect(server.results).toBe(0);
  });

  test("that broke off and was brought again is in doubt: who took it may have heard of the break", async () => {
    await using server = await startServer();
    server.answers = ["cut", 200];
    expect(await server.upload()).toEqual({ kind: "taken", doubtful: true });
  });
});

test("a connection that was idle for a minute is closed, and one for urgent answers is not the one that others use", async () => {
  await using server = await startServer();
  const idle = new Set<() => void>();
  const after: Clock["after"] = (delayMs, callback) => {
    if (delayMs !== 60_000) return systemClock.after(delayMs, callback);
    idle.add(callback);
    return () => void idle.delete(callback);
  };
  await using uploader = createUploader(
    { address: server.address, maxConnections: 2 },
    { clock: { ...systemClock, after }, logger: silentLogger },
  );
  const order: UploadOrder = { ...small, deadlineMs: systemClock.monotonicMs() + 60_000 };
  const upload = async (changed: Partial<UploadOrder> = {}): Promise<void> =>
    expect(await uploader.upload({ ...order, ...changed })).toEqual({ kind: "taken" });
  await upload();
  await upload();
  expect([uploader.connections, idle.size]).toEqual([1, 1]);
  await upload({ urgent: true });
  await upload({ urgent: true });
  expect([uploader.connections, idle.size]).toEqual([2, 2]);
  for (const close of idle) close();
  expect(uploader.connections).toBe(0);
  await upload();
  expect(uploader.connections).toBe(1);
});
