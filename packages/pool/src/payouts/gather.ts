import { formatEth } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import {
  type AssetNow,
  gasCosts,
  inAsset,
  type MeasuredTransfers,
  type PlanInput,
  type PlanRules,
  whyNotDue,
  wishOf,
} from "./planner.ts";
import type { Calls, Chain, Payee, PayoutStore } from "./ports.ts";
import type { Asset, AssetPrice, FloatNow, PayoutLine } from "./types.ts";

/** What a token is worth now, or was worth in a block; or why nobody can tell. */
export type PriceOf = (token: WorkerAddress, atBlock?: number) => Promise<AssetPrice | { readonly problem: string }>;

export interface GatherDeps {
  readonly store: PayoutStore;
  readonly chain: Chain;
  readonly calls: Calls;
  readonly price?: PriceOf | undefined;
}

/** What books and chain say of those who are owed something: what a plan is made from. */
export type Gathered = Pick<PlanInput, "payable" | "records" | "assets" | "gas" | "gasBalanceWei">;

/**
 * Reads what a plan is made from. An asset that nobody can be paid in now keeps the others from nothing. `lookUp`: whom the
 * chain is asked about, each with questions of its own: all whose time has come, or nobody where just the account is weighed.
 */
export async function gather(
  rules: PlanRules,
  payer: WorkerAddress,
  deps: GatherDeps,
  lookUp: "due" | "nobody" = "due",
): Promise<Gathered> {
  const { store, chain } = deps;
  const payable = await store.payable();
  const records = new Map((await store.payees()).map((one) => [one.worker, one]));
  const gas = await chain.gasPrices();
  const probe = await chain.estimateGas({ from: payer, to: payer, valueWei: 0n, data: "0x" });
  const transferGas = "gas" in probe ? probe.gas : 0n;
  const gasBalanceWei = await chain.balance(payer);
  const addresses = new Map<Asset, Set<WorkerAddress>>([
    // Gas is paid in it, whatever else is.
    ["eth", new Set()],
    [rules.asset, new Set()],
  ]);
  for (const one of payable) {
    const { payTo, asset } = wishOf(one.worker, records, rules);
    if (asset !== rules.asset && !rules.choices.includes(asset)) continue;
    const of = addresses.get(asset) ?? new Set();
    const isDue = lookUp === "due" && whyNotDue(one, records.get(one.worker), rules) === undefined;
    addresses.set(asset, isDue ? of.add(payTo) : of);
  }
  const assets = new Map<Asset, AssetNow | { readonly problem: string }>();
  for (const [asset, payees] of addresses) {
    const now = asset === "eth" ? { price: undefined, balance: gasBalanceWei } : await tokenNow(asset, payer, deps);
    if ("problem" in now) {
      assets.set(asset, now);
      continue;
    }
    const found = await chain.payees([...payees], asset);
    const measured = asset === "eth" ? {} : await measureTransfers(asset, payer, found, deps);
    assets.set(asset, { ...now, costs: gasCosts(asset, transferGas, measured), payees: found });
  }
  return { payable, records, assets, gas, gasBalanceWei };
}

async function tokenNow(
  token: WorkerAddress,
  payer: WorkerAddress,
  { chain, price }: GatherDeps,
): Promise<Pick<AssetNow, "price" | "balance"> | { readonly problem: string }> {
  const balance = await chain.tokenBalance(token, payer);
  if (balance === undefined) return { problem: `there is no token at ${token} on chain ${chain.chainId}` };
  if (!price) return { problem: "a token is paid at a price: name its source with --payout-price" };
  const found = await price(token);
  return "problem" in found ? found : { balance, price: found };
}

/** What a transfer of a token needs, to somebody who has some of it and to somebody who has none, of those who are to be paid. */
async function measureTransfers(
  token: WorkerAddress,
  payer: WorkerAddress,
  payees: ReadonlyMap<WorkerAddress, Payee>,
  { chain, calls }: GatherDeps,
): Promise<MeasuredTransfers> {
  const measure = async (exists: boolean): Promise<bigint | undefined> => {
    const [to] = [...payees].find(([, payee]) => payee.exists === exists) ?? [];
    if (to === undefined) return undefined;
    const estimate = await chain.estimateGas({
      from: payer,
      to: token,
      valueWei: 0n,
      data: calls.tokenTransfer(to, 1n),
    });
    return "gas" in estimate ? estimate.gas : undefined;
  };
  return { existing: await measure(true), toNew: await measure(false) };
}

/** A key that can move money should not hold more than this many payouts need. */
const FLOAT_FACTOR = 10n;

/**
 * Whether the paying account holds enough of everything, and not too much of what it pays most. `planned`: what of open runs is
 * still to leave it; `usualWei`: the largest payout of late.
 */
export function floatsOf(
  { payable, records, assets, gas }: Gathered,
  planned: readonly PayoutLine[],
  rules: Pick<PlanRules, "asset" | "choices">,
  usualWei: bigint,
  payer: WorkerAddress,
): readonly FloatNow[] {
  const known = [...assets].flatMap(([asset, now]) => ("problem" in now ? [] : [{ asset, now }]));
  const owedIn = (asset: Asset) => payable.filter((one) => wishOf(one.worker, records, rules).asset === asset);
  const plannedIn = (asset: Asset) => planned.filter((line) => line.asset === asset);
  const gasOf = (asset: Asset, costs: AssetNow["costs"]): bigint =>
    BigInt(owedIn(asset).length + plannedIn(asset).length) * costs.transferNew * gas.maxFeeWei;
  const gasWei = known.reduce((sum, { asset, now }) => sum + gasOf(asset, now.costs), 0n);
  return known.map(({ asset, now }) => {
    const owedWei = owedIn(asset).reduce((sum, one) => sum + one.owedWei, 0n);
    const plannedUnits = plannedIn(asset).reduce((sum, line) => sum + line.sendAmount, 0n);
    const due = inAsset(owedWei, now.price) + plannedUnits + (asset === "eth" ? gasWei : 0n);
    const needed = [due, inAsset(usualWei, now.price)].reduce((most, one) => (one > most ? one : most));
    const isHigh = asset === rules.asset && needed > 0n && now.balance > needed * FLOAT_FACTOR;
    const float = { asset, balance: now.balance, due };
    const state = now.balance < due ? "low" : isHigh ? "high" : "fine";
    return { ...float, state, text: floatText({ ...float, state }, payer) };
  });
}

function floatText({ asset, balance, due, state }: Omit<FloatNow, "text">, payer: WorkerAddress): string | undefined {
  const amount = (units: bigint): string =>
    asset === "eth" ? `${formatEth(units)} ETH` : `${units} of the smallest unit of ${asset}`;
  switch (state) {
    case "low":
      return `${payer} holds ${amount(balance)}, and all that is owed in it comes to ${amount(due)} with gas: fund it before the next payout`;
    case "high":
      return `${payer} holds ${amount(balance)}, more than ${FLOAT_FACTOR} payouts need: keep the rest where no program has the key`;
    case "fine":
      return undefined;
  }
}
