import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { silentLogger, systemClock } from "@openpool/base";
import { defaultWorkerOptions, type WorkerOptions } from "./options.ts";
import { type FakePool, media, startFakePool, taskMessage, testProfile } from "./testing/fake-pool.ts";
import { startWorker, type Worker } from "./worker.ts";

const SECRET = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F.rig1";
const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanUp.reverse()) await step();
  cleanUp.length = 0;
});

async function pool(): Promise<FakePool> {
  const fake = await startFakePool();
  cleanUp.push(async () => await fake[Symbol.asyncDispose]());
  return fake;
}

async function worker(fake: FakePool, options: Partial<WorkerOptions> = {}): Promise<Worker> {
  const workDir = await mkdtemp(join(tmpdir(), "openpool-worker-"));
  const started = await startWorker(
    {
      ...defaultWorkerOptions,
      pool: fake.address,
      secret: SECRET,
      workDir,
      devices: "cpu",
      maxSessions: 4,
      ...options,
    },
    { logger: silentLogger, clock: systemClock },
  );
  cleanUp.push(
    () => rm(workDir, { recursive: true, force: true }),
    async () => await started[Symbol.asyncDispose](),
  );
  return started;
}

test("registers, fetches the source, and uploads renditions in profile order for task id 0", async () => {
  const fake = await pool();
  await worker(fake);
  const registration = await fake.nextRegistration();
  expect(registration.request).toMatchObject({ secret: SECRET, capacity: 4n });
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
});
