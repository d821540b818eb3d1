import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { afterEach, expect, test, vi } from "vitest";
import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import { capabilitySetFromWords, Capability, capabilitySet, isSubset, rigReportSchema } from "@openpool/protocol";
import { detectDevices, type Detection } from "./devices/detect.ts";
import { defaultWorkerOptions, type WorkerDeps, type WorkerOptions } from "./options.ts";
import {
  type FakePool,
  media,
  startFakePool,
  startProxy,
  taskMessage,
  testCertificate,
  testProfile,
  wireBody,
} from "./testing/fake-pool.ts";
import { until } from "./testing/media.ts";
import { startWorker, type Worker } from "./worker.ts";

const SECRET = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F.rig1";
/** 2 s, 426×240, small. */
const SEGMENT = wireBody("d111be6f17611c95.ts");

const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanUp.reverse()) await step();
  cleanUp.length = 0;
});

/** Devices are found once for all tests: what is tested here comes after. */
let detection: Promise<Detection> | undefined;
const detect: typeof detectDevices = (options, ...rest) => (detection ??= detectDevices(options, ...rest));

async function pool(port = 0): Promise<FakePool> {
  const fake = await startFakePool(port);
  cleanUp.push(async () => await fake[Symbol.asyncDispose]());
  return fake;
}

async function makeWorkDir(): Promise<string> {
  const workDir = await mkdtemp(join(tmpdir(), "openpool-worker-"));
  cleanUp.push(() => rm(workDir, { recursive: true, force: true }));
  return workDir;
}

async function worker(
  fake: { readonly address: string },
  options: Partial<WorkerOptions> = {},
  deps: Partial<WorkerDeps> = {},
): Promise<Worker> {
  const workDir = options.workDir ?? (await makeWorkDir());
  const started = await startWorker(
    {
      ...defaultWorkerOptions,
      pool: fake.address,
      secret: SECRET,
      devices: "cpu",
      maxSessions: 4,
      // A machine that is busy with other tests must not decide what is tested.
      transcodeTimeoutMs: 300_000,
      ...options,
      workDir,
    },
    { version: "0.1.0", logger: silentLogger, clock: systemClock, detect, ...deps },
  );
  cleanUp.push(async () => await started[Symbol.asyncDispose]());
  return started;
}

/** An FFmpeg that runs until it is killed, and writes down its process id. */
async function sleepingFfmpeg(): Promise<{ readonly path: string; pids(): Promise<number[]> }> {
  const dir = await makeWorkDir();
  const path = join(dir, "ffmpeg");
  await writeFile(path, `#!/bin/sh\necho $$ >> "${dir}/pids"\nexec sleep 60\n`, { mode: 0o755 });
  return {
    path,
    pids: async () =>
      (await readFile(join(dir, "pids"), "utf8").catch(() => "")).split("\n").filter(Boolean).map(Number),
  };
}

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test("registers with what its tests proved, fetches the source, and uploads renditions in profile order for task id 0", async () => {
  const fake = await pool();
  const started = await worker(fake);
  const registration = await fake.nextRegistration();
  expect(registration.request).toMatchObject({ secret: SECRET, capacity: 4n });
  expect(Buffer.from(registration.request.ethereumAddress).toString("hex")).toBe(SECRET.slice(2, 42).toLowerCase());
  const { capabilities } = registration.request;
  expect(capabilities?.version).toMatch(/^\d+\.\d+\.\d+$/);
  const offered = capabilitySetFromWords(capabilities?.bitstring ?? []);
  expect(isSubset(capabilitySet(Capability.h264, Capability.authToken, Capability.segmentSlicing), offered)).toBe(true);
  expect(new Set(Object.values(capabilities?.capacities ?? {}))).toEqual(new Set([1]));

  registration.notify(
    taskMessage({
      url: fake.serve(media("720.ts")),
      profiles: [testProfile(), testProfile({ name: "P360", width: 640, height: 360 })],
    }),
  );
  const upload = await fake.nextUpload();
  expect(upload.errorText).toBeUndefined();
  expect(upload.taskId).toBe("0");
  expect(upload.headers).toMatchObject({
    ":path": "/transcodeResults",
    authorization: "Livepeer-Transcoder-1.0",
    credentials: SECRET,
    pixels: String(1280 * 720 * 50),
  });
  expect(upload.parts.map((part) => Object.fromEntries(part.headers))).toEqual([
    {
      "content-type": "video/mp2t",
      "content-length": String(upload.parts[0]?.data.length),
      pixels: String(426 * 240 * 50),
    },
    {
      "content-type": "video/mp2t",
      "content-length": String(upload.parts[1]?.data.length),
      pixels: String(640 * 360 * 50),
    },
  ]);
  await until(() => started.status().segmentsInFlight === 0);
  expect(started.status()).toMatchObject({
    state: "registered",
    rig: SECRET,
    segmentsDone: 1,
    segmentsFailed: 0,
    sessions: 1,
    pixelsEncoded: String((426 * 240 + 640 * 360) * 50),
  });
  // The first to start finds the devices, for all.
}, 120_000);

