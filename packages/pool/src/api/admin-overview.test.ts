import { tmpdir } from "node:os";
import { stoppedClock } from "@openpool/base";
import { adminDiskSchema, adminGatewaysSchema, adminOverviewSchema, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { adminDisk, adminGateways, adminOverview } from "./admin-overview.ts";
import type { FloatNow, PayeeStanding, PayoutPort, PayoutRun, PayoutStatus } from "../payouts/types.ts";
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
interface Paying {
  readonly status?: Partial<PayoutStatus>;
  readonly payees?: readonly PayeeStanding[];
  readonly runs?: readonly Partial<PayoutRun>[];
}
const paying = ({ status: of, payees = [], runs = [] }: Paying): PayoutPort =>
  ({
    status: async () => ({ floats: [], ...of }) as PayoutStatus,
    runs: async () => runs as PayoutRun[],
    payees: async () => payees,
  }) as unknown as PayoutPort;
const roomy = async () => ({ freeBytes: 2 ** 40, sizeBytes: 2 ** 41 });
const overviewOf = async (of: AdminPort) => adminOverviewSchema.parse(await adminOverview(of, clock, roomy));
const codesOf = async (of: AdminPort): Promise<string[]> =>
  (await overviewOf(of)).exceptions.map(({ severity, code }) => `${severity} ${code}`);

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
    payouts: paying({
      status: {
        floats: [
          { asset: "eth", balance: 1n, due: 2n, state: "low", text: "Send 1 wei." },
          { asset: "eth", balance: 9n, due: 0n, state: "high", text: "Much more than it needs." },
        ] satisfies FloatNow[],
      },
    }),
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
  const { exceptions, health } = await overviewOf(troubled);
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

test("a transaction that failed is told once, with what to do: as a halt, or with the worker that it was for", async () => {
  const halted = {
    code: "payout/batch-reverted",
    message: "Transaction 0x12 was mined and did nothing.",
    atMs: clock.now() - 60_000,
    intent: "019aa5b2",
    nonce: undefined,
  };
  const standing = { thresholdWei: 0n, stopped: true, heldBack: undefined };
  const payouts = paying({
    status: { halted },
    payees: [{ ...standing, worker: rig.worker as WorkerAddress, failed: "its address refused the payment" }],
  });
  // The books know the same halt.
  const ledger = {
    halts: async () => [{ name: halted.code, reason: halted.message, sinceMs: halted.atMs }],
    lastCheck: () => undefined,
  } as unknown as LedgerPort;
  expect((await overviewOf(port({ payouts, ledger }))).exceptions).toMatchObject([
    {
      severity: "halt",
      code: "payouts-halted",
      sentence: halted.message,
      subject: "payout/batch-reverted, transaction 019aa5b2",
      since: "2026-11-21T11:59:00.000Z",
    },
    {
      severity: "warning",
      code: "payment-failed",
      subject: rig.worker,
      action: `\`openpool payouts retry ${rig.worker}\``,
    },
  ]);
});

test("workers that are held back are told with the reason, many of them in a few lines", async () => {
  const payees = Array.from({ length: 25 }, (_, i) => ({
    worker: `0x${String(i).padStart(40, "0")}` as WorkerAddress,
    thresholdWei: 0n,
    stopped: i > 0,
    failed: undefined,
    heldBack: i > 0 ? "it is banned (black frames)" : undefined,
  }));
  const { exceptions } = await overviewOf(port({ payouts: paying({ payees }) }));
  expect(exceptions).toHaveLength(21);
  expect(exceptions[0]).toMatchObject({
    severity: "note",
    code: "worker-held",
    sentence: "Nothing is paid to it: it is banned (black frames).",
    subject: payees[1]?.worker,
  });
  expect(exceptions.at(-1)).toMatchObject({ code: "more-payees", sentence: "4 more workers are not paid." });
});

test("payouts that are paused, wait, or need a person are told", async () => {
  const payouts = paying({
    status: { paused: "moving house", waitingFor: "gas is dear" },
    runs: [
      { id: "r1", state: "planned", approvalReason: "more than 1 ETH", createdAtMs: clock.now() },
      { id: "r2", state: "planned", createdAtMs: clock.now() },
      { id: "r3", state: "done", approvalReason: "more than 1 ETH", createdAtMs: clock.now() },
    ],
  });
  expect(await codesOf(port({ payouts }))).toEqual([
    "warning payouts-wait",
    "warning approval-needed",
    "note payouts-paused",
  ]);
});

test("books that differ are told, and a disk that fills up before it is full", async () => {
  const ledger = {
    halts: async () => [{ name: "ledger/violated", reason: "1 wei too much.", sinceMs: clock.now() }],
    lastCheck: () => ({ violations: [{ check: "zero", message: "1 wei too much." }] }),
  } as unknown as LedgerPort;
  expect(await codesOf(port({ ledger }))).toEqual(["halt payouts-halted", "halt books-differ"]);
  const full = async () => ({ freeBytes: 300 * 2 ** 20, sizeBytes: 2 ** 41 });
  const { exceptions, pool, health } = await adminOverview(port(), clock, full);
  expect(exceptions).toMatchObject([{ severity: "warning", code: "disk-low" }]);
  expect(exceptions[0]?.sentence).toMatch(/^300 MiB are free/);
  expect([pool.diskFreeBytes, health]).toEqual([300 * 2 ** 20, "ok"]);
});
