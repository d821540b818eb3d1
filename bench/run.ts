/**
 * `npm run bench`: measures the built program, prints a table and writes JSON with machine and date to `bench/results/`.
 * Names of scenarios as arguments run only those. Numbers move with the machine and with what else runs on it: compare
 * within one run, on an idle machine.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import os from "node:os";
import { fileURLToPath } from "node:url";
import { crashes, loseWorker, restartUnderLoad, throughput } from "./load/scenarios.ts";

/** Of an unmodified go-livepeer 0.9.1 orchestrator, measured once with an unmodified node on a like machine. */
const STOCK = "go-livepeer 0.9.1, measured once with an unmodified node on a like machine (2 cores)";

interface Row {
  readonly what: string;
  readonly stock: string;
  readonly goal: string;
  readonly here: string;
  readonly met: boolean;
}

interface Scenario {
  readonly name: string;
  run(): Promise<{ readonly rows: readonly Row[]; readonly details: unknown }>;
}

const pair = (a: number | undefined, b: number | undefined): string => `${a} / ${b}`;
/** Segments a second at saturation, as `many-streams` finds it. */
let saturatedPerSecond: number | undefined;
const saturate = () => throughput({ streams: 64, segments: 1_000, paceMs: 0 });

const scenarios: readonly Scenario[] = [
  {
    name: "one-stream",
    async run() {
      const measured = await throughput({ streams: 1, segments: 300, paceMs: 0 });
      const { p50, p99 } = measured.latencyMs;
      const met = p50 <= 7 && p99 <= 22 && nothingWrong(measured);
      const here = pair(p50, p99);
      return {
        rows: [{ what: "p50 / p99, one stream, ms", stock: "13.6 / 44.8", goal: "7 / 22", here, met }],
        details: measured,
      };
    },
  },
  {
    name: "many-streams",
    async run() {
      const measured = await saturate();
      saturatedPerSecond = measured.segmentsPerSecond;
      const { p50, p99 } = measured.latencyMs;
      const memory = measured.peakResidentMb ?? Number.NaN;
      const info = measured.getOrchestrator?.answerMs.p99 ?? Number.NaN;
      return {
        rows: [
          {
            what: "p50 / p99, 64 streams, ms",
            stock: "464 / 2511",
            goal: "330 / 700",
            here: pair(p50, p99),
            met: p50 <= 330 && p99 <= 700 && nothingWrong(measured),
          },
          {
            what: "resident memory without Postgres, 64 streams, MB",
            stock: "417",
            goal: "400",
            here: String(memory),
            met: memory <= 400,
          },
          {
            what: "GetOrchestrator p99 at saturation, ms",
            stock: "–",
            goal: "250",
            here: String(info),
            met: info <= 250,
          },
        ],
        details: measured,
      };
    },
  },
  {
    name: "half-load",
    async run() {
      const streams = 16;
      // Alone it has to find out first what half is.
      saturatedPerSecond ??= (await saturate()).segmentsPerSecond;
      const paceMs = Math.round((1_000 * streams) / (saturatedPerSecond / 2));
      const measured = await throughput({ streams, segments: 400, paceMs });
      const info = measured.getOrchestrator?.answerMs.p99 ?? Number.NaN;
      const what = "GetOrchestrator p99 at half of saturation, ms";
      return {
        rows: [{ what, stock: "–", goal: "5", here: String(info), met: info <= 5 && nothingWrong(measured) }],
        details: measured,
      };
    },
  },
  {
    name: "cpu",
    async run() {
      const measured = await throughput({ streams: 16, segments: 800, paceMs: 0 });
      const cpu = measured.cpuMsPerSegment ?? Number.NaN;
      const what = "CPU a segment, 16 streams, Postgres included, ms";
      return {
        rows: [{ what, stock: "8.8", goal: "6.5", here: String(cpu), met: cpu <= 6.5 && nothingWrong(measured) }],
        details: measured,
      };
    },
  },
  {
    name: "worker-killed",
    async run() {
      const result = await loseWorker("kill");
      const here = `${result.lost} of ${result.hadInHand}; ${result.nextAttemptMs.max} ms`;
      const met = result.lost === 0 && result.nextAttemptMs.max <= 50;
      const what = "worker killed: segments lost; until the next attempt";
      return { rows: [{ what, stock: "all; 8 s", goal: "0; 50 ms", here, met }], details: result };
    },
  },
  {
    name: "worker-hung",
    async run() {
      const result = await loseWorker("hang");
      const here = `${result.lost} of ${result.hadInHand}; ${result.longestMs} ms`;
      const what = "worker hung: segments lost; longest segment";
      return { rows: [{ what, stock: "all; 8 s", goal: "0", here, met: result.lost === 0 }], details: result };
    },
  },
  {
    name: "restart",
    async run() {
      const result = await restartUnderLoad();
      const here = `${result.connectionsRefused}; ${result.lost} of ${result.segments}`;
      const met = result.lost === 0 && result.connectionsRefused === 0;
      const what = "restart under load: connections refused; segments lost";
      return { rows: [{ what, stock: "10 of 20 lost", goal: "0; 0", here, met }], details: result };
    },
  },
  {
    name: "crash",
    async run() {
      const result = await crashes();
      const [crashMs, killAllMs] = [Math.max(...result.crashMs), Math.max(...result.killAllMs)];
      return {
        rows: [
          {
            what: "kill -9 of the serving process: serves again, ms",
            goal: "2000",
            here: String(crashMs),
            met: crashMs <= 2_000,
          },
          {
            what: "kill -9 of all but PostgreSQL: serves after its start, ms",
            goal: "5000",
            here: String(killAllMs),
            met: killAllMs <= 5_000,
          },
        ].map((row) => ({ stock: "", ...row })),
        details: result,
      };
    },
  },
  {
    name: "worker",
    run() {
      const script = fileURLToPath(new URL("worker.ts", import.meta.url));
      const child = spawnSync(process.execPath, [...process.execArgv, script, "2"], { encoding: "utf8" });
      if (child.status !== 0) throw new Error(`bench/worker.ts failed: ${child.stderr}`);
      const details = JSON.parse(child.stdout) as { readonly backToBack: { readonly ratioOfMedians: number } };
      const ratio = details.backToBack.ratioOfMedians;
      const what = "our worker against one plain FFmpeg a segment";
      const row = { what, stock: "0.91 (livepeer -transcoder)", goal: "0.97", here: String(ratio), met: ratio >= 0.97 };
      return Promise.resolve({ rows: [row], details });
    },
  },
];

