import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { silentLogger, stoppedClock } from "@openpool/base";
import { checksumAddress, parseAddress, type WorkerAddress } from "@openpool/protocol";
import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type IncomeEvent, type IncomeProgress, IncomeScan } from "../income/income-reader.ts";
import { type IncomeChain, keptWei } from "../income/types.ts";
import { openIncomeChain } from "./income-chain.ts";
import { startLocalChain } from "./local-chain.ts";
import { deployLivepeerStandIn, type LivepeerStandIn, putController } from "./testing/livepeer-stand-in.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const [orchestrator, gateway, other, wallet] = [1, 2, 3, 4].map((n) => checksumAddress(new Uint8Array(20).fill(n))) as [
  WorkerAddress,
  WorkerAddress,
  WorkerAddress,
  WorkerAddress,
];
const anvil = await startLocalChain();
afterAll(() => anvil[Symbol.asyncDispose]());

let livepeer: LivepeerStandIn;
let chain: IncomeChain;
beforeEach(async () => {
  livepeer = await deployLivepeerStandIn(anvil.url);
  chain = openIncomeChain({
    rpcUrls: [anvil.url],
    quorum: undefined,
    orchestrator,
    controller: livepeer.address,
    confirmations: 0,
  });
});

/** A log of events and progress, as a store would keep them, and a reader that only looks when told. */
function openBooks(from: IncomeChain, fromBlock: number | undefined, maxBlocks = 1_000) {
  const events: IncomeEvent[] = [];
  let progress: IncomeProgress | undefined;
  const open = (): IncomeScan =>
    new IncomeScan(
      { orchestrator, fromBlock, maxBlocks },
      {
        chain: from,
        logger: silentLogger,
        clock: stoppedClock(),
        loadProgress: async () => progress,
        knownRefs: async (refs) => {
          const there = new Set(events.map(({ data }) => data["ref"]));
          return new Set(refs.filter((ref) => there.has(ref)));
        },
        refsAfter: async (_chainId, block) =>
          live()
            .filter(({ data }) => Number(data["block"]) > block)
            .map(({ data }) => String(data["ref"])),
        append: async () => {},
        commit: async (fresh, saved) => {
          events.push(...fresh);
          progress = saved;
        },
      },
    );
  /** What was not taken back. */
  const live = (): IncomeEvent[] => {
    const reverted = new Set(events.filter(({ type }) => type === "income.reverted").map(({ data }) => data["ref"]));
    return events.filter(({ type, data }) => type !== "income.reverted" && !reverted.has(data["ref"]));
  };
  return {
    events,
    live,
    /** Forgets how far it was read, as a crash between writing and saving does. */
    forget: (kept: IncomeProgress | undefined) => (progress = kept),
    progress: () => progress,
    async catchUp(): Promise<void> {
      const scan = open();
      while ((await scan.look()) === "more");
    },
  };
}

interface RpcRequest {
  readonly method: string;
  readonly params: readonly unknown[];
}

