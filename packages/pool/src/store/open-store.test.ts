import { existsSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger, stoppedClock, systemClock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import * as fc from "fast-check";
import { Client } from "pg";
import { describe, expect, test, vi } from "vitest";
import { times } from "../../../../test/chance.ts";
import { startManagedPostgres } from "./managed-postgres.ts";
import { migrate } from "./migrations.ts";
import { openStore } from "./open-store.ts";
import { clientConfig, type PgConnection } from "./pg-connection.ts";
import { ada, bob, creditOf, newJob } from "./testing/sample-credit.ts";
import { openTestDatabase, openTestStore, testPostgres } from "./testing/test-store.ts";
import type { EventQuery, NewCredit, Store, StoredEvent } from "./types.ts";
import { unguarded } from "./testing/unguarded.ts";

const deps = { logger: silentLogger, clock: systemClock };

/** The same place as a URL, as `--database-url` has it. */
function asUrl(connection: PgConnection): string {
  if (connection.kind !== "socket") throw new Error("no socket");
  const { user, database, socketDir, port } = connection;
  return `postgres://${user}@/${database}?host=${encodeURIComponent(socketDir)}&port=${port}`;
}

async function allEvents(store: Store, query: Partial<EventQuery> = {}): Promise<readonly StoredEvent[]> {
  const events: StoredEvent[] = [];
  for (;;) {
    const after = events.at(-1)?.position;
    const more = await store.events({ limit: 500, ...query, ...(after === undefined ? {} : { after }) });
    if (more.length === 0) return events;
    events.push(...more);
  }
}

const upTo = (n: number): bigint[] => Array.from({ length: n }, (_, i) => BigInt(i + 1));

describe("the event log", () => {
  test("gives every event the next position and returns them in order, as they were said", async () => {
    await using store = await openTestStore({ clock: stoppedClock("2026-03-01T10:20:30.456Z") });
    await store.append([{ type: "rig.connected", worker: ada, rig: "default", data: { from: "127.0.0.1" } }]);
    await store.append([
      { type: "a", data: { n: 1 } },
      { type: "b", data: { text: 'a NUL \0, a lone \ud800 surrogate, a \\ and a " and {a,NULL}' } },
    ]);
    await store.append([]);
    const events = await store.events({ limit: 10 });
    expect(events.map((event) => ({ ...event, id: "" }))).toEqual([
      {
        v: 1,
        id: "",
        position: 1n,
        time: "2026-03-01T10:20:30.456Z",
        type: "rig.connected",
        worker: ada,
        rig: "default",
        data: { from: "127.0.0.1" },
      },
      { v: 1, id: "", position: 2n, time: "2026-03-01T10:20:30.456Z", type: "a", data: { n: 1 } },
      {
        v: 1,
        id: "",
        position: 3n,
        time: "2026-03-01T10:20:30.456Z",
        type: "b",
        data: { text: 'a NUL \0, a lone \ud800 surrogate, a \\ and a " and {a,NULL}' },
      },
    ]);
    const ids = events.map((event) => event.id);
    expect(ids).toEqual([...new Set(ids)].toSorted());
  });

  test("is read by cursor, time and type", async () => {
    const clock = stoppedClock("2026-03-31T23:59:00Z");
    await using store = await openTestStore({ clock });
    for (let i = 0; i < 4; i++) {
      await store.append([
        { type: "even", data: { i } },
        { type: "odd", data: { i } },
      ]);
      clock.advance(60_000);
    }
    const read = async (query: Partial<EventQuery>): Promise<bigint[]> =>
      (await store.events({ limit: 100, ...query })).map((event) => event.position);
    expect(await read({})).toEqual(upTo(8));
    expect(await read({ after: 5n })).toEqual([6n, 7n, 8n]);
    expect(await read({ after: 5n, limit: 1 })).toEqual([6n]);
    expect(await read({ after: 8n })).toEqual([]);
    expect(await read({ types: ["odd"] })).toEqual([2n, 4n, 6n, 8n]);
    expect(await read({ types: [] })).toEqual([]);
    expect(await read({ since: Date.parse("2026-04-01T00:01:00Z") })).toEqual([5n, 6n, 7n, 8n]);
    expect(await read({ since: Date.parse("2026-04-01T00:01:00Z"), types: ["even"], after: 5n })).toEqual([7n]);
  });

  test("takes events of any time, also of a clock that jumps over years", async () => {
    const clock = stoppedClock("1999-12-31T23:59:59Z");
    await using store = await openTestStore({ clock });
    await store.append([{ type: "a", data: {} }]);
    clock.advance(40 * 365 * 24 * 60 * 60 * 1000);
    // Two months in one batch, neither with a partition.
    const late = store.append([{ type: "b", data: {} }]);
    clock.advance(40 * 24 * 60 * 60 * 1000);
    await Promise.all([late, store.append([{ type: "c", data: {} }])]);
    expect((await store.events({ limit: 10 })).map((e) => [e.position, e.time.slice(0, 7)])).toEqual([
      [1n, "1999-12"],
      [2n, "2039-12"],
      [3n, "2040-01"],
    ]);
    expect(store.writable).toBe(true);
  });

  test("wakes followers after their own node's events and after another's", async () => {
    await using one = await openTestStore();
    await using two = await openStore(one.database.connection, deps);
    const woken = vi.fn();
    const stop = one.onAppended(woken);
    await one.append([{ type: "mine", data: {} }]);
    await vi.waitFor(() => expect(woken).toHaveBeenCalled(), 20_000);
    // Let the follower see where the log stands before the other one writes.
    await vi.waitFor(async () => {
      woken.mockClear();
      await two.append([{ type: "other", data: {} }]);
      await vi.waitFor(() => expect(woken).toHaveBeenCalled(), 5_000);
    }, 40_000);
    stop();
    woken.mockClear();
    await one.append([{ type: "mine", data: {} }]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(woken).not.toHaveBeenCalled();
  });

  test("shows a reader that follows by cursor every event once, whatever several nodes write meanwhile", async () => {
    await using one = await openTestStore();
    await using two = await openStore(one.database.connection, deps);
    let writing = true;
    const seen: bigint[] = [];
    const follow = async (): Promise<void> => {
      for (let last = false; ;) {
        const more = await one.events({ after: seen.at(-1) ?? 0n, limit: 7 });
        seen.push(...more.map((event) => event.position));
        if (more.length === 0 && last) return;
        if (more.length === 0) last = !writing;
      }
    };
    const write = async (store: Store, name: string): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        await Promise.all([
          store.append([
            { type: name, data: { i } },
            { type: name, data: { i, second: true } },
          ]),
          store.credit(creditOf(ada, name, BigInt(i))),
        ]);
      }
    };
    const following = follow();
    await Promise.all([write(one, "one"), write(two, "two")]);
    writing = false;
    await following;
    expect(seen).toEqual(upTo(360));
    expect(await one.checkTotals()).toEqual([]);
  });

  test("keeps what one caller appended together, and in order of arrival", async () => {
    await using store = await openTestStore();
    await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        store.append(Array.from({ length: 30 }, (_, k) => ({ type: "e", data: { i, k } }))),
      ),
    );
    const events = await allEvents(store);
    expect(events.map((e) => e.position)).toEqual(upTo(1500));
    expect(events.map((e) => e.data)).toEqual(
      Array.from({ length: 1500 }, (_, n) => ({ i: Math.floor(n / 30), k: n % 30 })),
    );
  });
});

