import { randomFillSync } from "node:crypto";

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const SEQUENCE_MAX = 0xfff;

/**
 * Makes UUIDv7s: 48 bits of unix milliseconds, 12 bits that count within one, 62 random ones. Ids of one maker only
 * grow, also when the clock steps back: neighbours in time are neighbours in an index.
 */
export function createUuidV7(now: () => number): () => string {
  const pool = new Uint8Array(8 * 128);
  let used = pool.length;
  let lastMs = 0;
  let sequence = 0;
  return () => {
    const ms = Math.floor(now());
    if (ms > lastMs) {
      lastMs = ms;
      sequence = 0;
    } else if (++sequence > SEQUENCE_MAX) {
      lastMs++;
      sequence = 0;
    }
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    const time = lastMs.toString(16).padStart(12, "0");
    const high = (0x7000 | sequence).toString(16);
    // Reason for the `!`s: `used` stays below the pool's length, and a byte below 256.
    const hex = (at: number): string => HEX[pool[used + at]!]!;
    const variant = HEX[(pool[used]! & 0x3f) | 0x80]!;
    const id = `${time.slice(0, 8)}-${time.slice(8)}-${high}-${variant}${hex(1)}-${hex(2)}${hex(3)}${hex(4)}${hex(5)}${hex(6)}${hex(7)}`;
    used += 8;
    return id;
  };
}

/** Whether the database takes a text for a UUID, written as we write them. */
export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(text);
}
