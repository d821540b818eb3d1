import { expect, test } from "vitest";
import type { AdminRig, AdminStatus } from "./api/admin.ts";
import { exceptionsOf } from "./exceptions.ts";

const rig: AdminRig = {
  worker: "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F",
  rig: "rig1",
  state: "connected",
  connections: 1,
  capacity: 4,
  sessions: 0,
  jobsInFlight: 0,
  standing: "trusted",
  reason: "",
  lastSeen: "2026-01-01T00:00:00.000Z",
};
const fine: AdminStatus = {
  version: "1",
  startedAt: "2026-01-01T00:00:00.000Z",
  serviceUri: "https://pool.example:8935",
  dataDir: "/data",
  database: { kind: "managed", writable: true, where: "socket" },
  doors: { gateways: true, workers: true },
  sessions: 0,
  jobsInFlight: 0,
  bytesInFlight: 0,
  rigs: [rig],
};

test("a pool that works needs nobody", () => {
  expect(exceptionsOf(fine, { halts: [] }, undefined)).toEqual([]);
});

test("what halted comes first, then what warns, then what is only good to know", () => {
  const found = exceptionsOf(
    { ...fine, database: { ...fine.database, writable: false }, rigs: [{ ...rig, state: "gone", standing: "barred" }] },
    { halts: [{ name: "check", reason: "12 wei differ", sinceMs: 5 }] },
    {
      status: {
        paused: "holiday",
        waitingFor: "gas is high",
        warnings: [],
        halted: { code: "x", message: "a nonce is gone" },
      },
      next: { minimumWei: "0" },
      runs: [{ id: "r1", state: "planned", createdAtMs: 1, totalWei: "9", lines: 1, approvalReason: "over the limit" }],
    },
  );
  expect(found.map(({ severity, code }) => [severity, code])).toEqual([
    ["halt", "log-unwritable"],
    ["halt", "books-halted"],
    ["halt", "payouts-halted"],
    ["warning", "payouts-warning"],
    ["warning", "approval"],
    ["warning", "no-rigs"],
    ["note", "payouts-paused"],
    ["note", "suspect"],
  ]);
});
