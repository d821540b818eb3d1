import type { Sums, WindowName } from "@openpool/protocol";
import type { RollupStep, RollupSums } from "../../store/rollup-types.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

export const STEP_MS: Record<RollupStep, number> = { minute: MINUTE_MS, hour: HOUR_MS, day: DAY_MS };

/** What each window is made of, the current minute, hour or day included. */
export const WINDOWS: Record<WindowName, { readonly step: RollupStep; readonly count: number }> = {
  "1h": { step: "minute", count: 60 },
  "24h": { step: "hour", count: 24 },
  "7d": { step: "hour", count: 168 },
  "30d": { step: "day", count: 30 },
};

export const WINDOW_NAMES = Object.keys(WINDOWS) as readonly WindowName[];

/** Where a window begins: `count` whole steps (UTC) before the end of the current one. */
export function windowStart(nowMs: number, step: RollupStep, count: number): number {
  const stepMs = STEP_MS[step];
  return Math.floor(nowMs / stepMs) * stepMs - (count - 1) * stepMs;
}

export function time(ms: number): string {
  return new Date(ms).toISOString();
}

export function timeOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : time(ms);
}

/** Two decimals are enough for people. */
export function realTimeRatio(sums: Pick<RollupSums, "sourceMs" | "workMs">): number | null {
  return sums.workMs === 0n ? null : Math.round((Number(sums.sourceMs) / Number(sums.workMs)) * 100) / 100;
}

export function successPpm(sums: Pick<RollupSums, "jobs" | "failedAttempts">): number | null {
  const all = sums.jobs + sums.failedAttempts;
  return all === 0n ? null : Number((sums.jobs * 1_000_000n) / all);
}

export function sumsJson(sums: RollupSums, fromMs: number, toMs: number): Sums {
  return {
    from: time(fromMs),
    to: time(toMs),
    jobs: Number(sums.jobs),
    lostJobs: Number(sums.lostJobs),
    rescuedJobs: Number(sums.rescuedJobs),
    failedAttempts: Number(sums.failedAttempts),
    pixels: sums.pixels.toString(),
    claimedPixels: sums.claimedPixels.toString(),
    feeWei: sums.feeWei.toString(),
    commissionWei: (sums.feeWei - sums.earnedWei).toString(),
    earnedWei: sums.earnedWei.toString(),
    sourceMs: Number(sums.sourceMs),
    workMs: Number(sums.workMs),
    successPpm: successPpm(sums),
    realTimeRatio: realTimeRatio(sums),
  };
}
