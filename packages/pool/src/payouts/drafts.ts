import { PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { Calls, Chain, Settlement } from "./ports.ts";
import { batchIdOf, groupByAsset } from "./settlement.ts";
import type { Hex, PayoutIntent, PayoutLine, RunDetail } from "./types.ts";

/** What a payee's code may use beyond what an estimate saw, and what the contract wants to have left at its end. */
const PAYEE_ROOM = 31_000n;
const BATCH_ROOM = 120_000n;
/** A token whose allowance is not there after so many tries of a run does not give it: one to zero, one to the sum. */
const MAX_APPROVALS = 2;
/** What a transfer may need beyond a plain one: enough for any wallet, or a token, that means well. */
const MAX_EXTRA_GAS = 250_000n;
/** A batch that may use more than this is halved: Ethereum takes no transaction of more than 16 777 216. */
const MAX_TRANSACTION_GAS = 16_000_000n;
/** So many batches that nothing can be said of are taken apart; where it is no single payee's doing, that finds nobody. */
const MAX_PARTED = 64;

/** A transaction to be, without its nonce and price. */
export interface Draft {
  /** Of the intent that it becomes. */
  readonly id: string;
  readonly kind: PayoutIntent["kind"];
  readonly to: WorkerAddress;
  readonly valueWei: bigint;
  readonly data: Hex;
  readonly gasLimit: bigint;
  readonly lines: readonly string[];
}

export interface Drafted {
  readonly drafts: readonly Draft[];
  /** Lines whose payment would fail: to be given back. */
  readonly refused: Settlement["returned"];
  /** The other lines, and why they have to wait: to be given back should that last. */
  readonly waits: Settlement["returned"];
}

export interface DraftRules {
  /** Payees of one batch at most. */
  readonly batchSize: number;
  readonly batchContract: WorkerAddress | undefined;
  /** What is offered for a gas, in wei. */
  readonly maxFeeWei: bigint;
  /** Why so much gas is too much of what a line pays; undefined: it is not. */
  readonly tooDear: (line: PayoutLine, gas: bigint) => string | undefined;
}

export interface DraftDeps {
  readonly chain: Chain;
  readonly calls: Calls;
  readonly newId: () => string;
}

const nothing: Drafted = { drafts: [], refused: [], waits: [] };
const waitFor = (lines: readonly PayoutLine[], reason: string, hold = false): Drafted => ({
  ...nothing,
  waits: lines.map((line) => ({ line: line.id, reason, hold })),
});

/**
 * What has to be sent so that these lines of a run are paid; each is estimated, so that none is sent that would fail. Trouble
 * with one asset keeps nobody from being paid in another.
 */
export async function draftTransactions(
  detail: RunDetail,
  lines: readonly PayoutLine[],
  rules: DraftRules,
  deps: DraftDeps,
): Promise<Drafted> {
  const all: Drafted[] = [];
  const { payer } = detail.run;
  const plain = await deps.chain.estimateGas({ from: payer, to: payer, valueWei: 0n, data: "0x" });
  if ("refused" in plain) return waitFor(lines, `the RPC nodes can estimate nothing: ${plain.refused}`);
  for (const [asset, of] of groupByAsset(lines)) {
    const missing = asset === "eth" ? undefined : await whatIsMissing(payer, asset, of, deps);
    if (missing !== undefined) {
      all.push(waitFor(of, missing));
      continue;
    }
    const inBatch = of.filter((line) => line.method === "batch");
    if (inBatch.length > 0) all.push(await draftBatches(detail, inBatch, rules, deps));
    for (const line of of.filter((one) => one.method === "transfer")) {
      all.push(await draftTransfer(payer, line, plain.gas, rules, deps));
    }
  }
  return {
    drafts: all.flatMap((one) => one.drafts),
    refused: all.flatMap((one) => one.refused),
    waits: all.flatMap((one) => one.waits),
  };
}

/** A batch of a token that the account does not hold would look as if every payee had refused it. */
async function whatIsMissing(
  payer: WorkerAddress,
  token: WorkerAddress,
  lines: readonly PayoutLine[],
  { chain }: DraftDeps,
): Promise<string | undefined> {
  const needed = sumOf(lines);
  const held = (await chain.tokenBalance(token, payer)) ?? 0n;
  return held >= needed
    ? undefined
    : `${payer} holds ${held} of the token ${token}, the payout needs ${needed}: fund it, or cancel the rest of the run`;
}

/** Batches of one asset. */
async function draftBatches(
  { run: { payer }, intents }: RunDetail,
  lines: readonly PayoutLine[],
  { batchSize, batchContract }: DraftRules,
  { chain, calls, newId }: DraftDeps,
): Promise<Drafted> {
  const asset = lines[0]?.asset ?? "eth";
  if (batchContract === undefined || !(await chain.hasBatchContract(batchContract))) {
    return waitFor(
      lines,
      `there is no batch contract of ours at ${batchContract ?? "--payout-contract"}: deploy it with \`openpool payouts deploy\``,
    );
  }
  if (asset !== "eth") {
    const sum = sumOf(lines);
    const allowed = (await chain.tokenAllowance(asset, payer, batchContract)) ?? 0n;
    if (allowed < sum) {
      const giveUp = (reason: string): Drafted => ({
        ...nothing,
        refused: lines.map((line) => ({ line: line.id, reason, hold: false })),
      });
      const asked = intents.filter((one) => one.kind === "approve" && one.to === asset).length;
      if (asked >= MAX_APPROVALS) return giveUp("the token does not let the batch contract pay it out");
      // Some tokens let an allowance be changed only by way of zero.
      for (const wanted of allowed > 0n ? [sum, 0n] : [sum]) {
        const data = calls.tokenApprove(batchContract, wanted);
        const estimate = await chain.estimateGas({ from: payer, to: asset, valueWei: 0n, data });
        if ("refused" in estimate) continue;
        const gasLimit = (estimate.gas * 13n) / 10n;
        // Alone: what it allows can be estimated only once it is there.
        return {
          ...nothing,
          drafts: [{ id: newId(), kind: "approve", to: asset, valueWei: 0n, data, gasLimit, lines: [] }],
        };
      }
      return giveUp("the token refuses to be paid out by the batch contract");
    }
  }
  const drafts: Draft[] = [];
  const waits: Settlement["returned"][number][] = [];
  let parted = 0;
  const parts = Array.from({ length: Math.ceil(lines.length / batchSize) }, (_, i) =>
    lines.slice(i * batchSize, (i + 1) * batchSize),
  );
  for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
    const id = newId();
    const payments = part.map((line) => ({ to: line.payTo, amount: line.sendAmount }));
    const batch = batchIdOf(id);
    const data = asset === "eth" ? calls.payEth(batch, payments) : calls.payToken(batch, asset, payments);
    const valueWei = asset === "eth" ? sumOf(part) : 0n;
    const estimate = await estimateOf({ from: payer, to: batchContract, valueWei, data }, chain);
    if (!("gas" in estimate)) {
      const why = "unanswered" in estimate ? estimate.unanswered : estimate.refused;
      const reason = `the batch cannot be paid now: ${why}`;
      // One of its payees may be why, or its size: nodes estimate nothing that no block could take.
      const canPart = part.length > 1 && parted < MAX_PARTED;
      if (canPart && (await chain.balance(payer)) >= valueWei) {
        parted += 1;
        parts.unshift(...halvesOf(part));
      } else waits.push(...waitFor(part, reason, part.length === 1 && "unanswered" in estimate).waits);
      continue;
    }
    const room = asset === "eth" ? PAYEE_ROOM : 10n * PAYEE_ROOM;
    const gasLimit = (estimate.gas * 13n) / 10n + BigInt(part.length) * PAYEE_ROOM + BATCH_ROOM + room;
    if (gasLimit > MAX_TRANSACTION_GAS && part.length > 1) {
      parts.unshift(...halvesOf(part));
      continue;
    }
    drafts.push({ id, kind: "batch", to: batchContract, valueWei, data, gasLimit, lines: part.map((line) => line.id) });
  }
  return { ...nothing, drafts, waits };
}

