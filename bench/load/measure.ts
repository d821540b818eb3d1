import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type HostPort, hostHeader } from "../../test/peers/wire.ts";
import { type GatewaysOptions, runGateways } from "./gateways.ts";
import { round, type Spread, spread } from "./numbers.ts";
import { usageOf } from "./processes.ts";
import type { LoadWorker } from "./workers.ts";

export interface Measured {
  readonly streams: number;
  readonly segments: number;
  readonly segmentsPerSecond: number;
  readonly latencyMs: Spread;
  readonly headersMs: Spread;
  readonly lost: number;
  readonly lostReasons: Readonly<Record<string, number>>;
  readonly wrongRenditions: number;
  readonly wrongSources: number;
  /** Of the watched process and all below it, for one segment; undefined when none was watched. */
  readonly cpuMsPerSegment: number | undefined;
  readonly postgresCpuMsPerSegment: number | undefined;
  /** Of this load generator itself: the machine is shared. */
  readonly generatorCpuMsPerSegment: number;
  /** Most resident memory of the watched processes without Postgres. */
  readonly peakResidentMb: number | undefined;
  readonly getOrchestrator: InfoProbe | undefined;
}

export interface InfoProbe {
  readonly calls: number;
  readonly refused: number;
  /** TCP, TLS and HTTP/2, as a gateway dials for each call. */
  readonly dialMs: Spread;
  /** From the call on an open connection to its answer. */
  readonly answerMs: Spread;
}

export interface MeasureOptions extends GatewaysOptions {
  /** The process whose CPU and memory count, with its descendants. */
  readonly pid?: number | undefined;
  /** Ask for infos on the side and say how long that takes. */
  readonly probeInfo?: boolean | undefined;
  readonly workers: readonly LoadWorker[];
}

function startInfoProbe(address: HostPort): () => Promise<InfoProbe> {
  const file = fileURLToPath(new URL("./info-probe.ts", import.meta.url));
  const child = fork(file, [hostHeader(address)], { stdio: ["pipe", "pipe", "inherit", "ipc"] });
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  return async () => {
    child.stdin?.end();
    await ended;
    return JSON.parse(output) as InfoProbe; // its own last words, in this shape
  };
}

/** One run of gateways against an orchestrator, and what it took. */
export async function measure(options: MeasureOptions): Promise<Measured> {
  const { pid } = options;
  const usage = () => (pid === undefined ? undefined : usageOf(pid));
  let peakBytes = 0;
  const sample = (): void => void (peakBytes = Math.max(peakBytes, usage()?.residentBytes ?? 0));
  const sampling = setInterval(sample, 500);
  const stopProbe = options.probeInfo ? startInfoProbe(options.address) : undefined;
  let before = usage();
  let ownBefore = process.cpuUsage();
  const result = await runGateways({
    ...options,
    onStart() {
      before = usage();
      ownBefore = process.cpuUsage();
      options.onStart?.();
    },
  });
  const after = usage();
  const own = process.cpuUsage(ownBefore);
  clearInterval(sampling);
  sample();
  const getOrchestrator = await stopProbe?.();
  const segments = result.latenciesMs.length;
  const perSegment = (ms: number): number => round(ms / segments);
  return {
    streams: options.streams,
    segments,
    segmentsPerSecond: round((1000 * segments) / result.tookMs),
    latencyMs: spread(result.latenciesMs),
    headersMs: spread(result.headersMs),
    lost: [...result.lost.values()].reduce((sum, count) => sum + count, 0),
    lostReasons: Object.fromEntries(result.lost),
    wrongRenditions: result.wrong,
    wrongSources: options.workers.reduce((sum, worker) => sum + worker.wrongSources, 0),
    cpuMsPerSegment: before && after && perSegment(after.cpuMs - before.cpuMs),
    postgresCpuMsPerSegment: before && after && perSegment(after.postgresCpuMs - before.postgresCpuMs),
    generatorCpuMsPerSegment: perSegment((own.user + own.system) / 1000),
    peakResidentMb: pid === undefined ? undefined : Math.round(peakBytes / 1e6),
    getOrchestrator,
  };
}
