import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { errorText, type OptionValues, systemClock } from "@openpool/base";
import {
  adviceFor,
  describeOutcome,
  parseProfiles,
  type PushedSegment,
  pushFile,
  type PushOptions,
} from "@openpool/push";
import { exitCode, type Io } from "../io.ts";
import { createLogger } from "../logging.ts";
import type { Registry } from "../registry.ts";
import { settingsElsewhere } from "../settings/commands.ts";
import { addSettings, flagsOf } from "../settings/flags.ts";
import { pushOptions } from "../settings/push-options.ts";
import { settingsError, settle } from "../settings/settle.ts";
import { latencySummary, type LatencySummary } from "../text/latency.ts";
import { count } from "../text/words.ts";

export function addPushCommand({ program, run }: Registry): void {
  const command = program
    .command("push")
    .summary("send a video to an orchestrator, as a gateway does")
    .description(
      "Cuts a file into segments (or takes a folder of ready ones), pushes them to any Livepeer orchestrator and fetches the renditions. Prints a line a segment.",
    )
    .argument("<FILE|DIR>", "a video, or a folder of .ts or .mp4 segments")
    .option("--json", "one JSON object a segment, a last one with the sum")
    .addHelpText(
      "after",
      `
Examples:
  openpool push clip.mp4 --orchestrator https://pool.example.com:8935
  openpool push clip.mp4 --count 20 --streams 4 --out renditions
  openpool push segments/ --profiles profiles.json --loop --pace real-time --json

Exits 0 only if every segment came back with all of its renditions.`,
    );
  addSettings(command, pushOptions);
  command.action((source: string) =>
    run(async (io) => {
      const json = command.opts<{ json?: boolean }>().json ?? false;
      const { values } = settle(pushOptions, flagsOf(command, pushOptions, 1), settingsElsewhere(pushOptions), io);
      if (values.loop && values.count !== undefined) {
        throw settingsError([{ where: "--loop", problem: "never ends, and --count does: give one of them" }]);
      }
      const options: PushOptions = {
        source: resolve(io.cwd, source),
        orchestrator: values.orchestrator,
        profiles: parseProfiles(await profilesText(values, io)),
        streams: values.streams,
        count: values.loop ? "forever" : values.count,
        pace: values.pace,
        segmentMs: values.segmentLength,
        container: values.container,
        outDir: values.out,
        ffmpeg: values.ffmpeg,
        ffprobe: values.ffmpeg.replace(/ffmpeg(?=[^/\\]*$)/, "ffprobe"),
        signal: io.stop,
      };
      const format = values.logFormat === "auto" ? (io.errIsTerminal ? "pretty" : "json") : values.logFormat;
      const logger = createLogger({ level: values.logLevel, format, colour: io.errIsTerminal }, (line) => io.err(line));
      const sum = createSum();
      const advised = new Set<string>();
      for await (const segment of pushFile(options, { logger, clock: systemClock })) {
        sum.add(segment);
        const advice = adviceFor(segment.outcome);
        // Said once: most failures come in rows.
        if (advice !== undefined && !advised.has(advice)) io.err(`openpool: ${advice}\n`);
        if (advice !== undefined) advised.add(advice);
        await io.out(json ? `${JSON.stringify(segmentJson(segment))}\n` : segmentLine(segment, values.streams > 1));
      }
      await io.out(json ? `${JSON.stringify({ sum: sum.json() })}\n` : `${sum.text()}\n`);
      return sum.allDone() ? exitCode.ok : exitCode.failed;
    }),
  );
}

/** Presets are named, everything else is a file. */
async function profilesText(values: OptionValues<typeof pushOptions>, io: Io): Promise<string> {
  if (/^P\d+p\d+fps[\w,]*$/.test(values.profiles)) return values.profiles;
  try {
    return await readFile(resolve(io.cwd, values.profiles), "utf8");
  } catch (error) {
    throw settingsError([{ where: "--profiles", problem: `cannot be read: ${errorText(error)}` }]);
  }
}

function segmentJson({ stream, manifestId, seq, sourceBytes, durationMs, outcome, files }: PushedSegment): object {
  const shared = { stream, manifestId, seq, sourceBytes, durationMs, outcome: outcome.kind };
  if (outcome.kind !== "done") return { ...shared, error: describeOutcome(outcome), advice: adviceFor(outcome) };
  const renditions = outcome.renditions.map(({ profile, data, pixels }, index) => ({
    name: profile.name,
    bytes: data.length,
    pixels: pixels.toString(),
    ...(files[index] === undefined ? {} : { file: files[index] }),
  }));
  return { ...shared, timings: outcome.timings, renditions };
}

function segmentLine({ manifestId, seq, sourceBytes, durationMs, outcome }: PushedSegment, many: boolean): string {
  const name = `${many ? `${manifestId} ` : ""}${String(seq).padStart(4)}`;
  const source = `${(durationMs / 1000).toFixed(1)} s, ${(sourceBytes / 1e6).toFixed(2)} MB`;
  if (outcome.kind !== "done") return `${name}  ${source}  LOST  ${describeOutcome(outcome)}\n`;
  const made = outcome.renditions.map((one) => `${one.profile.name} ${(one.data.length / 1e3).toFixed(0)} kB`);
  return `${name}  ${source}  ${outcome.timings.totalMs.toFixed(0).padStart(5)} ms  ${made.join(", ")}\n`;
}

interface Sum {
  add(segment: PushedSegment): void;
  /** Every segment came back, and there was one. */
  allDone(): boolean;
  text(): string;
  json(): object;
}

function createSum(): Sum {
  const latencies: number[] = [];
  let done = 0;
  let lost = 0;
  let pixels = 0n;
  const latency = (): LatencySummary => latencySummary(latencies);
  return {
    add({ outcome }) {
      if (outcome.kind !== "done") {
        lost += 1;
        return;
      }
      done += 1;
      latencies.push(outcome.timings.totalMs);
      for (const one of outcome.renditions) pixels += one.pixels;
    },
    allDone: () => lost === 0 && done > 0,
    json: () => ({ done, lost, pixels: pixels.toString(), latencyMs: latency() }),
    text() {
      const times = latencies.length === 0 ? "" : `, p50 ${latency().p50} ms, p99 ${latency().p99} ms`;
      return `${count(done, "segment")} done, ${lost} lost${times}, ${pixels} pixels`;
    },
  };
}
