import { errorText } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { ClientBase } from "pg";
import { MAX_TOLD } from "./ledger-check.ts";

/** What arrived at an address: of `asset` (`eth` or a token's address), in its smallest unit. */
export interface PaymentOnChain {
  readonly to: string;
  readonly asset: string;
  readonly amount: bigint;
}

/** A transaction as the chain has it. */
export type TransactionOnChain =
  /** There is nothing that is final: why, and whether the nodes agree about that. */
  | { readonly none: string; readonly agreed: boolean }
  | { readonly block: number; readonly paid: readonly PaymentOnChain[] }
  /** It is there, and certainly no payment of this payer. */
  | { readonly block: number; readonly wrong: string }
  /** It is there, and nobody can say from the chain what it paid. */
  | { readonly block: number; readonly unreadable: string };

/** The chain that is paid on. */
export interface PaidChain {
  readonly chainId: number;
  /** What a transaction paid to whom on behalf of a payer, for these runs. Rejects where nodes do not answer, or do not agree. */
  transaction(
    hash: string,
    of: { readonly payer: WorkerAddress; readonly byMultisig: boolean; readonly runs: readonly string[] },
  ): Promise<TransactionOnChain>;
  /** The transactions of a block. Rejects where nodes do not have it, or do not agree. */
  hashesIn(block: number): Promise<readonly string[]>;
}

/** A transaction that payouts were final in, as the books have it. */
export interface PaidTransaction {
  readonly hash: string;
  readonly block: string | null;
  readonly payer: WorkerAddress;
  readonly runs: readonly string[];
  readonly lines: readonly {
    readonly worker: string;
    readonly to: string;
    readonly asset: string;
    readonly amount: string;
    readonly method: string;
  }[];
}

/** What is said of a transaction. */
export interface OfTransaction {
  readonly hash: string;
  readonly message: string;
}

export interface ChainComparison {
  readonly wrong: readonly OfTransaction[];
  /** Transactions that are as the books say. */
  readonly right: readonly string[];
  /** They are there, and what they paid cannot be read; `forGood`: by nobody, whichever nodes are asked. */
  readonly unread: readonly (OfTransaction & { readonly forGood: boolean })[];
  /** Of these the chain said nothing now. */
  readonly unanswered: readonly string[];
  /** Why the chain did not say something of all of them. */
  readonly chainProblem: string | undefined;
  /** The last ones were not asked about. */
  readonly isCutShort: boolean;
}

/** So many transactions are compared at once; what is left comes in the next look. */
const AT_ONCE = 100;
/** After so many without an answer, one after the other, nodes are left alone; single ones may be what they have thrown away. */
const MAX_REJECTED = 5;

const SELECT_PAID = `with final as not materialized (
    select l.*, r.payer from openpool.payout_lines l join openpool.payout_runs r on r.id = l.run
    where l.state = 'final' and l.tx_hash is not null and r.chain_id = $1
  )
  select tx_hash as hash, min(block) as block, min(payer) as payer, json_agg(distinct run) as runs,
    json_agg(json_build_object('worker', worker, 'to', pay_to, 'asset', asset, 'amount', send_amount::text,
      'method', method) order by place) as lines
  from final`;

/**
 * Transactions to be compared, the newest first: a hundred that were not found right yet, besides those that are set aside;
 * with `recent` the newest hundred of all too; and `also`.
 */
export async function paidTransactions(
  client: ClientBase,
  chainId: number,
  which: { readonly recent: boolean; readonly also: readonly string[]; readonly setAside: readonly string[] },
): Promise<readonly PaidTransaction[]> {
  const { rows } = await client.query<PaidTransaction>(
    `${SELECT_PAID} where tx_hash in (
       (select tx_hash from final where chain_checked_at is null and tx_hash <> all ($2)
         group by 1 order by max(finished_at) desc limit ${AT_ONCE})
       union (select tx_hash from final where $3 group by 1 order by max(finished_at) desc limit ${AT_ONCE})
       union select unnest($4::text[])
     )
     group by tx_hash order by max(finished_at) desc`,
    [chainId, which.setAside, which.recent, which.also],
  );
  return rows;
}