test("each rendition is followed by its signature when perceptual hashes are wanted", async () => {
  const fake = await pool();
  await worker(fake);
  const registration = await fake.nextRegistration();
  registration.notify(
    taskMessage({
      url: fake.serve(SEGMENT),
      taskId: 4611686018427387907n,
      phash: true,
      profiles: [testProfile(), testProfile()],
    }),
  );
  const upload = await fake.nextUpload();
  expect(upload.taskId).toBe("4611686018427387907");
  const kinds = upload.parts.map(({ headers }) => [headers.get("content-type"), headers.has("pixels")]);
  expect(kinds).toEqual([
    ["video/mp2t", true],
    ["application/octet-stream", false],
    ["video/mp2t", true],
    ["application/octet-stream", false],
  ]);
  expect(upload.parts[1]?.data).toHaveLength(4677);
});

test("answers every task that it cannot do with the text of a stock transcoder", async () => {
  const fake = await pool();
  await worker(fake);
  const registration = await fake.nextRegistration();
  const cases: readonly (readonly [Parameters<typeof taskMessage>[0], string | RegExp])[] = [
    [{ url: `https://${fake.address}/none` }, "404 Not Found"],
    [{ url: "https://127.0.0.1:1/x" }, 'Get "https://127.0.0.1:1/x": connection refused'],
    [{ url: "file:///etc/passwd" }, 'Get "file:///etc/passwd": unsupported protocol scheme'],
    [{ url: fake.serve(Buffer.alloc(0)) }, "TranscoderInvalidVideo"],
    [{ url: fake.serve(Buffer.from("<html>no</html>")) }, "TranscoderInvalidVideo"],
    [{ url: fake.serve(SEGMENT), durationMs: 300_001 }, "invalid duration"],
    [{ url: fake.serve(SEGMENT), profiles: [testProfile({ gopMs: -2 })] }, "TranscoderInvalidGOP"],
    [{ url: fake.serve(SEGMENT), clip: { from: 1500n, to: 500n } }, "TranscoderInvalidClipConfig"],
    [
      {
        url: fake.serve((_, response) => {
          response.writeHead(200, { "content-length": "1000" });
          response.write("half of it");
          setImmediate(() => response.destroy());
        }),
      },
      /^Get "https:.*": /,
    ],
  ];
  for (const [i, [task, text]] of cases.entries()) {
    registration.notify(taskMessage({ ...task, taskId: BigInt(i), session: `s${i}` }));
    const upload = await fake.nextUpload();
    expect(upload).toMatchObject({ taskId: String(i), headers: { pixels: "0" } });
    if (typeof text === "string") expect(upload.errorText).toBe(text);
    else expect(upload.errorText).toMatch(text);
  }
});

test("a source that does not come is given up after four seconds", async () => {
  const fake = await pool();
  const clock = stoppedClock();
  await worker(fake, {}, { clock });
  const registration = await fake.nextRegistration();
  let asked = false;
  registration.notify(taskMessage({ url: fake.serve(() => void (asked = true)) }));
  await until(() => asked);
  clock.advance(4_000);
  expect((await fake.nextUpload()).errorText).toMatch(/context deadline exceeded/);
});

test.each(["invalid secret", "zero capacity"])("stops for good when the pool says: %s", async (text) => {
  const fake = await pool();
  fake.refuseWith(2, text);
  const started = await worker(fake);
  const end = await started.closed;
  expect(end).toMatchObject({ kind: "refused", text });
  expect(end.kind === "refused" && end.advice).toMatch(/pool/);
  expect(started.status().state).toBe("stopped");
  expect(fake.registrations).toBe(1);
});

