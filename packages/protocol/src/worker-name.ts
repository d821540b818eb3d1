import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, hexToBytes } from "./bytes.ts";

declare const workerAddress: unique symbol;
/** A worker: a payout address in EIP-55 form. */
export type WorkerAddress = string & { readonly [workerAddress]: true };

/** A rig: one machine of a worker. `<address>` (its name is then `default`) or `<address>.<name>`. */
export interface RigName {
  readonly worker: WorkerAddress;
  readonly rig: string;
}

export const DEFAULT_RIG = "default";
const RIG = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;

/** The EIP-55 form of 20 bytes. */
export function checksumAddress(bytes: Uint8Array): WorkerAddress {
  const hex = bytesToHex(bytes);
  const hash = keccak_256(new TextEncoder().encode(hex));
  let out = "0x";
  for (let i = 0; i < 40; i++) {
    const nibble = (hash[i >> 1]! >> (i % 2 ? 0 : 4)) & 15;
    out += nibble >= 8 ? hex[i]!.toUpperCase() : hex[i]!;
  }
  return out as WorkerAddress;
}

export type AddressProblem = "not-an-address" | "zero-address" | "bad-checksum";

/** Reads a payout address. All-lower and all-upper case carry no checksum; mixed case must be EIP-55. */
export function parseAddress(text: string): WorkerAddress | AddressProblem {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) return "not-an-address";
  const hex = text.slice(2);
  if (/^0{40}$/.test(hex)) return "zero-address";
  const address = checksumAddress(hexToBytes(hex));
  const cased = hex !== hex.toLowerCase() && hex !== hex.toUpperCase();
  return cased && address !== text ? "bad-checksum" : address;
}

export function isAddressProblem(result: WorkerAddress | AddressProblem): result is AddressProblem {
  return !result.startsWith("0x");
}

/** What is wrong with an address, to be put behind "The address". */
export const addressProblemText: Record<AddressProblem, string> = {
  "bad-checksum": "has a typo: its mixed case does not fit its digits",
  "zero-address": "is the zero address, which nobody owns",
  "not-an-address": "must be 0x and 40 hex digits",
};

export interface OpenSecret extends RigName {
  /** What follows the first `:`, the pool's password. */
  readonly password: string | undefined;
}

export type SecretProblem = AddressProblem | "bad-rig-name";

/**
 * Reads a worker secret of open joining: `0xADDRESS`, `0xADDRESS.rig`, each with `:password` behind it where the pool
 * has one. A rig's name is 1 to 32 letters, digits, `-` or `_`, and starts with a letter or digit.
 */
export function parseOpenSecret(secret: string): OpenSecret | SecretProblem {
  const colon = secret.indexOf(":");
  const name = colon < 0 ? secret : secret.slice(0, colon);
  const password = colon < 0 ? undefined : secret.slice(colon + 1);
  const dot = name.indexOf(".");
  const worker = parseAddress(dot < 0 ? name : name.slice(0, dot));
  const rig = dot < 0 ? DEFAULT_RIG : name.slice(dot + 1);
  if (isAddressProblem(worker)) return worker;
  return RIG.test(rig) ? { worker, rig, password } : "bad-rig-name";
}

export function isRigName(text: string): boolean {
  return RIG.test(text);
}

/** `<address>.<rig>`: the name of a rig in events, in the ledger and on pages. */
export function formatRig(name: RigName): string {
  return `${name.worker}.${name.rig}`;
}
