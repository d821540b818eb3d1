import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
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
  expect(findings.find(({ device }) => device === "cpu")).toMatchObject({
    usable: true,
    text: "works",
    tests: expect.arrayContaining([expect.objectContaining({ test: "encode", of: "libx264", passed: true })]),
  });
  expect(devices[0].proved).toMatchObject({ encoders: expect.arrayContaining(["libx264"]) });
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

/**
 * An FFmpeg that plays a machine with two cards: on the first everything works (done by the processor in truth), the
 * second has no encoder. It insists on the order in which nvidia-smi counts cards. VAAPI and AMF work too, Quick Sync does not.
 */
const PRETENDER = `#!/usr/bin/env node
const { spawn } = require("node:child_process");
let args = process.argv.slice(2);
const cuda = args.some((arg) => /cuda=gpu|nvenc/.test(arg)) && !args.includes("-encoders");
if (cuda && process.env.CUDA_DEVICE_ORDER !== "PCI_BUS_ID") process.exit(70);
const second = args.includes("cuda=gpu:1") || args[args.indexOf("-gpu") + 1] === "1";
if (cuda && second) {
  console.error("[h264_nvenc @ 0x1] [error] OpenEncodeSessionEx failed: unsupported device (2): (no details)");
  process.exit(1);
}
if (cuda) {
  const valued = ["-init_hw_device", "-filter_hw_device", "-hwaccel", "-hwaccel_device", "-hwaccel_output_format", "-extra_hw_frames", "-tier", "-rc"];
  args = args.filter((arg, i) => !valued.includes(arg) && !valued.includes(args[i - 1]));
  args = args.map((arg) =>
    arg
      .replace("h264_nvenc", "libx264")
      .replace("hevc_nvenc", "libx265")
      .replaceAll("scale_cuda", "scale")
      .replaceAll(":format=nv12,setsar=1", ",setsar=1,format=yuv420p")
      .replaceAll("hwdownload,format=nv12", "null"),
  );
}
if (args.some((arg) => /qsv=hw/.test(arg))) process.exit(1);
if (args.some((arg) => /_(vaapi|amf)$/.test(arg))) {
  const opens = ["-init_hw_device", "-filter_hw_device"];
  args = args.filter((arg, i) => !opens.includes(arg) && !opens.includes(args[i - 1]));
  args = args.map((arg) =>
    arg
      .replace(/^h264_(vaapi|amf)$/, "libx264")
      .replace(/^hevc_(vaapi|amf)$/, "libx265")
      .replace("vp9_vaapi", "libvpx-vp9")
      .replaceAll("format=nv12,hwupload", "format=yuv420p"),
  );
}
if (args.includes("-encoders")) console.log(" V....D h264_amf  AMF\\n V....D hevc_amf  AMF");
const child = spawn("ffmpeg", args, { stdio: "inherit" });
child.on("close", (code) => process.exit(code ?? 1));
`;

const gpu = (index: number, name: string): string =>
  `${index}, GPU-${index}, ${name}, 00000000:3B:00.0, 550.90.07, 1, 1, 1, 1, 1, 45, 36.10, 72.00, 0`;

test("beside a card without an encoder the graphics of the processor are used, once, whatever ways there are", async () => {
  const smi = join(tempDir, "nvidia-smi");
  const ffmpegPath = join(tempDir, "pretender");
  const driDir = join(tempDir, "dri");
  await mkdir(driDir);
  await writeFile(join(driDir, "renderD128"), "");
  await writeFile(smi, `#!/bin/sh\necho '${gpu(1, "NVIDIA H100")}'\n`, { mode: 0o755 });
  await writeFile(ffmpegPath, PRETENDER, { mode: 0o755 });
  const { devices, findings } = await detectDevices({ ...options, nvidiaSmiPath: smi, ffmpegPath, driDir });
  expect(findings.map(({ device, usable }) => [device, usable])).toEqual([
    ["nvidia:1", false],
    [`qsv:${driDir}/renderD128`, false],
    [`vaapi:${driDir}/renderD128`, true],
  ]);
  expect(devices).toMatchObject([{ kind: "vaapi", path: { encoders: { h264: "h264_vaapi" } } }]);
}, 60_000);

test("of two cards the one that encodes is used, on a path that keeps frames on it", async () => {
  const smi = join(tempDir, "nvidia-smi");
  const ffmpegPath = join(tempDir, "pretender");
  await writeFile(smi, `#!/bin/sh\necho '${gpu(0, "NVIDIA L4")}'; echo '${gpu(1, "NVIDIA H100")}'\n`, { mode: 0o755 });
  await writeFile(ffmpegPath, PRETENDER, { mode: 0o755 });
  // However often a card is asked for, it is one device.
  const asked = { ...options, devices: "nvidia,nvidia:0,0", nvidiaSmiPath: smi, ffmpegPath };
  const { devices, findings } = await detectDevices(asked);
  expect(findings).toMatchObject([
    { device: "nvidia:0", usable: true, text: "works" },
    { device: "nvidia:1", usable: false, text: "no NVENC on this card for this codec" },
  ]);
  expect(findings[1]?.tests).toContainEqual({
    device: "nvidia:1",
    test: "encode",
    of: "h264_nvenc",
    passed: false,
    problem: "no-nvenc",
    subject: null,
  });
  expect(devices).toHaveLength(1);
  expect(devices[0]).toMatchObject({
    id: "nvidia:0",
    model: "NVIDIA L4",
    driver: "550.90.07",
    memoryMib: 1,
    proved: { encoders: ["h264_nvenc", "hevc_nvenc"], decoders: ["h264", "hevc", "vp8", "vp9"] },
    uuid: "GPU-0",
    path: {
      frames: "cuda",
      encoders: { h264: "h264_nvenc", h265: "hevc_nvenc", vp9: "libvpx-vp9" },
      decodes: ["h264", "hevc", "vp8", "vp9"],
    },
    anySourcePath: { frames: "cuda-upload" },
  });
  // Named, the card that does not work is an error; its kind alone is not.
  await expect(detectDevices({ ...options, devices: "nvidia:1", nvidiaSmiPath: smi, ffmpegPath })).rejects.toThrow(
    "A device that was asked for cannot transcode. nvidia:1: no NVENC on this card for this codec",
  );
}, 60_000);

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
