import { createKeccak } from "hash-wasm";

/** A keccak-256 in progress. Abandoning it costs nothing. */
export interface Keccak {
  update(chunk: Uint8Array): void;
  /** The 32 bytes. */
  digest(): Uint8Array;
}

/** Makes hashers; hashing is the largest cost of a segment, so it runs as the bytes arrive. */
export interface KeccakFactory {
  create(): Keccak;
}

/** One WebAssembly instance for all streams: a stream's state is put in before its chunk and taken out behind it. */
export async function openKeccak(): Promise<KeccakFactory> {
  const hasher = await createKeccak(256);
  const empty = hasher.init().save();
  return {
    create() {
      let state = empty;
      return {
        update(chunk) {
          state = hasher.load(state).update(chunk).save();
        },
        digest: () => hasher.load(state).digest("binary"),
      };
    },
  };
}
