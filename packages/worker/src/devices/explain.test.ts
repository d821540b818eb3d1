import { expect, test } from "vitest";
import { explainFailure, troubleText } from "./explain.ts";

test.each([
  [
    "[error] Unknown encoder 'h264_nvenc'",
    "FFmpeg has no h264_nvenc: install an FFmpeg that has it, or name another one with --ffmpeg",
  ],
  [
    "[h264_nvenc @ 0x1] [error] Driver does not support the required nvenc API version. Required: 12.1 Found: 11.1\n" +
      "[h264_nvenc @ 0x1] [error] The minimum required Nvidia driver for nvenc is 530.41.03 or newer",
    "driver too old: this FFmpeg's NVENC needs 530.41.03: update the NVIDIA driver, or use an older FFmpeg",
  ],
  [
    "[h264_nvenc @ 0x1] [error] OpenEncodeSessionEx failed: unsupported device (2): (no details)",
    "no NVENC on this card for this codec",
  ],
  ["[h264_nvenc @ 0x1] [error] No capable devices found", "no NVENC on this card for this codec"],
  [
    "[AVHWDeviceContext @ 0x1] [error] Cannot load libcuda.so.1",
    "no NVIDIA driver: install it; a container must be started with the GPU (docker run --gpus all)",
  ],
  [
    "[h264_nvenc @ 0x1] [error] Cannot load libnvidia-encode.so.1",
    "the driver's encoder library is missing: in a container, NVIDIA_DRIVER_CAPABILITIES must name video",
  ],
  [
    "[h264_nvenc @ 0x1] [error] OpenEncodeSessionEx failed: out of memory (10)",
    "all encoder sessions of the card are in use: end other encoders, or give the worker fewer sessions with --max-sessions",
  ],
  [
    "[AVHWDeviceContext @ 0x1] [error] No VA display found for device /dev/dri/renderD128.",
    "no VAAPI driver for this device: install the VAAPI driver of its maker",
  ],
  ["[x @ 0x1] [error] something new", "something new"],
  ["", "the test encode failed without a word"],
])("%j means: %s", (stderr, words) => {
  expect(troubleText(explainFailure(stderr))).toBe(words);
});

test("FFmpeg's own words are for this machine only: what the pool is told is a key", () => {
  expect(explainFailure("[x @ 0x1] [error] cannot open /home/ada/secret")).toEqual({
    problem: "other",
    subject: "",
    said: "cannot open /home/ada/secret",
  });
});
