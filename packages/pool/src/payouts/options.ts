import {
  BadValue,
  bigintValue,
  choiceValue,
  durationValue,
  hideUrlPassword,
  integerValue,
  option,
  type OptionProblem,
  type OptionValues,
  pathValue,
  percentValue,
  type ValueKind,
} from "@openpool/base";
import { isAddressProblem, parseAddress, type WorkerAddress } from "@openpool/protocol";
import { addressValue } from "../address-value.ts";
import type { Asset } from "./types.ts";

/** What the payouts of a pool are told. */
export interface PayoutOptions {
  readonly rpcUrls: readonly string[];
  readonly chainId: number;
  readonly quorum: number | undefined;
  readonly finality: "finalized" | number;
  readonly keystoreFile: string | undefined;
  readonly passwordFile: string | undefined;
  /** A key in plain text: only for chains of play money. */
  readonly keyFile: string | undefined;
  readonly method: "auto" | "batch" | "transfers" | "safe";
  /** Undefined: where `openpool payouts deploy` puts it. */
  readonly contract: WorkerAddress | undefined;
  readonly safe: WorkerAddress | undefined;
  /** What a worker is paid in that chose nothing. */
  readonly asset: Asset;
  /** What it may choose besides. */
  readonly choices: readonly Asset[];
  /** Where prices of tokens come from: one for every token in `asset` and `choices`. */
  readonly prices: ReadonlyMap<Asset, PriceSource>;
  readonly fiat: FiatSource | undefined;
  readonly dailyCapWei: bigint | undefined;
  readonly approvalAboveWei: bigint | undefined;
  readonly maxGasPriceWei: bigint | undefined;
  readonly maxGasSharePpm: bigint | undefined;
  readonly batchSize: number;
  readonly bumpAfterMs: number;
  readonly maxBump: number;
  readonly payToDelayMs: number;
}

/** Where the price of a token comes from. */
export type PriceSource =
  | { readonly kind: "fixed"; readonly unitsPerEth: bigint }
  | { readonly kind: "uniswap-v3"; readonly pool: WorkerAddress; readonly seconds: number }
  /** `feed`: the token in ETH; with `ethFeed`: the token and ETH in the same money. */
  | { readonly kind: "chainlink"; readonly feed: WorkerAddress; readonly ethFeed: WorkerAddress | undefined };

/** Where the price of ETH in money comes from. */
export type FiatSource =
  | { readonly kind: "fixed"; readonly currency: string; readonly perEth: string }
  | { readonly kind: "chainlink"; readonly currency: string; readonly feed: WorkerAddress };

const MAX_WEI = 2n ** 128n;

const rpcUrlsValue: ValueKind<readonly string[]> = {
  placeholder: "URL,…",
  allowed: "one or more `http://` or `https://` URLs, separated by commas",
  parse(text) {
    const urls = text.split(",").map((one) => one.trim());
    const bad = urls.some((one) => !URL.canParse(one) || !/^https?:$/.test(new URL(one).protocol));
    if (bad) return new BadValue("is no list of URLs that start with http:// or https://");
    return new Set(urls).size < urls.length ? new BadValue("names a URL twice: a node has one vote") : urls;
  },
  format: (urls) => urls.join(","),
};

export const finalityValue: ValueKind<"finalized" | number> = {
  placeholder: "finalized|BLOCKS",
  allowed: "`finalized`, or a number of blocks from 1 on",
  parse(text) {
    if (text === "finalized") return text;
    const blocks = /^\d{1,6}$/.test(text) ? Number(text) : 0;
    return blocks >= 1 ? blocks : new BadValue("is neither finalized nor a number of blocks from 1 on");
  },
  format: String,
};

const assetValue: ValueKind<Asset> = {
  placeholder: "eth|0xTOKEN",
  allowed: "`eth`, or the address of an ERC-20 token",
  parse: (text) => (text === "eth" ? text : addressValue.parse(text)),
  format: String,
};

/** The shortest mean that is believed: one block can be bought. */
const MIN_MEAN_SECONDS = 300;

