import { feeWei, type Price, splitFee } from "@openpool/base";

/** What measured work is worth and how it is split. */
export interface CreditAmounts {
  readonly pixels: bigint;
  readonly price: Price;
  readonly commissionPpm: bigint;
  /** `⌊pixels × price⌋` */
  readonly feeWei: bigint;
  /** What the pool keeps, rounded down. */
  readonly commissionWei: bigint;
  /** What the worker gets: the rest, so that the two always add up. */
  readonly earnedWei: bigint;
}

/** The amounts of one credit, with what they follow from: anybody can check them later. */
export function creditFor({
  pixels,
  price,
  commissionPpm,
}: Pick<CreditAmounts, "pixels" | "price" | "commissionPpm">): CreditAmounts {
  const fee = feeWei(pixels, price);
  return { pixels, price, commissionPpm, feeWei: fee, ...splitFee(fee, commissionPpm) };
}
