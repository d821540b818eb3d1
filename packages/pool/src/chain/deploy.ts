import { PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { concat, createPublicClient, getContractAddress, http, keccak256, zeroHash } from "viem";
import type { Signer } from "../payouts/ports.ts";
import { batchPayerBytecode, batchPayerRuntime } from "./batch-payer-artifact.ts";
import { ourAddress } from "./signer.ts";

/** A contract that deploys what it is sent, at an address that follows from the code alone. Nearly every chain has it. */
const DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C";

/** Where our batch contract is, on every chain where it was deployed in the usual way. */
export const batchPayerAddress: WorkerAddress = ourAddress(
  getContractAddress({ opcode: "CREATE2", from: DEPLOYER, salt: zeroHash, bytecode: batchPayerBytecode }),
);

/**
 * Deploys the batch contract unless it is there already. The account needs a little for gas and has no rights over the
 * contract. Use another one than the one that pays: that one's nonces are the payouts' own.
 */
export async function deployBatchPayer(
  rpcUrl: string,
  signer: Signer,
  { timeoutMs = 120_000, pollMs = 200 }: { readonly timeoutMs?: number; readonly pollMs?: number } = {},
): Promise<{ readonly address: WorkerAddress; readonly hash: `0x${string}` | undefined }> {
  const client = createPublicClient({ transport: http(rpcUrl, { retryCount: 1 }), pollingInterval: pollMs });
  const isThere = async (): Promise<boolean> =>
    (await client.getCode({ address: batchPayerAddress as `0x${string}` })) === batchPayerRuntime;
  if (await isThere()) return { address: batchPayerAddress, hash: undefined };
  if ((await client.getCode({ address: DEPLOYER })) === undefined) {
    throw new PoolError(
      { code: "payout/no-deployer" },
      `This chain has no deployer at ${DEPLOYER}: deploy packages/pool/contracts/BatchPayer.sol by other means and name its address with --payout-contract.`,
    );
  }
  const data = concat([zeroHash, batchPayerBytecode]);
  const account = signer.address as `0x${string}`;
  const gas = await client.estimateGas({ account, to: DEPLOYER, data });
  const fees = await client.estimateFeesPerGas();
  const { raw } = await signer.sign({
    chainId: await client.getChainId(),
    nonce: await client.getTransactionCount({ address: account, blockTag: "pending" }),
    to: ourAddress(DEPLOYER),
    valueWei: 0n,
    data,
    gasLimit: (gas * 12n) / 10n,
    maxFeeWei: fees.maxFeePerGas,
    maxTipWei: fees.maxPriorityFeePerGas,
  });
  const hash = await client.sendRawTransaction({ serializedTransaction: raw });
  const receipt = await client.waitForTransactionReceipt({ hash: keccak256(raw), timeout: timeoutMs });
  if (receipt.status !== "success" || !(await isThere())) {
    throw new PoolError({ code: "payout/deploy-failed" }, `Transaction ${hash} did not deploy the batch contract.`);
  }
  return { address: batchPayerAddress, hash };
}
