import { expect, test } from "vitest";
import { createLogReader } from "./ffmpeg-log.ts";

function read(text: string, pieces = 7) {
  let errors = 0;
  const reader = createLogReader(() => errors++);
  // In small pieces, as it comes through a pipe.
  for (let i = 0; i < text.length; i += pieces) reader.push(text.slice(i, i + pieces));
  reader.end();
  return { log: reader.log, errors };
}

const RUN_5_1 = `[info] Input #0, mpegts, from 'pipe:0':
[info]   Duration: N/A, start: 0.080000, bitrate: N/A
[info]   Stream #0:0[0x100]: Video: h264 (High), 1 reference frame ([27][0][0][0] / 0x001B), yuv420p(progressive, left), 426x240 [SAR 640:639 DAR 16:9], 25 fps, 25 tbr, 90k tbn
[info]   Stream #0:1[0x101](und): Audio: aac (LC) ([15][0][0][0] / 0x000F), 48000 Hz, 5.1, fltp, 130 kb/s
[info] Output #1, mp4, to '1.mp4':
[info]   Stream #1:0: Video: h264, 1 reference frame (avc1 / 0x31637661), yuv420p(tv, progressive, left), 854x482 (0x0) [SAR 1:1 DAR 427:241], q=2-31, 1600 kb/s, 25 fps, 90k tbn
[info] Output #0, mpegts, to '0.ts':
[info]   Stream #0:0: Video: h264, 1 reference frame, yuv420p(progressive, left), 640x360 (0x0) [SAR 1:1 DAR 71:40], q=2-31, 600 kb/s, 30 fps, 90k tbn
[verbose]   Input stream #0:0 (video): 48 packets read (41253 bytes); 47 frames decoded; 
[verbose]   Input stream #0:1 (audio): 94 packets read (32822 bytes); 
[verbose]   Output stream #0:0 (video): 58 frames encoded; 58 packets muxed (135177 bytes); 
[verbose]   Output stream #1:0 (video): 48 frames encoded; 48 packets muxed (346328 bytes); `;

test("reads sizes and counts of a run", () => {
  const { log, errors } = read(RUN_5_1);
  expect(log.sourceSize).toEqual({ width: 426, height: 240 });
  expect(log.decodedFrames).toBe(47);
  expect([...log.outputSizes]).toEqual([
    [1, { width: 854, height: 482 }],
    [0, { width: 640, height: 360 }],
  ]);
  expect([...log.encodedFrames]).toEqual([
    [0, 58],
    [1, 48],
  ]);
  expect(errors).toBe(0);
});

test.each([
  "[error] Error while decoding stream #0:0: Invalid data found when processing input",
  "[vist#0:0/h264 @ 0x55] [dec:h264 @ 0x55] [error] Error submitting packet to decoder: Invalid data found when processing input",
  "[vist#0:0/h264 @ 0x55] [error] Error submitting a packet to the decoder: Invalid data found",
])("tells of the first decoder error at once: %s", (line) => {
  const { log, errors } = read(`${line}\n${line}\n`, 1_000);
  expect(log.decodeErrors).toBe(2);
  expect(errors).toBe(1);
});

test("keeps the last complaints only, and of endless lines only the beginning", () => {
  const { log } = read(`${"[warning] again\n".repeat(100)}[error] ${"x".repeat(100_000)}\n[info] nothing`, 4_096);
  expect(log.tail.length).toBeLessThanOrEqual(40);
  expect(log.tail.at(-1)?.startsWith("[error] xxx")).toBe(true);
  expect(Math.max(...log.tail.map((line) => line.length))).toBeLessThanOrEqual(2_000);
});
