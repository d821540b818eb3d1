import { X509Certificate } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "@openpool/base";
import { parseFingerprint } from "@openpool/transcoder";
import { type ByteBudget, createByteBudget } from "../byte-budget.ts";
import { type FakePool, startFakePool, testCertificate } from "../testing/fake-pool.ts";
import { until } from "../testing/media.ts";
import { createDownloader, type Downloader } from "./source.ts";

const never = new AbortController().signal;
let pool: FakePool;
let budget: ByteBudget;
let downloader: Downloader;
beforeEach(async () => {
  pool = await startFakePool();
  budget = createByteBudget(10_000_000);
  downloader = createDownloader(budget, systemClock);
});
afterEach(async () => {
  await downloader[Symbol.asyncDispose]();
  await pool[Symbol.asyncDispose]();
});

test("holds the memory of a source until it is released", async () => {
  const outcome = await downloader.download(pool.serve(Buffer.alloc(1_000_000, 7)), never);
  if (outcome.kind !== "done") throw new Error(outcome.kind);
  expect(outcome.data.length).toBe(1_000_000);
  expect(budget.takenBytes).toBe(1_000_000);
  outcome.release();
  expect(budget.takenBytes).toBe(0);
});

test("reads a source whose length nobody announced", async () => {
  const url = pool.serve((_, response) => {
    for (let i = 0; i < 50; i++) response.write(Buffer.alloc(100_000, i));
    response.end();
  });
  const outcome = await downloader.download(url, never);
  if (outcome.kind !== "done") throw new Error(outcome.kind);
  expect(outcome.data.length).toBe(5_000_000);
  expect(outcome.data[4_999_999]).toBe(49);
  outcome.release();
  expect(budget.takenBytes).toBe(0);
});

test("with a pinned certificate nothing is fetched from anybody else, nor in the clear", async () => {
  const url = pool.serve(Buffer.from("the source"));
  const pin = parseFingerprint(new X509Certificate(testCertificate()).fingerprint256)!;
  await using right = createDownloader(budget, systemClock, pin);
  const outcome = await right.download(url, never);
  expect(outcome.kind === "done" && outcome.data.toString()).toBe("the source");
  if (outcome.kind === "done") outcome.release();
  await using wrong = createDownloader(budget, systemClock, "00".repeat(32));
  expect(await wrong.download(url, never)).toMatchObject({ kind: "failed" });
  expect(await right.download(url.replace("https:", "http:"), never)).toMatchObject({ kind: "failed" });
});

test("follows where it is sent, and not in circles", async () => {
  const target = pool.serve(Buffer.from("there"));
  const moved = pool.serve((_, response) => void response.writeHead(302, { location: target }).end());
  const outcome = await downloader.download(moved, never);
  expect(outcome.kind === "done" && outcome.data.toString()).toBe("there");
  const circle: string = pool.serve(
    (request, response) => void response.writeHead(307, { location: request.url }).end(),
  );
  expect(await downloader.download(circle, never)).toEqual({
    kind: "failed",
    text: `Get "${circle}": stopped after 5 redirects`,
  });
});

test("does not begin with what is too large, and waits for memory that others hold", async () => {
  const large = pool.serve((_, response) => {
    response.writeHead(200, { "content-length": "300000001" });
    response.write("x");
  });
  expect(await downloader.download(large, never)).toEqual({
    kind: "failed",
    text: "input bigger than max buffer size",
  });

  const held = await budget.take(9_999_999, never);
  const waiting = downloader.download(pool.serve(Buffer.alloc(1_000_000)), never);
  held?.();
  const outcome = await waiting;
  expect(outcome.kind).toBe("done");
  if (outcome.kind === "done") outcome.release();
});

test("stops at once when its session ends", async () => {
  let asked = false;
  const url = pool.serve((_, response) => {
    response.write("x");
    asked = true;
  });
  const controller = new AbortController();
  const outcome = downloader.download(url, controller.signal);
  await until(() => asked);
  controller.abort();
  expect(await outcome).toEqual({ kind: "stopped" });
  expect(budget.takenBytes).toBe(0);
});
