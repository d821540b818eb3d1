import { expect, test } from "vitest";
import type { Profile } from "@openpool/protocol";
import { testProfile } from "../testing/fake-pool.ts";
import { type ArgumentsRequest, type EncodingPath, planTranscode } from "./arguments.ts";

const cpu: EncodingPath = {
  frames: "software",
  wrapper: [],
  deviceArgs: [],
  decodeArgs: [],
  uploadFilter: "",
  encoderArgs: [],
  decodes: undefined,
  encoders: { h264: "libx264", h265: "libx265", vp9: "libvpx-vp9" },
};
const card: EncodingPath = {
  ...cpu,
  frames: "cuda",
  decodeArgs: ["-hwaccel", "cuda"],
  encoders: { h264: "h264_nvenc" },
};

function plan(profiles: readonly Profile[], path = cpu, more: Partial<ArgumentsRequest> = {}) {
  return planTranscode(
    {
      profiles,
      audio: true,
      momentMs: undefined,
      clip: undefined,
      perceptualHash: false,
      livepeerVersion: "0.9.1",
      orchId: "offchain",
      input: "pipe:0",
      maxSeconds: 120,
      ...more,
    },
    path,
    { fpsModeFlag: "-fps_mode", dropsPackets: true },
  );
}

function argumentsOf(...input: Parameters<typeof plan>): string {
  const made = plan(...input);
  if (made.kind === "refused") throw new Error(made.text);
  return made.args.join(" ");
}

test.each([
  [
    "bitrate as minimum, maximum and buffer",
    { bitrate: 800_000 },
    "-b:v 800000 -maxrate 800000 -bufsize 800000 -minrate 800000",
  ],
  ["baseline without B-frames", { h264Profile: "baseline" }, "-profile:v baseline -bf 0"],
  ["main with three", { h264Profile: "main" }, "-profile:v main -bf 3"],
  ["constrained high as high without", { h264Profile: "constrained-high" }, "-profile:v high -bf 0"],
  ["GOP of 1.5 s at 29.97 fps", { gopMs: 1_500, fps: 30_000, fpsDen: 1_001 }, "-g 44"],
  ["intra only", { gopMs: -1 }, "-g 1"],
  [
    "GOP by time where frames keep their own",
    { gopMs: 2_500 },
    "-force_key_frames expr:isnan(prev_forced_t)+gte(t,prev_forced_t+2.5)",
  ],
  ["constant quality within the rate", { quality: 30 }, "-crf 30"],
  ["quality beyond what the codec knows", { quality: 63 }, "-crf 51"],
  ["fractions of frames", { fps: 30_000, fpsDen: 1_001 }, "fps=30000/1001"],
  ["an index in front of MP4", { container: "mp4" }, "-movflags faststart -f mp4"],
] as const)("asks for %s", (_, overrides, expected) => {
  expect(argumentsOf([testProfile(overrides)])).toContain(expected);
});

test("asks for no rate where there is none", () => {
  expect(argumentsOf([testProfile({ bitrate: 0 })])).not.toMatch(/-b:v|rate|bufsize/);
});

test("decodes once for all renditions", () => {
  const text = argumentsOf([testProfile(), testProfile({ height: 360 })]);
  expect(text.match(/ -i /g)).toHaveLength(1);
  expect(text).toContain("[0:v:0]split=2[s0][s1]");
});

test("keeps frames on the card from decoder to encoder, unless a signature is wanted", () => {
  const text = argumentsOf([testProfile()], card);
  expect(text).toMatch(/-hwaccel cuda .*scale_cuda=.*:format=nv12,setsar=1\[v0\].*-c:v h264_nvenc/);
  expect(text).toContain("-rc cbr");
  expect(argumentsOf([testProfile({ quality: 20 })], card)).toContain("-rc vbr -cq 27");
  expect(argumentsOf([testProfile()], card, { perceptualHash: true })).toContain("hwdownload,format=nv12,signature=");
});

test("keeps NVENC from B-frames where frames keep their own times", () => {
  expect(argumentsOf([testProfile({ h264Profile: "high" })], card)).toContain("-bf 0");
  expect(argumentsOf([testProfile({ h264Profile: "high", fps: 30 })], card)).toContain("-bf 3");
});

test("older FFmpegs are asked in their own words", () => {
  const made = planTranscode(
    {
      profiles: [testProfile()],
      audio: true,
      momentMs: undefined,
      clip: { fromMs: 500, toMs: 0 },
      perceptualHash: false,
      livepeerVersion: "0.9.1",
      orchId: "offchain",
      input: "pipe:0",
      maxSeconds: 120,
    },
    cpu,
    { fpsModeFlag: "-vsync", dropsPackets: false },
  );
  expect(made.kind === "plan" && made.args.join(" ")).toMatch(/-vsync passthrough(?!.*-bsf:a)/);
});

test("a hostile orchestrator id stays one short argument", () => {
  const made = plan([testProfile()], cpu, { orchId: `x\n-y ${"z".repeat(1_000)}` });
  const label = made.kind === "plan" ? made.args.find((arg) => arg.startsWith("service_provider=")) : undefined;
  expect(label).toMatch(/^service_provider=Livepeer Transcoder 0\.9\.1 \(x-y z+\)$/);
  expect(label?.length).toBeLessThan(120);
});

test.each([
  ["Too many outputs", Array.from({ length: 11 }, () => testProfile()), {}],
  ["TranscoderInvalidGOP", [testProfile({ gopMs: -2 })], {}],
  ["TranscoderInvalidClipConfig", [testProfile()], { clip: { fromMs: 1500, toMs: 500 } }],
  ["TranscoderUnrecognizedFormat", [testProfile({ codec: "vp9" })], {}],
  ["Encoder not found", [testProfile({ codec: "vp8", container: "mp4" })], {}],
])("refuses with %s", (text, profiles, more) => {
  expect(plan(profiles, cpu, more)).toEqual({ kind: "refused", text });
});
