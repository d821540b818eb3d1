import { randomBytes } from "node:crypto";
import { PoolError } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { bytesToHex, keccak256 } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import type { Signer } from "../payouts/ports.ts";
import { decryptKeystore, encryptKeystore } from "./keystore.ts";

/** An address as viem writes it, which is the form of ours. */
export function ourAddress(text: string): WorkerAddress {
  return parseAddress(text.toLowerCase()) as WorkerAddress;
}

/** Signs with a key that is held in this process's memory; the caller may wipe its own copy. */
export function signerOfKey(key: Uint8Array): Signer {
  // As bytes, which no dump of the heap shows. Their text is made to sign with, and is garbage at once.
  const held = Uint8Array.from(key);
  const open = (): ReturnType<typeof privateKeyToAccount> => privateKeyToAccount(bytesToHex(held));
  let address: WorkerAddress;
  try {
    address = ourAddress(open().address);
  } catch {
    // Without the cause: its text could hold the key.
    throw new PoolError({ code: "payout/bad-key" }, "This is no private key: 32 bytes in hex are needed.");
  }
  return {
    address,
    async sign({ chainId, nonce, to, valueWei, data, gasLimit, maxFeeWei, maxTipWei }) {
      const raw = await open().signTransaction({
        type: "eip1559",
        chainId,
        nonce,
        to: to as `0x${string}`,
        value: valueWei,
        data,
        gas: gasLimit,
        maxFeePerGas: maxFeeWei,
        maxPriorityFeePerGas: maxTipWei,
      });
      return { raw, hash: keccak256(raw) };
    },
  };
}

/** Reads 32 bytes in hex. The text appears in no error. */
export function parseKey(text: string): Uint8Array {
  const digits = /^\s*(?:0x)?([0-9a-fA-F]{64})\s*$/.exec(text)?.[1];
  if (digits === undefined)
    throw new PoolError({ code: "payout/bad-key" }, "This is no private key: 32 bytes in hex are needed.");
  return Buffer.from(digits, "hex");
}

/** Opens an encrypted keystore. */
export async function signerOfKeystore(text: string, password: string): Promise<Signer> {
  const key = await decryptKeystore(text, password);
  try {
    return signerOfKey(key);
  } finally {
    key.fill(0);
  }
}

/** Makes a key and gives it only as a keystore. */
export async function newKeystore(
  password: string,
  strength?: { readonly n: number },
): Promise<{ readonly address: WorkerAddress; readonly keystore: string }> {
  const key = randomBytes(32);
  const { address } = signerOfKey(key);
  const keystore = await encryptKeystore(key, password, { address, ...strength });
  key.fill(0);
  return { address, keystore };
}