test("comes back after any other end, soon each time that the registration was good", async () => {
  const fake = await pool();
  const clock = stoppedClock();
  const started = await worker(fake, {}, { clock });
  const ends: ((registration: Awaited<ReturnType<FakePool["nextRegistration"]>>) => void)[] = [
    (registration) => registration.end(0),
    (registration) => registration.end(14, "restarting"),
    (registration) => registration.end(1, "cancelled"),
    (registration) => registration.cut(),
    (registration) => registration.end(2, "some new text"),
  ];
  for (const end of ends) {
    const registration = await fake.nextRegistration();
    await until(() => started.status().state === "registered");
    // Long enough to have been good.
    clock.advance(6_000);
    end(registration);
    await until(() => started.status().state === "waiting");
    expect(started.status().waiting?.retryInMs).toBeLessThanOrEqual(450);
    clock.advance(450);
  }
  await fake.nextRegistration();
});

test("waits longer and longer while nothing is there, and finds the pool when it is back", async () => {
  const gone = await startFakePool();
  const { port, address } = gone;
  await gone[Symbol.asyncDispose]();
  const clock = stoppedClock();
  const started = await worker({ address }, {}, { clock });
  let longest = 0;
  for (let attempt = 1; attempt <= 12; attempt++) {
    await until(() => started.status().waiting?.failures === attempt);
    const { retryInMs = 0 } = started.status().waiting ?? {};
    longest = Math.max(longest, retryInMs);
    clock.advance(retryInMs);
  }
  expect(longest).toBeGreaterThan(10_000);
  expect(longest).toBeLessThanOrEqual(45_000);
  // Somebody else may have been given its port meanwhile, and gives it back.
  const back = await vi.waitFor(() => pool(port), { timeout: 50_000, interval: 100 });
  await until(() => started.status().state !== "connecting");
  clock.advance(60_000);
  await back.nextRegistration();
});

test("notices a pool that is silent for good", async () => {
  const fake = await pool();
  const clock = stoppedClock();
  const proxy = await startProxy(fake.port);
  cleanUp.push(async () => await proxy[Symbol.asyncDispose]());
  const started = await worker(proxy, {}, { clock });
  await fake.nextRegistration();
  await until(() => started.status().state === "registered");
  proxy.freeze();
  clock.advance(15_000);
  clock.advance(10_000);
  await until(() => started.status().state === "waiting");
  expect(started.status().waiting?.why).toMatch(/no answer to a ping/);
});

test("finishes and uploads what it has although its registration ended meanwhile", async () => {
  const fake = await pool();
  await worker(fake);
  const registration = await fake.nextRegistration();
  let serve = (): void => {};
  const served = new Promise<void>((resolve) => (serve = resolve));
  const url = fake.serve((_, response) => void served.then(() => response.end(SEGMENT)));
  registration.notify(taskMessage({ url, taskId: 7n }));
  registration.end(0);
  await registration.closed;
  serve();
  const upload = await fake.nextUpload();
  expect(upload).toMatchObject({ taskId: "7", errorText: undefined });
  await fake.nextRegistration();
});

test("tries an upload again whose connection broke", async () => {
  const fake = await pool();
  const started = await worker(fake);
  const registration = await fake.nextRegistration();
  fake.cutNextUpload();
  registration.notify(taskMessage({ url: fake.serve(SEGMENT), taskId: 9n }));
  expect(await fake.nextUpload()).toMatchObject({ taskId: "9", errorText: undefined });
  expect(started.status().resultsLost).toBe(0);
});

test("notices that its upload connection is dead, and uploads over another", async () => {
  const fake = await pool();
  const clock = stoppedClock();
  const proxy = await startProxy(fake.port);
  cleanUp.push(async () => await proxy[Symbol.asyncDispose]());
  const started = await worker(proxy, {}, { clock });
  const registration = await fake.nextRegistration();
  registration.notify(taskMessage({ url: fake.serve(SEGMENT), taskId: 1n }));
  expect(await fake.nextUpload()).toMatchObject({ taskId: "1" });
  // The source comes past the proxy: what is on its way to the pool stands still, new connections get through.
  let asked = false;
  const url = fake.serve((_, response) => {
    proxy.freeze();
    response.end(SEGMENT);
    asked = true;
  });
  registration.notify(taskMessage({ url, taskId: 2n }));
  await until(() => asked && started.status().segmentsDone === 2);
  // How long a dial takes in real time is not this clock's business: its time goes on until the upload is there.
  let uploaded = false;
  const upload = fake.nextUpload().finally(() => (uploaded = true));
  await until(() => {
    clock.advance(10);
    return uploaded;
  });
  expect(await upload).toMatchObject({ taskId: "2", errorText: undefined });
});

