import { PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { hashMessage, recoverAddress } from "viem";
import type { Hex } from "../payouts/types.ts";
import type { ChainNode } from "./node.ts";
import { ourAddress } from "./signer.ts";

/** Who signed what. A question to the chain that is not answered is a PoolError `payout/no-quorum`. */
export interface SignatureCheck {
  /** Whether an address signed a hash: its key did, or the wallet contract at it says so. */
  hash(account: WorkerAddress, hash: Hex, signature: Hex): Promise<boolean>;
  /** The same for a text, as wallets sign texts (EIP-191). */
  text(account: WorkerAddress, text: string, signature: Hex): Promise<boolean>;
}

/** Without nodes only signatures of keys count: a wallet that is a contract is known to its chain alone. */
export function createSignatureCheck(nodes: readonly ChainNode[], quorum: number): SignatureCheck {
  const byKey = async (hash: Hex, signature: Hex): Promise<WorkerAddress | undefined> => {
    try {
      return ourAddress(await recoverAddress({ hash, signature }));
    } catch {
      return undefined;
    }
  };
  const check = async (account: WorkerAddress, hash: Hex, signature: Hex): Promise<boolean> => {
    if ((await byKey(hash, signature)) === account) return true;
    if (nodes.length === 0) return false;
    const answers = await Promise.allSettled(nodes.map((node) => node.takesSignature(account, hash, signature)));
    const votes = (wanted: boolean): number =>
      answers.filter((one) => one.status === "fulfilled" && one.value === wanted).length;
    if (votes(true) >= quorum) return true;
    // Those that are silent could not make it a yes any more.
    if (votes(false) > nodes.length - quorum) return false;
    throw new PoolError(
      { code: "payout/no-quorum" },
      "Whether a contract took a signature could not be asked of enough RPC nodes.",
    );
  };
  return { hash: check, text: (account, text, signature) => check(account, hashMessage(text), signature) };
}
