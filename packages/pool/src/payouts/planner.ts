import type { WorkerAddress } from "@openpool/protocol";
import type { GasPrices, Payable, Payee, PayeeRecord } from "./ports.ts";
import type { Asset, AssetPrice, FiatPrice, PayMethod, PayoutLine, PayoutRun, Waiting } from "./types.ts";

export interface PlanRules {
  readonly method: "auto" | "batch" | "transfers" | "safe";
  readonly asset: Asset;
  /** Pay a worker from this much on, in wei, unless it asked for more. */
  readonly minimumWei: bigint;
  /** The same for one worker, where the terms say otherwise. */
  readonly minimumOf?: ((worker: WorkerAddress) => bigint) | undefined;
  /** Plan at most so much in 24 hours, in wei. */
  readonly dailyCapWei: bigint | undefined;
  /** A person must approve a run of more than this, in wei. */
  readonly approvalAboveWei: bigint | undefined;
  /** Do not pay while gas costs more, in wei. */
  readonly maxGasPriceWei: bigint | undefined;
  /** Do not pay a worker while gas would take a larger part of its amount, in ppm. */
  readonly maxGasSharePpm: bigint | undefined;
  readonly gasBorneBy: "pool" | "worker";
  readonly batchContract: WorkerAddress | undefined;
}

/** What ways to pay cost, in gas. */
export interface GasCosts {
  /** A transfer by itself, its data included. */
  readonly transfer: bigint;
  /** A batch without payees. */
  readonly batchFixed: bigint;
  /** One payee more in a batch: an account that exists, and one that is made by it. */
  readonly batchExisting: bigint;
  readonly batchNew: bigint;
}

/** Of our batch contract and of transfers, without what a rollup charges for data. Measured by `bench/gas.ts`. */
const EXECUTION = {
  eth: { transfer: 21_000n, batchFixed: 47_000n, batchExisting: 10_100n, batchNew: 35_100n },
  token: { transfer: 52_000n, batchFixed: 48_000n, batchExisting: 21_000n, batchNew: 38_000n },
} as const;

/** Bytes of a signed transfer, of a batch without payees, of one payee. */
const BYTES = { eth: 115n, token: 180n, batch: 220n, payee: 32n } as const;

/**
 * Costs where a byte of data costs `gasPerByte` on top (a rollup). `measuredTransfer` is the node's own estimate of a
 * plain transfer, which has it in.
 */
export function gasCosts(asset: Asset, measuredTransfer: bigint): GasCosts {
  const onTop = measuredTransfer > 21_000n ? measuredTransfer - 21_000n : 0n;
  const data = (bytes: bigint): bigint => (onTop * bytes + BYTES.eth - 1n) / BYTES.eth;
  const of = EXECUTION[asset === "eth" ? "eth" : "token"];
  return {
    transfer: of.transfer + data(asset === "eth" ? BYTES.eth : BYTES.token),
    batchFixed: of.batchFixed + data(BYTES.batch),
    batchExisting: of.batchExisting + data(BYTES.payee),
    batchNew: of.batchNew + data(BYTES.payee),
  };
}

export interface PlanInput {
  readonly rules: PlanRules;
  readonly nowMs: number;
  readonly newId: () => string;
  readonly chainId: number;
  readonly payer: WorkerAddress;
  readonly payable: readonly Payable[];
  readonly records: ReadonlyMap<WorkerAddress, PayeeRecord>;
  readonly payees: ReadonlyMap<WorkerAddress, Payee>;
  readonly gas: GasPrices;
  readonly costs: GasCosts;
  /** Planned in the last 24 hours, in wei. */
  readonly plannedWei: bigint;
  /** What the payer has of the asset, in its smallest unit, and in wei for gas. */
  readonly assetBalance: bigint;
  readonly gasBalanceWei: bigint;
  /** For a token. */
  readonly price: AssetPrice | undefined;
  readonly fiat: FiatPrice | undefined;
}

export interface Plan {
  readonly run: PayoutRun | undefined;
  readonly lines: readonly PayoutLine[];
  readonly waiting: readonly Waiting[];
  readonly refused: string | undefined;
}

const PPM = 1_000_000n;
const ETHER = 10n ** 18n;
/** An amount in a batch has 96 bits. */
const BATCH_LIMIT = 2n ** 96n;
const WORD_LIMIT = 2n ** 256n;

/** What arrives for so much wei. */
export function inAsset(wei: bigint, price: AssetPrice | undefined): bigint {
  return price === undefined ? wei : (wei * price.unitsPerEth) / ETHER;
}