/** The chain by way of a node that may answer with an error of its own. */
async function openWatched(errorOf: (request: RpcRequest) => { code: number; message: string } | undefined) {
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const { id, ...asked } = JSON.parse(body) as RpcRequest & { readonly id: number };
      const error = errorOf(asked);
      if (error) response.end(JSON.stringify({ jsonrpc: "2.0", id, error }));
      else {
        void fetch(anvil.url, { method: "POST", headers: { "content-type": "application/json" }, body })
          .then((answer) => answer.text())
          .then((text) => response.end(text));
      }
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return {
    chain: openIncomeChain({
      rpcUrls: [`http://127.0.0.1:${port}`],
      quorum: undefined,
      orchestrator,
      controller: livepeer.address,
      confirmations: 0,
    }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

const startBlock = async (): Promise<number> => (await chain.finalBlock()) + 1;

describe("the income of an orchestrator", () => {
  test("is what its tickets were paid, less what its delegators take, and nobody else's", async () => {
    const books = openBooks(chain, await startBlock());
    await livepeer.set({ feeSharePpm: 250_000n, ownStake: 40n, totalStake: 100n });
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1_000n, paidWei: 1_000n });
    await livepeer.redeem({ sender: gateway, recipient: other, faceWei: 5_000n, paidWei: 5_000n });
    await books.catchUp();
    expect(books.events.map(({ type }) => type)).toEqual(["income.received"]);
    // 750 are commission; of the delegators' 250 it gets 40 of 100.
    expect(books.events[0]?.data).toMatchObject({
      kind: "tickets",
      grossWei: "1000",
      keptWei: "850",
      faceWei: "1000",
      feeSharePpm: "250000",
      cutFrom: "block",
      chainId: 31337,
      orchestrator,
    });
  });

  test("is what was paid and not what tickets promised: a gateway may have run dry", async () => {
    const books = openBooks(chain, await startBlock());
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1_000n, paidWei: 300n });
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1_000n, paidWei: 0n });
    await books.catchUp();
    expect(books.events.map(({ type, data }) => [type, data["grossWei"], data["faceWei"]])).toEqual([
      ["income.received", "300", "1000"],
      ["income.unpaid", undefined, "1000"],
    ]);
  });

  test("is counted with the cut of its own block, not with today's", async () => {
    const books = openBooks(chain, await startBlock());
    await livepeer.set({ feeSharePpm: 100_000n, ownStake: 0n, totalStake: 100n });
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1_000n, paidWei: 1_000n });
    await livepeer.set({ feeSharePpm: 900_000n, ownStake: 0n, totalStake: 100n });
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1_000n, paidWei: 1_000n });
    await books.catchUp();
    expect(books.events.map(({ data }) => data["keptWei"])).toEqual(["900", "100"]);
  });

  test.each([
    ["missing trie node 12ab (path )", -32000],
    ["state at block #7 is pruned", -32603],
    ["historical state 0x12 is not available", -32000],
    ["project ID does not have access to archive state", -32002],
    ["No state available for block 0x7", -32002],
  ])("is counted with today's cut where the node keeps no state of that block: %s", async (message, code) => {
    await using watched = await openWatched(({ method, params }) =>
      method === "eth_call" && params[1] !== "latest" ? { code, message } : undefined,
    );
    expect(await watched.chain.feeCut(await chain.finalBlock())).toMatchObject({ from: "latest" });
  });

  test.each([
    ["too many requests", 429],
    ["daily request count exceeded", -32005],
    ["header not found", -32000],
    ["internal error", -32603],
  ])("waits for the cut of its own block while the node has other trouble: %s", async (message, code) => {
    await using watched = await openWatched(({ method, params }) =>
      method === "eth_call" && params[1] !== "latest" ? { code, message } : undefined,
    );
    await expect(watched.chain.feeCut(await chain.finalBlock())).rejects.toThrow(/payout\/no-quorum/);
  });

  test("has nothing by stake in a round in which it was claimed already", async () => {
    await livepeer.set({ feeSharePpm: 500_000n, ownStake: 100n, totalStake: 100n, claimedInRound: 100n });
    expect(keptWei(1_000n, await chain.feeCut(await chain.finalBlock()))).toBe(500n);
  });

  test("is seen leaving for a wallet", async () => {
    const books = openBooks(chain, await startBlock());
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 900n, paidWei: 900n });
    expect((await chain.standing()).withdrawableWei).toBe(900n);
    await livepeer.withdraw(orchestrator, wallet, 400n);
    await livepeer.withdraw(other, wallet, 0n);
    await books.catchUp();
    expect(books.events[1]).toMatchObject({ type: "income.withdrawn", data: { amountWei: "400", to: wallet } });
    expect(books.events).toHaveLength(2);
    expect((await chain.standing()).withdrawableWei).toBe(500n);
  });
});