const priceValue: ValueKind<PriceSource> = {
  placeholder: "SOURCE",
  allowed:
    "`fixed:UNITS` (smallest units of the token for one ETH), `uniswap-v3:0xPOOL:SECONDS` (300 or more), `chainlink:0xFEED` (the token in ETH), or `chainlink:0xTOKENFEED:0xETHFEED` (both in the same money)",
  parse(text) {
    const [, units] = /^fixed:(\d{1,60})$/.exec(text) ?? [];
    if (units !== undefined && BigInt(units) > 0n) return { kind: "fixed", unitsPerEth: BigInt(units) };
    const [, pool, seconds] = /^uniswap-v3:(0x[0-9a-fA-F]{40}):(\d{2,5})$/.exec(text) ?? [];
    if (pool !== undefined) {
      const address = parseAddress(pool);
      if (isAddressProblem(address)) return new BadValue("names a pool that is no address: check it for a typo");
      if (Number(seconds) < MIN_MEAN_SECONDS) {
        return new BadValue(
          `asks for the mean of ${seconds} s: prices of less than ${MIN_MEAN_SECONDS} s are easily bent`,
        );
      }
      return { kind: "uniswap-v3", pool: address, seconds: Number(seconds) };
    }
    const [, first, second] = /^chainlink:(0x[0-9a-fA-F]{40})(?::(0x[0-9a-fA-F]{40}))?$/.exec(text) ?? [];
    const feed = parseAddress(first ?? "");
    const ethFeed = second === undefined ? undefined : parseAddress(second);
    if (isAddressProblem(feed) || (ethFeed !== undefined && isAddressProblem(ethFeed))) {
      return new BadValue("is no price source");
    }
    return { kind: "chainlink", feed, ethFeed };
  },
  format: formatPriceSource,
};

/** As it is written in settings, and in the record of a plan. */
export function formatPriceSource(source: PriceSource): string {
  switch (source.kind) {
    case "fixed":
      return `fixed:${source.unitsPerEth}`;
    case "uniswap-v3":
      return `uniswap-v3:${source.pool}:${source.seconds}`;
    case "chainlink":
      return ["chainlink", source.feed, ...(source.ethFeed === undefined ? [] : [source.ethFeed])].join(":");
  }
}

/** Something that a worker may choose to be paid in. */
export interface OfferedAsset {
  readonly asset: Asset;
  /** Of a token. */
  readonly price: PriceSource | undefined;
}

const choicesOfAssetsValue: ValueKind<readonly OfferedAsset[]> = {
  placeholder: "ASSET,…",
  allowed: "`eth`, and tokens as `0xTOKEN=SOURCE`, separated by commas; sources as for `payout-price`",
  parse(text) {
    const choices: OfferedAsset[] = [];
    for (const one of text.split(",").map((part) => part.trim())) {
      const [name = "", source] = one.split("=", 2);
      const asset = assetValue.parse(name);
      if (asset instanceof BadValue)
        return new BadValue(`names ${JSON.stringify(name)}, which is neither eth nor an address`);
      if (choices.some((other) => other.asset === asset)) return new BadValue(`names ${asset} twice`);
      if (asset === "eth") {
        if (source !== undefined) return new BadValue("gives a price for eth, which is paid as it is owed");
        choices.push({ asset, price: undefined });
        continue;
      }
      const price = priceValue.parse(source ?? "");
      if (price instanceof BadValue) return new BadValue(`names ${asset} with a price source that ${price.problem}`);
      choices.push({ asset, price });
    }
    return choices;
  },
  format: (choices) =>
    choices.map(({ asset, price }) => (price === undefined ? asset : `${asset}=${formatPriceSource(price)}`)).join(","),
};

const fiatValue: ValueKind<FiatSource> = {
  placeholder: "SOURCE",
  allowed: "`chainlink:USD:0xFEED` or `fixed:EUR:2500.50`",
  parse(text) {
    const [, currency, perEth] = /^fixed:([A-Z]{3}):(\d{1,12}(?:\.\d{1,8})?)$/.exec(text) ?? [];
    if (currency !== undefined && perEth !== undefined) return { kind: "fixed", currency, perEth };
    const [, of, feed] = /^chainlink:([A-Z]{3}):(0x[0-9a-fA-F]{40})$/.exec(text) ?? [];
    const address = parseAddress(feed ?? "");
    if (of === undefined || isAddressProblem(address)) return new BadValue("is no price source");
    return { kind: "chainlink", currency: of, feed: address };
  },
  format: (source) =>
    source.kind === "fixed"
      ? `fixed:${source.currency}:${source.perEth}`
      : `chainlink:${source.currency}:${source.feed}`,
};

