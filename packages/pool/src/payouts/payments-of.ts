import type { WorkerAddress } from "@openpool/protocol";
import type { Calls, Chain, MadeTransaction, Payment, Receipt } from "./ports.ts";
import { payoutsIn } from "./reconcile.ts";
import { unpaidPlaces } from "./settlement.ts";
import type { Asset, Hex } from "./types.ts";

export interface PaymentsDeps {
  readonly chain: Pick<Chain, "finalReceipt" | "transactionsIn" | "hasBatchContract">;
  readonly calls: Pick<Calls, "read">;
}

/** One payment that a transaction made. */
export type PaymentMade = Payment & { readonly asset: Asset };

/**
 * What a final transaction paid to whom on behalf of an account, by its own call and what the batch contract said of it; a
 * text: what it did instead. Rejects where nodes do not answer, or do not agree.
 */
export async function paymentsOf(
  hash: Hex,
  { block, payer, byMultisig }: { readonly block: number; readonly payer: WorkerAddress; readonly byMultisig: boolean },
  { chain, calls }: PaymentsDeps,
): Promise<readonly PaymentMade[] | string> {
  const receipt = await chain.finalReceipt(hash);
  if ("none" in receipt) throw new Error(receipt.none);
  // Whoever has its owners' signatures hands a multisig's transaction in.
  const made = (await chain.transactionsIn(block, byMultisig ? undefined : payer)).find((one) => one.hash === hash);
  if (!made) return `it is no transaction of ${payer}`;
  if (byMultisig) return batchesIn(made, receipt, payer, { chain, calls });
  const paidOut = await payoutsIn(made, receipt, payer, { chain, calls });
  if (typeof paidOut === "string") return `it ${paidOut}`;
  return paidOut.payments.map(({ to, amount }) => ({ to, amount, asset: paidOut.asset }));
}

/** Batches of a multisig: the call that its owners signed holds the calls of the batch contract, word for word. */
async function batchesIn(
  { data }: MadeTransaction,
  receipt: Receipt,
  payer: WorkerAddress,
  { chain, calls }: PaymentsDeps,
): Promise<readonly PaymentMade[] | string> {
  const made: PaymentMade[] = [];
  for (const { contract, batch, payer: by, says } of receipt.batches) {
    if (says !== "done" || by !== payer || !(await chain.hasBatchContract(contract))) continue;
    const unpaid = unpaidPlaces(receipt, { contract, payer, batch });
    const call = callWith(batch, data, calls);
    if (!unpaid || !call) return `nobody can read what its batch ${batch} paid`;
    const asset: Asset = call.kind === "pay-eth" ? "eth" : call.token;
    made.push(...call.payments.filter((_payment, place) => !unpaid.has(place)).map((one) => ({ ...one, asset })));
  }
  return made;
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
