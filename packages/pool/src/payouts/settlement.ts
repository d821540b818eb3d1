import type { WorkerAddress } from "@openpool/protocol";
import type { Receipt, Settlement } from "./ports.ts";
import type { Asset, Halt, Hex, PayoutIntent, PayoutLine } from "./types.ts";

/** Lines of one asset are paid together. */
export function groupByAsset(lines: readonly PayoutLine[]): ReadonlyMap<Asset, readonly PayoutLine[]> {
  const groups = new Map<Asset, PayoutLine[]>();
  for (const line of lines) groups.set(line.asset, [...(groups.get(line.asset) ?? []), line]);
  return groups;
}

/**
 * The id by which the batch contract knows a batch: it pays each once for each payer. With an asset: a multisig pays the
 * batches of a run's assets in one transaction, and each has its own.
 */
export function batchIdOf(id: string, asset: Asset = "eth"): Hex {
  const ours = id.replaceAll("-", "").padStart(32, "0");
  return `0x${(asset === "eth" ? "" : asset.slice(2, 34).toLowerCase()).padStart(32, "0")}${ours}`;
}

/** The places of a batch that were not paid; undefined: this transaction did not do that batch. */
export function unpaidPlaces(
  { succeeded, batches }: Receipt,
  which: { readonly contract: WorkerAddress; readonly payer: WorkerAddress; readonly batch: Hex },
): ReadonlySet<number> | undefined {
  const own = batches.filter(
    (one) => one.contract === which.contract && one.payer === which.payer && one.batch === which.batch,
  );
  const done = own.find((one) => one.says === "done");
  const unpaid = new Set(own.flatMap((one) => (one.says === "unpaid" ? [one.place] : [])));
  return succeeded && done?.unpaid === unpaid.size ? unpaid : undefined;
}

/** What became of the lines of a batch that was done, in its order. Who was not paid is held, where that can be its own fault. */
export function settleBatch(
  lines: readonly string[],
  asset: Asset,
  unpaid: ReadonlySet<number>,
  { hash, atMs, intent }: { readonly hash: Hex; readonly atMs: number; readonly intent: string | undefined },
): Pick<Settlement, "paid" | "returned" | "halt"> {
  // Many payees cannot all be at fault: it is the token, and nobody is held for it.
  const isTokensFault = asset !== "eth" && lines.length > 1 && unpaid.size === lines.length;
  const reason =
    asset === "eth"
      ? "its address did not take the payment: it refused, or needs more gas than a batch gives"
      : "the token did not move exactly what it should: it refused, or takes a fee";
  return {
    paid: lines.filter((_line, place) => !unpaid.has(place)),
    returned: lines.filter((_line, place) => unpaid.has(place)).map((line) => ({ line, reason, hold: !isTokensFault })),
    ...(isTokensFault
      ? {
          halt: {
            code: "payout/token-refused",
            message: `Token ${asset} paid none of ${lines.length} workers (transaction ${hash}): it is paused, takes a fee, or is no ERC-20. Their money is owed again. Look at the token, or pay in something else, then \`openpool payouts resume\`.`,
            atMs,
            intent,
            nonce: undefined,
          },
        }
      : {}),
  };
}

/** What a final receipt means for an intent and its lines. */
export function settlementOf(
  intent: PayoutIntent,
  lines: readonly PayoutLine[],
  receipt: Receipt,
  atMs: number,
): Settlement {
  const of = new Map(lines.map((line) => [line.id, line]));
  const base = {
    intent: intent.id,
    minedHash: receipt.hash,
    minedBlock: receipt.blockNumber,
    gasWei: receipt.gasUsed * receipt.gasPriceWei,
    atMs,
  };
  const halt = (code: string, message: string): Halt => ({ code, message, atMs, intent: intent.id, nonce: undefined });
  if (!receipt.succeeded) {
    const hold = intent.kind === "transfer";
    const reason = hold ? "its address refused the payment" : "the whole batch was refused";
    return {
      ...base,
      state: "reverted",
      paid: [],
      returned: intent.lines.map((line) => ({ line, reason, hold })),
      ...(hold
        ? {}
        : {
            halt: halt(
              "payout/batch-reverted",
              `Transaction ${receipt.hash} was mined and did nothing: its money is owed again. Look why (gas limit, contract, allowance), then \`openpool payouts resume\`.`,
            ),
          }),
    };
  }
  const final = { ...base, state: "final" as const };
  if (intent.kind === "batch") {
    const which = { contract: intent.to, payer: intent.payer, batch: batchIdOf(intent.id) };
    const unpaid = unpaidPlaces(receipt, which);
    if (!unpaid) {
      // It kept or spent the money in a way that we do not know: nothing may be paid again.
      return {
        ...final,
        paid: [...intent.lines],
        returned: [],
        halt: halt(
          "payout/contract-silent",
          `Transaction ${receipt.hash} succeeded, but ${intent.to} did not say that it paid the batch: it is not our contract. Its lines count as paid until you know better: look at the transaction, enter corrections, then \`openpool payouts resume\`.`,
        ),
      };
    }
    const asset = of.get(intent.lines[0] ?? "")?.asset ?? "eth";
    return { ...final, ...settleBatch(intent.lines, asset, unpaid, { hash: receipt.hash, atMs, intent: intent.id }) };
  }
  const [only] = intent.lines;
  const line = only === undefined ? undefined : of.get(only);
  if (intent.kind === "transfer" && line !== undefined && line.asset !== "eth") {
    const moved = receipt.transfers
      .filter((one) => one.token === line.asset && one.from === intent.payer && one.to === line.payTo)
      .reduce((sum, one) => sum + one.amount, 0n);
    // A token has to say what it moves. Where it says something else nobody knows: then nothing may be paid again.
    if (moved === 0n && !receipt.loggedBy?.includes(line.asset)) {
      return {
        ...final,
        paid: [],
        returned: [
          {
            line: line.id,
            reason: "the token told of no movement: look at the balance of its address before you retry",
            hold: true,
          },
        ],
      };
    }
    if (moved < line.sendAmount) {
      return {
        ...final,
        paid: [line.id],
        returned: [],
        halt: halt(
          "payout/token-short",
          `Token ${line.asset} delivered ${moved} of ${line.sendAmount} to ${line.payTo}, as far as its events say (transaction ${receipt.hash}): it takes a fee, or does not say what it moves. Its line counts as paid. Look what arrived and enter the rest as a correction; pay in another asset or in batches, which notice it before; then \`openpool payouts resume\`.`,
        ),
      };
    }
  }
  return { ...final, paid: [...intent.lines], returned: [] };
}
