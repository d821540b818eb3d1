import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { plainProfile, type Profile } from "@openpool/protocol";

const folder = new URL("../fixtures/media/", import.meta.url);
const read = (name: string): Buffer => readFileSync(fileURLToPath(new URL(name, folder)));

/** A 2 s segment of 50 frames, 1280×720. */
export const sourceSegment: Buffer = read("720.ts");
export const SOURCE_DURATION_MS = 2_000;
export const SOURCE_PIXELS = 1280n * 720n * 50n;

/** A ready-made rendition and the pixels that a decoder counts in it. */
export interface ReadyRendition {
  readonly data: Buffer;
  readonly pixels: bigint;
}

const profile = (name: string, width: number, height: number, bitrate: number): Profile =>
  plainProfile({ name, width, height, bitrate, h264Profile: "main" });

/** The three profiles that `readyRenditions` were made for. */
export const readyProfiles: readonly Profile[] = [
  profile("P240", 426, 240, 250_000),
  profile("P360", 640, 360, 800_000),
  profile("P480", 854, 480, 1_600_000),
];

/** Renditions of {@link sourceSegment}, in the order of {@link readyProfiles}. */
export const readyRenditions: readonly ReadyRendition[] = [
  { data: read("240.ts"), pixels: 426n * 240n * 50n },
  { data: read("360.ts"), pixels: 640n * 360n * 50n },
  { data: read("480.ts"), pixels: 854n * 480n * 50n },
];

/** The ready-made rendition for each of a task's profiles, by height; undefined when there is none for one of them. */
export function readyRenditionsFor(profiles: readonly Profile[]): readonly ReadyRendition[] | undefined {
  const found = profiles.flatMap(({ height }) => {
    const index = readyProfiles.findIndex((ready) => ready.height === height);
    return readyRenditions.slice(index, index + 1);
  });
  return found.length === profiles.length ? found : undefined;
}