/** A page of all transactions there ever were, in the order of their hashes. */
export async function pageOfPaid(
  client: ClientBase,
  chainId: number,
  afterHash: string,
): Promise<readonly PaidTransaction[]> {
  const { rows } = await client.query<PaidTransaction>(
    `${SELECT_PAID} where tx_hash > $2 group by tx_hash order by tx_hash limit ${AT_ONCE}`,
    [chainId, afterHash],
  );
  return rows;
}

/** Which of these are in the books as transactions that payouts were final in. */
export async function stillBooked(client: ClientBase, hashes: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ hash: string }>(
    "select distinct tx_hash as hash from openpool.payout_lines where state = 'final' and tx_hash = any ($1)",
    [hashes],
  );
  return new Set(rows.map(({ hash }) => hash));
}

/**
 * What the books took for final is so for ever: on the chain, in that block, and it paid just what they say.
 *
 * @param isLate true: no more is asked now.
 */
export async function compareWithChain(
  paid: readonly PaidTransaction[],
  chain: PaidChain,
  { signal, isLate = () => false }: { readonly signal?: AbortSignal; readonly isLate?: () => boolean } = {},
): Promise<ChainComparison> {
  const wrong: OfTransaction[] = [];
  const right: string[] = [];
  const unread: ChainComparison["unread"][number][] = [];
  const unanswered: string[] = [];
  let chainProblem: string | undefined;
  let rejected = 0;
  let isCutShort = false;
  for (const one of paid) {
    signal?.throwIfAborted();
    if (isLate()) chainProblem ??= "the nodes are too slow for all that is to be compared at once";
    isCutShort = isLate() || rejected >= MAX_REJECTED || wrong.length >= MAX_TOLD;
    if (isCutShort) break;
    const { hash, lines } = one;
    try {
      const found = await lookUp(one, chain);
      rejected = 0;
      if ("unsure" in found) {
        unanswered.push(hash);
        chainProblem ??= `transaction ${hash}: ${found.unsure}`;
      } else if ("unread" in found) unread.push({ hash, message: found.unread, forGood: found.forGood });
      else if (found.wrong.length === 0) right.push(hash);
      else
        wrong.push({
          hash,
          message: `${lines.length} payments are booked as made in transaction ${hash}, and by the chain: ${found.wrong.join("; ")}`,
        });
    } catch (error) {
      rejected++;
      unanswered.push(hash);
      chainProblem ??= errorText(error);
    }
  }
  return { wrong, right, unread, unanswered, chainProblem, isCutShort };
}

/** Remembers what was found right: it is not compared again, but among the newest, or when everything is. */
export async function noteChecked(client: ClientBase, hashes: readonly string[], atMs: number): Promise<void> {
  if (hashes.length === 0) return;
  await client.query(
    "update openpool.payout_lines set chain_checked_at = $2 where tx_hash = any ($1) and state = 'final' and chain_checked_at is null",
    [hashes, new Date(atMs)],
  );
}

type Found =
  | { readonly wrong: readonly string[] }
  | { readonly unread: string; readonly forGood: boolean }
  /** Nodes cannot say yet. */
  | { readonly unsure: string };

/** What is wrong with a transaction by what its nodes agree about. */
async function lookUp({ hash, block, payer, runs, lines }: PaidTransaction, chain: PaidChain): Promise<Found> {
  const byMultisig = lines.some(({ method }) => method === "safe");
  const found = await chain.transaction(hash, { payer, byMultisig, runs });
  if ("none" in found) {
    if (!found.agreed || block === null) return { unsure: found.none };
    // Nodes that lag do not know it yet, and others forget receipts: what its block holds shows which it is.
    if (!(await chain.hashesIn(Number(block))).includes(hash)) {
      return { wrong: [`it is not in block ${block}, and was there`] };
    }
    return { unread: "it is in its block, and the nodes have no receipt of it", forGood: false };
  }
  if (block !== null && Number(block) !== found.block) {
    return { wrong: [`it is in block ${found.block} and was in ${block}`] };
  }
  if ("wrong" in found) return { wrong: [found.wrong] };
  if ("unreadable" in found) return { unread: found.unreadable, forGood: true };
  return { wrong: differences(lines, found.paid) };
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