/** The settings of payouts. Who is paid when and from how much on stands in the terms. */
export const payoutOptionDefinitions = {
  rpcUrl: option({
    name: "rpc-url",
    kind: rpcUrlsValue,
    defaultNote: "no payouts: the books are kept, nobody is paid",
    help: "RPC nodes of the chain that payouts are made on; several have to agree",
    details:
      "One node alone is believed in everything, so it should be your own. A key in a URL is hidden in logs; as a flag other users of this machine can see it.",
    group: "Payouts",
    show: (text) => text.split(",").map(hideUrlSecrets).join(","),
  }),
  chainId: option({
    name: "chain-id",
    kind: integerValue("N", { min: 1 }),
    default: "42161",
    help: "the chain that payouts are made on; 42161 is Arbitrum One",
    group: "Payouts",
  }),
  rpcQuorum: option({
    name: "rpc-quorum",
    kind: integerValue("N", { min: 1, max: 100 }),
    defaultNote: "more than half of `rpc-url`",
    help: "how many RPC nodes must say the same before it counts: more than half of them",
    group: "Payouts",
  }),
  payoutFinality: option({
    name: "payout-finality",
    kind: finalityValue,
    default: "finalized",
    help: "when a payment counts as made for good: in a block that the chain calls final, or that has so many blocks, itself included",
    group: "Payouts",
  }),
  payoutKeystore: option({
    name: "payout-keystore",
    kind: pathValue("FILE"),
    defaultNote: "nothing is signed",
    help: "the encrypted keystore (V3) of the account that pays",
    details:
      "An account for payouts alone, that holds what the next few need. `openpool payouts new-key` makes one; give `payout-password-file` too.",
    group: "Payouts",
  }),
  payoutPasswordFile: option({
    name: "payout-password-file",
    kind: pathValue("FILE"),
    defaultNote: "no password",
    help: "a file with the password of the keystore",
    group: "Payouts",
  }),
  payoutKeyFile: option({
    name: "payout-key-file",
    kind: pathValue("FILE"),
    defaultNote: "no key",
    help: "a file with the paying account's key in plain text; for local chains (31337, 1337) only",
    group: "Payouts",
  }),
  payoutMethod: option({
    name: "payout-method",
    kind: choiceValue(["auto", "batch", "transfers", "safe"]),
    default: "auto",
    help: "how workers are paid: the cheaper way for each, all in batches, each by a transfer, or by a Safe multisig",
    group: "Payouts",
  }),
  payoutContract: option({
    name: "payout-contract",
    kind: addressValue,
    defaultNote: "where `openpool payouts deploy` puts it, the same address on every chain",
    help: "the batch contract",
    group: "Payouts",
  }),
  payoutSafe: option({
    name: "payout-safe",
    kind: addressValue,
    defaultNote: "no multisig",
    help: "the Safe that pays; `payout-method` is then `safe`",
    group: "Payouts",
  }),
  payoutAsset: option({
    name: "payout-asset",
    kind: assetValue,
    default: "eth",
    help: "what workers are paid in: `eth` or an ERC-20 token",
    group: "Payouts",
  }),
  payoutPrice: option({
    name: "payout-price",
    kind: priceValue,
    defaultNote: "no price: only ETH can be paid",
    help: "where the price of the token comes from: a fixed one, a pool of Uniswap V3, or Chainlink",
    details:
      "Read once for each plan and written down with it. A pool has to trade the token for WETH; what counts is the mean of SECONDS. A feed that is older than 26 hours, zero or negative is not believed, and nobody is paid in that token then.",
    group: "Payouts",
  }),
  payoutChoices: option({
    name: "payout-choices",
    kind: choicesOfAssetsValue,
    defaultNote: "everybody is paid in `payout-asset`",
    help: "what workers may choose to be paid in instead of `payout-asset`: `eth`, `0xTOKEN=SOURCE`",
    details:
      "A worker chooses with its signature (`openpool payto`). What is no longer offered is paid to nobody: who has chosen it waits until it chooses again.",
    group: "Payouts",
  }),
  payoutFiat: option({
    name: "payout-fiat",
    kind: fiatValue,
    defaultNote: "no price in money is recorded",
    help: "what ETH is worth in money, for statements: `chainlink:USD:0xFEED` or `fixed:EUR:2500`",
    details: "Recorded with each payout; no amount is computed from it.",
    group: "Payouts",
  }),
  payoutDailyCap: option({
    name: "payout-daily-cap",
    kind: bigintValue("WEI", { min: 1n, max: MAX_WEI }),
    defaultNote: "no cap",
    help: "plan at most so much in 24 hours, in wei",
    group: "Payouts",
  }),
  payoutApprovalAbove: option({
    name: "payout-approval-above",
    kind: bigintValue("WEI", { min: 0n, max: MAX_WEI }),
    defaultNote: "no approval is needed",
    help: "a payout of more than this, in wei, waits for `openpool payouts approve`",
    group: "Payouts",
  }),
  payoutMaxGasPrice: option({
    name: "payout-max-gas-price",
    kind: bigintValue("WEI", { min: 1n, max: MAX_WEI }),
    defaultNote: "no limit",
    help: "pay nobody while gas costs more, in wei",
    group: "Payouts",
  }),
  payoutMaxGasShare: option({
    name: "payout-max-gas-share",
    kind: percentValue,
    defaultNote: "no limit",
    help: "pay a worker only when gas takes at most this part of its amount",
    group: "Payouts",
  }),
  payoutBatchSize: option({
    name: "payout-batch-size",
    kind: integerValue("N", { min: 1, max: 300 }),
    default: "100",
    help: "payments in one transaction at most",
    group: "Payouts",
  }),
  payoutBumpAfter: option({
    name: "payout-bump-after",
    kind: durationValue({ minMs: 1_000 }),
    default: "3m",
    help: "offer a higher fee for a transaction that is in no block after this",
    group: "Payouts",
  }),
  payoutMaxBump: option({
    name: "payout-max-bump",
    kind: integerValue("N", { min: 1, max: 1_000 }),
    default: "10",
    help: "offer at most so many times a transaction's first fee",
    details: "Fees rise by an eighth at a time, and only while blocks are made.",
    group: "Payouts",
  }),
  paytoDelay: option({
    name: "payto-delay",
    kind: durationValue({ minMs: 0 }),
    default: "2d",
    help: "how long after a worker's signature a change of its payout address counts",
    details: "The time in which its owner can notice a change that it did not make.",
    group: "Payouts",
  }),
} as const;

