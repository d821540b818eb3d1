import { errorText } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { ClientBase } from "pg";

/** What arrived at an address: of `asset` (`eth` or a token's address), in its smallest unit. */
export interface PaymentOnChain {
  readonly to: string;
  readonly asset: string;
  readonly amount: bigint;
}

/** The chain that is paid on. */
export interface PaidChain {
  readonly chainId: number;
  /**
   * What it has of a transaction, once that is final; else why there is nothing, and whether its nodes agree about that.
   * Rejects where nodes do not answer.
   */
  receiptOf(
    hash: string,
  ): Promise<
    { readonly blockNumber: number; readonly succeeded: boolean } | { readonly none: string; readonly agreed: boolean }
  >;
  /** The transactions of a block. Rejects where nodes do not have it, or do not agree. */
  hashesIn(block: number): Promise<readonly string[]>;
  /**
   * What a final transaction of a block paid to whom on behalf of a payer; a text: what it did instead. Rejects where nodes do
   * not answer.
   */
  paymentsOf(
    hash: string,
    of: { readonly block: number; readonly payer: WorkerAddress; readonly byMultisig: boolean },
  ): Promise<readonly PaymentOnChain[] | string>;
}

/** A transaction that payouts were final in, as the books have it. */
export interface PaidTransaction {
  readonly hash: string;
  readonly block: string | null;
  readonly payer: WorkerAddress;
  readonly lines: readonly {
    readonly worker: string;
    readonly to: string;
    readonly asset: string;
    readonly amount: string;
    readonly method: string;
  }[];
}

/** Which transactions are compared: those that were not yet, those and the newest of the others, or all. */
export type ChainScope = "new" | "recent" | "all";

export interface ChainComparison {
  readonly wrong: readonly string[];
  /** Transactions that are as the books say. */
  readonly right: readonly string[];
  /** Transactions that were compared; fewer than were asked for where the chain did not answer. */
  readonly transactions: number;
  /** Why the chain could not be asked. */
  readonly chainProblem: string | undefined;
}

/** So many are compared in one look; what is left comes in the next one. */
const NEW_AT_ONCE = 100;
const RECENT = 100;
/** More that is wrong is not told: the first shows what it is. */
const MAX_TOLD = 20;

/** Transactions that payouts were final in, the newest first. */
export async function paidTransactions(
  client: ClientBase,
  chainId: number,
  scope: ChainScope,
): Promise<readonly PaidTransaction[]> {
  const { rows } = await client.query<PaidTransaction>(
    `with final as not materialized (
       select l.*, r.payer from openpool.payout_lines l join openpool.payout_runs r on r.id = l.run
       where l.state = 'final' and l.tx_hash is not null and r.chain_id = $1
     )
     select tx_hash as hash, min(block) as block, min(payer) as payer,
       json_agg(json_build_object('worker', worker, 'to', pay_to, 'asset', asset, 'amount', send_amount::text,
         'method', method) order by place) as lines
     from final
     where tx_hash in (
       (select tx_hash from final where chain_checked_at is null order by finished_at desc limit $2)
       union (select tx_hash from final order by finished_at desc limit $3)
     )
     group by tx_hash order by max(finished_at) desc`,
    [chainId, scope === "new" ? NEW_AT_ONCE : null, scope === "all" ? null : scope === "recent" ? RECENT : 0],
  );
  return rows;
}

/** What the books took for final is so for ever: on the chain, in that block, and it paid just what they say. */
export async function compareWithChain(
  paid: readonly PaidTransaction[],
  chain: PaidChain,
  signal: AbortSignal | undefined,
): Promise<ChainComparison> {
  const wrong: string[] = [];
  const right: string[] = [];
  let transactions = 0;
  let chainProblem: string | undefined;
  for (const one of paid) {
    signal?.throwIfAborted();
    try {
      const found = await lookUp(one, chain);
      if ("unsure" in found) {
        chainProblem ??= `transaction ${one.hash}: ${found.unsure}`;
        continue;
      }
      transactions++;
      if (found.wrong.length === 0) right.push(one.hash);
      else
        wrong.push(
          `${one.lines.length} payments are booked as made in transaction ${one.hash}, and by the chain: ${found.wrong.join("; ")}`,
        );
      if (wrong.length >= MAX_TOLD) break;
    } catch (error) {
      chainProblem = errorText(error);
      break;
    }
  }
  return { wrong, right, transactions, chainProblem };
}

/** Remembers what was found right: it is not compared again, but among the newest, or when everything is. */
export async function noteChecked(client: ClientBase, hashes: readonly string[], atMs: number): Promise<void> {
  if (hashes.length === 0) return;
  await client.query(
    "update openpool.payout_lines set chain_checked_at = $2 where tx_hash = any ($1) and state = 'final' and chain_checked_at is null",
    [hashes, new Date(atMs)],
  );
}

/** What is wrong with a transaction by what its nodes agree about; `unsure`: nobody can say whether anything is. */
async function lookUp(
  { hash, block, payer, lines }: PaidTransaction,
  chain: PaidChain,
): Promise<{ readonly wrong: readonly string[] } | { readonly unsure: string }> {
  const receipt = await chain.receiptOf(hash);
  if ("none" in receipt) {
    if (!receipt.agreed || block === null) return { unsure: receipt.none };
    // Nodes that lag do not know it yet, and others forget receipts: what its block holds shows which it is.
    const isThere = (await chain.hashesIn(Number(block))).includes(hash);
    return { wrong: isThere ? [] : [`it is not in block ${block}, and was there`] };
  }
  if (!receipt.succeeded) return { wrong: ["it did nothing"] };
  if (block !== null && Number(block) !== receipt.blockNumber) {
    return { wrong: [`it is in block ${receipt.blockNumber} and was in ${block}`] };
  }
  const byMultisig = lines.some(({ method }) => method === "safe");
  const payments = await chain.paymentsOf(hash, { block: receipt.blockNumber, payer, byMultisig });
  if (typeof payments === "string") return { wrong: [payments] };
  return { wrong: differences(lines, payments) };
}

/** What each address got of each asset, where the two do not say the same. */
function differences(lines: PaidTransaction["lines"], payments: readonly PaymentOnChain[]): readonly string[] {
  interface Got {
    readonly to: string;
    readonly asset: string;
    readonly workers: string[];
    booked: bigint;
    paid: bigint;
  }
  const got = new Map<string, Got>();
  const at = ({ to, asset }: { readonly to: string; readonly asset: string }): Got => {
    const key = `${asset} ${to}`;
    const one = got.get(key) ?? { to, asset, workers: [], booked: 0n, paid: 0n };
    got.set(key, one);
    return one;
  };
  for (const line of lines) {
    const one = at(line);
    one.workers.push(line.worker);
    one.booked += BigInt(line.amount);
  }
  for (const payment of payments) at(payment).paid += payment.amount;
  return [...got.values()].flatMap(({ to, asset, workers, booked, paid }) => {
    if (booked === paid) return [];
    const what = asset === "eth" ? "wei" : `of token ${asset}`;
    const whose = workers.length === 0 ? "" : ` for ${workers.join(", ")}`;
    return [`${to} got ${paid} ${what}, and booked${whose} are ${booked}`];
  });
}
