import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { times } from "../../../../test/chance.ts";
import { ffmpegMade } from "../../../../test/media/make.ts";
import { probeMedia } from "./probe.ts";
import { shapes } from "../../../../test/media/shapes.ts";

/** One of each structure: what is altered below starts from something that is right. */
const seeds = [
  "MPEG-TS with sound",
  "a varying frame rate",
  "interlaced, macroblock adaptive",
  "packets of 192 bytes",
  "HEVC in MPEG-TS",
  "VP8 in MPEG-TS",
  "several programmes",
  "MP4 with the index behind",
  "MP4 with the index in front",
  "MP4 in fragments",
  "MP4 that starts inside a GOP",
  "HEVC in MP4, hvc1",
  "VP9 in MP4",
] as const;

const files: Uint8Array[] = [];

beforeAll(async () => {
  for (const name of seeds) {
    const shape = shapes[name];
    files.push(new Uint8Array(readFileSync(await ffmpegMade(shape.extension, await shape.args()))));
  }
}, 120_000);

/** A probe of anything at all ends, and its answer is one that arithmetic can be done with. */
function expectSane(data: Uint8Array): void {
  const probe = probeMedia(data);
  if (probe.kind === "unreadable") {
    expect(probe.why).not.toContain("the probe failed");
    return;
  }
  const { video } = probe;
  if (!video) return;
  expect(Number.isSafeInteger(video.frames) && video.frames >= 0 && video.frames <= data.length).toBe(true);
  expect(Number.isSafeInteger(video.width) && video.width >= 0 && video.width <= 65_535).toBe(true);
  expect(Number.isSafeInteger(video.height) && video.height >= 0 && video.height <= 65_535).toBe(true);
  expect(Number.isFinite(video.durationMs) && video.durationMs >= 0).toBe(true);
  if (video.firstPts !== undefined) expect(video.lastPts).toBeGreaterThanOrEqual(video.firstPts);
}

const seed = fc.nat({ max: seeds.length - 1 });
/** Structure lies at the front and at the end of a file; most of what is between is coded picture. */
const place = fc.oneof(
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.double({ min: 0, max: 0.02, noNaN: true }),
  fc.double({ min: 0.97, max: 1, noNaN: true }),
);
const at = (data: Uint8Array, where: number): number => Math.min(data.length - 1, Math.floor(where * data.length));

