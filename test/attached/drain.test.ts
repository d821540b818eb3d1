import { once } from "node:events";
import { type Clock, systemClock } from "@openpool/base";
import { requestRestart } from "@openpool/pool";
import { expect, test } from "vitest";
import { openTestDatabase } from "../../packages/pool/src/store/testing/test-store.ts";
import { ADA, creditsOf, startTestPool, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { startProgram } from "../e2e/program.ts";
import { startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { RIG_CAPACITY, startBusyProgram } from "./busy-program.ts";
import { attachedTo, NO_COMPLAINTS, SECRET, writeSecret } from "./pool.ts";

const STREAMS = 6;
const NOBODY = "no transcoders available";

test("an orchestrator is left by command while streams run, stays so over restarts and stops, and is taken up again", async () => {
  await using busy = await startBusyProgram({ streams: STREAMS, durationMs: UNHURRIED_MS });
  const { orchestrator, program, streams, rigs, flags } = busy;
  const untilRigsAreBack = (): Promise<void> =>
    until(async () => {
      const { capacity } = (await program.admin("/status")) as { readonly capacity: number };
      return capacity === RIG_CAPACITY * rigs.length;
    }, 60_000);
  expect(await program.operate("upstream", "list")).toMatch(/^main +127\.0\.0\.1:\d+ +registered +6\/30 /m);

  expect(await program.operate("upstream", "drain", "main")).toBe("the pool is taken out of main\n");
  await until(() => orchestrator.live.length === 0, 60_000);
  // What ran is answered, what comes now finds nobody: whoever has had two more has seen both.
  await streams.moreOfAll(2);
  const afterDrain = streams.done();
  expect(await program.operate("upstream", "list")).toMatch(
    /^main .* drained +\d+\/0 +0 .* taken out by the operator$/m,
  );
  const registrations = orchestrator.transcoders.length;

  expect(await requestRestart(program.dataDir)).toMatchObject({ kind: "restarted" });
  await untilRigsAreBack();
  expect(await program.operate("upstream", "list")).toMatch(/^main .* drained /m);

  const ended = once(program.process, "exit");
  program.process.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  const port = Number(program.addr.split(":")[1]);
  await using again = await startProgram({ dataDir: program.dataDir, port, flags });
  await untilRigsAreBack();
  expect(await again.operate("upstream", "list")).toMatch(/^main .* drained /m);
  expect(orchestrator.transcoders.length).toBe(registrations);
  expect(streams.done()).toBe(afterDrain);

  expect(await again.operate("upstream", "undrain", "main")).toBe("the pool takes work from main again\n");
  await until(() => orchestrator.live.length > 0, 60_000);
  await until(() => streams.done() >= afterDrain + 3 * STREAMS, 60_000);
  await streams.stop();
  expect(streams.outcomes.filter((outcome) => outcome !== "done" && !outcome.includes(NOBODY))).toEqual([]);
  expect(orchestrator.complaints).toEqual(NO_COMPLAINTS);
  expect(await again.credited()).toEqual(creditsOf(streams.done()));

  await expect(again.operate("upstream", "drain", "nobody")).rejects.toThrow(
    'works for no orchestrator named "nobody"; it knows main',
  );
}, 600_000);

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
