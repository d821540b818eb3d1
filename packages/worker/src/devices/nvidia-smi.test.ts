import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLogger, systemClock } from "@openpool/base";
import { until } from "../testing/media.ts";
import { listNvidiaGpus, parseGpuLine, watchNvidiaGpus } from "./nvidia-smi.ts";

const L4 =
  "0, GPU-11111111-2222-3333-4444-555555555555, NVIDIA L4, 00000000:3B:00.0, 550.90.07, 23034, 512, 17, 31, 12, 45, 36.10, 72.00, 2";
const OLD =
  "1, GPU-66666666-7777-8888-9999-000000000000, Quadro K2200, 00000000:5E:00.0, 470.1, 4040, 100, [N/A], [Not Supported], [N/A], 50, [N/A], [Unknown Error], [N/A]";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "openpool-smi-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function fakeSmi(script: string): Promise<string> {
  const path = join(dir, "nvidia-smi");
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

test("reads a card, and leaves out what the driver does not know", () => {
  expect(parseGpuLine(L4)).toEqual({
    index: 0,
    uuid: "GPU-11111111-2222-3333-4444-555555555555",
    name: "NVIDIA L4",
    pciBusId: "00000000:3B:00.0",
    driverVersion: "550.90.07",
    memoryTotalMib: 23034,
    memoryUsedMib: 512,
    gpuPercent: 17,
    encoderPercent: 31,
    decoderPercent: 12,
    temperatureC: 45,
    powerW: 36.1,
    powerLimitW: 72,
    encoderSessions: 2,
  });
  expect(parseGpuLine(OLD)).toMatchObject({
    index: 1,
    gpuPercent: undefined,
    powerLimitW: undefined,
    encoderSessions: undefined,
  });
  expect(parseGpuLine("No devices were found")).toBeUndefined();
});

test("lists all cards of a machine", async () => {
  const path = await fakeSmi(`echo '${L4}'; echo '${OLD}'`);
  expect(await listNvidiaGpus(path)).toMatchObject({
    kind: "gpus",
    gpus: [{ name: "NVIDIA L4" }, { name: "Quadro K2200" }],
  });
});

test("says why there is no card", async () => {
  expect(await listNvidiaGpus(join(dir, "not-there"))).toEqual({
    kind: "none",
    trouble: { problem: "no-driver", subject: "", said: "no NVIDIA driver: nvidia-smi is not installed" },
  });
  const path = await fakeSmi(
    "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
  );
  expect(await listNvidiaGpus(path)).toEqual({
    kind: "none",
    trouble: {
      problem: "no-card",
      subject: "",
      said: "nvidia-smi names no card: NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.",
    },
  });
});

test("keeps the newest reading of one looping child, and ends it", async () => {
  const path = await fakeSmi(
    `echo $$ > "${dir}/pid"; echo '${L4}'; sleep 0.02; echo '${L4.replace(", 17, ", ", 99, ")}'; exec sleep 60`,
  );
  const watch = watchNvidiaGpus({ nvidiaSmiPath: path, intervalMs: 100 }, { logger: silentLogger, clock: systemClock });
  await until(() => watch.gpus.get("GPU-11111111-2222-3333-4444-555555555555")?.gpuPercent === 99);
  await watch[Symbol.asyncDispose]();
  const { readFile } = await import("node:fs/promises");
  const pid = Number(await readFile(join(dir, "pid"), "utf8"));
  expect(() => process.kill(pid, 0)).toThrow("ESRCH");
});

test("goes without readings, quietly, when the tool cannot run", async () => {
  const watch = watchNvidiaGpus(
    { nvidiaSmiPath: join(dir, "not-there"), intervalMs: 100 },
    { logger: silentLogger, clock: systemClock },
  );
  expect(watch.gpus.size).toBe(0);
  await watch[Symbol.asyncDispose]();
});
