import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { describe, expect, test } from "vitest";
import { creditFor } from "../ledger/credit-for.ts";
import { openTestStore } from "./testing/test-store.ts";
import type { NewCredit } from "./types.ts";
import { createUuidV7 } from "./uuid.ts";

const ada = parseAddress(`0x${"a1".repeat(20)}`) as WorkerAddress;
const bob = parseAddress(`0x${"b0".repeat(20)}`) as WorkerAddress;
const uuid = createUuidV7(() => Date.now());

function creditOf(worker: WorkerAddress, rig: string, pixels: bigint, job = uuid()): NewCredit {
  return {
    job,
    earner: { worker, rig },
    segments: 1,
    ...creditFor({ pixels, price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n }, commissionPpm: 250_000n }),
    data: { attempts: 1 },
  };
}

describe("the event log", () => {
  test("gives every event the next position and returns them in order, with what was said", async () => {
    await using store = await openTestStore();
    await store.append([{ type: "rig.connected", worker: ada, rig: "default", data: { from: "127.0.0.1" } }]);
    await store.append([
      { type: "a", data: { n: 1 } },
      { type: "b", data: { text: "a NUL \0 and a lone \ud800 surrogate" } },
    ]);
    const events = await store.events({ limit: 10 });
    expect(events.map(({ position, type, worker, rig }) => ({ position, type, worker, rig }))).toEqual([
      { position: 1n, type: "rig.connected", worker: ada, rig: "default" },
      { position: 2n, type: "a", worker: undefined, rig: undefined },
      { position: 3n, type: "b", worker: undefined, rig: undefined },
    ]);
    expect(events[2]?.data).toEqual({ text: "a NUL \0 and a lone \ud800 surrogate" });
    expect((await store.events({ after: 1n, types: ["b"], limit: 10 })).map((e) => e.position)).toEqual([3n]);
  });
});

describe("credits", () => {
  test("add up per rig and worker, and a job is credited once", async () => {
    await using store = await openTestStore();
    const first = creditOf(ada, "one", 7n);
    expect(await store.credit(first)).toBe("credited");
    await Promise.all([store.credit(creditOf(ada, "two", 5n)), store.credit(creditOf(bob, "default", 10n ** 40n))]);
    expect(await store.credit({ ...first, pixels: 9n })).toBe("already-credited");
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
    expect((await store.events({ limit: 10 })).map((e) => e.position)).toEqual([1n, 2n, 3n]);
    expect(await store.checkTotals()).toEqual([]);
  });
});
