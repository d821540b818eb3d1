import { keccak_256 } from "@noble/hashes/sha3.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createKeccakFactory } from "./keccak.ts";

/** Chunks of many lengths, most of them near the edges of blocks and steps. */
const chunk = fc
  .oneof(
    fc.integer({ min: 0, max: 300 }),
    fc.constantFrom(135, 136, 137, 271, 272, 273, 65_551, 65_552, 65_553, 131_104),
  )
  .chain((length) => fc.integer({ min: 0, max: 255 }).map((seed) => Buffer.alloc(length, `${seed}-${length}`)));

test("hashes any interleaving of streams in any chunks like the reference", () => {
  fc.assert(
    fc.property(fc.array(fc.array(chunk, { maxLength: 5 }), { minLength: 1, maxLength: 5 }), (streams) => {
      const factory = createKeccakFactory();
      const hashers = streams.map(() => factory.create());
      for (let round = 0; round < 5; round++) {
        streams.forEach((chunks, i) => {
          const next = chunks[round];
          if (next) hashers[i]!.update(next);
        });
      }
      streams.forEach((chunks, i) => {
        expect(Buffer.from(hashers[i]!.digest())).toEqual(Buffer.from(keccak_256(Buffer.concat(chunks))));
      });
    }),
    { numRuns: 60 },
  );
});
