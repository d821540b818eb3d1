import { hexToBytes, keccak256, stringToBytes } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";

/** How somebody introduces itself to an orchestrator: an address, and the proof that it is its own. */
export interface Introduction {
  readonly address: Uint8Array;
  readonly sig: Uint8Array;
}

/** That of a gateway which nobody knows and which has no deposit. Its key is forgotten at once. */
export async function introduceStranger(): Promise<Introduction> {
  const account = privateKeyToAccount(generatePrivateKey());
  // Over the text of the address as people write it, hashed once more than a wallet does.
  const sig = await account.signMessage({ message: { raw: keccak256(stringToBytes(account.address)) } });
  return { address: hexToBytes(account.address), sig: hexToBytes(sig) };
}
