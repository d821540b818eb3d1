import { isAddressProblem, parseAddress, parseOpenSecret, type WorkerAddress } from "@openpool/protocol";

/** `0x3fA9…77c2`; hashes of transactions too. Anything that is neither stays as it is. */
export function shortHex(text: string): string {
  return /^0x[0-9a-fA-F]{40,64}$/.test(text) ? `${text.slice(0, 6)}…${text.slice(-4)}` : text;
}

export type Lookup =
  | { readonly kind: "worker"; readonly worker: WorkerAddress }
  | { readonly kind: "rig"; readonly worker: WorkerAddress; readonly rig: string }
  | {
      readonly kind: "problem";
      readonly problem: "empty" | "not-an-address" | "zero-address" | "bad-checksum" | "bad-rig";
    };

/** What somebody typed or pasted into the look-up box: an address or `<address>.<rig>`, in any case, with spaces around. */
export function readLookup(typed: string): Lookup {
  const text = typed.trim();
  if (text === "") return { kind: "problem", problem: "empty" };
  if (!text.includes(".")) {
    const worker = parseAddress(text);
    return isAddressProblem(worker) ? { kind: "problem", problem: worker } : { kind: "worker", worker };
  }
  const read = parseOpenSecret(text);
  if (typeof read === "string") return { kind: "problem", problem: read === "bad-rig-name" ? "bad-rig" : read };
  return { kind: "rig", worker: read.worker, rig: read.rig };
}

/** `0x3fA9…77c2.rig1`. */
export function shortRig(worker: string, rig: string): string {
  return `${shortHex(worker)}.${rig}`;
}
