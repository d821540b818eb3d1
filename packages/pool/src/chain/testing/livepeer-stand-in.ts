import { readFileSync } from "node:fs";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { type Abi, createTestClient, encodeFunctionData, type Hex, http, publicActions, walletActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { anvil } from "viem/chains";
import { compile } from "../../../contracts/compile.ts";
import type { LocalChain } from "../local-chain.ts";

const DEPLOYER: Hex = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/** Livepeer's contracts as far as the income of an orchestrator goes, on a test chain. */
export interface LivepeerStandIn {
  readonly address: WorkerAddress;
  /** Cuts and stakes from now on; `claimedInRound` as `lastClaimRound`. The round is 100. */
  set(cut: { feeSharePpm: bigint; ownStake: bigint; totalStake: bigint; claimedInRound?: bigint }): Promise<void>;
  redeem(ticket: { sender: WorkerAddress; recipient: WorkerAddress; faceWei: bigint; paidWei: bigint }): Promise<void>;
  withdraw(of: WorkerAddress, to: WorkerAddress, amountWei: bigint): Promise<void>;
  mine(blocks: number): Promise<void>;
}

let compiled: ReturnType<typeof compile>[string] | undefined;

function contractOf(name: "LivepeerStandIn" | "ControllerStandIn") {
  compiled ??= compile({
    "stand-in.sol": readFileSync(new URL("livepeer-stand-in.sol", import.meta.url), "utf8"),
  })["stand-in.sol"];
  const contract = compiled?.[name];
  if (!contract) throw new Error(`livepeer-stand-in.sol holds no ${name}`);
  return contract;
}

/** Puts a controller at an address of a test chain that says where each contract is, by its name. */
export async function putController(
  chain: LocalChain,
  address: WorkerAddress,
  contracts: Readonly<Record<string, WorkerAddress>>,
): Promise<void> {
  const { abi, evm } = contractOf("ControllerStandIn");
  await chain.request("anvil_setCode", [address, `0x${evm.deployedBytecode.object}`]);
  const [from] = (await chain.request("eth_accounts")) as readonly string[];
  for (const named of Object.entries(contracts)) {
    const data = encodeFunctionData({ abi: abi as Abi, functionName: "setContract", args: named });
    await chain.request("eth_sendTransaction", [{ from, to: address, data }]);
  }
  await chain.request("anvil_mine", ["0x1"]);
}

export async function deployLivepeerStandIn(url: string, chainId: number = anvil.id): Promise<LivepeerStandIn> {
  const contract = contractOf("LivepeerStandIn");
  const abi = contract.abi as Abi;
  const bytecode: Hex = `0x${contract.evm.bytecode.object}`;
  const client = createTestClient({
    mode: "anvil",
    chain: { ...anvil, id: chainId },
    transport: http(url),
    account: privateKeyToAccount(DEPLOYER),
    pollingInterval: 10,
  })
    .extend(publicActions)
    .extend(walletActions);
  const deployed = await client.waitForTransactionReceipt({ hash: await client.deployContract({ abi, bytecode }) });
  const address = deployed.contractAddress;
  if (!address) throw new Error("the stand-in was not deployed");
  const call = async (functionName: string, args: readonly unknown[]): Promise<void> => {
    const hash = await client.writeContract({ address, abi, functionName, args });
    const receipt = await client.waitForTransactionReceipt({ hash });
    if (receipt.status !== "success") throw new Error(`${functionName} was reverted`);
  };
  return {
    address: parseAddress(address) as WorkerAddress,
    set: ({ feeSharePpm, ownStake, totalStake, claimedInRound = 99n }) =>
      call("set", [feeSharePpm, ownStake, totalStake, claimedInRound]),
    redeem: ({ sender, recipient, faceWei, paidWei }) => call("redeem", [sender, recipient, faceWei, paidWei]),
    withdraw: (of, to, amountWei) => call("withdrawFees", [of, to, amountWei]),
    mine: (blocks) => client.mine({ blocks }),
  };
}
