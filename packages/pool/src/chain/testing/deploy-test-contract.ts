import { readFileSync } from "node:fs";
import type { WorkerAddress } from "@openpool/protocol";
import { type Abi, encodeDeployData, encodeFunctionData } from "viem";
import { compile } from "../../../contracts/compile.ts";
import type { Hex } from "../../payouts/types.ts";
import type { LocalChain } from "../local-chain.ts";
import { ourAddress } from "../signer.ts";

let compiled: ReturnType<typeof compile>[string] | undefined;

/** A contract of `contracts.sol` on a test chain. */
export interface TestContract {
  readonly address: WorkerAddress;
  /** Sends a transaction from an account of play money and waits until it is mined; answers its hash. */
  send(functionName: string, ...args: readonly unknown[]): Promise<Hex>;
}

/** Puts a contract of `contracts.sol` on the chain. */
export async function deployTestContract(
  chain: LocalChain,
  name: "Token" | "Pool" | "Feed" | "Refuses" | "Burns" | "Bombs" | "Takes" | "Reenters" | "Multisig",
  ...args: readonly unknown[]
): Promise<TestContract> {
  compiled ??= compile({
    "contracts.sol": readFileSync(new URL("contracts.sol", import.meta.url), "utf8"),
  })["contracts.sol"];
  const contract = compiled?.[name];
  if (!contract) throw new Error(`contracts.sol holds no ${name}`);
  const abi = contract.abi as Abi;
  const [, , from] = (await chain.request("eth_accounts")) as readonly string[];
  const send = async (to: WorkerAddress | undefined, data: Hex) => {
    const hash = await chain.request("eth_sendTransaction", [{ from, data, gas: "0x4c4b40", ...(to ? { to } : {}) }]);
    for (;;) {
      const receipt = (await chain.request("eth_getTransactionReceipt", [hash])) as {
        readonly contractAddress: string | null;
        readonly transactionHash: Hex;
        readonly status: string;
      } | null;
      // A block is made right after the transaction is taken, but not before that is answered.
      if (receipt === null) continue;
      if (receipt.status !== "0x1") throw new Error(`${name}: reverted`);
      return receipt;
    }
  };
  const bytecode: Hex = `0x${contract.evm.bytecode.object}`;
  const { contractAddress } = await send(undefined, encodeDeployData({ abi, bytecode, args: [...args] }));
  if (contractAddress === null) throw new Error(`${name} was not deployed`);
  const address = ourAddress(contractAddress);
  return {
    address,
    async send(functionName, ...of) {
      return (await send(address, encodeFunctionData({ abi, functionName, args: [...of] }))).transactionHash;
    },
  };
}
