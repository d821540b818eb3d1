import { keccak_256 } from "@noble/hashes/sha3.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { times } from "../../../../test/chance.ts";
import { type KeccakFactory, startKeccak } from "./keccak.ts";

/** Chunks of many lengths, most of them near the edges of blocks and steps. */
const chunk = fc
  .oneof(
    fc.integer({ min: 0, max: 300 }),
    fc.constantFrom(135, 136, 137, 271, 272, 273, 65_551, 65_552, 65_553, 131_104),
  )
  .chain((length) => fc.integer({ min: 0, max: 255 }).map((seed) => Buffer.alloc(length, `${seed}-${length}`)));

async function using<T>(work: (factory: KeccakFactory) => Promise<T>): Promise<T> {
  const factory = await startKeccak();
  try {
    return await work(factory);
  } finally {
    await factory[Symbol.asyncDispose]();
  }
}

const reference = (chunks: readonly Uint8Array[]): string =>
  Buffer.from(keccak_256(Buffer.concat(chunks))).toString("hex");
const hex = async (digest: Promise<Uint8Array>): Promise<string> => Buffer.from(await digest).toString("hex");

test("hashes any interleaving of streams in any chunks like the reference, also when others are abandoned", () =>
  using((factory) =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(chunk, { maxLength: 5 }), fc.boolean()), { minLength: 1, maxLength: 6 }),
        async (streams) => {
          const hashers = streams.map(() => factory.create());
          for (let round = 0; round < 5; round++) {
            streams.forEach(([chunks], i) => {
              const next = chunks[round];
              if (next) hashers[i]!.update(next);
            });
          }
          await Promise.all(
            streams.map(async ([chunks, abandoned], i) => {
              if (abandoned) hashers[i]!.abandon();
              else expect(await hex(hashers[i]!.digest())).toBe(reference(chunks));
            }),
          );
        },
      ),
      { numRuns: times(60) },
    ),
  ));

test("more data than the thread has room for waits, and comes out right", () =>
  using(async (factory) => {
    const piece = Buffer.alloc(1 << 20, "piece");
    const hashers = Array.from({ length: 40 }, () => factory.create());
    for (let round = 0; round < 3; round++) for (const hasher of hashers) hasher.update(piece);
    const expected = reference([piece, piece, piece]);
    for (const digest of hashers.map((hasher) => hex(hasher.digest()))) expect(await digest).toBe(expected);
  }));

test("one message that is larger than all room for the thread comes out right", () =>
  using(async (factory) => {
    const piece = Buffer.alloc(40 << 20, "large");
    const hasher = factory.create();
    hasher.update(piece);
    expect(await hex(hasher.digest())).toBe(reference([piece]));
  }));

test("messages that began and never go on keep none from being hashed", () =>
  using(async (factory) => {
    const piece = Buffer.alloc(200_000, "slow");
    const slow = Array.from({ length: 2_100 }, () => factory.create());
    for (const hasher of slow) hasher.update(piece);
    const waiting = factory.create();
    waiting.update(piece);
    const digest = hex(waiting.digest());
    // The first of them ends: its place is for the one that waits.
    expect(await hex(slow[0]!.digest())).toBe(reference([piece]));
    for (const hasher of slow) hasher.abandon();
    expect(await digest).toBe(reference([piece]));
  }));
