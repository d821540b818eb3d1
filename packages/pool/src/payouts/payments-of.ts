import type { WorkerAddress } from "@openpool/protocol";
import type { Calls, Chain, MadeTransaction, Payment, Receipt } from "./ports.ts";
import { payoutsIn, runOf } from "./reconcile.ts";
import { batchIdOf, unpaidPlaces } from "./settlement.ts";
import type { Asset, Hex } from "./types.ts";

export interface PaymentsDeps {
  readonly chain: Pick<Chain, "finalReceipt" | "transactionsIn" | "hasBatchContract">;
  readonly calls: Pick<Calls, "read">;
}

/** One payment that a transaction made. */
export type PaymentMade = Payment & { readonly asset: Asset };

/** Whose transaction it is, and what for. */
export interface PaymentsFor {
  readonly payer: WorkerAddress;
  readonly byMultisig: boolean;
  /** The runs that it paid something of, as the books say. */
  readonly runs: readonly string[];
}

/** What a final transaction did, by its own call and by what the batch contract or the token said of it. */
type Did =
  | { readonly paid: readonly PaymentMade[] }
  /** It is certainly no payment of this payer: what it did instead. */
  | { readonly wrong: string }
  /** Nobody can say from the chain what it paid, and why. */
  | { readonly unreadable: string };

/** What is found of a transaction; `none`: nothing that is final, and why. */
export type TransactionFound = ({ readonly block: number } & Did) | { readonly none: string; readonly agreed: boolean };

/** Reads what transactions paid to whom on behalf of an account. Rejects where nodes do not answer, or do not agree. */
export function paymentsReader({
  chain,
  calls,
}: PaymentsDeps): (hash: Hex, of: PaymentsFor) => Promise<TransactionFound> {
  const batchContracts = new Set<WorkerAddress>();
  const deps: PaymentsDeps = {
    calls,
    chain: {
      finalReceipt: (hash) => chain.finalReceipt(hash),
      transactionsIn: (...which) => chain.transactionsIn(...which),
      // Where its code is, it stays for good.
      async hasBatchContract(address) {
        if (batchContracts.has(address)) return true;
        const isThere = await chain.hasBatchContract(address);
        if (isThere) batchContracts.add(address);
        return isThere;
      },
    },
  };
  return async (hash, of) => {
    const receipt = await chain.finalReceipt(hash);
    return "none" in receipt ? receipt : { block: receipt.blockNumber, ...(await whatDid(receipt, of, deps)) };
  };
}

async function whatDid(receipt: Receipt, of: PaymentsFor, deps: PaymentsDeps): Promise<Did> {
  const { payer, byMultisig } = of;
  if (!receipt.succeeded) return { wrong: "it did nothing" };
  // Whoever has its owners' signatures hands a multisig's transaction in.
  const inBlock = await deps.chain.transactionsIn(receipt.blockNumber, byMultisig ? undefined : payer);
  const made = inBlock.find((one) => one.hash === receipt.hash);
  if (!made) return { wrong: `it is no transaction of ${payer}` };
  if (byMultisig) return batchesIn(made, receipt, of, deps);
  const paidOut = await payoutsIn(made, receipt, payer, deps);
  if (typeof paidOut === "string") return { unreadable: `it ${paidOut}` };
  const { asset, method } = paidOut;
  for (const { to, amount } of paidOut.payments) {
    if (asset === "eth" || method !== "transfer") continue;
    const moved = receipt.transfers
      .filter((one) => one.token === asset && one.from === payer && one.to === to)
      .reduce((sum, one) => sum + one.amount, 0n);
    // Payouts halted then, and a person has settled what is missing.
    if (moved !== amount) return { unreadable: `of ${amount} of token ${asset} to ${to} the token delivered ${moved}` };
  }
  return { paid: paidOut.payments.map(({ to, amount }) => ({ to, amount, asset })) };
}

/**
 * Batches of a multisig: the call that its owners signed holds the calls of the batch contract, word for word. It may hold
 * batches of others, which are none of these runs'.
 */
async function batchesIn(
  { data }: MadeTransaction,
  receipt: Receipt,
  { payer, runs }: PaymentsFor,
  { chain, calls }: PaymentsDeps,
): Promise<Did> {
  const paid: PaymentMade[] = [];
  for (const { contract, batch, payer: by, says } of receipt.batches) {
    const run = runOf(batch);
    if (says !== "done" || by !== payer || !runs.includes(run)) continue;
    if (!(await chain.hasBatchContract(contract))) {
      return { unreadable: `its batch ${batch} was done by ${contract}, which is not the batch contract` };
    }
    const unpaid = unpaidPlaces(receipt, { contract, payer, batch });
    const call = callWith(batch, data, calls);
    if (!unpaid || !call) return { unreadable: `nobody can read what its batch ${batch} paid` };
    const asset: Asset = call.kind === "pay-eth" ? "eth" : call.token;
    if (batchIdOf(run, asset) !== batch) continue;
    paid.push(...call.payments.filter((_payment, place) => !unpaid.has(place)).map((one) => ({ ...one, asset })));
  }
  return { paid };
}

/** The call of the batch contract with this batch's id, somewhere in a larger one: a selector stands before the id. */
function callWith(batch: Hex, data: Hex, calls: PaymentsDeps["calls"]) {
  const id = batch.slice(2).toLowerCase();
  const text = data.toLowerCase();
  for (let at = text.indexOf(id); at >= 0; at = text.indexOf(id, at + 1)) {
    if (at < 10) continue;
    const call = calls.read(`0x${text.slice(at - 8)}`);
    if (call?.kind === "pay-eth" || call?.kind === "pay-token") return call;
  }
  return undefined;
}
