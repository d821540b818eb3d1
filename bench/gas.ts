/**
 * Gas of paying many: our batch contract against plain transfers, on a local chain without a rollup's data costs.
 * `npx tsx --conditions=source bench/gas.ts` prints a table and writes JSON to `bench/results/`.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { calls, deployBatchPayer, parseKey, signerOfKey, startLocalChain } from "../packages/pool/src/chain/index.ts";

const PLAIN = 21_000;
await using chain = await startLocalChain();
const signer = signerOfKey(parseKey(chain.richKeys[0]!));
const { address: contract } = await deployBatchPayer(chain.url, signerOfKey(parseKey(chain.richKeys[1]!)), {
  pollMs: 20,
});

let nonce = Number(await chain.request("eth_getTransactionCount", [signer.address, "latest"]));
let made = 0;
const freshAddress = (): WorkerAddress => {
  // As random as addresses are: their bytes cost gas by whether they are zero.
  made += 1;
  return parseAddress(
    `0x${BigInt.asUintN(160, BigInt(made) * 0x9e3779b97f4a7c15f39cc0605cedc834fa1b2c3dn)
      .toString(16)
      .padStart(40, "0")}`,
  ) as WorkerAddress;
};

async function gasOfBatch(payees: readonly WorkerAddress[], amount: bigint): Promise<number> {
  const id = `0x${(nonce + 1).toString(16).padStart(64, "7")}` as const;
  const { raw, hash } = await signer.sign({
    chainId: chain.chainId,
    nonce: nonce++,
    to: contract,
    valueWei: amount * BigInt(payees.length),
    data: calls.payEth(
      id,
      payees.map((to) => ({ to, amount })),
    ),
    gasLimit: 28_000_000n,
    maxFeeWei: 10n ** 11n,
    maxTipWei: 0n,
  });
  await chain.request("eth_sendRawTransaction", [raw]);
  type Mined = { readonly gasUsed: string; readonly status: string; readonly logs: readonly unknown[] };
  let receipt: Mined | null = null;
  // A block is made right after the transaction is taken, but not before that is answered.
  while (receipt === null) receipt = (await chain.request("eth_getTransactionReceipt", [hash])) as Mined | null;
  if (receipt.status !== "0x1" || receipt.logs.length !== 1) throw new Error("the batch did not pay everybody");
  return Number(receipt.gasUsed);
}

const rows: { payees: number; newEach: number; existingEach: number; ratio: number }[] = [];
for (const count of [1, 2, 5, 10, 100, 300]) {
  const payees = Array.from({ length: count }, freshAddress);
  const amount = 12_345_678_901_234_567n;
  const fresh = await gasOfBatch(payees, amount);
  const existing = await gasOfBatch(payees, amount);
  rows.push({
    payees: count,
    newEach: Math.round(fresh / count),
    existingEach: Math.round(existing / count),
    ratio: Math.round((existing / count / PLAIN) * 1000) / 1000,
  });
}
process.stdout.write("payees  new, each  existing, each  existing / plain transfer\n");
for (const row of rows) {
  process.stdout.write(
    `${String(row.payees).padStart(6)}  ${String(row.newEach).padStart(9)}  ${String(row.existingEach).padStart(14)}  ${row.ratio.toFixed(3)}\n`,
  );
}
const hundred = rows.find((row) => row.payees === 100);
process.stdout.write(`must 0.8, aim 0.65, here ${hundred?.ratio}\n`);
const date = new Date().toISOString();
await mkdir(new URL("results/", import.meta.url), { recursive: true });
await writeFile(
  new URL(`results/gas-${date.slice(0, 10)}.json`, import.meta.url),
  `${JSON.stringify({ date, chain: "anvil 1.7.1", contract: "BatchPayer.payEth", plainTransfer: PLAIN, rows }, undefined, 2)}\n`,
);
process.exitCode = hundred !== undefined && hundred.ratio <= 0.8 ? 0 : 1;
