import { PoolError } from "@openpool/base";
import { type H264Profile, plainProfile, type Profile, type ProfileCodec } from "@openpool/protocol";

const preset = (name: string, width: number, height: number, bitrateK: number, fps: number): Profile =>
  plainProfile({ name, width, height, bitrate: bitrateK * 1000, fps });

/** The named profiles that every Livepeer gateway knows. */
const presets: readonly Profile[] = [
  preset("P720p60fps16x9", 1280, 720, 6000, 60),
  preset("P720p30fps16x9", 1280, 720, 4000, 30),
  preset("P720p25fps16x9", 1280, 720, 3500, 25),
  preset("P720p30fps4x3", 960, 720, 3500, 30),
  preset("P576p30fps16x9", 1024, 576, 1500, 30),
  preset("P576p25fps16x9", 1024, 576, 1500, 25),
  preset("P360p30fps16x9", 640, 360, 1200, 30),
  preset("P360p25fps16x9", 640, 360, 1000, 25),
  preset("P360p30fps4x3", 480, 360, 1000, 30),
  preset("P240p30fps16x9", 426, 240, 600, 30),
  preset("P240p25fps16x9", 426, 240, 600, 25),
  preset("P240p30fps4x3", 320, 240, 600, 30),
  preset("P144p30fps16x9", 256, 144, 400, 30),
];

function presetNamed(name: string): Profile | undefined {
  return presets.find((one) => one.name === name);
}

/** What a stock gateway asks for when it is told nothing. */
export const defaultProfiles: readonly Profile[] = presets.filter((one) =>
  ["P240p30fps16x9", "P360p30fps16x9"].includes(one.name),
);

const h264Profiles: Readonly<Record<string, H264Profile>> = {
  "": "default",
  none: "default",
  h264baseline: "baseline",
  h264main: "main",
  h264high: "high",
  h264constrainedhigh: "constrained-high",
};
const codecs: Readonly<Record<string, ProfileCodec>> = {
  "": "h264",
  "h.264": "h264",
  h264: "h264",
  hevc: "h265",
  h265: "h265",
  vp8: "vp8",
  vp9: "vp9",
};

export class ProfilesError extends PoolError<{
  readonly code: "push/bad-profiles";
  readonly problems: readonly string[];
}> {}

/**
 * Reads profiles as go-livepeer's `-transcodingOptions` takes them: a JSON array of
 * `{name, width, height, bitrate, fps, fpsDen, profile, gop, encoder, quality}` (bitrate in bit/s; `gop` a text: seconds
 * or `intra`), or preset names separated by commas. Throws {@link ProfilesError} with every problem found.
 */
export function parseProfiles(text: string): Profile[] {
  const problems: string[] = [];
  const profiles = /^\s*[[{]/.test(text) ? parseJson(text, problems) : parseNames(text, problems);
  if (problems.length === 0 && profiles.length === 0) problems.push("there is no profile in it");
  if (problems.length > 0) {
    throw new ProfilesError(
      { code: "push/bad-profiles", problems },
      `the profiles are not usable: ${problems.join("; ")}`,
    );
  }
  return profiles;
}

function parseNames(text: string, problems: string[]): Profile[] {
  const names = text.split(",").map((name) => name.trim());
  return names.flatMap((name) => {
    const profile = presetNamed(name);
    if (!profile) problems.push(`no preset is called "${name}" (there are ${presets.map((p) => p.name).join(", ")})`);
    return profile ? [profile] : [];
  });
}

function parseJson(text: string, problems: string[]): Profile[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    problems.push(`it is not JSON: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
  if (!Array.isArray(json)) {
    problems.push("it must be a JSON array of profiles");
    return [];
  }
  return json.flatMap((one: unknown, index) => {
    const found: string[] = [];
    const profile = parseOne(one, found);
    problems.push(...found.map((problem) => `profile ${index}: ${problem}`));
    return profile && found.length === 0 ? [profile] : [];
  });
}

const keys = ["name", "width", "height", "bitrate", "fps", "fpsDen", "profile", "gop", "encoder", "quality"] as const;

function parseOne(json: unknown, problems: string[]): Profile | undefined {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    problems.push("it must be an object");
    return undefined;
  }
  // Go matches keys without regard to case, and files in the wild rely on it.
  const fields = new Map(Object.entries(json).map(([key, value]: [string, unknown]) => [key.toLowerCase(), value]));
  const take = (key: string): unknown => {
    const value = fields.get(key.toLowerCase());
    fields.delete(key.toLowerCase());
    return value;
  };
  const count = (key: (typeof keys)[number], min: number, max: number, fallback?: number): number => {
    const value = take(key) ?? fallback;
    if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
    problems.push(`${key} must be a whole number from ${min} to ${max}, not ${JSON.stringify(value) ?? "missing"}`);
    return min;
  };
  const word = (key: (typeof keys)[number]): string => {
    const value = take(key) ?? "";
    if (typeof value === "string") return value;
    problems.push(`${key} must be a text, not ${JSON.stringify(value)}`);
    return "";
  };
  const choice = <Value>(key: "profile" | "encoder", table: Readonly<Record<string, Value>>): Value | undefined => {
    const value = word(key);
    const found = table[value.toLowerCase()];
    if (found === undefined) problems.push(`${key} "${value}" is not known`);
    return found;
  };
  const width = count("width", 1, 16_384);
  const height = count("height", 1, 16_384);
  const bitrate = count("bitrate", 0, 2_000_000_000, 0);
  const profile: Profile = {
    name: word("name") || `custom_${width}x${height}_${bitrate}`,
    width,
    height,
    bitrate,
    fps: count("fps", 0, 1_000_000, 0),
    fpsDen: count("fpsDen", 0, 1_000_000, 0) || 1,
    container: "mpegts", // the input's container decides, once it is known
    codec: choice("encoder", codecs) ?? "h264",
    h264Profile: choice("profile", h264Profiles) ?? "default",
    gopMs: gop(word("gop"), problems),
    quality: count("quality", 0, 63, 0),
  };
  for (const [key, value] of [
    ["colorDepth", take("colorDepth")],
    ["chromaFormat", take("chromaFormat")],
  ] as const) {
    if (value !== undefined && value !== 0) problems.push(`${key} can only be 0: orchestrators drop it`);
  }
  if (fields.size > 0) problems.push(`it has no setting called ${[...fields.keys()].map((k) => `"${k}"`).join(", ")}`);
  return profile;
}

function gop(text: string, problems: string[]): number {
  if (text === "") return 0;
  if (text === "intra") return -1;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0 && seconds <= 300) return Math.round(seconds * 1000);
  problems.push(`gop must be "intra" or seconds above 0, not "${text}"`);
  return 0;
}
