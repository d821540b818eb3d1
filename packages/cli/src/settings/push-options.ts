import {
  BadValue,
  choiceValue,
  durationValue,
  formatHostPort,
  hostPortValue,
  integerValue,
  option,
  pathValue,
  switchValue,
  textValue,
  type ValueKind,
} from "@openpool/base";
import { poolOptions } from "@openpool/pool";

const hostPort = hostPortValue({ minPort: 1 });

const orchestratorValue: ValueKind<string> = {
  placeholder: "https://HOST:PORT",
  allowed: "`https://HOST:PORT` or `HOST:PORT`",
  parse(text) {
    const address = hostPort.parse(text.replace(/^https:\/\//, "").replace(/\/$/, ""));
    return address instanceof BadValue ? address : `https://${formatHostPort(address)}`;
  },
  format: (value) => value,
};

/** Every setting of `openpool push`. */
export const pushOptions = {
  orchestrator: option({
    name: "orchestrator",
    kind: orchestratorValue,
    default: "https://127.0.0.1:8935",
    help: "any Livepeer orchestrator",
    group: "Push",
  }),
  profiles: option({
    name: "profiles",
    kind: textValue(
      "FILE|NAMES",
      "a JSON file as go-livepeer's -transcodingOptions takes it, or preset names with commas",
    ),
    default: "P240p30fps16x9,P360p30fps16x9",
    help: "what to make of each segment: a JSON file, or preset names with commas between",
    group: "Push",
  }),
  streams: option({
    name: "streams",
    kind: integerValue("N", { min: 1, max: 10_000 }),
    default: "1",
    help: "streams at once, each with a manifest id of its own",
    group: "Push",
  }),
  count: option({
    name: "count",
    kind: integerValue("N", { min: 1 }),
    defaultNote: "the source once",
    help: "segments of each stream; the source is repeated as often as it takes",
    group: "Push",
  }),
  loop: option({
    name: "loop",
    kind: switchValue,
    default: "false",
    help: "repeat the source until told to stop",
    group: "Push",
  }),
  pace: option({
    name: "pace",
    kind: choiceValue(["as-answered", "real-time"]),
    default: "as-answered",
    help: "send the next segment as soon as the last one is answered, or one per its own duration as a live stream does",
    group: "Push",
  }),
  segmentLength: option({
    name: "segment-length",
    kind: durationValue({ minMs: 200 }),
    default: "2s",
    help: "how long the segments of a file shall be; cuts are made at keyframes",
    group: "Push",
  }),
  container: option({
    name: "container",
    kind: choiceValue(["mpegts", "mp4"]),
    defaultNote: "mpegts for a file, what it holds for a folder",
    help: "container of the segments",
    group: "Push",
  }),
  out: option({
    name: "out",
    kind: pathValue("DIR"),
    defaultNote: "renditions are not kept",
    help: "where renditions are written: DIR/STREAM/RENDITION/SEQ.ts",
    group: "Push",
  }),
  ffmpeg: option({
    name: "ffmpeg",
    kind: textValue("PROGRAM", "a path, or a name to be found on the PATH"),
    default: "ffmpeg",
    help: "the FFmpeg that cuts a file into segments; ffprobe is expected beside it",
    group: "Push",
  }),
  logLevel: option({
    name: "log-level",
    kind: choiceValue(["debug", "info", "warn", "error"]),
    default: "warn",
    help: "how much is logged",
    group: "Logs",
  }),
  logFormat: poolOptions.logFormat,
} as const;
