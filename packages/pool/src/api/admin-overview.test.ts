import { tmpdir } from "node:os";
import { stoppedClock } from "@openpool/base";
import { adminDiskSchema, adminGatewaysSchema, adminOverviewSchema } from "@openpool/protocol";
import { expect, test } from "vitest";
import { adminDisk, adminGateways, adminOverview } from "./admin-overview.ts";
import type { FloatNow, PayoutPort, PayoutRun, PayoutStatus } from "../payouts/types.ts";
import type { AdminPort, LedgerPort, PoolStatus, RigStatus } from "./types.ts";

const clock = stoppedClock("2026-11-21T12:00:00Z");
const rig: RigStatus = {
  worker: "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F",
  rig: "rig1",
  state: "connected",
  connections: 1,
  capacity: 4,
  sessions: 0,
  jobsInFlight: 0,
  standing: "trusted",
  reason: "",
  version: undefined,
  remoteAddress: "192.0.2.7",
  lastSeen: "2026-11-21T12:00:00.000Z",
};
const status = (more: Partial<PoolStatus> = {}): PoolStatus =>
  // What the overview does not look at is left out.
  ({
    version: "1",
    startedAt: "2026-11-21T11:00:00.000Z",
    serviceUri: "https://pool.example:8935",
    dataDir: tmpdir(),
    database: { kind: "managed", writable: true, where: "socket" },
    upstreams: [],
    sessions: 0,
    jobsInFlight: 0,
    bytesInFlight: 0,
    rigs: [rig],
    ...more,
  }) as PoolStatus;
const port = (more: Partial<AdminPort> = {}): AdminPort =>
  ({
    status: () => status(),
    unhealthy: () => [],
    gateways: () => [],
    partitions: async () => [{ month: "2026-11", bytes: 4_096 }],
    ...more,
  }) as AdminPort;
const paying = (floats: readonly FloatNow[]): PayoutPort =>
  ({ status: async () => ({ floats }) as PayoutStatus, runs: async () => [] as PayoutRun[] }) as unknown as PayoutPort;
/** A disk that is nearly full is this machine's own matter. */
const codesOf = async (of: AdminPort): Promise<string[]> => {
  const { exceptions } = adminOverviewSchema.parse(await adminOverview(of, clock));
  return exceptions.flatMap(({ severity, code }) => (code === "disk-low" ? [] : [`${severity} ${code}`]));
};

test("a pool that works needs nobody", async () => {
  expect(await codesOf(port())).toEqual([]);
});

test("what halted comes first, then what warns, then what is only good to know", async () => {
  const upstream = {
    name: "main",
    state: "waiting",
    why: "it does not answer",
  } as unknown as PoolStatus["upstreams"][number];
  const drained = { ...upstream, name: "old", state: "drained" } as const;
  const troubled = port({
    unhealthy: () => ["the event log cannot be written"],
    payouts: paying([
      { asset: "eth", balance: 1n, due: 2n, state: "low", text: "Send 1 wei." },
      { asset: "eth", balance: 9n, due: 0n, state: "high", text: "Much more than it needs." },
    ]),
    status: () =>
      status({
        upstreams: [upstream, drained],
        rigs: [
          { ...rig, standing: "probation", reason: "slow" },
          { ...rig, rig: "rig2", standing: "barred", reason: "false claims" },
          { ...rig, rig: "rig3", standing: "barred", state: "gone" },
        ],
      }),
  });
  expect(await codesOf(troubled)).toEqual([
    "halt unhealthy",
    "warning low-float",
    "warning upstream-lost",
    "warning barred",
    "note high-float",
    "note probation",
  ]);
  const { exceptions, health } = await adminOverview(troubled, clock);
  expect(health).toBe("down");
  expect(exceptions[1]?.sentence).toBe("Send 1 wei.");
});

test("a pool without a rig, and books that cannot be read, are told", async () => {
  const dead = new Error("no answer");
  expect(
    await codesOf(
      port({
        status: () => status({ rigs: [] }),
        ledger: { halts: () => Promise.reject(dead) } as unknown as LedgerPort,
      }),
    ),
  ).toEqual(["halt books-unreadable", "warning no-rigs"]);
});

test("who sends work, and what the log takes on disk, are told in the words of the API", async () => {
  const sender = {
    sender: "198.51.100.4",
    streams: 2,
    answered: 3,
    lost: 0,
    abandoned: 1,
    sourceMs: 6_000,
    pixels: 10n,
    feeWei: 10_000n,
    lastSeenMs: clock.now(),
  };
  const gateways = adminGatewaysSchema.parse(adminGateways(port({ gateways: () => [sender] })));
  expect(gateways.items).toMatchObject([
    { sender: "198.51.100.4", feeWei: "10000", lastSeenAt: "2026-11-21T12:00:00.000Z" },
  ]);
  const disk = adminDiskSchema.parse(await adminDisk(port()));
  expect(disk.freeBytes).toBeGreaterThan(0);
  expect(disk.partitions).toEqual([{ month: "2026-11", bytes: 4_096 }]);
});

test("what the books cannot cover, and credits that wait for their hook, are told", async () => {
  const warnings = [
    { code: "hook-holds", text: "Fees of 5 wei wait because their hook failed." },
    { code: "reserve-negative", text: "1 ETH is missing." },
  ];
  const schemes = { solvency: async () => ({ warnings }) } as unknown as NonNullable<AdminPort["schemes"]>;
  expect(await codesOf(port({ schemes }))).toEqual(["warning credits-held", "warning reserve-negative"]);
});
