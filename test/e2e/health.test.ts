import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorCode } from "@openpool/base";
import { describe, expect, test } from "vitest";
import { findCluster } from "../../packages/pool/src/store/postgres-cluster.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { SOURCE_DURATION_MS } from "../peers/media.ts";
import { ADA, push, pushUnhurried, startTestPool, type TestPool, until } from "./pool.ts";

/** What a load balancer or a person reads: the status, and the reasons. */
async function ask(pool: TestPool, path: "healthz" | "readyz"): Promise<string> {
  const answer = await fetch(`${pool.running.adminUrl}/${path}`);
  return `${answer.status} ${await answer.text()}`;
}

/** Stops or continues the whole database: nothing of it ends, and nothing of it answers. */
async function signalDatabase(pool: TestPool, signal: "SIGSTOP" | "SIGCONT"): Promise<void> {
  const cluster = await findCluster(pool.dataDir);
  const postmaster = (await readFile(join(cluster ?? "", "postmaster.pid"), "utf8")).split("\n")[0] ?? "";
  // The postmaster first: stopped, it starts no more of them.
  process.kill(Number(postmaster), signal);
  const children = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, "utf8");
  for (const pid of children.trim().split(/\s+/)) {
    try {
      process.kill(Number(pid), signal);
    } catch (error) {
      if (errorCode(error) !== "ESRCH") throw error; // one that has ended meanwhile
    }
  }
}

describe("a pool", () => {
  test("without a rig is healthy and not ready, with one it is both, while it drains neither", async () => {
    await using pool = await startTestPool();
    expect(await ask(pool, "healthz")).toMatch(/^200 /);
    expect(await ask(pool, "readyz")).toMatch(/^503 .*no rig with room is connected/s);

    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    const rig = await pool.transcoder({
      secret: `${ADA}.rig1`,
      capacity: 1,
      behaviour: behaviours.when(() => released),
    });
    await pool.untilConnected(1);
    expect(await ask(pool, "readyz")).toMatch(/^200 /);

    const segment = pushUnhurried(pool.gateway(), "stream", 0);
    await until(() => rig.inHand.size > 0);
    expect(await ask(pool, "readyz")).toMatch(/^503 .*no rig with room is connected/s);
    const drained = pool.running.node.drain(new AbortController().signal);
    expect(await ask(pool, "healthz")).toMatch(/^503 .*the pool is draining/s);
    release();
    expect(await segment).toMatchObject({ kind: "done" });
    await drained;
  });

  test("whose database does not answer is not healthy; a segment that runs out of time is refused in the way that costs least, and the next one is served", async () => {
    await using pool = await startTestPool();
    await pool.transcoder({ secret: `${ADA}.rig1`, capacity: 2, behaviour: behaviours.ready() });
    await pool.untilConnected(1);
    const gateway = pool.gateway();
    expect(await pushUnhurried(gateway, "stream", 0)).toMatchObject({ kind: "done" });

    await signalDatabase(pool, "SIGSTOP");
    try {
      const outcome = push(gateway, "stream", 1, SOURCE_DURATION_MS);
      await until(async () => (await ask(pool, "healthz")).startsWith("503"), 60_000);
      expect(await ask(pool, "healthz")).toContain("the event log cannot be written");
      expect(await outcome).toMatchObject({ kind: "failed", text: "TranscoderInvalidVideo" });
    } finally {
      await signalDatabase(pool, "SIGCONT");
    }
    await until(async () => (await ask(pool, "healthz")).startsWith("200"), 60_000);
    expect(await pushUnhurried(gateway, "stream", 2)).toMatchObject({ kind: "done" });
    // What was not answered may have been credited; what was answered was.
    expect((await pool.credited()).segments).toBeGreaterThanOrEqual(2);
  });
}, 240_000);
