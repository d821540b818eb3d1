import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Capability, capabilitySet, DEFAULT_CAPABILITIES, isSubset } from "@openpool/protocol";
import { detectDevices, type DetectOptions } from "./detect.ts";

let tempDir: string;
let options: DetectOptions;
beforeEach(async () => {
  tempDir = await mkdtemp(join(tmpdir(), "openpool-detect-"));
  options = { devices: "auto", ffmpegPath: "ffmpeg", nvidiaSmiPath: join(tempDir, "no-such-tool"), tempDir };
});
afterEach(() => rm(tempDir, { recursive: true, force: true }));

test("the processor offers what its test encodes proved, and detection leaves nothing behind", async () => {
  const { devices, findings, ffmpeg } = await detectDevices(options);
  expect(devices).toHaveLength(1);
  expect(devices[0]).toMatchObject({ id: "cpu", kind: "cpu", path: { encoders: { h264: "libx264" } } });
  expect(isSubset(DEFAULT_CAPABILITIES, devices[0].capabilities)).toBe(true);
  expect(isSubset(capabilitySet(Capability.h264Decode422), devices[0].capabilities)).toBe(true);
  expect(isSubset(capabilitySet(Capability.vp8Encode), devices[0].capabilities)).toBe(false);
  expect(findings).toContainEqual({ device: "cpu", usable: true, text: "works" });
  expect(ffmpeg.version).toMatch(/^\w/);
  expect(await readdir(tempDir)).toEqual([]);
});

test("a card whose driver is missing is named with the reason, and the processor takes over", async () => {
  const smi = join(tempDir, "nvidia-smi");
  const line = "0, GPU-1, NVIDIA T4, 00000000:3B:00.0, 550.90.07, 1, 1, 1, 1, 1, 45, 36.10, 72.00, 0";
  await writeFile(smi, `#!/bin/sh\necho '${line}'\n`);
  await chmod(smi, 0o755);
  const { devices, findings } = await detectDevices({ ...options, nvidiaSmiPath: smi });
  // A machine that runs the tests and has a card passes it; all others say why not.
  const finding = findings.find(({ device }) => device === "nvidia:0");
  expect(finding?.text).toMatch(
    /^(?:no NVIDIA driver|no NVENC|FFmpeg has no|works|driver too old|there is no such CUDA)/,
  );
  expect(devices.some(({ kind }) => kind === (finding?.usable ? "nvidia" : "cpu"))).toBe(true);
});

test("a device that was named and is not there is an error that says so", async () => {
  await expect(detectDevices({ ...options, devices: "nvidia:0" })).rejects.toThrow(
    "A device that was asked for cannot transcode. nvidia: no NVIDIA driver: nvidia-smi is not installed",
  );
  await expect(detectDevices({ ...options, devices: "tpu" })).rejects.toThrow('"tpu" is no device');
});

test("no FFmpeg, and something that is none, are told apart and say what to do", async () => {
  await expect(detectDevices({ ...options, ffmpegPath: join(tempDir, "ffmpeg") })).rejects.toThrow(
    "apt install ffmpeg",
  );
  const fake = join(tempDir, "fake");
  await writeFile(fake, "#!/bin/sh\necho hello\n");
  await chmod(fake, 0o755);
  await expect(detectDevices({ ...options, ffmpegPath: fake })).rejects.toThrow(
    "does not answer -version as FFmpeg does: hello",
  );
});
