import type { WorkerAddress } from "@openpool/protocol";
import type {
  Hex,
  PayoutIntent,
  PayoutLine,
  PayoutRun,
  PayoutWish,
  PayToChange,
  RunDetail,
  Waiting,
} from "../payouts/types.ts";

/** Rows of the payouts' tables, and what they mean. */

export interface RunRow {
  readonly id: string;
  readonly state: PayoutRun["state"];
  readonly created_at: Date;
  readonly finished_at: Date | null;
  readonly chain_id: string;
  readonly payer: WorkerAddress;
  readonly asset: PayoutRun["asset"];
  readonly total_wei: string;
  readonly approval_reason: string | null;
  readonly approved_by: string | null;
  readonly details: RunDetails;
  readonly lines: string;
  readonly gas_wei: string;
}

/** The JSON of a run; wei as decimal strings. */
export interface RunDetails {
  readonly prices: readonly {
    readonly token: WorkerAddress;
    readonly unitsPerEth: string;
    readonly source: string;
    readonly atBlock?: number;
  }[];
  readonly fiat?: PayoutRun["fiat"];
  readonly batchContract?: WorkerAddress;
  readonly waiting: readonly (Omit<Waiting, "owedWei"> & { readonly owedWei: string })[];
  readonly notes: readonly string[];
}

export interface LineRow {
  readonly id: string;
  readonly run: string;
  readonly worker: WorkerAddress;
  readonly pay_to: WorkerAddress;
  readonly amount_wei: string;
  readonly gas_share_wei: string;
  readonly send_amount: string;
  readonly asset: PayoutLine["asset"];
  readonly method: PayoutLine["method"];
  readonly method_reason: string;
  readonly state: PayoutLine["state"];
  readonly intent: string | null;
  readonly reason: string | null;
  readonly tx_hash: Hex | null;
  readonly block: string | null;
  readonly planned_at: Date;
  readonly sent_at: Date | null;
  readonly finished_at: Date | null;
  /** Of its run; not where a row comes from a change of the table. */
  readonly fiat?: PayoutRun["fiat"] | null;
}

export interface IntentRow {
  readonly id: string;
  readonly run: string;
  readonly kind: PayoutIntent["kind"];
  readonly chain_id: string;
  readonly payer: WorkerAddress;
  readonly nonce: string;
  readonly to_address: WorkerAddress;
  readonly value_wei: string;
  readonly data: Hex;
  readonly gas_limit: string;
  readonly lines: readonly string[];
  readonly state: PayoutIntent["state"];
  readonly mined_hash: Hex | null;
  readonly mined_block: string | null;
  readonly gas_wei: string | null;
  readonly transactions: readonly {
    readonly hash: Hex;
    readonly raw: Hex;
    readonly max_fee_wei: string;
    readonly max_tip_wei: string;
    readonly signed_at_ms: number;
  }[];
}

export const RUNS = `
  select r.*, (select count(*) from openpool.payout_lines l where l.run = r.id) as lines,
    (select coalesce(sum(gas_wei), 0) from openpool.payout_intents i where i.run = r.id) as gas_wei
  from openpool.payout_runs r`;

export const LINES = `
  select l.*, r.details -> 'fiat' as fiat from openpool.payout_lines l join openpool.payout_runs r on r.id = l.run`;

export const INTENTS = `
  select i.*, (
    select json_agg(json_build_object('hash', t.hash, 'raw', t.raw, 'max_fee_wei', t.max_fee_wei::text,
      'max_tip_wei', t.max_tip_wei::text, 'signed_at_ms', floor(extract(epoch from t.signed_at) * 1000)) order by t.version)
    from openpool.payout_transactions t where t.intent = i.id) as transactions
  from openpool.payout_intents i`;

