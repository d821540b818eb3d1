/**
 * What a look at a file costs, per file and per megabyte. Run it with `npx tsx --conditions=source bench/probe.ts`.
 */
import { readFileSync } from "node:fs";
import { probeMedia } from "@openpool/protocol";
import { ffmpegMade, testPicture } from "../test/media/make.ts";

const media = new URL("../test/fixtures/media/", import.meta.url);
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, media)));

function hostile(bytes: number, fill: (data: Uint8Array) => void): Uint8Array {
  const data = new Uint8Array(bytes);
  fill(data);
  return data;
}

const x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "8M"];
const picture = testPicture("1280x720", "30", 2);
const made = async (extension: string, ...args: string[]): Promise<Uint8Array> =>
  new Uint8Array(readFileSync(await ffmpegMade(extension, [...picture, ...x264, ...args])));

const unit = [0x47, 0x41, 0x00, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1];
const cases: readonly (readonly [string, Uint8Array])[] = [
  ["240p rendition", read("240.ts")],
  ["480p rendition", read("480.ts")],
  ["720p source", read("720.ts")],
  ["8 Mbit/s, fields allowed", await made("ts", "-x264-params", "fake-interlaced=1")],
  ["8 Mbit/s, MP4", await made("mp4")],
  ["8 Mbit/s, fragmented MP4", await made("mp4", "-movflags", "frag_keyframe+empty_moov")],
  ["32 MB of sync bytes", hostile(32e6, (data) => data.fill(0x47))],
  [
    "32 MB of empty units",
    hostile(32e6, (data) => {
      for (let at = 0, n = 0; at < data.length - 188; at += 188, n++) {
        data.set(unit, at);
        data[at + 3] = 0x10 | (n & 15);
      }
    }),
  ],
  [
    "32 MB out of step",
    hostile(32e6, (data) => {
      for (let at = 0, n = 0; at < data.length; at += 188 + (n > 8 && n % 2 ? 1 : 0), n++) data[at] = 0x47;
    }),
  ],
  ["32 MB of noise", hostile(32e6, (data) => data.forEach((_, i) => (data[i] = (i * 2654435761) >>> 24)))],
];

for (const [name, data] of cases) {
  const rounds = data.length > 1e7 ? 3 : 300;
  let best = Infinity;
  for (let batch = 0; batch < 5; batch++) {
    const start = performance.now();
    for (let i = 0; i < rounds; i++) probeMedia(data);
    best = Math.min(best, (performance.now() - start) / rounds);
  }
  const mb = data.length / 1e6;
  process.stdout.write(
    `${name.padEnd(28)} ${mb.toFixed(2)} MB  ${best.toFixed(3)} ms  ${(best / mb).toFixed(3)} ms/MB\n`,
  );
}
