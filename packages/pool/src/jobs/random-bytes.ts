import { randomFillSync } from "node:crypto";

const pool = Buffer.alloc(4096);
let used = pool.length;

/** A few cryptographically random bytes, cheaper than asking the system each time. Valid until the next call. */
export function randomView(bytes: number): Buffer {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const view = pool.subarray(used, used + bytes);
  used += bytes;
  return view;
}
