/**
 * Plays both outsides of an orchestrator at once, as unmodified Livepeer nodes do on the wire, off-chain: gateways that
 * send segments, and transcoders that answer with ready-made renditions. Measures what lies between.
 *
 *   npx tsx --conditions=source bench/load.ts --addr HOST:PORT --streams 16 --segments 600 --pid <pid of the orchestrator>
 *
 * `--secret` is the worker secret, in which %d becomes the worker's number. Exits 1 when a segment was lost.
 */
import { parseArgs } from "node:util";
import { parseHostPort } from "../test/peers/wire.ts";
import { getInfo } from "./load/gateways.ts";
import { measure } from "./load/measure.ts";
import { startLoadWorker } from "./load/workers.ts";

const { values } = parseArgs({
  options: {
    addr: { type: "string", default: "127.0.0.1:8935" },
    secret: { type: "string", default: "0x00000000000000000000000000000000000000AA.rig%d" },
    workers: { type: "string", default: "2" },
    capacity: { type: "string", default: "256" },
    streams: { type: "string", default: "1" },
    segments: { type: "string", default: "300" },
    "warm-up": { type: "string", default: "20" },
    "pace-ms": { type: "string", default: "0" },
    "delay-ms": { type: "string", default: "0" },
    pid: { type: "string" },
    "probe-info": { type: "boolean", default: false },
  },
});
const address = parseHostPort(values.addr);
const workers = await Promise.all(
  Array.from({ length: Number(values.workers) }, (_, i) =>
    startLoadWorker({
      address,
      secret: values.secret.replace("%d", String(i)),
      capacity: Number(values.capacity),
      delayMs: Number(values["delay-ms"]),
    }),
  ),
);
await getInfo(address);
const measured = await measure({
  address,
  streams: Number(values.streams),
  segments: Number(values.segments),
  warmUp: Number(values["warm-up"]),
  paceMs: Number(values["pace-ms"]),
  pid: values.pid === undefined ? undefined : Number(values.pid),
  probeInfo: values["probe-info"],
  workers,
});
process.stdout.write(`${JSON.stringify(measured, undefined, 2)}\n`);
process.stdout.write(`tasks done: ${workers.map(({ done }) => done).join(" ")}\n`);
for (const worker of workers) await worker[Symbol.asyncDispose]();
process.exitCode = measured.lost > 0 ? 1 : 0;