test("the end of a session kills its work and no other", async () => {
  const fake = await pool();
  const ffmpeg = await sleepingFfmpeg();
  const started = await worker(fake, { ffmpegPath: ffmpeg.path });
  const registration = await fake.nextRegistration();
  const url = fake.serve(SEGMENT);
  // A session has the child at work and the one that waits for its next segment.
  registration.notify(taskMessage({ url, taskId: 1n, session: "ended" }));
  while ((await ffmpeg.pids()).length < 2);
  registration.notify(taskMessage({ url, taskId: 2n, session: "ended", seq: 1n }));
  registration.notify(taskMessage({ url, taskId: 3n, session: "other" }));
  while ((await ffmpeg.pids()).length < 4);
  const pids = await ffmpeg.pids();
  registration.notify({ segData: { authToken: { sessionId: "ended" } } });
  const answers = [await fake.nextUpload(), await fake.nextUpload()];
  expect(answers.map(({ taskId, errorText }) => [taskId, errorText]).sort()).toEqual([
    ["1", "TranscoderStopped"],
    ["2", "TranscoderStopped"],
  ]);
  await until(() => !pids.slice(0, 2).some(alive));
  expect(pids.slice(2).map(alive)).toEqual([true, true]);
  await until(() => started.status().segmentsInFlight === 1);
  expect(started.status()).toMatchObject({ segmentsStopped: 2, sessions: 1 });
});

test("more than five segments of a session at once are too many", async () => {
  const fake = await pool();
  const ffmpeg = await sleepingFfmpeg();
  await worker(fake, { ffmpegPath: ffmpeg.path });
  const registration = await fake.nextRegistration();
  const url = fake.serve(SEGMENT);
  for (let i = 0; i < 6; i++) registration.notify(taskMessage({ url, taskId: BigInt(i), seq: BigInt(i) }));
  expect(await fake.nextUpload()).toMatchObject({ taskId: "5", errorText: "TranscoderBusy" });
});

test("a source that cannot be fetched is told at once, also while an earlier segment of its session is at work", async () => {
  const fake = await pool();
  const ffmpeg = await sleepingFfmpeg();
  await worker(fake, { ffmpegPath: ffmpeg.path });
  const registration = await fake.nextRegistration();
  registration.notify(taskMessage({ url: fake.serve(SEGMENT), taskId: 1n }));
  registration.notify(taskMessage({ url: `https://${fake.address}/nowhere`, taskId: 2n, seq: 1n }));
  expect(await fake.nextUpload()).toMatchObject({ taskId: "2", errorText: "404 Not Found" });
});

test("draining takes nothing new, finishes what it has, and leaves nothing behind", async () => {
  const fake = await pool();
  const workDir = await makeWorkDir();
  const started = await worker(fake, { workDir });
  const registration = await fake.nextRegistration();
  let serve = (): void => {};
  const served = new Promise<void>((resolve) => (serve = resolve));
  registration.notify(
    taskMessage({ url: fake.serve((_, response) => void served.then(() => response.end(SEGMENT))), taskId: 1n }),
  );
  await until(() => started.status().segmentsInFlight === 1);
  const drained = started.drain();
  // The stream is cancelled while the connection stays: a pool can tell this from a death.
  expect(await registration.closed).toBe(8);
  expect(started.status().state).toMatch(/draining|stopped/);
  serve();
  expect(await fake.nextUpload()).toMatchObject({ taskId: "1", errorText: undefined });
  await drained;
  expect(await started.closed).toEqual({ kind: "stopped" });
  expect(fake.registrations).toBe(1);
  expect(await readdir(workDir)).toEqual([]);
});

test("closing at once kills its children and removes their files", async () => {
  const fake = await pool();
  const workDir = await makeWorkDir();
  const ffmpeg = await sleepingFfmpeg();
  const started = await worker(fake, { workDir, ffmpegPath: ffmpeg.path });
  const registration = await fake.nextRegistration();
  registration.notify(taskMessage({ url: fake.serve(SEGMENT) }));
  while ((await ffmpeg.pids()).length < 1);
  const [pid = 0] = await ffmpeg.pids();
  await started[Symbol.asyncDispose]();
  expect(alive(pid)).toBe(false);
  expect(await readdir(workDir)).toEqual([]);
});

