import { expect, test } from "vitest";
import { solvencyOf } from "./income/solvency.ts";
import { calm, ETH } from "./income/testing/calm.ts";
import type { Job } from "./jobs/job.ts";
import { createPoolMetrics, type MetricsNow } from "./metrics.ts";

const now: MetricsNow = {
  sessions: 0,
  maxSessions: 0,
  transcoders: 0,
  capacity: 0,
  load: 0,
  bytesInFlight: 0,
  jobsInFlight: 0,
  connections: 0,
  storeWritable: true,
  ledger: { eventsBehind: 0, lagMs: undefined, halts: 0, violations: 0, wei: {} },
  fleet: { rigs: [], devicesOf: () => [], upstreams: [] },
  floats: [],
};

/** The samples of the solvency metrics, by name and label. */
function solvencySamples(text: string): Record<string, number> {
  const samples = text.matchAll(/^(openpool_(?:solvency_\w+|luck_ratio|reserve_days|share_ratio))\{([^}]*)\} (\S+)$/gm);
  return Object.fromEntries(
    [...samples].map(([, name, labels = "", value]) => {
      const label = /(?:what|code)="(\w[\w-]*)"/.exec(labels)?.[1];
      return [label === undefined ? name : `${name} ${label}`, Number(value)];
    }),
  );
}

test("solvency is in the metrics, with a warning that comes before anything is missing and goes when its reason does", async () => {
  const metrics = createPoolMetrics("0.0.0");
  const eth = Number(ETH);
  const fine = {
    "openpool_solvency_wei credited": 75 * eth,
    "openpool_solvency_wei debt": 3 * eth,
    "openpool_solvency_wei reserve": 10 * eth,
    openpool_luck_ratio: 0.95,
    openpool_reserve_days: 10,
    "openpool_share_ratio promised": 0.75,
    "openpool_share_ratio largest": 1,
  };
  expect(solvencySamples(await metrics.text({ ...now, solvency: solvencyOf(calm) }))).toMatchObject(fine);
  // 95 % are promised and half of the fees are the delegators': reserve and debts are as before.
  const generous = { ...calm, promisedPpm: 950_000n, chain: { ...calm.chain, feeSharePpm: 500_000n } };
  expect(solvencySamples(await metrics.text({ ...now, solvency: solvencyOf(generous) }))).toEqual({
    ...fine,
    "openpool_share_ratio promised": 0.95,
    "openpool_share_ratio largest": 0.55,
    "openpool_solvency_warnings promise-over-share": 1,
  });
  const again = solvencySamples(await metrics.text({ ...now, solvency: solvencyOf(calm) }));
  expect(Object.keys(again).filter((name) => name.includes("warnings"))).toEqual([]);
});

test("the price of the latest job is in wei per pixel, fractions too", async () => {
  const metrics = createPoolMetrics("0.0.0");
  const job = { durationMs: 2_000, price: { pricePerUnitWei: 5n, pixelsPerUnit: 4n } } as Job;
  metrics.jobEnded({ outcome: { kind: "abandoned" }, job, tookMs: 1 });
  expect(await metrics.text(now)).toMatch(/^livepeer_transcoding_price\{.*sender="".*\} 1\.25$/m);
});