/** Where the money of a worker goes. */
export function payToOf(worker: WorkerAddress, records: ReadonlyMap<WorkerAddress, PayeeRecord>): WorkerAddress {
  return records.get(worker)?.payTo ?? worker;
}

/** Decides who is paid how much and how, and says of everybody else why not. */
export function makePlan(input: PlanInput): Plan {
  const { rules, costs, gas } = input;
  const waiting: Waiting[] = [];
  const owing = input.payable.filter((one) => one.owedWei > 0n);
  const wait = ({ worker, owedWei }: Payable, reason: string): void => void waiting.push({ worker, owedWei, reason });
  const refuse = (reason: string): Plan => ({ run: undefined, lines: [], waiting: [...waiting], refused: reason });

  if (rules.maxGasPriceWei !== undefined && gas.nowWei > rules.maxGasPriceWei) {
    const reason = `gas costs ${gas.nowWei} wei, the limit is ${rules.maxGasPriceWei}`;
    for (const one of owing) wait(one, reason);
    return refuse(reason);
  }
  if ((rules.method === "batch" || rules.method === "safe") && rules.batchContract === undefined) {
    return refuse("this way to pay needs the batch contract: name it with --payout-contract");
  }

  const candidates: Candidate[] = [];
  for (const one of [...owing].sort(oldestFirst)) {
    const record = input.records.get(one.worker);
    const payTo = record?.payTo ?? one.worker;
    const reason = whyNot(one, payTo, record, input);
    if (reason !== undefined) {
      wait(one, reason);
      continue;
    }
    const payee = input.payees.get(payTo) ?? { exists: false, isContract: false };
    candidates.push({ ...one, payTo, payee, plainOnly: record?.plainOnly ?? false });
  }

  const methods = chooseMethods(candidates, rules, costs, input.price);
  const lines: PayoutLine[] = [];
  const run = input.newId();
  let totalWei = 0n;
  let totalUnits = 0n;
  let gasLeftWei = input.gasBalanceWei;
  for (const candidate of candidates) {
    const { method, reason, gasUnits } = methods(candidate);
    if (rules.method === "safe" && method !== "safe") {
      wait(candidate, "it cannot be paid in a batch, and the multisig pays batches only");
      continue;
    }
    const gasWei = gasUnits * gas.nowWei;
    if (rules.maxGasSharePpm !== undefined && gasWei * PPM > candidate.owedWei * rules.maxGasSharePpm) {
      const share = (gasWei * 100n) / candidate.owedWei;
      wait(
        candidate,
        `gas would take ${share} % of the amount, the limit is ${Number(rules.maxGasSharePpm) / 10_000} %`,
      );
      continue;
    }
    const gasShareWei = rules.gasBorneBy === "worker" ? gasWei : 0n;
    const sendAmount = candidate.owedWei > gasShareWei ? inAsset(candidate.owedWei - gasShareWei, input.price) : 0n;
    if (sendAmount === 0n) {
      wait(candidate, "nothing would be left after gas and rounding");
      continue;
    }
    if (rules.dailyCapWei !== undefined && input.plannedWei + totalWei + candidate.owedWei > rules.dailyCapWei) {
      wait(candidate, `the daily cap of ${rules.dailyCapWei} wei would be passed`);
      continue;
    }
    // Room for prices that rise, and for payees whose code costs more than it showed.
    const gasRoomWei = (gasUnits + 40_000n) * gas.maxFeeWei;
    const spendWei = (rules.asset === "eth" ? sendAmount : 0n) + gasRoomWei;
    if (method !== "safe" && (spendWei > gasLeftWei || totalUnits + sendAmount > input.assetBalance)) {
      wait(candidate, "the paying account does not hold enough for it");
      continue;
    }
    gasLeftWei -= spendWei;
    totalWei += candidate.owedWei;
    totalUnits += sendAmount;
    lines.push({
      id: input.newId(),
      run,
      worker: candidate.worker,
      payTo: candidate.payTo,
      amountWei: candidate.owedWei,
      gasShareWei,
      sendAmount,
      asset: rules.asset,
      method,
      methodReason: reason,
      state: "planned",
      intent: undefined,
      reason: undefined,
      txHash: undefined,
      block: undefined,
      plannedAtMs: input.nowMs,
      sentAtMs: undefined,
      finishedAtMs: undefined,
    });
  }
  if (lines.length === 0) {
    return refuse(owing.length === 0 ? "nobody is owed anything" : "nobody can be paid now: see the reasons");
  }
  const needsApproval = rules.approvalAboveWei !== undefined && totalWei > rules.approvalAboveWei;
  return {
    run: {
      id: run,
      state: needsApproval ? "planned" : "approved",
      createdAtMs: input.nowMs,
      finishedAtMs: undefined,
      chainId: input.chainId,
      payer: input.payer,
      asset: rules.asset,
      totalWei,
      lines: lines.length,
      approvalReason: needsApproval
        ? `${totalWei} wei are more than ${rules.approvalAboveWei}, which a person has to approve`
        : undefined,
      approvedBy: needsApproval ? undefined : "rules",
      price: input.price,
      fiat: input.fiat,
      gasWei: 0n,
      waiting,
      notes: [],
    },
    // The order of payments in a transaction follows from the lines alone.
    lines: lines.sort((a, b) => (a.payTo.toLowerCase() < b.payTo.toLowerCase() ? -1 : 1)),
    waiting,
    refused: undefined,
  };
}

