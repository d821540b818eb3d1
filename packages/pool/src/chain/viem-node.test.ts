import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { WorkerAddress } from "@openpool/protocol";
import { parseAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { openViemNode } from "./viem-node.ts";

const payer = parseAddress(`0x${"a1".repeat(20)}`) as WorkerAddress;
const payee = parseAddress(`0x${"b0".repeat(20)}`) as WorkerAddress;

type Answer = { readonly code: number; readonly message: string } | "gas";

/** A node that answers estimates of a payment as told, one after the other, and those of a plain transfer well. */
async function openNode(answers: readonly Answer[]) {
  const left = [...answers];
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (piece: string) => (text += piece));
    request.on("end", () => {
      const { id, params } = JSON.parse(text) as { id: number; params: readonly { to: string }[] };
      const isPayment = params[0]?.to.toLowerCase() === payee.toLowerCase();
      const answer = isPayment ? (left.shift() ?? "gas") : "gas";
      const said = answer === "gas" ? { result: "0x5208" } : { error: answer };
      response.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id, ...said }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const node = openViemNode(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { timeoutMs: 60_000 });
  return {
    estimate: () => node.estimateGas({ from: payer, to: payee, valueWei: 1n, data: "0x" }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test.each<readonly [what: string, answer: Exclude<Answer, "gas">]>([
  ["that asks for less", { code: -32005, message: "daily request count exceeded" }],
  ["with trouble inside", { code: -32603, message: "Internal error" }],
  ["that lacks the block", { code: -32000, message: "header not found" }],
  ["that lacks the state", { code: -32000, message: "missing trie node 1234 (path )" }],
  ["that timed out", { code: -32000, message: "execution aborted (timeout = 5s)" }],
  ["that does not know the question", { code: -32601, message: "the method does not exist" }],
])("a node %s says nothing about a payment", async (_what, answer) => {
  await using node = await openNode([answer, answer]);
  await expect(node.estimate()).rejects.toThrow();
});

test.each<readonly [what: string, answer: Exclude<Answer, "gas">]>([
  ["reverts", { code: 3, message: "execution reverted: rate limit exceeded, try again" }],
  ["has no such opcode", { code: -32000, message: "invalid opcode: INVALID" }],
  ["has no such opcode, in the words of others", { code: -32603, message: "EVM error InvalidFEOpcode" }],
  ["fails in the words of others", { code: -32015, message: "VM execution error." }],
  ["needs more than there is", { code: -32000, message: "out of gas" }],
])("a payment whose code %s is refused", async (_what, answer) => {
  await using node = await openNode([answer, answer]);
  expect(await node.estimate()).toMatchObject({ refused: expect.any(String) });
});

test("what a node said once and does not say again was nothing about the payment", async () => {
  await using node = await openNode([{ code: -32015, message: "something" }, "gas"]);
  expect(await node.estimate()).toEqual({ gas: 21_000n });
});
