import type { Hex } from "./types.ts";

/** A file of the Safe's transaction builder, as far as we write it: what the app reads of a batch. */
export interface SafeFile {
  readonly version: "1.0";
  /** A decimal number. */
  readonly chainId: string;
  /** Unix ms. */
  readonly createdAt: number;
  readonly meta: {
    readonly name: string;
    readonly description: string;
    readonly createdFromSafeAddress: string;
    readonly createdFromOwnerAddress: string;
    /** See {@link withChecksum}. */
    readonly checksum?: Hex;
  };
  readonly transactions: readonly SafeTransaction[];
}

export interface SafeTransaction {
  readonly to: string;
  /** In wei, a decimal number. */
  readonly value: string;
  readonly data: Hex;
}

/**
 * Adds the checksum by which the transaction builder notices that a file was changed on its way; without it, or with a wrong
 * one, the app warns whoever loads the file. `keccak` hashes the UTF-8 bytes of a text.
 */
export function withChecksum(file: SafeFile, keccak: (text: string) => Hex): SafeFile {
  return { ...file, meta: { ...file.meta, checksum: checksumOf(file, keccak) } };
}

/** Of any file of the builder, also of one that it wrote itself: the name does not count, people change it. */
export function checksumOf(file: { readonly meta: object }, keccak: (text: string) => Hex): Hex {
  return keccak(canonical({ ...file, meta: { ...file.meta, name: null } }));
}

/** The builder's own order of everything: of an object first all of its keys, sorted, then the values in that order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value ?? null);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  const keys = JSON.stringify(entries.map(([key]) => key));
  return `{${keys}${entries.map(([, one]) => `${canonical(one)},`).join("")}}`;
}
