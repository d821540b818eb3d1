import type { Clock } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { z } from "zod";
import { jobInput, readShare } from "./interface.ts";
import { HookError, readHookModule } from "./read-module.ts";
import { createHookRunner } from "./runner.ts";

/** What a module would have made of past jobs. */
export interface HookTrial {
  readonly hash: string;
  readonly jobs: number;
  readonly failed: number;
  /**
   * Every payee, by address, `pool` first: what the books gave it for these jobs at once and what it would have got, of jobs that
   * did not fail. The pool has what is left of their fees.
   */
  readonly payees: readonly {
    readonly to: WorkerAddress | "pool";
    readonly nowWei: bigint;
    readonly thenWei: bigint;
  }[];
  /** The first of them. */
  readonly failures: readonly { readonly job: string; readonly why: string }[];
}

const MAX_FAILURES = 20;
const wei = z.string().regex(/^\d+$/).transform(BigInt);
// Written by the pool as an address.
const address = z.string().transform((text) => text as WorkerAddress);
const jobsSchema = z.array(
  z.looseObject({
    event: z.string(),
    job: z.string(),
    worker: address,
    rig: z.string(),
    source: z.string(),
    atMs: z.number(),
    segments: z.number(),
    pixels: wei,
    durationMs: z.number(),
    price: z.object({ pricePerUnitWei: wei, pixelsPerUnit: wei }),
    commissionPpm: wei,
    feeWei: wei,
    commissionWei: wei,
    earnedWei: wei,
    // Absent: not booked yet. Then its worker gets what its fee says.
    booked: z.array(z.object({ to: address, wei })).optional(),
    renditions: z.array(z.object({ width: z.number(), height: z.number(), frames: z.number() })),
  }),
);

/**
 * Runs a module on past jobs, as the admin port tells them, in this process; nothing is kept or booked.
 *
 * @throws HookError when the file cannot be read, or has no `share`.
 */
export async function tryHook(
  path: string,
  pastJobs: unknown,
  { clock }: { readonly clock: Clock },
): Promise<HookTrial> {
  const { hash, source } = await readHookModule(path);
  const jobs = jobsSchema.parse(pastJobs);
  await using runner = createHookRunner({ clock });
  const exported = await runner.exports(source);
  if ("why" in exported) throw new HookError({ code: "hooks/bad-module" }, `${path} is no hook: ${exported.why}.`);
  if (!exported.names.includes("share")) {
    throw new HookError({ code: "hooks/bad-module" }, `${path} exports no function share: there is nothing to try.`);
  }
  const answers = await runner.run(
    source,
    jobs.map((job) => ({ name: "share", inputJson: jobInput(job) })),
  );
  const payees = new Map<WorkerAddress | "pool", { nowWei: bigint; thenWei: bigint }>();
  const give = (to: WorkerAddress | "pool", nowWei: bigint, thenWei: bigint): void => {
    const sums = payees.get(to) ?? { nowWei: 0n, thenWei: 0n };
    payees.set(to, { nowWei: sums.nowWei + nowWei, thenWei: sums.thenWei + thenWei });
  };
  const failures: { readonly job: string; readonly why: string }[] = [];
  for (const [i, job] of jobs.entries()) {
    const share = readShare(hash, job.feeWei, answers[i] ?? { kind: "failed", why: "the engine gave no answer" });
    if (share.kind === "failed") {
      failures.push({ job: job.job, why: share.why });
      continue;
    }
    const booked = job.booked ?? [{ to: job.worker, wei: job.earnedWei }];
    give(
      "pool",
      booked.reduce((left, { wei: nowWei }) => left - nowWei, job.feeWei),
      0n,
    );
    for (const { to, wei: nowWei } of booked) give(to, nowWei, 0n);
    for (const { to, wei: thenWei } of share.lines) give(to, 0n, thenWei);
  }
  return {
    hash,
    jobs: jobs.length,
    failed: failures.length,
    payees: [...payees]
      .sort(([a], [b]) => (a === "pool" ? -1 : b === "pool" ? 1 : a < b ? -1 : 1))
      .map(([to, sums]) => ({ to, ...sums })),
    failures: failures.slice(0, MAX_FAILURES),
  };
}
