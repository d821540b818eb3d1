/**
 * What the worker adds to FFmpeg: segments through a real worker (registration, fetch, transcode, upload, over TLS on this
 * machine) against one plain FFmpeg process for each of the same segments with equal settings, in turns.
 * Run it with `npx tsx --conditions=source bench/worker.ts [rounds] [clip]`.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { silentLogger, systemClock } from "@openpool/base";
import { LIVEPEER_VERSION, plainProfile, type Profile } from "@openpool/protocol";
import { defaultWorkerOptions, detectDevices, startWorker } from "@openpool/worker";
import { startFakePool, taskMessage } from "../packages/worker/src/testing/fake-pool.ts";
import { planTranscode } from "../packages/worker/src/transcode/arguments.ts";

const rounds = Number(process.argv[2] ?? 5);
const clip = process.argv[3] ?? fileURLToPath(new URL("../packages/cli/media/bigbuckbunny.mp4", import.meta.url));
const SECRET = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F.bench";

const profile = (
  name: string,
  width: number,
  height: number,
  bitrate: number,
  h264Profile: Profile["h264Profile"],
): Profile => plainProfile({ name, width, height, bitrate, h264Profile });
const profiles = [
  profile("P240", 426, 240, 250_000, "baseline"),
  profile("P360", 640, 360, 800_000, "main"),
  profile("P480", 854, 480, 1_600_000, "high"),
];

function run(args: readonly string[], cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("ffmpeg", args, { cwd, stdio: ["ignore", "ignore", "inherit"] });
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`ffmpeg ended with ${code}`))));
  });
}

/** CPU ms of this process and of the children that have ended. */
async function cpuMs(): Promise<number> {
  const stat = await readFile("/proc/self/stat", "utf8").catch(() => "");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // utime, stime, cutime, cstime, in ticks of 10 ms.
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * 10, 0);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

const dir = await mkdtemp(join(tmpdir(), "openpool-bench-"));
try {
  const cut = [
    "-force_key_frames",
    "expr:gte(t,n_forced*2)",
    "-b:v",
    "4M",
    "-c:a",
    "copy",
    "-f",
    "segment",
    "-segment_time",
    "2",
  ];
  const source = ["-y", "-v", "error", "-i", clip, "-c:v", "libx264", "-preset", "veryfast"];
  await run([...source, ...cut, "-segment_format", "mpegts", "source%d.ts"], dir);
  // The last piece is shorter: leave it out.
  const names = (await readdir(dir))
    .filter((name) => name.startsWith("source"))
    .sort()
    .slice(0, -1);
  const segments = await Promise.all(names.map(async (name) => ({ name, data: await readFile(join(dir, name)) })));

  await using pool = await startFakePool();
  await using worker = await startWorker(
    {
      ...defaultWorkerOptions,
      pool: pool.address,
      secret: SECRET,
      workDir: join(dir, "worker"),
      devices: "cpu",
      maxSessions: 4,
      transcodeTimeoutMs: 60_000,
    },
    { version: "bench", logger: silentLogger, clock: systemClock },
  );
  const registration = await pool.nextRegistration();
  const detection = await detectDevices({
    devices: "cpu",
    ffmpegPath: "ffmpeg",
    nvidiaSmiPath: "nvidia-smi",
    tempDir: dir,
  });
  const { path } = detection.devices[0];

  const oursMs: number[] = [];
  const plainMs: number[] = [];
  let [oursCpuMs, plainCpuMs] = [0, 0];
  let [oursNodeMs, plainNodeMs] = [0, 0];
  const nodeMs = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  let taskId = 0n;
  const urls = segments.map(({ data }) => pool.serve(data));
  const ours = async (i: number): Promise<void> => {
    const [startedMs, startCpuMs] = [performance.now(), await cpuMs()];
    const startNodeMs = nodeMs();
    registration.notify(taskMessage({ url: urls[i] ?? "", taskId: taskId++, profiles, session: "bench" }));
    const upload = await pool.nextUpload();
    if (upload.parts.length !== profiles.length) throw new Error(upload.errorText ?? "not all renditions came back");
    oursMs.push(performance.now() - startedMs);
    oursNodeMs += nodeMs() - startNodeMs;
    oursCpuMs += (await cpuMs()) - startCpuMs;
  };
  const plain = async (i: number): Promise<void> => {
    const plan = planTranscode(
      {
        profiles,
        audio: true,
        momentMs: undefined,
        clip: undefined,
        perceptualHash: false,
        livepeerVersion: LIVEPEER_VERSION,
        orchId: "offchain",
        input: segments[i]?.name ?? "",
        maxSeconds: 120,
      },
      path,
      detection.ffmpeg.dialect,
    );
    if (plan.kind === "refused") throw new Error(plan.text);
    const args = plan.args.map((arg) => (arg === "level+verbose" ? "error" : arg));
    const [startedMs, startCpuMs] = [performance.now(), await cpuMs()];
    const startNodeMs = nodeMs();
    await run(args, dir);
    plainMs.push(performance.now() - startedMs);
    plainNodeMs += nodeMs() - startNodeMs;
    plainCpuMs += (await cpuMs()) - startCpuMs;
  };

  const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));
  const reset = (): void => {
    oursMs.length = plainMs.length = 0;
    oursCpuMs = plainCpuMs = oursNodeMs = plainNodeMs = 0;
  };
  const summary = () => {
    const [oursMedianMs, plainMedianMs] = [median(oursMs), median(plainMs)];
    const [oursSum, plainSum] = [oursMs, plainMs].map((list) => list.reduce((a, b) => a + b, 0)) as [number, number];
    const result = {
      segments: oursMs.length,
      oursMedianMs: Math.round(oursMedianMs),
      plainMedianMs: Math.round(plainMedianMs),
      oursBestMs: Math.round(Math.min(...oursMs)),
      plainBestMs: Math.round(Math.min(...plainMs)),
      // What each can do when nothing disturbs it: the figure to trust on a busy machine.
      ratioOfBest: Math.round((Math.min(...plainMs) / Math.min(...oursMs)) * 1000) / 1000,
      ratioOfMedians: Math.round((plainMedianMs / oursMedianMs) * 1000) / 1000,
      ratioOfSums: Math.round((plainSum / oursSum) * 1000) / 1000,
      oursCpuMs: Math.round(oursCpuMs / oursMs.length),
      plainCpuMs: Math.round(plainCpuMs / plainMs.length),
      oursNodeCpuMs: Math.round(oursNodeMs / oursMs.length),
      plainNodeCpuMs: Math.round(plainNodeMs / plainMs.length),
      realTimeFactor: Math.round((2000 / oursMedianMs) * 100) / 100,
    };
    reset();
    return result;
  };
  // One of each unmeasured, so that both find warm caches; then in turns, so that the machine's moods hit both.
  await ours(0);
  await plain(0);
  reset();
  // With the pauses that a live stream has.
  for (let i = 0; i < rounds * segments.length; i++) {
    for (const step of i % 4 < 2 ? [ours, plain] : [plain, ours]) {
      await pause(200);
      await step(i % segments.length);
    }
  }
  const paced = summary();
  // Without pauses, as much as the machine gives, in blocks.
  for (let round = 0; round < rounds; round++) {
    for (const step of round % 2 === 0 ? [ours, plain] : [plain, ours]) {
      for (let i = 0; i < 4; i++) await step(i % segments.length);
    }
  }
  const result = { paced, backToBack: summary(), segmentsDone: worker.status().segmentsDone };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
} finally {
  await rm(dir, { recursive: true, force: true });
}