test("removes what a killed predecessor left behind, and nothing of one that lives", async () => {
  const fake = await pool();
  const workDir = await makeWorkDir();
  // Beyond the largest process id that Linux gives.
  await mkdir(join(workDir, "tmp-99999999-abc", "cpu-3"), { recursive: true });
  await writeFile(join(workDir, "tmp-99999999-abc", "cpu-3", "0.ts"), "half a rendition");
  await mkdir(join(workDir, "tmp-1-abc"));
  await mkdir(join(workDir, `tmp-${process.pid}-abc`));
  await worker(fake, { workDir });
  await worker(fake, { workDir });
  const names = await readdir(workDir);
  expect(names).toContain("tmp-1-abc");
  expect(names).not.toContain("tmp-99999999-abc");
  expect(names).not.toContain(`tmp-${process.pid}-abc`);
  expect(names.filter((name) => name.startsWith(`tmp-${process.pid}-`))).toHaveLength(2);
});

test("tells about itself over HTTP", async () => {
  const fake = await pool();
  const started = await worker(fake, { statusListen: { host: "127.0.0.1", port: 0 } });
  await fake.nextRegistration();
  await until(() => started.status().state === "registered");
  const at = `http://127.0.0.1:${started.statusAddress?.port}`;
  expect((await fetch(`${at}/healthz`)).status).toBe(200);
  // What is no URL is not found, and harms nobody.
  expect((await fetch(`${at}//`)).status).toBe(404);
  expect(await (await fetch(`${at}/status`)).json()).toMatchObject({
    state: "registered",
    pool: fake.address,
    maxSessions: 4,
    devices: [{ id: "cpu", kind: "cpu", load: 0 }],
  });
  expect((await fetch(`${at}/else`)).status).toBe(404);
  expect((await fetch(at, { method: "POST" })).status).toBe(405);
  await expect(
    worker(fake, { statusListen: { host: "127.0.0.1", port: started.statusAddress?.port ?? 0 } }),
  ).rejects.toThrow("Name another port");
});

test("a pinned certificate lets no other pool pass", async () => {
  const fake = await pool();
  const pin = new X509Certificate(testCertificate()).fingerprint256;
  await worker(fake, { poolCertSha256: pin });
  await fake.nextRegistration();
  const wary = await worker(fake, { poolCertSha256: "00".repeat(32) });
  await until(() => wary.status().state === "waiting");
  expect(wary.status().waiting?.why).toMatch(/showed the certificate [0-9a-f]{64}, pinned is 0000/);
});

test("measures how much it takes, once", async () => {
  const fake = await pool();
  const workDir = await makeWorkDir();
  const first = await worker(fake, { workDir, maxSessions: undefined });
  const { request } = await fake.nextRegistration();
  expect(Number(request.capacity)).toBeGreaterThanOrEqual(1);
  expect(first.status().devices[0]?.realTimeFactor).toBeGreaterThan(0);
  await first[Symbol.asyncDispose]();
  const kept = await readFile(join(workDir, "capacity.json"), "utf8");
  // An FFmpeg that could not measure anything: what counts is what was kept.
  const second = await worker(fake, { workDir, maxSessions: undefined, ffmpegPath: "false" });
  expect((await fake.nextRegistration()).request.capacity).toBe(request.capacity);
  expect(second.status().maxSessions).toBe(Number(request.capacity));
  expect(await readFile(join(workDir, "capacity.json"), "utf8")).toBe(kept);
});

test.each([
  [{ pool: "nowhere:0" }, "write HOST:PORT"],
  [{ poolCertSha256: "abc" }, "SHA-256"],
  [{ maxSessions: 0 }, "at least 1"],
])("refuses to start with %j, saying what is wrong", async (options, text) => {
  const workDir = await makeWorkDir();
  await expect(worker({ address: "127.0.0.1:1" }, { workDir, ...options })).rejects.toThrow(text);
  expect(await readdir(workDir)).toEqual([]);
});

test("the pool is told about this machine once it has taken the registration, again while it cannot listen", async () => {
  const fake = await pool();
  fake.takeReports(409);
  await worker(fake, { maxSessions: 2 });
  await fake.nextRegistration();
  await fake.nextReport();
  const { headers, body } = await fake.nextReport();
  expect(headers).toMatchObject({ credentials: SECRET, "content-type": "application/json" });
  const report = rigReportSchema.parse(body);
  expect(report).toMatchObject({ v: 1, software: { worker: "0.1.0" }, devices: [{ id: "cpu", sessions: null }] });
  expect(report.devices[0]?.encoders).toContain("libx264");
  expect(report.tests.find(({ of }) => of === "libx264")).toMatchObject({ test: "encode", passed: true });
  expect(JSON.stringify(body)).not.toContain(hostname());
});
