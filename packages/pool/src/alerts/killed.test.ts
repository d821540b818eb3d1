import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { openTestStore } from "../store/testing/test-store.ts";
import type { NewEvent } from "../store/types.ts";
import { type HttpSink, openHttpSink, type Taken } from "./testing/http-sink.ts";

vi.setConfig({ testTimeout: 120_000 });
const program = fileURLToPath(new URL("testing/alerts-process.ts", import.meta.url));
const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

let store: Awaited<ReturnType<typeof openTestStore>>;
let sink: HttpSink;
beforeEach(async () => {
  store = await openTestStore();
  sink = await openHttpSink();
  return async () => {
    await sink[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  };
});

interface Process {
  kill(): Promise<void>;
}

/** A process that sends the operator's alerts to the sink, unless it is told to keep them for later. */
async function start(more: object = {}): Promise<Process> {
  const file = { operator: [{ webhook: sink.url, secret: SECRET, ...more }] };
  const settings = JSON.stringify({ connection: store.database.connection, file });
  const child: ChildProcess = spawn(process.execPath, ["--conditions=source", "--import", "tsx", program, settings], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const gone = once(child, "exit");
  onTestFinished(() => void child.kill("SIGKILL"));
  await Promise.race([once(child.stdout!, "data"), gone]);
  if (child.exitCode !== null) throw new Error(`the process ended with ${child.exitCode}`);
  return {
    async kill() {
      child.kill("SIGKILL");
      await gone;
      // What it had asked for last the database may still be doing, as taking messages for the two minutes of a lease.
      await vi.waitFor(async () => expect(await connectionsOf(child.pid)).toBe(0), { timeout: 60_000, interval: 20 });
    },
  };
}

async function connectionsOf(pid: number | undefined): Promise<number> {
  const rows = await store.database.query(
    "select from pg_stat_activity where application_name like 'openpool % ' || $1",
    [String(pid)],
  );
  return rows.length;
}

const event = (n: number): NewEvent => ({ type: "log.resumed", data: { reason: `number ${n}`, since: null } });
const numberOf = ({ body }: Taken): string =>
  (JSON.parse(body) as { data: { facts: { reason: string } } }).data.facts.reason;
const idOf = ({ headers }: Taken): string => String(headers["webhook-id"]);

interface Row {
  readonly state: string;
  readonly attempts: number;
}
const outbox = (): Promise<readonly Row[]> =>
  store.database.query<{ state: string; attempts: number }>("select state, attempts from openpool.alert_outbox");
const untilOutbox = (rows: readonly Partial<Row>[]): Promise<void> =>
  vi.waitFor(async () => expect(await outbox()).toMatchObject(rows), { timeout: 60_000, interval: 50 });
/** What a killed process had taken is anybody's after two minutes: they pass at once. */
const passLease = (): Promise<unknown> =>
  store.database.query("update openpool.alert_outbox set leased_until = now() where leased_until is not null");

test("what happened before a kill and was not read is told by the next process, once", async () => {
  const first = await start();
  await store.append([event(1)]);
  await first.kill();
  await store.append([event(2)]);
  await passLease();
  await start();
  await untilOutbox([{ state: "sent" }, { state: "sent" }]);
  expect(new Set(sink.taken.map(numberOf))).toEqual(new Set(["number 1", "number 2"]));
  expect(new Set(sink.taken.map(idOf)).size).toBe(2);
});

test("what was read and not sent before a kill is sent by the next process, once", async () => {
  const now = Date.now();
  const wall = (ms: number): string => new Date(now + ms).toISOString().slice(11, 16);
  // All but what is urgent waits for hours; the kill comes meanwhile.
  const quiet = { from: wall(-3_600_000), to: wall(7_200_000), timeZone: "UTC" };
  const first = await start({ quiet });
  await store.append([{ type: "terms.announced", data: { version: 2, effectiveAt: null } }]);
  await untilOutbox([{ state: "waiting", attempts: 0 }]);
  await first.kill();
  expect(sink.taken).toEqual([]);
  await store.database.query("update openpool.alert_outbox set next_at = now()");
  // Quiet hours hold for what is sent late as well: the next process has none.
  await start();
  await untilOutbox([{ state: "sent", attempts: 1 }]);
  expect(sink.taken).toHaveLength(1);
});

test("what was taken by the other side before a kill, and not noted, comes again as the same message, which says so", async () => {
  const first = await start();
  let killed: Promise<void> | undefined;
  sink.answer = () => {
    killed ??= first.kill();
    return { status: 200 };
  };
  await store.append([event(1)]);
  await vi.waitFor(() => expect(killed).toBeDefined(), { timeout: 60_000, interval: 20 });
  await killed;
  await passLease();
  await start();
  await untilOutbox([{ state: "sent" }]);
  // Whoever drops ids that it knows, as Standard Webhooks asks for, has it once.
  expect(new Set(sink.taken.map(idOf)).size).toBe(1);
  const texts = sink.taken.map(({ body }) => (JSON.parse(body) as { data: { text: string } }).data.text);
  expect(texts.map((text) => text.includes("You may have this already"))).toEqual([false, true]);
});

test("through kills at any moment nothing is lost, and nothing comes twice under two ids", async () => {
  const EVENTS = 12;
  let sent = 0;
  for (const dieAfter of [1, 4]) {
    const child = await start();
    let requests = 0;
    let killed: Promise<void> | undefined;
    sink.answer = () => {
      if (++requests === dieAfter) killed = child.kill();
      return { status: 200 };
    };
    await store.append(Array.from({ length: EVENTS }, () => event(++sent)));
    await vi.waitFor(() => expect(killed).toBeDefined(), { timeout: 60_000, interval: 20 });
    await killed;
    await passLease();
  }
  sink.answer = () => ({ status: 200 });
  await start();
  await untilOutbox(Array.from({ length: sent }, () => ({ state: "sent" })));
  const byId = new Map(sink.taken.map((one) => [idOf(one), numberOf(one)]));
  const all = Array.from({ length: sent }, (_, i) => `number ${i + 1}`);
  expect([...byId.values()].toSorted()).toEqual(all.toSorted());
});