function nothingWrong(run: { lost: number; wrongRenditions: number; wrongSources: number }): boolean {
  return run.lost === 0 && run.wrongRenditions === 0 && run.wrongSources === 0;
}

function printTable(rows: readonly Row[]): void {
  const header: readonly string[] = ["what", "stock", "goal", "here", ""];
  const cells = [header, ...rows.map((row) => [row.what, row.stock, row.goal, row.here, row.met ? "met" : "missed"])];
  const widths = header.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)));
  for (const line of cells) {
    process.stdout.write(`${line.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")}\n`);
  }
}

const wanted = process.argv.slice(2);
const chosen = wanted.length === 0 ? scenarios : scenarios.filter(({ name }) => wanted.includes(name));
if (chosen.length < wanted.length) {
  process.stderr.write(`scenarios: ${scenarios.map(({ name }) => name).join(", ")}\n`);
  process.exitCode = 2;
} else {
  const date = new Date().toISOString();
  const [cpu] = os.cpus();
  const machine = {
    cpu: cpu?.model ?? "unknown",
    cores: os.availableParallelism(),
    memoryGb: Math.round(os.totalmem() / 1e9),
    system: `${os.type()} ${os.release()}`,
    node: process.version,
    loadBefore: os.loadavg().map((load) => Math.round(load * 100) / 100),
  };
  const commit = execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim();
  if ((machine.loadBefore[0] ?? 0) > 0.5) {
    process.stderr.write(
      `this machine is busy (load ${machine.loadBefore[0]}): the numbers will say more about that\n`,
    );
  }
  const rows: Row[] = [];
  const details: Record<string, unknown> = {};
  for (const scenario of chosen) {
    process.stderr.write(`${scenario.name} …\n`);
    try {
      const result = await scenario.run();
      rows.push(...result.rows);
      details[scenario.name] = result.details;
    } catch (error) {
      const here = error instanceof Error ? error.message : String(error);
      details[scenario.name] = { failed: here };
      rows.push({ what: scenario.name, stock: "", goal: "", here: `failed: ${here.split("\n")[0]}`, met: false });
    }
  }
  printTable(rows);
  const folder = new URL("results/", import.meta.url);
  await mkdir(folder, { recursive: true });
  const file = new URL(`${date.replaceAll(/[:.]/g, "-")}.json`, folder);
  await writeFile(file, `${JSON.stringify({ date, commit, machine, stock: STOCK, rows, details }, undefined, 2)}\n`);
  process.stdout.write(`\n${fileURLToPath(file)}\n`);
}