describe("credits", () => {
  test("add up per rig and worker, exactly, and a job is credited once", async () => {
    await using store = await openTestStore();
    const first = creditOf(ada, "one", 7n);
    expect(await store.credit(first)).toBe("credited");
    await Promise.all([store.credit(creditOf(ada, "two", 5n)), store.credit(creditOf(bob, "default", 10n ** 40n))]);
    expect(await store.credit(creditOf(bob, "default", 9n, first.job))).toBe("already-credited");
    expect(await store.balances()).toEqual([
      {
        worker: ada,
        segments: 2n,
        pixels: 12n,
        creditedWei: 9000n,
        rigs: [
          { name: "one", segments: 1n, pixels: 7n, creditedWei: 5250n },
          { name: "two", segments: 1n, pixels: 5n, creditedWei: 3750n },
        ],
      },
      {
        worker: bob,
        segments: 1n,
        pixels: 10n ** 40n,
        creditedWei: 75n * 10n ** 41n,
        rigs: [{ name: "default", segments: 1n, pixels: 10n ** 40n, creditedWei: 75n * 10n ** 41n }],
      },
    ]);
    expect(await store.totals()).toEqual({
      segments: 3n,
      pixels: 12n + 10n ** 40n,
      feeWei: 12_000n + 10n ** 43n,
      commissionWei: 3_000n + 25n * 10n ** 41n,
      creditedWei: 9_000n + 75n * 10n ** 41n,
    });
  });

  test("are events from which everything can be worked out again", async () => {
    await using store = await openTestStore();
    const credit = creditOf(ada, "one", 7n);
    await store.credit({ ...credit, data: { renditions: [{ name: "P240p", pixels: "7" }] } });
    const [event] = await store.events({ limit: 1 });
    expect(event).toMatchObject({ type: "job.credited", worker: ada, rig: "one" });
    expect(event?.data).toEqual({
      renditions: [{ name: "P240p", pixels: "7" }],
      job: credit.job,
      segments: 1,
      pixels: "7",
      price: { pricePerUnitWei: "1000", pixelsPerUnit: "1" },
      commissionPpm: "250000",
      feeWei: "7000",
      commissionWei: "1750",
      earnedWei: "5250",
    });
  });

  test("that do not add up are refused before they reach the database", async () => {
    await using store = await openTestStore();
    await expect(store.credit({ ...creditOf(ada, "one", 7n), earnedWei: 5251n })).rejects.toThrow(
      "[store/credit-does-not-add-up]",
    );
    expect(await store.events({ limit: 1 })).toEqual([]);
  });

  test("equal a plain sum over first credits, whatever arrives twice, together or from another node", async () => {
    await using one = await openTestStore();
    await using two = await openStore(one.database.connection, deps);
    const jobs = Array.from({ length: 12 }, () => newJob());
    let model = new Map<string, { worker: string; rig: string; pixels: bigint }>();
    const step = fc.record({
      node: fc.constantFrom(one, two),
      job: fc.nat(jobs.length - 1),
      worker: fc.constantFrom(ada, bob),
      rig: fc.constantFrom("one", "two"),
      pixels: fc.bigInt(0n, 10n ** 30n),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { maxLength: 12 }), { maxLength: 4 }), async (rounds) => {
        await one.database.query(unguarded("truncate openpool.credits, openpool.rig_totals, openpool.events"));
        await one.database.query("update openpool.log_head set position = 0");
        model = new Map();
        for (const round of rounds) {
          const results = await Promise.all(
            round.map(async (s) => {
              const job = jobs[s.job]!;
              return { s, job, outcome: await s.node.credit(creditOf(s.worker, s.rig, s.pixels, job)) };
            }),
          );
          for (const { s, job, outcome } of results) {
            if (outcome !== "credited") continue;
            expect(model.has(job)).toBe(false);
            model.set(job, s);
          }
          for (const { job } of results) expect(model.has(job)).toBe(true);
        }
        const events = await allEvents(one);
        expect(events.map((e) => e.position)).toEqual(upTo(model.size));
        const kept = (await one.balances()).flatMap((w) => w.rigs.map((r) => [`${w.worker}.${r.name}`, r.pixels]));
        const sums = new Map<string, bigint>();
        for (const { worker, rig, pixels } of model.values()) {
          sums.set(`${worker}.${rig}`, (sums.get(`${worker}.${rig}`) ?? 0n) + pixels);
        }
        expect(new Map(kept as [string, bigint][])).toEqual(sums);
        expect(await one.checkTotals()).toEqual([]);
      }),
      { numRuns: times(25) },
    );
  });

  test("can be checked against their totals, which can be made anew", async () => {
    await using store = await openTestStore();
    await store.credit(creditOf(ada, "one", 4n));
    await store.credit(creditOf(ada, "two", 4n));
    const before = await store.balances();
    await store.database.query("update openpool.rig_totals set segments = 9 where rig = 'one'");
    await store.database.query("delete from openpool.rig_totals where rig = 'two'");
    expect(await store.checkTotals()).toMatchObject([
      { worker: ada, rig: "one", kept: { segments: 9n }, fromEvents: { segments: 1n, pixels: 4n, creditedWei: 3000n } },
      { worker: ada, rig: "two", kept: { segments: 0n, creditedWei: 0n }, fromEvents: { segments: 1n } },
    ]);
    await store.rebuildTotals();
    expect(await store.checkTotals()).toEqual([]);
    expect(await store.balances()).toEqual(before);
  });

  test("that cannot be stored fail alone", async () => {
    await using store = await openTestStore();
    const good = [creditOf(ada, "one", 1n), creditOf(ada, "one", 2n)];
    const bad: NewCredit = { ...creditOf(ada, "one", 3n), job: "not-a-uuid" };
    const [a, b, c] = await Promise.allSettled([store.credit(good[0]!), store.credit(bad), store.credit(good[1]!)]);
    expect([a?.status, c?.status]).toEqual(["fulfilled", "fulfilled"]);
    expect(String(b?.status === "rejected" && b.reason)).toContain("[store/unstorable]");
    expect((await allEvents(store)).map((e) => e.data["pixels"])).toEqual(["1", "2"]);
    expect(await store.credit(creditOf(bob, "one", 1n))).toBe("credited");
  });
});

