import { randomFillSync } from "node:crypto";

const random = Buffer.alloc(4096);
let at = random.length;

/** A UUIDv7: sorts by time, 74 random bits. */
export function uuid7(nowMs: number): string {
  if (at + 10 > random.length) {
    randomFillSync(random);
    at = 0;
  }
  const time = Math.floor(nowMs).toString(16).padStart(12, "0");
  const a = (0x7000 | (random.readUInt16BE(at) & 0x0fff)).toString(16);
  const b = (0x8000 | (random.readUInt16BE(at + 2) & 0x3fff)).toString(16);
  const c = random.toString("hex", at + 4, at + 10);
  at += 10;
  return `${time.slice(0, 8)}-${time.slice(8)}-${a}-${b}-${c}`;
}