/** A URL without the parts that are secrets more often than not. */
function hideUrlSecrets(text: string): string {
  const shown = hideUrlPassword(text.trim());
  if (!URL.canParse(shown)) return "***";
  const { protocol, host, pathname, search } = new URL(shown);
  return `${protocol}//${host}${pathname.length > 1 || search !== "" ? "/***" : ""}`;
}

/** What the payouts are told, from the settings; undefined where there are none. Adds what does not fit together. */
export function toPayoutOptions(
  values: OptionValues<typeof payoutOptionDefinitions>,
  problems: OptionProblem[],
): PayoutOptions | undefined {
  const wrong = (where: string, problem: string): void => void problems.push({ where, problem });
  if (values.rpcUrl === undefined) {
    if (values.payoutKeystore !== undefined || values.payoutKeyFile !== undefined) {
      wrong("--rpc-url", "is missing: there is a key for payouts, but no chain to pay on");
    }
    return undefined;
  }
  const method = values.payoutSafe === undefined ? values.payoutMethod : "safe";
  if (values.rpcQuorum !== undefined && values.rpcQuorum > values.rpcUrl.length) {
    wrong("--rpc-quorum", `is more than the ${values.rpcUrl.length} nodes of --rpc-url: they could never agree`);
  }
  if (values.rpcQuorum !== undefined && 2 * values.rpcQuorum <= values.rpcUrl.length) {
    wrong(
      "--rpc-quorum",
      `is not more than half of the ${values.rpcUrl.length} nodes of --rpc-url: those that lie could decide. Give a larger one, or leave it out`,
    );
  }
  if (values.payoutKeystore !== undefined && values.payoutPasswordFile === undefined) {
    wrong("--payout-password-file", "is missing: --payout-keystore cannot be opened without its password");
  }
  if (values.payoutKeystore !== undefined && values.payoutKeyFile !== undefined) {
    wrong("--payout-key-file", "and --payout-keystore name two accounts: give one");
  }
  if (values.payoutKeyFile !== undefined && values.chainId !== 31_337 && values.chainId !== 1_337) {
    wrong("--payout-key-file", "is for local chains only: put the key into a keystore (--payout-keystore)");
  }
  if (method === "safe" && values.payoutSafe === undefined) {
    wrong("--payout-safe", "is missing: --payout-method safe needs the multisig's address");
  }
  if (values.payoutAsset !== "eth" && values.payoutPrice === undefined) {
    wrong("--payout-price", "is missing: a token is paid at a price");
  }
  const choices = (values.payoutChoices ?? []).filter(({ asset }) => asset !== values.payoutAsset);
  const prices = new Map<Asset, PriceSource>(choices.flatMap(({ asset, price }) => (price ? [[asset, price]] : [])));
  if (values.payoutPrice) prices.set(values.payoutAsset, values.payoutPrice);
  return {
    rpcUrls: values.rpcUrl,
    chainId: values.chainId,
    quorum: values.rpcQuorum,
    finality: values.payoutFinality,
    keystoreFile: values.payoutKeystore,
    passwordFile: values.payoutPasswordFile,
    keyFile: values.payoutKeyFile,
    method,
    contract: values.payoutContract,
    safe: values.payoutSafe,
    asset: values.payoutAsset,
    choices: choices.map(({ asset }) => asset),
    prices,
    fiat: values.payoutFiat,
    dailyCapWei: values.payoutDailyCap,
    approvalAboveWei: values.payoutApprovalAbove,
    maxGasPriceWei: values.payoutMaxGasPrice,
    maxGasSharePpm: values.payoutMaxGasShare,
    batchSize: values.payoutBatchSize,
    bumpAfterMs: values.payoutBumpAfter,
    maxBump: values.payoutMaxBump,
    payToDelayMs: values.paytoDelay,
  };
}
