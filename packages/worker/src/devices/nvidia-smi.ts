import { spawn } from "node:child_process";
import { createBackoff, type Clock, type Logger } from "@openpool/base";
import type { Trouble } from "./explain.ts";
import { runTool } from "./run-tool.ts";

/** One NVIDIA card as the driver's tool describes it. What it does not know is undefined. */
export interface NvidiaGpu {
  readonly index: number;
  readonly uuid: string;
  readonly name: string;
  readonly pciBusId: string;
  readonly driverVersion: string;
  readonly memoryTotalMib: number | undefined;
  readonly memoryUsedMib: number | undefined;
  /** Percent of time that each unit was busy. */
  readonly gpuPercent: number | undefined;
  readonly encoderPercent: number | undefined;
  readonly decoderPercent: number | undefined;
  readonly temperatureC: number | undefined;
  readonly powerW: number | undefined;
  readonly powerLimitW: number | undefined;
  /** Encoder sessions of all processes. */
  readonly encoderSessions: number | undefined;
}

const FIELDS = [
  "index",
  "uuid",
  "name",
  "pci.bus_id",
  "driver_version",
  "memory.total",
  "memory.used",
  "utilization.gpu",
  "utilization.encoder",
  "utilization.decoder",
  "temperature.gpu",
  "power.draw",
  "power.limit",
  "encoder.stats.sessionCount",
];
const QUERY = [`--query-gpu=${FIELDS.join(",")}`, "--format=csv,noheader,nounits"];

/** Reads one CSV line; undefined for lines that are none (warnings, errors). `[N/A]` and its like become undefined. */
export function parseGpuLine(line: string): NvidiaGpu | undefined {
  const cells = line.split(",").map((cell) => cell.trim());
  if (cells.length !== FIELDS.length || !/^\d+$/.test(cells[0] ?? "")) return undefined;
  const text = (at: number): string => cells[at] ?? "";
  const number = (at: number): number | undefined =>
    /^-?\d+(?:\.\d+)?$/.test(text(at)) ? Number(text(at)) : undefined;
  return {
    index: Number(text(0)),
    uuid: text(1),
    name: text(2),
    pciBusId: text(3),
    driverVersion: text(4),
    memoryTotalMib: number(5),
    memoryUsedMib: number(6),
    gpuPercent: number(7),
    encoderPercent: number(8),
    decoderPercent: number(9),
    temperatureC: number(10),
    powerW: number(11),
    powerLimitW: number(12),
    encoderSessions: number(13),
  };
}

export type NvidiaInventory =
  | { readonly kind: "gpus"; readonly gpus: readonly NvidiaGpu[] }
  /** Why there are none. */
  | { readonly kind: "none"; readonly trouble: Trouble };

/** Lists the cards of this machine once. */
export async function listNvidiaGpus(nvidiaSmiPath: string, signal?: AbortSignal): Promise<NvidiaInventory> {
  const run = await runTool(nvidiaSmiPath, QUERY, { timeoutMs: 20_000, ...(signal ? { signal } : {}) });
  const none = (problem: "no-driver" | "no-card", said: string): NvidiaInventory => ({
    kind: "none",
    trouble: { problem, subject: "", said },
  });
  if (run.startError !== undefined) return none("no-driver", "no NVIDIA driver: nvidia-smi is not installed");
  const gpus = run.stdout.split("\n").flatMap((line) => parseGpuLine(line) ?? []);
  if (gpus.length > 0) return { kind: "gpus", gpus };
  const said = (run.stdout + run.stderr).trim().split("\n").at(-1) ?? "";
  return none("no-card", `nvidia-smi names no card: ${said || "it says nothing"}`);
}

export interface NvidiaWatch extends AsyncDisposable {
  /** The newest reading of each card, by UUID. */
  readonly gpus: ReadonlyMap<string, NvidiaGpu>;
}

/** Keeps one nvidia-smi running that reports every `intervalMs`; starts it again when it ends. */
export function watchNvidiaGpus(
  options: { readonly nvidiaSmiPath: string; readonly intervalMs: number },
  deps: { readonly clock: Clock; readonly logger: Logger },
): NvidiaWatch {
  const gpus = new Map<string, NvidiaGpu>();
  const backoff = createBackoff({ initialMs: 1_000, factor: 2, maxMs: 60_000, jitter: 0.2 });
  let closed = false;
  let stop = (): Promise<void> => Promise.resolve();

  const start = (): void => {
    const args = [...QUERY, "-lms", String(options.intervalMs)];
    const child = spawn(options.nvidiaSmiPath, args, { stdio: ["ignore", "pipe", "ignore"], windowsHide: true });
    let rest = "";
    child.stdout.setEncoding("utf8");
    child.stdout.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = (lines.pop() ?? "").slice(0, 4_096);
      for (const line of lines) {
        const gpu = parseGpuLine(line);
        if (!gpu) continue;
        gpus.set(gpu.uuid, gpu);
        backoff.reset();
      }
    });
    const ended = new Promise<void>((resolve) => {
      child.once("error", () => resolve());
      child.once("close", () => resolve());
    });
    let forget = (): void => {};
    void ended.then(() => {
      if (closed) return;
      gpus.clear();
      const delayMs = backoff.next();
      deps.logger.debug("nvidia-smi ended, starting it again", { delayMs });
      forget = deps.clock.after(delayMs, start);
    });
    stop = async () => {
      forget();
      child.kill("SIGKILL");
      await ended;
    };
  };
  start();
  return {
    gpus,
    async [Symbol.asyncDispose]() {
      closed = true;
      await stop();
    },
  };
}