export function toRun(row: RunRow): PayoutRun {
  const { prices, fiat, batchContract, waiting, notes } = row.details;
  return {
    id: row.id,
    state: row.state,
    createdAtMs: row.created_at.getTime(),
    finishedAtMs: row.finished_at?.getTime(),
    chainId: Number(row.chain_id),
    payer: row.payer,
    batchContract,
    asset: row.asset,
    totalWei: BigInt(row.total_wei),
    lines: Number(row.lines),
    approvalReason: row.approval_reason ?? undefined,
    approvedBy: row.approved_by ?? undefined,
    prices: prices.map((one) => ({ atBlock: undefined, ...one, unitsPerEth: BigInt(one.unitsPerEth) })),
    fiat,
    gasWei: BigInt(row.gas_wei),
    waiting: waiting.map((one) => ({ ...one, owedWei: BigInt(one.owedWei) })),
    notes,
  };
}

export function toLine(row: LineRow): PayoutLine {
  return {
    id: row.id,
    run: row.run,
    worker: row.worker,
    payTo: row.pay_to,
    amountWei: BigInt(row.amount_wei),
    gasShareWei: BigInt(row.gas_share_wei),
    sendAmount: BigInt(row.send_amount),
    asset: row.asset,
    method: row.method,
    methodReason: row.method_reason,
    state: row.state,
    intent: row.intent ?? undefined,
    reason: row.reason ?? undefined,
    txHash: row.tx_hash ?? undefined,
    block: row.block === null ? undefined : Number(row.block),
    plannedAtMs: row.planned_at.getTime(),
    sentAtMs: row.sent_at?.getTime(),
    finishedAtMs: row.finished_at?.getTime(),
    fiat: row.fiat ?? undefined,
  };
}

export function toIntent(row: IntentRow): PayoutIntent {
  return {
    id: row.id,
    run: row.run,
    kind: row.kind,
    chainId: Number(row.chain_id),
    payer: row.payer,
    nonce: Number(row.nonce),
    to: row.to_address,
    valueWei: BigInt(row.value_wei),
    data: row.data,
    gasLimit: BigInt(row.gas_limit),
    lines: row.lines,
    state: row.state,
    transactions: row.transactions.map((one) => ({
      hash: one.hash,
      raw: one.raw,
      maxFeeWei: BigInt(one.max_fee_wei),
      maxTipWei: BigInt(one.max_tip_wei),
      signedAtMs: one.signed_at_ms,
    })),
    minedHash: row.mined_hash ?? undefined,
    minedBlock: row.mined_block === null ? undefined : Number(row.mined_block),
    gasWei: row.gas_wei === null ? undefined : BigInt(row.gas_wei),
  };
}

/** How a worker wants to be paid; without an address of its choice at its own. */
export interface WishRow {
  readonly worker: WorkerAddress;
  readonly pay_to: WorkerAddress | null;
  readonly threshold_wei: string;
  readonly asset: PayoutWish["asset"];
  readonly max_gas_price_wei: string;
  readonly max_gas_share_ppm: string;
}

export function toWish(row: WishRow): PayoutWish {
  return {
    payTo: row.pay_to ?? row.worker,
    thresholdWei: BigInt(row.threshold_wei),
    asset: row.asset,
    maxGasPriceWei: BigInt(row.max_gas_price_wei),
    maxGasSharePpm: BigInt(row.max_gas_share_ppm),
  };
}

export interface ChangeRow extends WishRow {
  readonly nonce: string;
  readonly requested_at: Date;
  readonly effective_at: Date;
  readonly state: PayToChange["state"];
}

export function toChange(row: ChangeRow): PayToChange {
  return {
    worker: row.worker,
    ...toWish(row),
    nonce: BigInt(row.nonce),
    requestedAtMs: row.requested_at.getTime(),
    effectiveAtMs: row.effective_at.getTime(),
    state: row.state,
  };
}

/** How rows are asked for: over whichever connection. */
type Ask = <Row extends object>(sql: string, values: readonly unknown[]) => Promise<readonly Row[]>;

export async function detailOf(ask: Ask, row: RunRow): Promise<RunDetail> {
  const lines = await ask<LineRow>(`${LINES} where l.run = $1 order by l.place`, [row.id]);
  const intents = await ask<IntentRow>(`${INTENTS} where i.run = $1 order by i.nonce`, [row.id]);
  return { run: toRun(row), lines: lines.map(toLine), intents: intents.map(toIntent) };
}

/** A bigint column that a `number` holds. */
export function toNumber(text: string | null | undefined): number | undefined {
  return text === null || text === undefined ? undefined : Number(text);
}
