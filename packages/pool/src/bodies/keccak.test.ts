import { keccak_256 } from "@noble/hashes/sha3.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openKeccak } from "./keccak.ts";

test("hashes any interleaving of streams in any chunks like the reference", async () => {
  const factory = await openKeccak();
  fc.assert(
    fc.property(fc.array(fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 6 }), { minLength: 1, maxLength: 4 }), (streams) => {
      const hashers = streams.map(() => factory.create());
      for (let round = 0; round < 6; round++) {
        streams.forEach((chunks, i) => {
          const chunk = chunks[round];
          if (chunk) hashers[i]!.update(chunk);
        });
      }
      streams.forEach((chunks, i) => {
        expect(Buffer.from(hashers[i]!.digest())).toEqual(Buffer.from(keccak_256(Buffer.concat(chunks))));
      });
    }),
  );
});
