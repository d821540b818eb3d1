import { decodeFunctionData, encodeFunctionData, keccak256, parseAbi, stringToBytes } from "viem";
import type { Calls, Payment, ReadCall } from "../payouts/ports.ts";
import type { Hex } from "../payouts/types.ts";
import { batchPayerAbi } from "./batch-payer-artifact.ts";
import { ourAddress } from "./signer.ts";

export const erc20Abi = parseAbi([
  "function balanceOf(address owner) view returns (uint256)",
  "function allowance(address owner, address spender) view returns (uint256)",
  "function transfer(address to, uint256 amount) returns (bool)",
  "function approve(address spender, uint256 amount) returns (bool)",
  "function decimals() view returns (uint8)",
]);

/** A payment of a batch as the contract reads it: 20 bytes of address, 12 bytes of amount. */
function packed({ to, amount }: { readonly to: string; readonly amount: bigint }): bigint {
  if (amount < 0n || amount >= 2n ** 96n) throw new RangeError("an amount of a batch has 96 bits");
  return (BigInt(to) << 96n) | amount;
}

function unpacked(payment: bigint): Payment {
  const to = ourAddress(`0x${(payment >> 96n).toString(16).padStart(40, "0")}`);
  return { to, amount: payment & (2n ** 96n - 1n) };
}

function readCall(data: Hex): ReadCall | undefined {
  let call;
  try {
    call = decodeFunctionData({ abi: [...batchPayerAbi, ...erc20Abi], data });
  } catch {
    return undefined;
  }
  switch (call.functionName) {
    case "payEth": {
      const [batch, payments] = call.args;
      return { kind: "pay-eth", batch, payments: payments.map(unpacked) };
    }
    case "payToken": {
      const [batch, token, payments] = call.args;
      return { kind: "pay-token", batch, token: ourAddress(token), payments: payments.map(unpacked) };
    }
    case "transfer":
      return { kind: "token-transfer", to: ourAddress(call.args[0]), amount: call.args[1] };
    case "approve":
      return { kind: "token-approve", spender: ourAddress(call.args[0]) };
    default:
      return undefined;
  }
}

export const calls: Calls = {
  read: readCall,
  keccak: (text) => keccak256(stringToBytes(text)),
  payEth: (batch, payments) =>
    encodeFunctionData({ abi: batchPayerAbi, functionName: "payEth", args: [batch, payments.map(packed)] }),
  payToken: (batch, token, payments) =>
    encodeFunctionData({
      abi: batchPayerAbi,
      functionName: "payToken",
      args: [batch, token as Hex, payments.map(packed)],
    }),
  tokenTransfer: (to, amount) =>
    encodeFunctionData({ abi: erc20Abi, functionName: "transfer", args: [to as Hex, amount] }),
  tokenApprove: (spender, amount) =>
    encodeFunctionData({ abi: erc20Abi, functionName: "approve", args: [spender as Hex, amount] }),
};
