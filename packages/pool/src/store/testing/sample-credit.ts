import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { creditFor } from "../../ledger/credit-for.ts";
import type { NewCredit } from "../types.ts";
import { createUuidV7 } from "../uuid.ts";

export const ada = parseAddress(`0x${"a1".repeat(20)}`) as WorkerAddress;
export const bob = parseAddress(`0x${"b0".repeat(20)}`) as WorkerAddress;
export const newJob = createUuidV7(() => Date.now());

/** A credit at 1000 wei a pixel and 25 % commission. */
export function creditOf(worker: WorkerAddress, rig: string, pixels: bigint, job = newJob()): NewCredit {
  return {
    job,
    earner: { worker, rig },
    segments: 1,
    ...creditFor({ pixels, price: { pricePerUnitWei: 1000n, pixelsPerUnit: 1n }, commissionPpm: 250_000n }),
    data: { attempts: 1 },
  };
}
