import { expect, test } from "vitest";
import { ADA, startTestPool, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { behaviours, type FakeTranscoder, readyUpload } from "../peers/fake-transcoder.ts";
import { startStockOrchestrator, type Transcoded } from "../peers/stock-orchestrator.ts";
import { attachedTo, SECRET, writeSecret } from "./pool.ts";

const TIMEOUT_MS = 60_000;

test("a certificate that is renewed before the orchestrator costs no task, on registrations from before and after", async () => {
  await using orchestrator = await startStockOrchestrator({ secret: SECRET });
  await using secret = await writeSecret();
  await using pool = await startTestPool({
    attached: attachedTo({ main: orchestrator }, secret.file, { gateways: false }),
  });
  const workers: FakeTranscoder[] = [];
  let behaviour: FakeTranscoder["behaviour"] = readyUpload;
  const join = async (): Promise<void> => {
    workers.push(await pool.transcoder({ secret: `${ADA}.rig${workers.length}`, capacity: 4, behaviour }));
  };
  /** From now on workers keep what they get, until it is released. */
  const hold = (): (() => void) => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    behaviour = behaviours.when(() => gate);
    for (const one of workers) one.behaviour = behaviour;
    return release;
  };
  const untilWorking = (tasks: number): Promise<void> =>
    until(() => workers.reduce((sum, { inHand }) => sum + [...inHand].length, 0) >= tasks, TIMEOUT_MS);
  let sessions = 0;
  const transcode = (session = `session${sessions++}`, seq = 0): Promise<Transcoded> =>
    orchestrator.transcode({ session, seq, durationMs: UNHURRIED_MS });

  await join();
  await until(() => orchestrator.live.length === 1, TIMEOUT_MS);
  const release = hold();
  const tasks = [transcode("first"), transcode("second")];
  await untilWorking(2);
  orchestrator.renewCertificate();
  // A registration that is opened now, and connections for answers, see the other one.
  await join();
  await until(() => orchestrator.live.length === 2, TIMEOUT_MS);
  const [old, fresh] = orchestrator.live;
  while ((fresh?.load ?? 0) === 0) {
    tasks.push(transcode());
    await untilWorking(tasks.length);
  }
  release();
  for (const one of tasks) expect(await one).toMatchObject({ kind: "done" });
  // The one from before goes on to give tasks, too.
  expect(await transcode("first", 1)).toMatchObject({ kind: "done" });
  expect(orchestrator.live).toEqual([old, fresh]);

  // It is renewed once more, and a registration that has seen it from the beginning ends.
  const releaseAgain = hold();
  const running = [transcode("first", 2), transcode("second", 1)];
  await untilWorking(2);
  orchestrator.renewCertificate();
  old?.drop();
  await until(() => orchestrator.live.length === 2 && !orchestrator.live.includes(old!), TIMEOUT_MS);
  releaseAgain();
  for (const one of running) expect(await one).toMatchObject({ kind: "done" });
  expect(await transcode()).toMatchObject({ kind: "done" });

  expect(pool.running.node.admin.status().upstreams[0]).toMatchObject({ lost: 0, failed: 0, state: "registered" });
  expect(orchestrator.complaints).toEqual({
    ejected: 0,
    unknownResults: 0,
    duplicateResults: 0,
    unauthorized: 0,
    broken: 0,
  });
}, 240_000);