function halvesOf(lines: readonly PayoutLine[]): [PayoutLine[], PayoutLine[]] {
  const half = Math.ceil(lines.length / 2);
  return [lines.slice(0, half), lines.slice(half)];
}

/** `unanswered`: the nodes do not agree. They did estimate a plain transfer: whatever it is, it keeps nobody else waiting. */
async function estimateOf(
  call: Parameters<Chain["estimateGas"]>[0],
  chain: Chain,
): Promise<Awaited<ReturnType<Chain["estimateGas"]>> | { readonly unanswered: string }> {
  try {
    return await chain.estimateGas(call);
  } catch (error) {
    if (error instanceof PoolError && error.info.code === "payout/no-quorum") return { unanswered: error.message };
    throw error;
  }
}

async function draftTransfer(
  payer: WorkerAddress,
  line: PayoutLine,
  plainGas: bigint,
  { tooDear, maxFeeWei }: DraftRules,
  { chain, calls, newId }: DraftDeps,
): Promise<Drafted> {
  const { id, asset, payTo, sendAmount } = line;
  const refuse = (reason: string, hold: boolean): Drafted => ({ ...nothing, refused: [{ line: id, reason, hold }] });
  const [to, valueWei, data]: [WorkerAddress, bigint, Hex] =
    asset === "eth" ? [payTo, sendAmount, "0x"] : [asset, 0n, calls.tokenTransfer(payTo, sendAmount)];
  const estimate = await estimateOf({ from: payer, to, valueWei, data }, chain);
  if ("unanswered" in estimate) {
    // Its code may be why: a next plan would be kept waiting by it, too.
    return waitFor([line], `nobody can say what paying ${payTo} costs: ${estimate.unanswered}`, true);
  }
  if ("gas" in estimate) {
    const gasLimit = (estimate.gas * 13n) / 10n;
    if (estimate.gas > plainGas + MAX_EXTRA_GAS) {
      return refuse(
        `its code wants ${estimate.gas} gas to be paid, and ${plainGas + MAX_EXTRA_GAS} are the most that a transfer gives`,
        true,
      );
    }
    // The plan did not know what its code costs; gas may cost less by the next one.
    const dear = asset === "eth" && estimate.gas > plainGas + PAYEE_ROOM ? tooDear(line, estimate.gas) : undefined;
    if (dear !== undefined) return refuse(`its code costs ${estimate.gas} gas: ${dear}`, false);
    return {
      ...nothing,
      drafts: [{ id: newId(), kind: "transfer", to, valueWei, data, gasLimit, lines: [id] }],
    };
  }
  const neededWei = valueWei + (plainGas + MAX_EXTRA_GAS) * maxFeeWei;
  if ((await chain.balance(payer)) < neededWei) {
    return waitFor([line], `${payer} does not hold enough: ${estimate.refused}`);
  }
  const whose = asset === "eth" ? "its address" : "the token";
  return estimate.agreed
    ? refuse(`${whose} refuses the payment: ${estimate.refused}`, true)
    : refuse(`the RPC nodes do not agree whether ${whose} takes the payment: ${estimate.refused}`, false);
}

function sumOf(lines: readonly PayoutLine[]): bigint {
  return lines.reduce((total, line) => total + line.sendAmount, 0n);
}
