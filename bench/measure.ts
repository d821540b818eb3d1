/** What the benches of the database share: made-up jobs, CPU of a server, and how results are written down. */
import { readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { creditFor } from "../packages/pool/src/ledger/credit-for.ts";
import { createUuidV7 } from "../packages/pool/src/store/index.ts";
import type { NewCredit } from "../packages/pool/src/store/types.ts";

export const uuid = createUuidV7(() => Date.now());
export const round = (value: number, digits = 0): number => Number(value.toFixed(digits));

export function benchWorkers(count: number): readonly WorkerAddress[] {
  return Array.from({ length: count }, (_, i) => {
    const hex = (0x1000 + i).toString(16).padStart(4, "0");
    return parseAddress(`0x${hex.repeat(10)}`) as WorkerAddress;
  });
}

/** A segment of two seconds in three renditions, as a gateway's job is credited. */
export function benchCredit(worker: WorkerAddress, i = 0): NewCredit {
  const credit = creditFor({
    pixels: 93_715_200n + BigInt(i % 1_000),
    price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n },
    commissionPpm: 250_000n,
  });
  const data = {
    renditions: [720, 480, 360].map((height) => ({
      width: Math.round((height * 16) / 9),
      height,
      frames: 60,
      pixels: "55296000",
      claimedPixels: "55296000",
    })),
    tookMs: 612,
    termsVersion: 1,
    source: "gateway",
    seq: String(i),
    durationMs: 2000,
    attempts: 1,
    hedged: false,
  };
  return { job: uuid(), earner: { worker, rig: "rig1" }, segments: 1, ...credit, data };
}

export const cpuOf = {
  /** CPU milliseconds that the server's processes have used; those that ended are not counted. */
  async postgres(cluster: string): Promise<number> {
    let ns = 0;
    for (const pid of await readdir("/proc")) {
      if (!/^\d+$/.test(pid)) continue;
      if ((await readlink(`/proc/${pid}/cwd`).catch(() => "")) !== cluster) continue;
      ns += Number((await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => "0")).split(" ")[0]);
    }
    return ns / 1e6;
  },
};

export function percentiles(waits: number[]): { p50ms: number; p99ms: number; maxMs: number } {
  waits.sort((a, b) => a - b);
  const at = (q: number): number => round(waits[Math.min(waits.length - 1, Math.floor(waits.length * q))] ?? 0, 2);
  return { p50ms: at(0.5), p99ms: at(0.99), maxMs: at(1) };
}

/** What else runs on the machine: above its number of cores, times are those of a crowd. */
export function loadNow(): number {
  return round(loadavg()[0] ?? 0, 1);
}

/** Prints what was measured, and writes it to `BENCH_OUT` where that is set. */
export async function report(what: string, given: object, results: object, loadAtStart: number): Promise<void> {
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    node: process.version,
    loadAtStart,
    loadAtEnd: loadNow(),
  };
  const text = `${JSON.stringify({ what, at: new Date().toISOString(), machine, given, results }, undefined, 2)}\n`;
  process.stdout.write(text);
  const out = process.env["BENCH_OUT"];
  if (out !== undefined) await writeFile(out, text);
}
