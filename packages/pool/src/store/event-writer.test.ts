import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { times } from "../../../../test/chance.ts";
import { openStore } from "./open-store.ts";
import { type FaultyProxy, openFaultyProxy, type ProxyMode } from "./testing/faulty-proxy.ts";
import { ada, creditOf } from "./testing/sample-credit.ts";
import { booked, expectKept, type Outcome, outcomeOf } from "./testing/expect-kept.ts";
import { openTestDatabase, type TestDatabase } from "./testing/test-store.ts";
import type { NewCredit, Store } from "./types.ts";

/** For what takes a moment: connections to open, a database to write. */
const PATIENCE = { timeout: 20_000, interval: 20 };

async function openBehindProxy(
  clock = systemClock,
): Promise<{ store: Store; proxy: FaultyProxy; database: TestDatabase } & AsyncDisposable> {
  const database = await openTestDatabase();
  const proxy = await openFaultyProxy(database.connection);
  const store = await openStore(proxy.connection, { logger: silentLogger, clock });
  return {
    store,
    proxy,
    database,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

describe("when the connection breaks", () => {
  test.each<ProxyMode>(["cut-request", "cut-reply"])(
    "at a %s, a credit and a fact are written once and confirmed",
    async (mode) => {
      await using open = await openBehindProxy();
      const { store, proxy, database } = open;
      await store.credit(creditOf(ada, "one", 1n));
      proxy.mode = mode;
      const credit = creditOf(ada, "one", 2n);
      const [outcome] = await Promise.all([store.credit(credit), store.append([{ type: "fact", data: { n: 1 } }])]);
      expect(outcome).toBe("credited");
      await expectKept(store, database, new Map([[credit, outcome]]), [1]);
    },
  );

  test("after a second credit for a job was refused, the caller still learns that", async () => {
    await using open = await openBehindProxy();
    const { store, proxy } = open;
    const credit = creditOf(ada, "one", 1n);
    await store.credit(credit);
    proxy.mode = "cut-reply";
    const fresh = creditOf(ada, "one", 2n);
    expect(await Promise.all([store.credit(credit), store.credit(fresh)])).toEqual(["already-credited", "credited"]);
  });

  test("anywhere, any number of times, with callers that give up, nothing confirmed is lost and nothing is doubled", async () => {
    await using open = await openBehindProxy();
    const { store, proxy, database } = open;
    const credits = new Map<NewCredit, Outcome>();
    const facts: number[] = [];
    const step = fc.record({
      fault: fc.constantFrom<ProxyMode>("pass", "pass", "cut-request", "cut-reply", "hold-replies", "refuse"),
      credits: fc.array(fc.constantFrom("wait", "give up at once", "give up soon", "again"), { maxLength: 5 }),
      facts: fc.nat(2),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
        const waiting: Promise<unknown>[] = [];
        for (const { fault, credits: kinds, facts: count } of steps) {
          proxy.mode = fault;
          for (const kind of kinds) {
            const again = kind === "again" ? [...credits.keys()].at(-1) : undefined;
            const credit = again ?? creditOf(ada, "one", BigInt(credits.size + 1));
            if (!again) credits.set(credit, "maybe-written");
            const giveUp = new AbortController();
            const done = outcomeOf(store.credit(credit, giveUp.signal)).then((outcome) => {
              // A second try may say more about the job than the first.
              if (!again || outcome === "credited" || outcome === "already-credited") credits.set(credit, outcome);
            });
            waiting.push(done);
            if (kind === "give up at once") giveUp.abort();
            if (kind === "give up soon") setImmediate(() => setImmediate(() => giveUp.abort()));
          }
          for (let i = 0; i < count; i++) {
            const n = facts.length;
            facts.push(n);
            waiting.push(store.append([{ type: "fact", data: { n } }]));
          }
          await new Promise((resolve) => setTimeout(resolve, 3));
        }
        proxy.mode = "pass";
        await Promise.all(waiting);
        await vi.waitFor(() => expect(store.writable).toBe(true), { timeout: 20_000, interval: 5 });
        await expectKept(store, database, credits, facts);
      }),
      { numRuns: times(25) },
    );
  }, 60_000);
});

describe("when the database does not answer", () => {
  test("the log is soon not writable, a credit can be given up, and it is so again when the answer comes", async () => {
    const clock = stoppedClock("2026-01-01T00:00:00Z");
    await using open = await openBehindProxy(clock);
    const { store, proxy, database } = open;
    proxy.mode = "hold-replies";
    const giveUp = new AbortController();
    const [first, second] = [creditOf(ada, "one", 1n), creditOf(ada, "one", 2n)];
    const inFlight = outcomeOf(store.credit(first, giveUp.signal));
    await vi.waitFor(async () => expect((await booked(database)).jobs).toEqual([first.job]), PATIENCE);
    const queued = outcomeOf(store.credit(second, giveUp.signal));
    expect(store.writable).toBe(true);
    clock.advance(1_001);
    expect(store.writable).toBe(false);
    giveUp.abort();
    expect(await inFlight).toBe("maybe-written");
    expect(await queued).toBe("not-written");
    proxy.mode = "pass";
    await vi.waitFor(() => expect(store.writable).toBe(true), PATIENCE);
    expect(await store.credit(first)).toBe("already-credited");
    expect(await store.credit(second)).toBe("credited");
  });

  test("for too long, the batch is sent again over a new connection, and is written once", async () => {
    const clock = stoppedClock("2026-01-01T00:00:00Z");
    await using open = await openBehindProxy(clock);
    const { store, proxy, database } = open;
    proxy.mode = "hold-replies";
    const credit = creditOf(ada, "one", 1n);
    const credited = store.credit(credit);
    await vi.waitFor(async () => expect((await booked(database)).jobs).toEqual([credit.job]), PATIENCE);
    // What was held for the old connection is lost with it.
    clock.advance(10_001);
    await new Promise((resolve) => setImmediate(resolve));
    proxy.mode = "pass";
    expect(await credited).toBe("credited");
    await expectKept(store, database, new Map([[credit, "credited"]]), []);
  });

  test("a quiet connection is tried, so that the log is not called writable for long", async () => {
    const clock = stoppedClock("2026-01-01T00:00:00Z");
    await using open = await openBehindProxy(clock);
    const { store, proxy } = open;
    proxy.mode = "hold-replies";
    await vi.waitFor(() => {
      clock.advance(1_000);
      expect(store.writable).toBe(false);
    }, PATIENCE);
    proxy.mode = "pass";
    await vi.waitFor(() => expect(store.writable).toBe(true), PATIENCE);
  });
});

describe("when the database takes nothing", () => {
  test("for want of space, what waits is kept, and the log is writable again by itself", async () => {
    await using open = await openBehindProxy();
    const { store, database } = open;
    await database.query(`
      create function openpool.no_space() returns trigger language plpgsql as
        $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
      create trigger no_space before update on openpool.log_writers for each row execute function openpool.no_space()`);
    const credit = creditOf(ada, "one", 1n);
    const credited = store.credit(credit);
    const giveUp = new AbortController();
    const given = outcomeOf(store.credit(creditOf(ada, "one", 2n), giveUp.signal));
    await vi.waitFor(() => expect(store.writable).toBe(false), PATIENCE);
    giveUp.abort();
    // Certain, unless a try was just under way.
    expect(await given).not.toBe("credited");
    await database.query("drop trigger no_space on openpool.log_writers");
    expect(await credited).toBe("credited");
    expect(store.writable).toBe(true);
    await expectKept(store, database, new Map([[credit, "credited"]]), []);
  });

  test("and nobody waits any more, it is still tried until it does", async () => {
    await using open = await openBehindProxy();
    const { store, database } = open;
    await database.query("alter table openpool.log_writers rename to away");
    const giveUp = new AbortController();
    const given = outcomeOf(store.credit(creditOf(ada, "one", 1n), giveUp.signal));
    await vi.waitFor(() => expect(store.writable).toBe(false), PATIENCE);
    giveUp.abort();
    expect(await given).not.toBe("credited");
    await database.query("alter table openpool.away rename to log_writers");
    await vi.waitFor(() => expect(store.writable).toBe(true), PATIENCE);
    // That it does again is the first thing that it takes.
    const [event] = await store.events({ limit: 9 });
    expect(event?.type).toBe("log.resumed");
    expect(event?.data["reason"]).toContain("log_writers");
  });

  test("closing gives up after a while and says of each what is certain", async () => {
    const database = await openTestDatabase();
    const proxy = await openFaultyProxy(database.connection);
    const store = await openStore(proxy.connection, { logger: silentLogger, clock: systemClock });
    proxy.mode = "refuse";
    await vi.waitFor(() => expect(store.writable).toBe(false), PATIENCE);
    const waiting = [
      outcomeOf(store.credit(creditOf(ada, "one", 1n))),
      outcomeOf(store.credit(creditOf(ada, "one", 2n))),
    ];
    await store[Symbol.asyncDispose]();
    expect(await Promise.all(waiting)).toEqual(["not-written", "not-written"]);
    expect(await outcomeOf(store.credit(creditOf(ada, "one", 3n)))).toBe("not-written");
    await proxy[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });
});

test("a database that was set back to an earlier state gets what comes now, and the operator is told", async () => {
  const database = await openTestDatabase();
  const said: string[] = [];
  const logger = { ...silentLogger, error: (message: string) => void said.push(message) };
  await using store = await openStore(database.connection, { logger, clock: systemClock });
  await store.append([{ type: "a", data: {} }]);
  await store.append([{ type: "b", data: {} }]);
  await database.query("update openpool.log_writers set batch = 1");
  await store.append([{ type: "c", data: {} }]);
  expect((await store.events({ limit: 9 })).map((e) => e.type)).toEqual(["a", "b", "c"]);
  expect(said.join()).toContain("set back to an earlier state");
  await store[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});
