import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { keccak256, stringToBytes } from "viem";
import { expect, test } from "vitest";
import { openIncomeChain } from "./income-chain.ts";

interface RecordedLog {
  readonly address: string;
  readonly topics: readonly string[];
  readonly data: string;
  readonly eventName: string;
  readonly args: Readonly<Record<string, string>>;
}
const recorded = JSON.parse(
  readFileSync(new URL("../../../../test/fixtures/chain/tickets.json", import.meta.url), "utf8"),
) as {
  readonly meta: { readonly contracts: Readonly<Record<string, string>> };
  readonly tickets: readonly { readonly name: string; readonly logs?: readonly RecordedLog[] }[];
  readonly batch: { readonly name: string; readonly logs: readonly RecordedLog[] };
  readonly withdrawFeesLogs: readonly RecordedLog[];
};

/** One transaction each, in a block of its own. */
const transactions = [
  ...recorded.tickets.flatMap(({ name, logs }) => (logs ? [{ name, logs }] : [])),
  recorded.batch,
  { name: "withdrawal", logs: recorded.withdrawFeesLogs },
];
const word = (number: number): string => `0x${number.toString(16).padStart(64, "0")}`;
const chainLogs = transactions.flatMap(({ logs }, block) =>
  logs.map(({ address, topics, data }, i) => ({
    address,
    topics,
    data,
    blockNumber: `0x${block.toString(16)}`,
    blockHash: word(block),
    transactionHash: word(1_000 + block),
    transactionIndex: "0x0",
    logIndex: `0x${i.toString(16)}`,
    removed: false,
  })),
);

interface LogFilter {
  readonly address: string;
  readonly topics: readonly (string | readonly string[] | null)[];
}

/** What a node of that chain answers: its logs, by address and topics, and where its controller says that the contracts are. */
function answer(method: string, params: readonly unknown[]): unknown {
  if (method === "eth_chainId") return "0x7a69";
  if (method === "eth_getLogs") {
    const { address, topics } = params[0] as LogFilter;
    return chainLogs.filter(
      (log) =>
        log.address.toLowerCase() === address.toLowerCase() &&
        topics.every(
          (wanted, i) => wanted === null || [wanted].flat().some((one) => one.toLowerCase() === log.topics[i]),
        ),
    );
  }
  const { data } = params[0] as { readonly data: string };
  const named = Object.entries(recorded.meta.contracts).find(([name]) =>
    data.endsWith(keccak256(stringToBytes(name)).slice(2)),
  );
  return `0x${(named?.[1] ?? "0x0").slice(2).padStart(64, "0")}`;
}

test("what Livepeer's own contracts wrote of tickets and withdrawals is read as it was", async () => {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const { id, method, params } = JSON.parse(body) as { id: number; method: string; params: readonly unknown[] };
      response.end(JSON.stringify({ jsonrpc: "2.0", id, result: answer(method, params) }));
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  try {
    const chain = openIncomeChain({
      rpcUrls: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`],
      quorum: undefined,
      orchestrator: parseAddress("0x70997970C51812dc3A010C7d01b50e0d17dc79C8") as WorkerAddress,
      controller: parseAddress(recorded.meta.contracts["Controller"] ?? "") as WorkerAddress,
      confirmations: 0,
    });
    const read = await chain.logs(0, transactions.length);
    // The same, by what the recording itself says of each event.
    const expected = transactions.flatMap(({ logs }, block) => {
      const of = (name: string): readonly RecordedLog[] => logs.filter((log) => log.eventName === name);
      const paid = of("WinningTicketTransfer").map(({ args }) => BigInt(args["amount"] ?? 0));
      // A ticket that brought nothing has no transfer, and is alone in its transaction.
      return [
        ...of("WinningTicketRedeemed").map(({ args }, i) => {
          const faceWei = BigInt(args["faceValue"] ?? 0);
          return paid[i] === undefined
            ? { block, kind: "unpaid", faceWei }
            : { block, kind: "redeemed", paidWei: paid[i], faceWei };
        }),
        ...of("WithdrawFees").map(({ args }) => ({
          block,
          kind: "withdrawn",
          to: parseAddress(args["recipient"] ?? ""),
          amountWei: BigInt(args["amount"] ?? 0),
        })),
      ];
    });
    expect(read.map((one) => ({ ...one, block: one.block.number }))).toMatchObject(expected);
    expect(new Set(read.map((one) => one.kind))).toEqual(new Set(["redeemed", "unpaid", "withdrawn"]));
    expect(read.some((one) => one.kind === "redeemed" && one.paidWei < (one.faceWei ?? 0n))).toBe(true);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