describe("hostile bytes", () => {
  test("random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4_000 }), (data) => expectSane(data)),
      { numRuns: times(200) },
    );
  });

  test("random packets with sync bytes in the right places", () => {
    const packet = fc.uint8Array({ minLength: 187, maxLength: 187 });
    fc.assert(
      fc.property(fc.array(packet, { minLength: 3, maxLength: 20 }), (packets) =>
        expectSane(new Uint8Array(packets.flatMap((bytes) => [0x47, ...bytes]))),
      ),
      { numRuns: times(200) },
    );
  });

  test("a good file that is cut anywhere", () => {
    fc.assert(
      fc.property(seed, place, (which, where) => expectSane(files[which]!.subarray(0, at(files[which]!, where)))),
      {
        numRuns: times(300),
      },
    );
  });

  test("a good file with altered bytes: lengths, counts and offsets lie", () => {
    const change = fc.record({
      where: place,
      bytes: fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 8 }),
        fc.constantFrom(
          new Uint8Array(4),
          new Uint8Array(4).fill(255),
          new Uint8Array([0, 0, 0, 1]),
          new Uint8Array([0x7f, 255, 255, 255]),
        ),
      ),
    });
    fc.assert(
      fc.property(seed, fc.array(change, { minLength: 1, maxLength: 12 }), (which, changes) => {
        const data = files[which]!.slice();
        for (const { where, bytes } of changes)
          data.set(bytes.subarray(0, data.length - at(data, where)), at(data, where));
        expectSane(data);
      }),
      { numRuns: times(600) },
    );
  });

  test("every box of an MP4, every length of it", () => {
    const lengths = [0, 1, 2, 7, 8, 9, 0x7fff_ffff, 0xffff_ffff];
    for (const data of [
      files[seeds.indexOf("MP4 in fragments")]!,
      files[seeds.indexOf("MP4 with the index behind")]!,
    ]) {
      const names =
        /moov|trak|mdia|minf|stbl|stsd|avc1|avcC|stts|ctts|stsc|stsz|stco|elst|edts|moof|traf|tfhd|tfdt|trun|mvex|trex|mdat|mdhd|tkhd/g;
      const text = Buffer.from(data).toString("latin1");
      for (const found of text.matchAll(names)) {
        if (found.index < 4) continue;
        for (const length of lengths) {
          const altered = data.slice();
          new DataView(altered.buffer).setUint32(found.index - 4, length);
          expectSane(altered);
        }
        // The first fields within the box: versions, counts, sizes for all.
        for (const field of [4, 8, 12, 16]) {
          const altered = data.slice();
          altered.fill(255, found.index + field, found.index + field + 4);
          expectSane(altered);
        }
      }
    }
  });

  test("every field of a transport packet's header, in every packet", () => {
    const data = files[0]!.subarray(0, 188 * 60);
    for (let packet = 0; packet < 60; packet++) {
      for (let offset = 0; offset < 20; offset++) {
        for (const value of [0, 0x47, 0x7f, 183, 255]) {
          const altered = data.slice();
          altered[packet * 188 + offset] = value;
          expectSane(altered);
        }
      }
    }
  });

  test("counts in the billions cost nothing", () => {
    const box = (type: string, ...content: (number | Uint8Array)[]): Uint8Array => {
      const inner = content.flatMap((part) =>
        typeof part === "number" ? [part >>> 24, (part >>> 16) & 255, (part >>> 8) & 255, part & 255] : [...part],
      );
      return new Uint8Array([0, 0, (inner.length + 8) >> 8, (inner.length + 8) & 255, ...Buffer.from(type), ...inner]);
    };
    const handler = new Uint8Array(Buffer.from("vide"));
    const stbl = box(
      "stbl",
      box("stsd", 0, 1, box("avc1", new Uint8Array(78))),
      box("stts", 0, 1, 0xffff_ffff, 1),
      box("stsc", 0, 1, 1, 0xffff_ffff, 1),
      box("stsz", 0, 1, 0xffff_ffff),
      box("stco", 0, 1, 0),
    );
    const mdia = box("mdia", box("mdhd", 0, 0, 0, 90_000, 0), box("hdlr", 0, 0, handler), box("minf", stbl));
    const moov = box("moov", box("trak", box("tkhd", 0, 0, 0, 1), mdia), box("mvex", box("trex", 0, 1, 1, 0, 1, 0)));
    const run = box("trun", 0, 0xffff_ffff);
    const moof = box("moof", box("traf", box("tfhd", 0x0200_0000, 1), run, run, run));
    const data = new Uint8Array([...moov, ...moof, ...moof]);
    expectSane(data);
    expect(probeMedia(data)).toMatchObject({ kind: "media", video: { frames: 0 } });
    expect(probeMedia(data)).toHaveProperty("problems", expect.arrayContaining(["bad-index"]));
  });

  test("files of nothing but headers are given up", () => {
    const packets = new Uint8Array(188 * 150_000);
    const unit = [0x47, 0x41, 0x00, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1];
    for (let n = 0; n < 150_000; n++) {
      packets.set(unit, 188 * n);
      packets[188 * n + 3] = 0x10 | (n & 15);
    }
    const guessed = probeMedia(packets);
    expect(guessed).toHaveProperty("problems", expect.arrayContaining(["malformed"]));
    const boxes = new Uint8Array(8 * 300_000);
    for (let at = 0; at < boxes.length; at += 8)
      boxes.set([0, 0, 0, 8, ...Buffer.from(at === 0 ? "moov" : "free")], at);
    expect(probeMedia(boxes)).toHaveProperty("problems", expect.arrayContaining(["malformed"]));
    // In step for eight packets, then two at a time.
    const broken = new Uint8Array(188 * 5_000);
    for (let at = 0, n = 0; at < broken.length; at += 188 + (n > 8 && n % 2 ? 1 : 0), n++) broken[at] = 0x47;
    expect(probeMedia(broken)).toHaveProperty("problems", expect.arrayContaining(["lost-sync", "truncated"]));
  });

  test("samples that share bytes are not counted over and over", () => {
    const data = files[seeds.indexOf("MP4 with the index behind")]!.slice();
    const honest = probeMedia(data);
    // All pictures as large as half the file.
    const stsz = Buffer.from(data).indexOf("stsz");
    for (let i = 0; i < 25; i++) new DataView(data.buffer).setUint32(stsz + 16 + 4 * i, data.length >> 1);
    const altered = probeMedia(data);
    expect(honest).toMatchObject({ problems: [], video: { frames: 25 } });
    expect(altered).toHaveProperty("problems", expect.arrayContaining(["bad-index"]));
    expect(altered.kind === "media" && altered.video!.frames).toBeLessThan(3);
  });
});
