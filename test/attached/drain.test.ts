import { type Clock, systemClock } from "@openpool/base";
import { expect, test } from "vitest";
import { openTestDatabase } from "../../packages/pool/src/store/testing/test-store.ts";
import { ADA, startTestPool, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { attachedTo, SECRET, writeSecret } from "./pool.ts";

test("a process of the pool follows what another one was told: it leaves the orchestrator, and comes back", async () => {
  await using database = await openTestDatabase();
  const { connection } = database;
  if (connection.kind !== "socket") throw new Error("a managed Postgres has a socket");
  await using orchestrator = await startStockOrchestrator({ secret: SECRET });
  await using secret = await writeSecret();
  const { user, database: name, socketDir, port } = connection;
  const databaseUrl = `postgres://${user}@/${name}?host=${encodeURIComponent(socketDir)}&port=${port}`;
  const attached = attachedTo({ main: orchestrator }, secret.file, { gateways: false });
  // It looks every so many seconds, which are short here.
  const clock: Clock = {
    ...systemClock,
    after: (delayMs, callback) => systemClock.after(delayMs === 1_000 ? 20 : delayMs, callback),
  };
  await using pool = await startTestPool({ attached, databaseUrl }, { clock });
  await pool.transcoder({ secret: `${ADA}.rig` });
  await until(() => orchestrator.live.length === 1, 60_000);
  await database.query("insert into openpool.upstreams (name, drained_at) values ('main', now())");
  await until(() => orchestrator.live.length === 0, 60_000);
  expect(pool.running.node.admin.status().upstreams[0]).toMatchObject({ state: "drained", capacity: 0 });
  await database.query("update openpool.upstreams set drained_at = null");
  await until(() => orchestrator.live.length === 1, 60_000);
  expect(await orchestrator.transcode({ session: "back", seq: 0, durationMs: UNHURRIED_MS })).toMatchObject({
    kind: "done",
  });
}, 180_000);