describe("reading the chain", () => {
  test("goes on where it was, in steps of any size, and books each ticket once", async () => {
    const first = await startBlock();
    const books = openBooks(chain, first, 3);
    for (let i = 1n; i <= 4n; i++) {
      await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: i, paidWei: i });
      await livepeer.mine(2);
    }
    await books.catchUp();
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 5n, paidWei: 5n });
    await books.catchUp();
    expect(books.events.map(({ data }) => data["grossWei"])).toEqual(["1", "2", "3", "4", "5"]);
  });

  test("that crashed before it noted how far it was finds everything there already", async () => {
    const books = openBooks(chain, await startBlock());
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 7n, paidWei: 7n });
    const before = books.progress();
    await books.catchUp();
    books.forget(before);
    await books.catchUp();
    expect(books.events).toHaveLength(1);
  });

  test("without a first block begins with what is new", async () => {
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1n, paidWei: 1n });
    const books = openBooks(chain, undefined);
    await books.catchUp();
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 2n, paidWei: 2n });
    await books.catchUp();
    expect(books.events.map(({ data }) => data["grossWei"])).toEqual(["2"]);
  });

  test("waits for blocks to be final", async () => {
    const cautious = openIncomeChain({
      rpcUrls: [anvil.url],
      quorum: undefined,
      orchestrator,
      controller: livepeer.address,
      confirmations: 5,
    });
    const books = openBooks(cautious, await startBlock());
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1n, paidWei: 1n });
    await livepeer.mine(4);
    await books.catchUp();
    expect(books.events).toEqual([]);
    await livepeer.mine(1);
    await books.catchUp();
    expect(books.events).toHaveLength(1);
  });

  test("takes back what a reorganisation took back, also where blocks were believed to be final, and reads on", async () => {
    const books = openBooks(chain, await startBlock());
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1n, paidWei: 1n });
    await books.catchUp();
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 2n, paidWei: 2n });
    await livepeer.mine(1);
    await books.catchUp();
    // The last two blocks go; a third of another content comes in their place.
    await anvil.request("anvil_reorg", [2, []]);
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 3n, paidWei: 3n });
    await livepeer.mine(2);
    await books.catchUp();
    expect(books.events.map(({ type, data }) => [type, data["grossWei"]])).toEqual([
      ["income.received", "1"],
      ["income.received", "2"],
      ["income.reverted", undefined],
      ["income.received", "3"],
    ]);
    expect(books.live().map(({ data }) => data["grossWei"])).toEqual(["1", "3"]);
  });

  test("refuses a node of another chain, and one that is behind, and books nothing from them", async () => {
    const books = openBooks(chain, await startBlock());
    await livepeer.mine(2);
    await books.catchUp();
    const elsewhere: IncomeChain = { ...chain, chainId: async () => 1 };
    const behind: IncomeChain = { ...chain, block: async () => undefined };
    for (const [wrong, why] of [
      [elsewhere, /income\/wrong-chain/],
      [behind, /income\/node-behind/],
    ] as const) {
      const others = openBooks(wrong, 0);
      others.forget(books.progress());
      await expect(others.catchUp()).rejects.toThrow(why);
      expect(others.events).toEqual([]);
    }
  });

  test("refuses an answer about other blocks than were asked for", async () => {
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1n, paidWei: 1n });
    const start = await startBlock();
    const lying: IncomeChain = { ...chain, logs: () => chain.logs(0, start) };
    await livepeer.mine(2);
    const books = openBooks(lying, start);
    await expect(books.catchUp()).rejects.toThrow(/income\/lying-node/);
    expect(books.events).toEqual([]);
  });

  test("asks for just the events that Livepeer's contracts on Arbitrum One write", async () => {
    const asked: unknown[] = [];
    await using watched = await openWatched(({ method, params }) => {
      if (method === "eth_getLogs") asked.push((params[0] as { readonly topics: unknown }).topics);
      return undefined;
    });
    await watched.chain.logs(0, 1);
    const me = `0x${"0".repeat(24)}${orchestrator.slice(2).toLowerCase()}`;
    expect(asked.map((one) => JSON.stringify(one)).sort()).toEqual(
      [
        // WinningTicketTransfer and WinningTicketRedeemed, their recipient in the third place; WithdrawFees.
        [
          [
            "0x8b87351a208c06e3ceee59d80725fd77a23b4129e1b51ca231fc89b40712649c",
            "0xc389eb51ed006dbf2528507f010efdf5225ea596e1e1741d74f550dab1925ee7",
          ],
          null,
          me,
        ],
        ["0x4f1b51dd7a2fcb861aa2670f668be66835c4ee12b4bbbf037e4d0018f39819e4", me],
      ]
        .map((one) => JSON.stringify(one))
        .sort(),
    );
  });

  test("believes what enough nodes say: one that is gone, or on another chain, changes nothing", async () => {
    await using elsewhere = await startLocalChain();
    await deployLivepeerStandIn(elsewhere.url);
    const of = (rpcUrls: readonly string[], quorum?: number): IncomeChain =>
      openIncomeChain({ rpcUrls, quorum, orchestrator, controller: livepeer.address, confirmations: 0 });
    const gone = "http://127.0.0.1:9";
    const start = await startBlock();
    await livepeer.redeem({ sender: gateway, recipient: orchestrator, faceWei: 900n, paidWei: 900n });
    await livepeer.mine(1);
    for (const nodes of [
      [anvil.url, `${anvil.url}/`, gone],
      [elsewhere.url, anvil.url, `${anvil.url}/`],
    ]) {
      const books = openBooks(of(nodes), start);
      await books.catchUp();
      expect(books.events.map(({ data }) => data["grossWei"])).toEqual(["900"]);
    }
    expect((await of([anvil.url, elsewhere.url, `${anvil.url}/`]).standing()).withdrawableWei).toBe(900n);
    await expect(of([anvil.url, gone], 2).logs(start, start)).rejects.toThrow(/payout\/no-quorum.*Only 1 of 2/s);
    const split = of([anvil.url, elsewhere.url], 2);
    await expect(split.block(await chain.finalBlock())).rejects.toThrow(/payout\/no-quorum/);
    expect(() => of([anvil.url], 2)).toThrow(/payout\/no-quorum/);
  });

  test("finds Livepeer's contracts on Arbitrum One without being told: its controller is known, and says where each is", async () => {
    await using arbitrum = await startLocalChain({ chainId: 42_161 });
    const broker = await deployLivepeerStandIn(arbitrum.url, 42_161);
    const bonding = await deployLivepeerStandIn(arbitrum.url, 42_161);
    const own = openIncomeChain({
      rpcUrls: [arbitrum.url],
      quorum: undefined,
      orchestrator,
      controller: undefined,
      confirmations: 0,
    });
    const controller = parseAddress("0xD8E8328501E9645d16Cf49539efC04f734606ee4") as WorkerAddress;
    await putController(arbitrum, controller, { TicketBroker: broker.address, BondingManager: bonding.address });
    await expect(own.logs(0, 1)).rejects.toThrow(/income\/no-contract.*knows no RoundsManager/s);
    await putController(arbitrum, controller, { RoundsManager: bonding.address });
    const books = openBooks(own, (await own.finalBlock()) + 1);
    await bonding.set({ feeSharePpm: 250_000n, ownStake: 40n, totalStake: 100n });
    await broker.redeem({ sender: gateway, recipient: orchestrator, faceWei: 1_000n, paidWei: 1_000n });
    // Tickets count where the broker says so, and withdrawals where the bonding manager does.
    await bonding.redeem({ sender: gateway, recipient: orchestrator, faceWei: 7_000n, paidWei: 7_000n });
    await bonding.withdraw(orchestrator, wallet, 400n);
    await broker.withdraw(orchestrator, wallet, 900n);
    await books.catchUp();
    expect(books.events.map(({ type, data }) => [type, data["keptWei"] ?? data["amountWei"]])).toEqual([
      ["income.received", "850"],
      ["income.withdrawn", "400"],
    ]);
    expect(books.events[0]?.data).toMatchObject({ chainId: 42_161, cutFrom: "block" });
  });

  test("says what to do where no controller is known or it knows no broker", async () => {
    const unnamed = openIncomeChain({
      rpcUrls: [anvil.url],
      quorum: undefined,
      orchestrator,
      controller: undefined,
      confirmations: 0,
    });
    await expect(unnamed.logs(0, 1)).rejects.toThrow(/income\/no-controller.*name it/s);
  });
});
