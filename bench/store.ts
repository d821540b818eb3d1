/**
 * What a durable credit costs: credits a second, how long a caller waits, and the CPU of this process and of Postgres.
 * Run it with `npx tsx --conditions=source bench/store.ts [seconds]`.
 */
import { mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { creditFor } from "../packages/pool/src/ledger/credit-for.ts";
import { createUuidV7, openStore, startManagedPostgres, type Store } from "../packages/pool/src/store/index.ts";

const seconds = Number(process.argv[2] ?? 4);

/** CPU milliseconds that the server's processes have used. They are single-threaded and none ends during a run. */
async function postgresCpuMs(cluster: string): Promise<number> {
  let ns = 0;
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    if ((await readlink(`/proc/${pid}/cwd`).catch(() => "")) !== cluster) continue;
    ns += Number((await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => "0")).split(" ")[0]);
  }
  return ns / 1e6;
}

const uuid = createUuidV7(() => Date.now());
const rigs = Array.from({ length: 20 }, (_, i) => ({
  worker: parseAddress(`0x${(0xa0 + i).toString(16).repeat(20)}`) as WorkerAddress,
  rig: "default",
}));

async function oneCredit(store: Store, i: number): Promise<void> {
  await store.credit({
    job: uuid(),
    earner: rigs[i % rigs.length]!,
    segments: 1,
    ...creditFor({
      pixels: 93_715_200n,
      price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n },
      commissionPpm: 250_000n,
    }),
    data: {
      session: "0123456789abcdef",
      seq: String(i),
      durationMs: 2000,
      attempts: 1,
      hedged: false,
      tookMs: 612,
      renditions: [720, 480, 360].map((height) => ({
        name: `P${height}p30fps16x9`,
        width: Math.round((height * 16) / 9),
        height,
        frames: 60,
        pixels: "55296000",
        claimedPixels: "55296000",
      })),
    },
  });
}

async function measure(store: Store, cluster: string, concurrency: number, perSecond?: number): Promise<object> {
  const waits: number[] = [];
  const cpu = process.cpuUsage();
  const serverMs = await postgresCpuMs(cluster);
  const begin = performance.now();
  const end = begin + seconds * 1000;
  let n = 0;
  await Promise.all(
    Array.from({ length: concurrency }, async (_, lane) => {
      for (let turn = 0; performance.now() < end; turn++) {
        if (perSecond !== undefined) {
          const due = begin + ((turn * concurrency + lane) * 1000) / perSecond;
          if (due > performance.now()) await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
        }
        const start = performance.now();
        await oneCredit(store, n++);
        waits.push(performance.now() - start);
      }
    }),
  );
  const tookMs = performance.now() - begin;
  const used = process.cpuUsage(cpu);
  waits.sort((a, b) => a - b);
  const at = (q: number): number => Number((waits[Math.floor(waits.length * q)] ?? 0).toFixed(2));
  const server = (await postgresCpuMs(cluster)) - serverMs;
  const node = (used.user + used.system) / 1000;
  return {
    concurrency,
    offered: perSecond ?? "as fast as it goes",
    "credits/s": Math.round((n * 1000) / tookMs),
    p50ms: at(0.5),
    p99ms: at(0.99),
    "node CPU ms/credit": Number((node / n).toFixed(3)),
    "postgres CPU ms/credit": Number((server / n).toFixed(3)),
  };
}

const dataDir = await mkdtemp(join(tmpdir(), "openpool-bench-"));
{
  const deps = { logger: silentLogger, clock: systemClock };
  await using postgres = await startManagedPostgres({ dataDir, ephemeral: true }, deps);
  await using store = await openStore(postgres.connection, deps);
  await measure(store, postgres.clusterDir, 16);
  const rows = [];
  for (const [concurrency, perSecond] of [[1], [16], [64], [16, 200]] as const) {
    rows.push(await measure(store, postgres.clusterDir, concurrency, perSecond));
  }
  // oxlint-disable-next-line no-console -- the table is what this program is for
  console.table(rows);
  const differences = await store.checkTotals();
  if (differences.length > 0) throw new Error("the totals are wrong");
}
await rm(dataDir, { recursive: true, force: true });