describe("what is known of workers", () => {
  test("is kept, and of it only what is named changes", async () => {
    await using store = await openTestStore();
    const record = { worker: ada, locked: true, banned: undefined, note: "a friend" };
    expect(await store.changeWorker(ada, { locked: true, note: "a friend" })).toEqual(record);
    expect(await store.changeWorker(ada, { banned: "it lies" })).toEqual({ ...record, banned: "it lies" });
    expect(await store.changeWorker(ada, { banned: null, note: null })).toEqual({ ...record, note: undefined });
    const other = { worker: bob, locked: false, banned: "it lies", note: undefined };
    expect(await store.changeWorker(bob, { banned: "it lies" })).toEqual(other);
    expect(await store.workers()).toEqual([{ ...record, note: undefined }, other]);
    expect(await store.worker(bob)).toEqual(other);
  });

  test("forgets old credentials that are revoked, and tells who has how many", async () => {
    await using store = await openTestStore();
    const add = (worker: WorkerAddress, i: number, revoked: boolean): Promise<void> =>
      store.addCredential({
        id: `${worker}${i}`,
        secretHash: `${worker}${i}`,
        name: { worker, rig: "one" },
        createdAt: new Date(i * 1_000).toISOString(),
        revokedAt: revoked ? new Date(i * 1_000).toISOString() : undefined,
      });
    await add(bob, 0, true);
    for (let i = 0; i < 60; i++) await add(ada, i, true);
    await add(ada, 60, false);
    const kept = await store.credentials(ada);
    expect(kept.map((one) => one.id)).toEqual(Array.from({ length: 51 }, (_, i) => `${ada}${i + 10}`));
    expect(await store.credentialRoom(ada)).toEqual({ own: 1, all: 52, credited: false });
    await store.credit(creditOf(bob, "one", 1n));
    expect(await store.credentialRoom(bob)).toEqual({ own: 0, all: 52, credited: true });
  });

  test("holds credentials, each secret once, until they are revoked", async () => {
    await using store = await openTestStore();
    const credential = {
      id: "c1",
      secretHash: "ab".repeat(32),
      name: { worker: ada, rig: "one" },
      createdAt: "2026-01-02T03:04:05.678Z",
      revokedAt: undefined,
    };
    await store.addCredential(credential);
    await expect(store.addCredential({ ...credential, id: "c2" })).rejects.toThrow("[store/conflict]");
    expect(await store.credentials()).toEqual([credential]);
    await store.revokeCredential("c1", Date.parse("2026-02-01T00:00:00Z"));
    await store.revokeCredential("c1", Date.parse("2026-03-01T00:00:00Z"));
    expect(await store.credentials()).toEqual([{ ...credential, revokedAt: "2026-02-01T00:00:00.000Z" }]);
    expect(await store.revokeCredential("c9", 0)).toBeUndefined();
  });

  test("holds snapshots by name", async () => {
    await using store = await openTestStore();
    expect(await store.getSnapshot("reputation")).toBeUndefined();
    await store.putSnapshot("reputation", { v: 1, rigs: [1, "2", null] });
    await store.putSnapshot("reputation", [3]);
    expect(await store.getSnapshot("reputation")).toEqual([3]);
  });
});

