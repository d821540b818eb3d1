import { formatEth, formatGwei } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { GasPrices, Payable, Payee, PayeeRecord } from "./ports.ts";
import type { Asset, AssetPrice, FiatPrice, PayMethod, PayoutLine, PayoutRun, Waiting, WaitingCode } from "./types.ts";

export interface PlanRules {
  readonly method: "auto" | "batch" | "transfers" | "safe";
  /** What a worker is paid in that chose nothing, and what it may choose besides. */
  readonly asset: Asset;
  readonly choices: readonly Asset[];
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

/** What ways to pay cost, in gas, data included. */
export interface GasCosts {
  /** A transfer by itself, to an account that exists (has some of the token), and to one that does not. */
  readonly transfer: bigint;
  readonly transferNew: bigint;
  /** A batch without payees. */
  readonly batchFixed: bigint;
  /** One payee more in a batch: an account that exists, and one that is made by it. */
  readonly batchExisting: bigint;
  readonly batchNew: bigint;
}

/** What a node said that transfers of a token need, their data included; undefined: it did not say. */
export interface MeasuredTransfers {
  readonly existing?: bigint | undefined;
  readonly toNew?: bigint | undefined;
}

/** What every transaction costs before it does anything. */
const BASE = 21_000n;
/** Of our batch contract and of transfers, without what a rollup charges for data. Measured by `bench/gas.ts`. */
const ETH_COSTS: GasCosts = {
  transfer: BASE,
  transferNew: BASE,
  batchFixed: 47_000n,
  batchExisting: 10_100n,
  batchNew: 35_100n,
};
/** Of an ordinary token, where the node cannot say what this one needs. */
const TOKEN_TRANSFER = { existing: 35_000n, toNew: 52_000n };
const TOKEN_BATCH_FIXED = 48_000n;
/** What the batch contract does for a payee beyond the token's own work: a call of itself, the allowance, two balances. */
const TOKEN_BATCH_WORK = 7_000n;

/** Bytes of a signed transfer, of a batch without payees, of one payee. */
const BYTES = { eth: 115n, token: 180n, batch: 220n, payee: 32n } as const;

/**
 * Costs where a byte of data costs `gasPerByte` on top (a rollup). `plainTransfer` is the node's own estimate of a plain
 * transfer, which has it in; `measured` those of transfers of the token.
 */
export function gasCosts(asset: Asset, plainTransfer: bigint, measured: MeasuredTransfers = {}): GasCosts {
  const onTop = plainTransfer > BASE ? plainTransfer - BASE : 0n;
  const data = (bytes: bigint): bigint => (onTop * bytes + BYTES.eth - 1n) / BYTES.eth;
  if (asset === "eth") {
    return {
      transfer: ETH_COSTS.transfer + data(BYTES.eth),
      transferNew: ETH_COSTS.transferNew + data(BYTES.eth),
      batchFixed: ETH_COSTS.batchFixed + data(BYTES.batch),
      batchExisting: ETH_COSTS.batchExisting + data(BYTES.payee),
      batchNew: ETH_COSTS.batchNew + data(BYTES.payee),
    };
  }
  const transferData = data(BYTES.token);
  const transfer = measured.existing ?? TOKEN_TRANSFER.existing + transferData;
  const transferNew = measured.toNew ?? TOKEN_TRANSFER.toNew + transferData;
  const inBatch = (alone: bigint): bigint => {
    const work = alone - BASE - transferData;
    return (work > 0n ? work : 0n) + TOKEN_BATCH_WORK + data(BYTES.payee);
  };
  return {
    transfer,
    transferNew,
    batchFixed: TOKEN_BATCH_FIXED + data(BYTES.batch),
    batchExisting: inBatch(transfer),
    batchNew: inBatch(transferNew),
  };
}

/** What one asset is at the moment of a plan. */
export interface AssetNow {
  /** For a token. */
  readonly price: AssetPrice | undefined;
  /** What the payer has of it, in its smallest unit. */
  readonly balance: bigint;
  readonly costs: GasCosts;
  readonly payees: ReadonlyMap<WorkerAddress, Payee>;
}

/** What is known of the assets that workers are paid in; of one that nobody can be paid in now, why. */
export type AssetsNow = ReadonlyMap<Asset, AssetNow | { readonly problem: string }>;

export interface PlanInput {
  readonly rules: PlanRules;
  readonly nowMs: number;
  readonly newId: () => string;
  readonly chainId: number;
  readonly payer: WorkerAddress;
  readonly payable: readonly Payable[];
  readonly records: ReadonlyMap<WorkerAddress, PayeeRecord>;
  readonly assets: AssetsNow;
  readonly gas: GasPrices;
  /** Planned in the last 24 hours, in wei. */
  readonly plannedWei: bigint;
  /** What the payer has for gas, and for whom is paid in ETH. */
  readonly gasBalanceWei: bigint;
  readonly fiat: FiatPrice | undefined;
}

export interface Plan {
  readonly run: PayoutRun | undefined;
  readonly lines: readonly PayoutLine[];
  readonly waiting: readonly Waiting[];
  readonly refused: string | undefined;
  /** See {@link PlannedPayout.mayPass}. */
  readonly mayPass: boolean;
}

const PPM = 1_000_000n;
const ETHER = 10n ** 18n;
/** An amount in a batch has 96 bits. */
const BATCH_LIMIT = 2n ** 96n;
const WORD_LIMIT = 2n ** 256n;

/**
 * What the payments of a multisig may need together: it makes them in one transaction, which Ethereum lets use 16.7 million
 * gas, and some room is for the multisig itself. Each payee may use more than it showed.
 */
const SAFE_GAS = 12_000_000n;
const SAFE_PAYEE_ROOM = 31_000n;

/** What arrives for so much wei. */
export function inAsset(wei: bigint, price: AssetPrice | undefined): bigint {
  return price === undefined ? wei : (wei * price.unitsPerEth) / ETHER;
}

/** The least wei for which so much arrives. */
export function worthOf(amount: bigint, { unitsPerEth }: AssetPrice): bigint {
  return (amount * ETHER + unitsPerEth - 1n) / unitsPerEth;
}

/** Where the money of a worker goes, and in what. */
export function wishOf(
  worker: WorkerAddress,
  records: ReadonlyMap<WorkerAddress, PayeeRecord>,
  rules: Pick<PlanRules, "asset">,
): { readonly payTo: WorkerAddress; readonly asset: Asset } {
  const { payTo = worker, asset = "pool" } = records.get(worker) ?? {};
  return { payTo, asset: asset === "pool" ? rules.asset : asset };
}

/** Why a line may not be paid as it was planned, by what its worker and the operator want by now; undefined: it may. */
export function whyNotAsPlanned(
  { worker, payTo, asset }: PayoutLine,
  records: ReadonlyMap<WorkerAddress, PayeeRecord>,
  rules: Pick<PlanRules, "asset">,
): string | undefined {
  const stopped = records.get(worker)?.stopped;
  if (stopped !== undefined) return stopped;
  const wish = wishOf(worker, records, rules);
  if (wish.payTo !== payTo) return `it is to be paid at ${wish.payTo} by now, and was planned for ${payTo}`;
  if (wish.asset !== asset) return `it is to be paid in ${wish.asset} by now, and was planned in ${asset}`;
  return undefined;
}

/** Decides who is paid how much and how, and says of everybody else why not. */
export function makePlan(input: PlanInput): Plan {
  const { rules, gas } = input;
  const waiting: Waiting[] = [];
  const owing = input.payable.filter((one) => one.owedWei > 0n);
  let mayPass = false;
  const wait = ({ worker, owedWei }: Payable, { code, reason, passes = PASSING.has(code) }: Obstacle): void => {
    waiting.push({ worker, owedWei, code, reason });
    mayPass ||= passes;
  };
  const refuse = (reason: string): Plan => ({ run: undefined, lines: [], waiting, refused: reason, mayPass });

  if (rules.maxGasPriceWei !== undefined && gas.nowWei > rules.maxGasPriceWei) {
    const reason = gasIsDear(gas.nowWei, rules.maxGasPriceWei);
    for (const one of owing) wait(one, { code: "gas", reason });
    return refuse(reason);
  }
  if ((rules.method === "batch" || rules.method === "safe") && rules.batchContract === undefined) {
    return refuse("this way to pay needs the batch contract: name it with --payout-contract");
  }

  const candidates: Candidate[] = [];
  for (const one of [...owing].sort(oldestFirst)) {
    const candidate = toCandidate(one, input);
    if ("reason" in candidate) wait(one, candidate);
    else candidates.push(candidate);
  }

  const methods = chooseMethods(candidates, rules);
  const lines: PayoutLine[] = [];
  const run = input.newId();
  let totalWei = 0n;
  let gasLeftWei = input.gasBalanceWei;
  let safeGas = 0n;
  const plannedUnits = new Map<Asset, bigint>();
  for (const candidate of inTurn(candidates, rules)) {
    const { asset, now, owedWei, record } = candidate;
    const capLeftWei =
      rules.dailyCapWei === undefined ? owedWei : leftOf(rules.dailyCapWei, input.plannedWei + totalWei);
    const amountWei = withinCap(candidate, capLeftWei, rules);
    if (amountWei === 0n) {
      wait(candidate, capped(rules, "would be passed"));
      continue;
    }
    const { method, reason, gasUnits } = methods(candidate);
    if (rules.method === "safe" && method !== "safe") {
      wait(candidate, not("way-to-pay", "it cannot be paid in a batch, and the multisig pays batches only"));
      continue;
    }
    const gasWei = gasUnits * gas.nowWei;
    const dear = gasTakesTooMuch(gasWei, amountWei, rules, record);
    if (dear !== undefined) {
      wait(candidate, not("gas", dear));
      continue;
    }
    // Whoever executes for a multisig pays that gas, and nobody gives it back to them here.
    const gasShareWei = rules.gasBorneBy === "worker" && method !== "safe" ? gasWei : 0n;
    const sendAmount = amountWei > gasShareWei ? inAsset(amountWei - gasShareWei, now.price) : 0n;
    if (sendAmount === 0n) {
      wait(candidate, not("nothing-left", "nothing would be left after gas and rounding"));
      continue;
    }
    // Room for prices that rise, and for payees whose code costs more than it showed.
    const gasRoomWei = (gasUnits + 40_000n) * gas.maxFeeWei;
    const spendWei = (asset === "eth" ? sendAmount : 0n) + gasRoomWei;
    const units = (plannedUnits.get(asset) ?? 0n) + sendAmount;
    if (method !== "safe" && (spendWei > gasLeftWei || units > now.balance)) {
      wait(
        candidate,
        not(
          "no-funds",
          asset !== "eth" && units <= now.balance
            ? "the paying account does not hold enough ETH for its gas"
            : "the paying account does not hold enough for it",
        ),
      );
      continue;
    }
    if (method === "safe") {
      if (safeGas + gasUnits + SAFE_PAYEE_ROOM > SAFE_GAS) {
        const full = "one transaction of the multisig holds no more payments: the next payout pays it";
        wait(candidate, not("run-full", full));
        continue;
      }
      safeGas += gasUnits + SAFE_PAYEE_ROOM;
    }
    gasLeftWei -= spendWei;
    totalWei += amountWei;
    plannedUnits.set(asset, units);
    lines.push({
      id: input.newId(),
      run,
      worker: candidate.worker,
      payTo: candidate.payTo,
      amountWei,
      gasShareWei,
      sendAmount,
      asset,
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
      fiat: input.fiat,
    });
    if (amountWei < owedWei) wait({ ...candidate, owedWei: owedWei - amountWei }, capped(rules, "keeps back the rest"));
  }
  if (lines.length === 0) {
    return refuse(owing.length === 0 ? "nobody is owed anything" : "nobody can be paid now: see the reasons");
  }
  const needsApproval = rules.approvalAboveWei !== undefined && totalWei > rules.approvalAboveWei;
  const [first, ...others] = plannedUnits.keys();
  return {
    run: {
      id: run,
      state: needsApproval ? "planned" : "approved",
      createdAtMs: input.nowMs,
      finishedAtMs: undefined,
      chainId: input.chainId,
      payer: input.payer,
      batchContract: rules.batchContract,
      asset: first === undefined || others.length > 0 ? "mixed" : first,
      totalWei,
      lines: lines.length,
      approvalReason: needsApproval
        ? `${formatEth(totalWei)} ETH are more than ${formatEth(rules.approvalAboveWei)} ETH, which a person has to approve`
        : undefined,
      approvedBy: needsApproval ? undefined : "rules",
      prices: [...plannedUnits.keys()].flatMap((asset) => {
        const now = input.assets.get(asset);
        return now !== undefined && "price" in now && now.price !== undefined ? [now.price] : [];
      }),
      fiat: input.fiat,
      gasWei: 0n,
      waiting,
      notes: [],
    },
    // The order of payments in a transaction follows from the lines alone.
    lines: lines.sort((a, b) => (a.payTo.toLowerCase() < b.payTo.toLowerCase() ? -1 : 1)),
    waiting,
    refused: undefined,
    mayPass,
  };
}

/** Why somebody is not paid; `passes` where the code alone does not say whether that may be otherwise soon. */
interface Obstacle {
  readonly code: WaitingCode;
  readonly reason: string;
  readonly passes?: boolean;
}
const not = (code: WaitingCode, reason: string): Obstacle => ({ code, reason });

/** What may be otherwise soon without anybody who does something about it for this worker. */
const PASSING: ReadonlySet<WaitingCode> = new Set(["gas", "nothing-left", "daily-cap", "run-full", "no-funds"]);

interface Candidate extends Payable {
  readonly payTo: WorkerAddress;
  readonly asset: Asset;
  readonly now: AssetNow;
  readonly payee: Payee;
  readonly record: PayeeRecord | undefined;
}

/** Whoever is owed more than the daily cap gets what the others leave of it: else nobody would be paid for days but it. */
function inTurn(candidates: readonly Candidate[], { dailyCapWei: cap }: PlanRules): readonly Candidate[] {
  const isLarge = ({ owedWei }: Candidate): boolean => cap !== undefined && owedWei > cap;
  return [...candidates.filter((one) => !isLarge(one)), ...candidates.filter(isLarge)];
}

/** What of an amount may be paid now: all of it, or a part where it is more than the cap of a whole day; 0: nothing. */
function withinCap({ worker, owedWei, record }: Candidate, leftWei: bigint, rules: PlanRules): bigint {
  if (owedWei <= leftWei) return owedWei;
  const isPart = rules.dailyCapWei !== undefined && owedWei > rules.dailyCapWei;
  return isPart && leftWei >= thresholdOf(worker, record, rules).wei ? leftWei : 0n;
}

const leftOf = (capWei: bigint, usedWei: bigint): bigint => (capWei > usedWei ? capWei - usedWei : 0n);

function capped({ dailyCapWei = 0n }: PlanRules, what: string): Obstacle {
  return not("daily-cap", `the daily cap of ${formatEth(dailyCapWei)} ETH ${what}`);
}

function oldestFirst(a: Payable, b: Payable): number {
  return a.oldestOwedAtMs - b.oldestOwedAtMs || (a.worker < b.worker ? -1 : 1);
}

/** From how much on a worker is paid. */
function thresholdOf(
  worker: WorkerAddress,
  record: PayeeRecord | undefined,
  rules: Pick<PlanRules, "minimumWei" | "minimumOf">,
): { readonly wei: bigint; readonly itsOwn: boolean } {
  const minimumWei = rules.minimumOf?.(worker) ?? rules.minimumWei;
  const itsOwn = record !== undefined && record.thresholdWei > minimumWei;
  return { wei: itsOwn ? record.thresholdWei : minimumWei, itsOwn };
}

/** Why somebody is not to be paid yet, whatever the chain says; undefined: it may be. */
export function whyNotDue(
  { worker, owedWei }: Payable,
  record: PayeeRecord | undefined,
  rules: Pick<PlanRules, "minimumWei" | "minimumOf">,
): Obstacle | undefined {
  if (record?.stopped !== undefined) return not("stopped", `${record.stopped}: openpool workers release ${worker}`);
  if (record?.held !== undefined)
    return not("failed-before", `its last payment failed (${record.held}): openpool payouts retry ${worker}`);
  const { wei, itsOwn } = thresholdOf(worker, record, rules);
  if (owedWei >= wei) return undefined;
  return not(
    "below-minimum",
    `${formatEth(owedWei)} ETH are less than ${formatEth(wei)} ETH, from which it ${itsOwn ? "wants to be" : "is"} paid`,
  );
}

/** Somebody who can be paid, or why not. */
function toCandidate(one: Payable, { rules, payer, records, assets, gas }: PlanInput): Candidate | Obstacle {
  const { worker, owedWei } = one;
  const record = records.get(worker);
  const { payTo, asset } = wishOf(worker, records, rules);
  const notDue = whyNotDue(one, record, rules);
  if (notDue) return notDue;
  if (record !== undefined && record.maxGasPriceWei > 0n && gas.nowWei > record.maxGasPriceWei) {
    return not("gas", `${gasIsDear(gas.nowWei, record.maxGasPriceWei)}, as it wants it`);
  }
  const same = (other: string | undefined): boolean => other?.toLowerCase() === payTo.toLowerCase();
  if (same(payer)) return not("address", "its address is the paying account itself");
  if (same(rules.batchContract)) return not("address", "its address is the batch contract");
  if (same(asset)) return not("address", "its address is the token's contract");
  // The zero address and the precompiled contracts: money there is gone.
  if (BigInt(payTo) < 0x1_0000n) return not("address", "its address is one that nobody holds");
  // Its address may take nothing else: what it asked for is never replaced by something else.
  if (asset !== rules.asset && !rules.choices.includes(asset)) {
    return not(
      "asset",
      `it wants to be paid in ${asset}, which this pool does not offer any more: it can sign another choice`,
    );
  }
  const now = assets.get(asset);
  if (now === undefined) return not("asset", `nothing is known of ${asset}`);
  if ("problem" in now) return { code: "asset", reason: now.problem, passes: true };
  if (inAsset(owedWei, now.price) >= WORD_LIMIT) return not("way-to-pay", "its amount is larger than a chain can hold");
  const payee = now.payees.get(payTo) ?? { exists: false, isContract: false };
  return { ...one, payTo, asset, now, payee, record };
}

/** Of gas that costs more than somebody wants. */
export function gasIsDear(nowWei: bigint, limitWei: bigint): string {
  return `gas costs ${formatGwei(nowWei)} gwei, the limit is ${formatGwei(limitWei)}`;
}

/** Why gas is too much of an amount, by the pool's rule or the worker's own; undefined: it is not. */
export function gasTakesTooMuch(
  gasWei: bigint,
  owedWei: bigint,
  { maxGasSharePpm }: Pick<PlanRules, "maxGasSharePpm">,
  record: PayeeRecord | undefined,
): string | undefined {
  const own = record !== undefined && record.maxGasSharePpm > 0n ? record.maxGasSharePpm : undefined;
  const isOwn = own !== undefined && (maxGasSharePpm === undefined || own < maxGasSharePpm);
  const limitPpm = isOwn ? own : maxGasSharePpm;
  if (limitPpm === undefined || gasWei * PPM <= owedWei * limitPpm) return undefined;
  const share = (gasWei * 100n) / owedWei;
  const limit = `gas would take ${share} % of the amount, the limit is ${Number(limitPpm) / 10_000} %`;
  return isOwn ? `${limit}, as it wants it` : limit;
}

/** The cheaper way for each, and what it costs. Batches are of one asset. */
function chooseMethods(
  candidates: readonly Candidate[],
  rules: PlanRules,
): (candidate: Candidate) => { readonly method: PayMethod; readonly reason: string; readonly gasUnits: bigint } {
  const inBatch = ({ payee, now }: Candidate): bigint => (payee.exists ? now.costs.batchExisting : now.costs.batchNew);
  // A contract that takes ETH may use more than a plain transfer costs.
  const alone = ({ payee, now, asset }: Candidate): bigint =>
    (payee.exists ? now.costs.transfer : now.costs.transferNew) + (payee.isContract && asset === "eth" ? 30_000n : 0n);
  // A multisig has no other way: it tries again.
  const mayBatch = (one: Candidate): boolean =>
    (one.record?.plainOnly !== true || rules.method === "safe") && inAsset(one.owedWei, one.now.price) < BATCH_LIMIT;
  const forced = rules.method === "batch" || rules.method === "safe";
  const canBatch = rules.method !== "transfers" && rules.batchContract !== undefined;
  const members = new Map<Asset, ReadonlySet<Candidate>>();
  for (const asset of new Set(candidates.map((one) => one.asset))) {
    const of = candidates.filter((one) => one.asset === asset);
    const batch = canBatch ? of.filter((one) => mayBatch(one) && (forced || inBatch(one) < alone(one))) : [];
    const saved = batch.reduce((sum, one) => sum + alone(one) - inBatch(one), 0n);
    const fixed = of[0]?.now.costs.batchFixed ?? 0n;
    // The contract also proves that a token moved exactly what it should.
    const worthIt = forced || saved > fixed || (asset !== "eth" && batch.length > 1);
    members.set(asset, new Set(worthIt ? batch : []));
  }
  return (one) => {
    const together = members.get(one.asset);
    if (together?.has(one)) {
      const gasUnits = inBatch(one) + one.now.costs.batchFixed / BigInt(together.size);
      return rules.method === "safe"
        ? { method: "safe", reason: "paid by the multisig", gasUnits }
        : { method: "batch", reason: `${gasUnits} gas in a batch of ${together.size}, ${alone(one)} alone`, gasUnits };
    }
    const reason =
      one.record?.plainOnly === true
        ? "alone, because it could not be paid in a batch"
        : rules.batchContract === undefined
          ? `${alone(one)} gas alone; there is no batch contract`
          : `${alone(one)} gas alone, ${inBatch(one)} and a share of ${one.now.costs.batchFixed} in a batch`;
    return { method: "transfer", reason, gasUnits: alone(one) };
  };
}