interface Candidate extends Payable {
  readonly payTo: WorkerAddress;
  readonly payee: Payee;
  readonly plainOnly: boolean;
}

function oldestFirst(a: Payable, b: Payable): number {
  return a.oldestOwedAtMs - b.oldestOwedAtMs || (a.worker < b.worker ? -1 : 1);
}

function whyNot(
  { worker, owedWei }: Payable,
  payTo: WorkerAddress,
  record: PayeeRecord | undefined,
  { rules, payer, price }: PlanInput,
): string | undefined {
  if (record?.held !== undefined) return `its last payment failed (${record.held}): openpool payouts retry ${worker}`;
  const minimumWei = rules.minimumOf?.(worker) ?? rules.minimumWei;
  const threshold = record && record.thresholdWei > minimumWei ? record.thresholdWei : minimumWei;
  if (owedWei < threshold) return `${owedWei} wei are less than ${threshold}, from which it is paid`;
  const same = (other: string | undefined): boolean => other?.toLowerCase() === payTo.toLowerCase();
  if (same(payer)) return "its address is the paying account itself";
  if (same(rules.batchContract)) return "its address is the batch contract";
  if (rules.asset !== "eth" && same(rules.asset)) return "its address is the token's contract";
  // The zero address and the precompiled contracts: money there is gone.
  if (BigInt(payTo) < 0x1_0000n) return "its address is one that nobody holds";
  if (inAsset(owedWei, price) >= WORD_LIMIT) return "its amount is larger than a chain can hold";
  return undefined;
}

/** The cheaper way for each, and what it costs. */
function chooseMethods(
  candidates: readonly Candidate[],
  rules: PlanRules,
  costs: GasCosts,
  price: AssetPrice | undefined,
): (candidate: Candidate) => { readonly method: PayMethod; readonly reason: string; readonly gasUnits: bigint } {
  const inBatch = (one: Candidate): bigint => (one.payee.exists ? costs.batchExisting : costs.batchNew);
  // A contract may use more than a plain transfer costs.
  const alone = (one: Candidate): bigint => costs.transfer + (one.payee.isContract ? 30_000n : 0n);
  const mayBatch = (one: Candidate): boolean => !one.plainOnly && inAsset(one.owedWei, price) < BATCH_LIMIT;
  const forced = rules.method === "batch" || rules.method === "safe";
  const cheaper = (one: Candidate): boolean => forced || inBatch(one) < alone(one);
  const batch = new Set(
    rules.method === "transfers" || rules.batchContract === undefined
      ? []
      : candidates.filter((one) => mayBatch(one) && cheaper(one)),
  );
  const saved = [...batch].reduce((sum, one) => sum + alone(one) - inBatch(one), 0n);
  // The contract also proves that a token moved exactly what it should.
  const worthIt = forced || saved > costs.batchFixed || (rules.asset !== "eth" && batch.size > 1);
  const members = worthIt ? batch : new Set<Candidate>();
  const shared = members.size === 0 ? 0n : costs.batchFixed / BigInt(members.size);
  return (one) => {
    if (members.has(one)) {
      const gasUnits = inBatch(one) + shared;
      const reason = `${gasUnits} gas in a batch of ${members.size}, ${alone(one)} alone`;
      return rules.method === "safe"
        ? { method: "safe", reason: "paid by the multisig", gasUnits }
        : { method: "batch", reason, gasUnits };
    }
    const reason = one.plainOnly
      ? "alone, because it could not be paid in a batch"
      : rules.batchContract === undefined
        ? `${alone(one)} gas alone; there is no batch contract`
        : `${alone(one)} gas alone, ${inBatch(one)} and a share of ${costs.batchFixed} in a batch`;
    return { method: "transfer", reason, gasUnits: alone(one) };
  };
}
