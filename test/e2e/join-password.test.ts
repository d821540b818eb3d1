import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ADA, BOB, pushUnhurried, startTestPool, until } from "./pool.ts";
import { bin } from "./program.ts";

const PASSWORD = "open:sesame";

test("a pool's password is asked of issued credentials too: our program joins with both in files, and leaves when the one is revoked", async () => {
  const dir = await mkdtemp(join(tmpdir(), "openpool-password-"));
  await using pool = await startTestPool({ joinPassword: PASSWORD });
  const { admin } = pool.running.node;
  const issued = await admin.addWorker(ADA, "rack");
  await writeFile(join(dir, "secret"), `${issued.secret}\n`, { mode: 0o600 });
  await writeFile(join(dir, "password"), `${PASSWORD}\n`, { mode: 0o600 });
  const flags = ["--pool", pool.addr, "--secret-file", join(dir, "secret"), "--max-sessions", "2", "--devices", "cpu"];
  const worker = spawn(
    process.execPath,
    [bin, "worker", ...flags, "--join-password-file", join(dir, "password"), "--work-dir", join(dir, "work")],
    { stdio: "ignore", env: { ...process.env, NODE_OPTIONS: "" } },
  );
  const ended = new Promise((resolve) => worker.once("exit", resolve));
  try {
    await pool.untilConnected(1, 120_000);
    expect(admin.status().rigs.map(({ worker: address, rig }) => `${address}.${rig}`)).toEqual([`${ADA}.rack`]);
    // Its results are its own, and so is what they earn.
    expect(await pushUnhurried(pool.gateway(), "stream", 0)).toMatchObject({ kind: "done" });
    expect((await admin.balances()).map(({ worker: address, segments }) => [address, segments])).toEqual([[ADA, 1n]]);
    await admin.revokeCredential(issued.id);
    await ended;
    await until(async () => (await pool.events("rig.refused")).length > 0);
    expect((await pool.events("rig.refused")).map(({ data }) => data["reason"])).toEqual(["revoked"]);
  } finally {
    worker.kill("SIGTERM");
    await ended;
    await rm(dir, { recursive: true, force: true });
  }
}, 240_000);

test("without the password a worker is told what makes it stop, whether its secret was issued or is an address", async () => {
  await using pool = await startTestPool({ joinPassword: PASSWORD });
  const issued = await pool.running.node.admin.addWorker(ADA, "rack");
  const secrets = [issued.secret, `${issued.secret}:wrong`, `${BOB}.rig1`, `${BOB}.rig1:open`];
  for (const secret of secrets) {
    const refused = await pool.transcoder({ secret });
    await refused.until(({ state }) => state.kind === "quit");
    expect(refused.state).toEqual({ kind: "quit", why: "invalid secret" });
  }
  for (const secret of [`${issued.secret}:${PASSWORD}`, `${BOB}.rig1:${PASSWORD}`]) await pool.transcoder({ secret });
  await pool.untilConnected(2);
  await until(async () => (await pool.events("rig.refused")).length >= secrets.length);
  const events = await pool.events("rig.refused");
  expect(events.map(({ data }) => [data["reason"], data["worker"]])).toEqual(
    [ADA, ADA, BOB, BOB].map((worker) => ["wrong-password", worker]),
  );
  expect(JSON.stringify(events)).not.toContain(issued.secret);
}, 240_000);
