import type { WorkerAddress } from "@openpool/protocol";
import { concatHex, encodeAbiParameters } from "viem";
import { compile } from "../../../contracts/compile.ts";
import type { Hex } from "../../payouts/types.ts";
import type { LocalChain } from "../local-chain.ts";
import { ourAddress } from "../signer.ts";

/** A wallet that one key signs for (ERC-1271), what makes one, and contracts that are none. */
const WALLETS = `
// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;
contract Wallet {
  address immutable owner;
  constructor(address of_) { owner = of_; }
  function isValidSignature(bytes32 hash, bytes calldata given) external view returns (bytes4) {
    if (given.length != 65) return 0xffffffff;
    bytes32 r = bytes32(given[0:32]);
    bytes32 s = bytes32(given[32:64]);
    return ecrecover(hash, uint8(given[64]), r, s) == owner ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
  }
}
contract Factory {
  function make(address of_) external returns (address) { return address(new Wallet{salt: 0}(of_)); }
}
contract Reverts { function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) { revert("no"); } }
contract Silent { fallback() external {} }
`;
const compiled = compile({ "Wallets.sol": WALLETS })["Wallets.sol"] ?? {};
export const codeOf = (name: "Wallet" | "Factory" | "Reverts" | "Silent"): Hex =>
  `0x${compiled[name]?.evm.bytecode.object ?? ""}`;

/** What deploys a wallet whose signatures are those of a key. */
export const walletOf = (owner: string): Hex =>
  concatHex([codeOf("Wallet"), encodeAbiParameters([{ type: "address" }], [owner as Hex])]);

/** Deploys a contract, paid by an account of the local chain. */
export async function deployCode(chain: LocalChain, data: Hex): Promise<WorkerAddress> {
  const [from] = (await chain.request("eth_accounts", [])) as string[];
  const hash = (await chain.request("eth_sendTransaction", [{ from, data, gas: "0x989680" }])) as Hex;
  // A block is made right after the transaction is taken, but not before that is answered.
  for (;;) {
    const receipt = (await chain.request("eth_getTransactionReceipt", [hash])) as { contractAddress: string } | null;
    if (receipt) return ourAddress(receipt.contractAddress);
  }
}
