import { PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { CreditedJob } from "./types.ts";

/** A `job.credited` event as the log has it. */
export interface CreditEvent {
  readonly id: string;
  readonly atMs: number;
  readonly worker: string;
  readonly rig: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface DecodedCredit {
  readonly job: CreditedJob;
  /** The version of the terms that it names; undefined in logs from before there were terms. */
  readonly termsVersion: number | undefined;
}

/** Reads what `append_batch` wrote. @throws PoolError `ledger/bad-event` when it does not say what it must. */
export function decodeCredit({ id, atMs, worker, rig, data }: CreditEvent): DecodedCredit {
  const bad = (field: string): PoolError =>
    new PoolError(
      { code: "ledger/bad-event" },
      `The event ${id} is a credit without a usable ${field}; the books stop before it.`,
    );
  const whole = (value: unknown, field: string): bigint => {
    if (typeof value === "string" && /^\d{1,78}$/.test(value)) return BigInt(value);
    throw bad(field);
  };
  const count = (value: unknown, field: string): number => {
    if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return value;
    throw bad(field);
  };
  const { job, price, renditions, source } = data;
  if (typeof job !== "string") throw bad("job");
  // Written by us beside each other, always both.
  const { pricePerUnitWei, pixelsPerUnit } = (typeof price === "object" && price !== null ? price : {}) as Record<
    string,
    unknown
  >;
  const feeWei = whole(data["feeWei"], "feeWei");
  const commissionWei = whole(data["commissionWei"], "commissionWei");
  const earnedWei = whole(data["earnedWei"], "earnedWei");
  if (commissionWei + earnedWei !== feeWei) throw bad("split");
  return {
    job: {
      event: id,
      job,
      atMs,
      // Written by us as the address of a rig.
      worker: worker as WorkerAddress,
      rig,
      source: `source:${typeof source === "string" ? source : "gateway"}`,
      segments: count(data["segments"], "segments"),
      pixels: whole(data["pixels"], "pixels"),
      durationMs: count(data["durationMs"] ?? 0, "durationMs"),
      price: {
        pricePerUnitWei: whole(pricePerUnitWei, "price"),
        pixelsPerUnit: whole(pixelsPerUnit, "price"),
      },
      commissionPpm: whole(data["commissionPpm"], "commissionPpm"),
      feeWei,
      commissionWei,
      earnedWei,
      renditions: Array.isArray(renditions) ? renditions.map(toRendition) : [],
    },
    termsVersion: typeof data["termsVersion"] === "number" ? data["termsVersion"] : undefined,
  };
}

function toRendition(value: unknown): { readonly width: number; readonly height: number; readonly frames: number } {
  const { width, height, frames } = (typeof value === "object" && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  const number = (one: unknown): number => (typeof one === "number" ? one : 0);
  return { width: number(width), height: number(height), frames: number(frames) };
}
