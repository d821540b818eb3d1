import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ADA, BOB, startTestPool, UNHURRIED_MS, until } from "../e2e/pool.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { readyProfiles, readyRenditions } from "../peers/media.ts";
import { startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { attachedTo, NO_COMPLAINTS, SECRET, writeSecret } from "./pool.ts";

/** Places of all workers together, and streams that want one at each door: more than there are. */
const PLACES = 8;
const STREAMS = 10;
/** Then a stream ends, and another one wants its place. */
const STREAM_SEGMENTS = 8;
/** Then another stream comes, or who was turned away again: each time is a TLS handshake, which is what a crowd costs. */
const RETRY_MS = 300;
/** Segments over which shares are compared. */
const COMPARED = 200;
/** The smallest rendition is a source as good as any: this is about places, not throughput. */
const source = readyRenditions[0]!.data;
const profiles = readyProfiles.slice(0, 1);

/** What one door was given, and what went wrong there that must not. */
interface Crowd {
  done: number;
  readonly lost: string[];
  stop(): Promise<void>;
}

/** Many streams that come, take a place where they find one, and go. */
function startCrowd(stream: (name: string, crowd: Crowd) => Promise<void>): Crowd {
  let running = true;
  const crowd: Crowd = {
    done: 0,
    lost: [],
    async stop() {
      running = false;
      await all;
    },
  };
  const all = Promise.all(
    Array.from({ length: STREAMS }, async (_, n) => {
      for (let i = 0; running; i++) {
        await stream(`${n}-${i}`, crowd);
        await sleep(RETRY_MS);
      }
    }),
  );
  return crowd;
}

test("crowds at both doors share the workers: whoever comes second gets its part, and whoever came first keeps one", async () => {
  await using orchestrator = await startStockOrchestrator({ secret: SECRET, keepBodies: false });
  await using secret = await writeSecret();
  await using pool = await startTestPool({ attached: attachedTo({ main: orchestrator }, secret.file) });
  for (const rig of [`${ADA}.one`, `${BOB}.two`]) {
    await pool.transcoder({ secret: rig, capacity: PLACES / 2, behaviour: behaviours.after(20) });
  }
  await pool.untilConnected(2);
  await until(() => orchestrator.live.length === 1, 60_000);
  const gateway = pool.gateway();

  const openGateways = (): Crowd =>
    startCrowd(async (name, crowd) => {
      for (let seq = 0; seq < STREAM_SEGMENTS; seq++) {
        const outcome = await gateway.pushSegment({
          manifestId: `gateway-${name}`,
          seq,
          data: source,
          durationMs: UNHURRIED_MS,
          profiles,
          container: "mpegts",
        });
        // Without a place it is turned away before it has anything to lose, never later.
        if (seq === 0 && outcome.kind === "no-session") return;
        if (outcome.kind === "done") crowd.done++;
        else crowd.lost.push(JSON.stringify(outcome));
      }
      await gateway.endStream(`gateway-${name}`);
    });
  const openTasks = (): Crowd =>
    startCrowd(async (name, crowd) => {
      for (let seq = 0; seq < STREAM_SEGMENTS; seq++) {
        const order = { session: `task-${name}`, seq, source, profiles, durationMs: UNHURRIED_MS };
        const outcome = await orchestrator.transcode(order);
        if (seq === 0 && outcome.kind === "error" && outcome.text === "no transcoders available") return;
        if (outcome.kind === "done") crowd.done++;
        else crowd.lost.push(outcome.text);
      }
      orchestrator.endSession(`task-${name}`);
    });
  /** What each of two doors was given while both together were given so much. */
  const shares = async (one: Crowd, other: Crowd): Promise<readonly number[]> => {
    const [oneBefore, otherBefore] = [one.done, other.done];
    await until(() => one.done + other.done >= oneBefore + otherBefore + COMPARED, 120_000);
    return [one.done - oneBefore, other.done - otherBefore];
  };

  const gateways = openGateways();
  await until(() => gateways.done >= COMPARED / 2, 120_000);
  const tasks = openTasks();
  await until(() => tasks.done >= COMPARED / 4, 120_000);
  const whileTasksCame = await shares(gateways, tasks);
  await gateways.stop();
  const alone = tasks.done;
  await until(() => tasks.done >= alone + COMPARED / 2, 120_000);
  const again = openGateways();
  await until(() => again.done >= COMPARED / 4, 120_000);
  const whileGatewaysCame = await shares(again, tasks);
  await again.stop();
  await tasks.stop();

  // Nobody is thrown out of a place, and this orchestrator fills each that it was offered at once with the next stream: what
  // is sure is the place that is kept for who comes second, one of eight, and on the way to its share it may have more.
  expect(Math.min(...whileTasksCame), String(whileTasksCame)).toBeGreaterThan(COMPARED / 16);
  expect(Math.min(...whileGatewaysCame), String(whileGatewaysCame)).toBeGreaterThan(COMPARED / 16);
  // However many streams have ended unheard of: never was more offered than there is.
  expect(Math.max(...orchestrator.transcoders.map(({ capacity }) => capacity))).toBeLessThanOrEqual(PLACES);
  expect([...gateways.lost, ...again.lost]).toEqual([]);
  // A stream that moves to a new registration may find its place taken by a new one, where as many want one as here.
  expect(tasks.lost.filter((text) => text !== "no transcoders available")).toEqual([]);
  expect(orchestrator.complaints).toEqual(NO_COMPLAINTS);
  expect((await pool.credited()).segments).toBe(gateways.done + again.done + tasks.done);
}, 300_000);
