import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import { expect, test } from "vitest";
import type { TranscodeOutcome, Transcoder } from "../transcode/transcoder.ts";
import { measureCapacity } from "./capacity.ts";
import type { Device } from "./device.ts";
import { inspectFfmpeg } from "./ffmpeg-build.ts";

const device = { id: "cpu", kind: "cpu", model: "processor", path: { frames: "software", encoders: {} } } as Device;

test("a benchmark that finished no segment is not kept: the next start measures again", async () => {
  const dir = await mkdtemp(join(tmpdir(), "openpool-capacity-"));
  const { signal } = new AbortController();
  let outcome: TranscodeOutcome = { kind: "died", text: "busy", stderrTail: "" };
  const transcoder = { transcode: async () => outcome } as unknown as Transcoder;
  const measure = async (): Promise<number | undefined> => {
    const options = {
      ffmpeg: await inspectFfmpeg("ffmpeg", signal),
      devices: [{ device, transcoder }],
      workDir: dir,
      tempDir: dir,
    };
    const found = await measureCapacity(options, { clock: systemClock, logger: silentLogger }, signal);
    return found.get(device)?.sessions;
  };
  const kept = async (): Promise<object> =>
    (JSON.parse(await readFile(join(dir, "capacity.json"), "utf8")) as { entries: object }).entries;
  try {
    expect(await measure()).toBe(1);
    expect(await kept()).toEqual({});
    outcome = { kind: "done", renditions: [], decodedPixels: 0n, release: () => {} };
    expect(await measure()).toBeGreaterThan(1);
    expect(Object.values(await kept())).toHaveLength(1);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