describe("opening", () => {
  test("goes on where it was, by socket or by URL", async () => {
    await using database = await openTestDatabase({ empty: true });
    {
      await using store = await openStore(asUrl(database.connection), deps);
      await store.credit(creditOf(ada, "one", 4n));
    }
    await using store = await openStore(database.connection, deps);
    await store.append([{ type: "a", data: {} }]);
    expect((await store.events({ limit: 9 })).map((e) => [e.position, e.type])).toEqual([
      [1n, "job.credited"],
      [2n, "a"],
    ]);
  });

  test("of several nodes on an empty database at the same moment migrates it once", async () => {
    await using database = await openTestDatabase({ empty: true });
    const stores = await Promise.all(Array.from({ length: 4 }, () => openStore(database.connection, deps)));
    await Promise.all(stores.map((store) => store.append([{ type: "a", data: {} }])));
    expect((await allEvents(stores[0]!)).length).toBe(4);
    for (const store of stores) await store[Symbol.asyncDispose]();
    const steps = await database.query<{ version: number }>("select version from openpool.schema_migrations");
    // The key of the table would refuse one that is made twice; that none is left out is what remains to see.
    await using other = await openTestDatabase();
    expect(steps.length).toBe((await other.query("select from openpool.schema_migrations")).length);
  });

  test("refuses a database that a newer program used, and says so", async () => {
    await using database = await openTestDatabase();
    await database.query("insert into openpool.schema_migrations (version, name) values (99, 'from the future')");
    await expect(openStore(database.connection, deps)).rejects.toThrow(
      /\[store\/schema-newer\].* schema version 99 and this program knows \d+: a newer Open Pool used it/,
    );
  });

  test("brings an older schema up to date step by step, and keeps nothing of a step that fails", async () => {
    await using database = await openTestDatabase({ empty: true });
    const client = new Client(clientConfig(database.connection, "test"));
    await client.connect();
    const step = (version: number, sql: string) => ({ version, name: `step ${version}`, sql });
    const steps = [step(1, "create table openpool.a (n int)"), step(2, "alter table openpool.a add m int")];
    await migrate(client, { logger: silentLogger }, steps.slice(0, 1));
    const broken = [...steps, step(3, "create table openpool.b (n int); select 1/0")];
    await expect(migrate(client, { logger: silentLogger }, broken)).rejects.toThrow("[store/migration-failed]");
    expect(await database.query("select n, m from openpool.a")).toEqual([]);
    expect(await database.query("select to_regclass('openpool.b') as b")).toEqual([{ b: null }]);
    await migrate(client, { logger: silentLogger }, [...steps, step(3, "create table openpool.b (n int)")]);
    expect(await database.query("select version from openpool.schema_migrations order by 1")).toEqual([
      { version: 1 },
      { version: 2 },
      { version: 3 },
    ]);
    await client.end();
  });

  test.each([
    ["localhost", "store/bad-database-url"],
    ["mysql://u@h/d", "store/bad-database-url"],
    ["postgres://h", "store/bad-database-url"],
    ["postgres://u:secret@127.0.0.1:1/d", "store/no-database"],
    ["postgres://u:secret@no-such-host.invalid/d", "store/no-database"],
    ["postgres://u:secret@/d?host=%2Fno%2Fsuch%2Fdir", "store/no-database"],
  ])(
    "with the URL %s fails with %s and a text without the password",
    async (url, code) => {
      const error = await openStore(url, deps).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(String(error)).toContain(`[${code}]`);
      expect(String(error)).not.toContain("secret");
      // A resolver that does not answer takes its time to say so.
    },
    60_000,
  );

  test("names a database that does not exist", async () => {
    const { connection } = await testPostgres();
    if (connection.kind !== "socket") throw new Error("no socket");
    await expect(openStore({ ...connection, database: "nowhere" }, deps)).rejects.toThrow(
      /\[store\/no-database\] Cannot use the database nowhere .*that database does not exist/,
    );
  });
});

const systemServer = "/usr/lib/postgresql/15/bin";
if (existsSync(systemServer)) {
  test("works on the oldest PostgreSQL that it accepts", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "openpool-pg15-"));
    const systemDir = await mkdtemp(join(tmpdir(), "openpool-pg15-system-"));
    await chmod(systemDir, 0o755);
    {
      await using postgres = await startManagedPostgres({ dataDir, systemDir, binDir: systemServer }, deps);
      await using store = await openStore(postgres.connection, deps);
      const credit = creditOf(ada, "one", 4n);
      await Promise.all([store.credit(credit), store.append([{ type: "a", data: {} }])]);
      expect(await store.credit(credit)).toBe("already-credited");
      expect((await store.events({ types: ["a"], since: 0, limit: 9 })).map((e) => e.position)).toEqual([2n]);
      expect(await store.checkTotals()).toEqual([]);
    }
    await rm(dataDir, { recursive: true });
    await rm(systemDir, { recursive: true });
  });
}
