import { hashTypedData } from "viem";
import type { Hex, PayToRequest } from "../payouts/types.ts";
import type { SignatureCheck } from "./signatures.ts";

/** What a worker signs to change how it is paid (EIP-712). `docs/money.md` shows it. */
export const payToTypes = {
  PayTo: [
    { name: "pool", type: "string" },
    { name: "worker", type: "address" },
    { name: "payTo", type: "address" },
    { name: "thresholdWei", type: "uint256" },
    // `pool`, `eth` or a token: a text, so that a wallet shows what it means.
    { name: "asset", type: "string" },
    { name: "maxGasPriceWei", type: "uint256" },
    { name: "maxGasSharePpm", type: "uint256" },
    { name: "nonce", type: "uint256" },
  ],
} as const;

/** Where a signature counts: at one pool, on one chain. */
export interface PayToPlace {
  /** The address that the pool gives to gateways. */
  readonly pool: string;
  readonly chainId: number;
}

/** The typed data of a change, for a wallet. */
export function payToTypedData(request: Omit<PayToRequest, "signature">, { pool, chainId }: PayToPlace) {
  return {
    domain: { name: "Open Pool", version: "1", chainId },
    types: payToTypes,
    primaryType: "PayTo" as const,
    message: {
      pool,
      worker: request.worker as Hex,
      payTo: request.payTo as Hex,
      thresholdWei: request.thresholdWei,
      asset: request.asset,
      maxGasPriceWei: request.maxGasPriceWei,
      maxGasSharePpm: request.maxGasSharePpm,
      nonce: request.nonce,
    },
  };
}

/** The same as JSON: numbers as decimal strings, with the domain's own type, as wallets want it. */
export function payToJson(change: Omit<PayToRequest, "signature">, place: PayToPlace): string {
  const { domain, types, primaryType, message } = payToTypedData(change, place);
  const EIP712Domain = [
    { name: "name", type: "string" },
    { name: "version", type: "string" },
    { name: "chainId", type: "uint256" },
  ];
  return JSON.stringify({ domain, types: { EIP712Domain, ...types }, primaryType, message }, (_key, value: unknown) =>
    typeof value === "bigint" ? String(value) : value,
  );
}

/** Whether a change was signed by the worker itself. */
export async function isSignedPayTo(
  request: PayToRequest,
  place: PayToPlace,
  signatures: SignatureCheck,
): Promise<boolean> {
  let hash: Hex;
  try {
    hash = hashTypedData(payToTypedData(request, place));
  } catch {
    // Numbers that do not fit into what is signed.
    return false;
  }
  return signatures.hash(request.worker, hash, request.signature);
}
