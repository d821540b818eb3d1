import { DEFAULT_CAPABILITIES, type RigReport, type WorkerAddress } from "@openpool/protocol";
import type { Terms } from "../../../ledger/terms.ts";
import type { LiveRig } from "../ports.ts";
import { publicReason } from "../public-text.ts";

export const START = "2026-11-21T12:30:00.000Z";

export const terms: Terms = {
  version: 1,
  effectiveAtMs: Date.parse("2026-11-01T00:00:00Z"),
  announcedAtMs: Date.parse("2026-11-01T00:00:00Z"),
  commissionPpm: 250_000n,
  scheme: "unit",
  schemeOptions: {},
  priceSource: "upstream",
  holdMs: 86_400_000,
  minimumPayoutWei: 10n ** 16n,
  schedule: { cron: "0 18 * * 1", timeZone: "UTC" },
  gasBorneBy: "pool",
  overrides: [],
};

/** Two cards of which one encodes. */
export const rigReport: RigReport = {
  v: 1,
  software: { worker: "0.1.0", ffmpeg: "5.1.9-0+deb12u1", system: "linux x64 6.1.0" },
  devices: [
    {
      id: "nvidia:0",
      kind: "nvidia",
      model: "NVIDIA L4",
      driver: "550.90.07",
      memoryMib: 23_034,
      encoders: ["h264_nvenc", "hevc_nvenc"],
      decoders: ["h264", "hevc", "vp8", "vp9"],
      sessions: 11,
      realTimeFactor: 13.9,
    },
  ],
  tests: [
    { device: "nvidia:0", test: "encode", of: "h264_nvenc", passed: true, problem: null, subject: null },
    { device: "nvidia:0", test: "encode", of: "hevc_nvenc", passed: true, problem: null, subject: null },
    {
      device: "nvidia:1",
      test: "encode",
      of: "h264_nvenc",
      passed: false,
      problem: "driver-too-old",
      subject: "570.0",
    },
  ],
};

export function liveRig(worker: WorkerAddress, rig: string, more: Partial<LiveRig> = {}): LiveRig {
  const nowMs = Date.parse(START);
  return {
    worker,
    rig,
    state: "online",
    standing: "trusted",
    standingReason: publicReason("12 good results in a row"),
    standingSinceMs: nowMs - 3_600_000,
    capabilities: DEFAULT_CAPABILITIES,
    software: "0.8.12",
    capacity: 4,
    streams: 1,
    jobsInFlight: 1,
    success: 0.998,
    accepted: 12,
    failed: 1,
    claimsDiffered: 0,
    claimsLied: 0,
    chosenLastHour: 0,
    passedOverLastHour: 0,
    speeds: [{ kind: "h264 1280x720 → 3", realTimeRatio: 3.1, results: 12 }],
    lastSeenMs: nowMs,
    lastWorkMs: nowMs - 2_000,
    connections: [
      {
        sinceMs: nowMs - 7_200_000,
        software: "0.8.12",
        capacity: 4,
        streams: 1,
        jobsInFlight: 1,
        draining: false,
        avoided: false,
        lastHeardMs: nowMs - 2_000,
      },
    ],
    ...more,
  };
}
