/** A price as Livepeer states it: a ratio, in wei per `pixelsPerUnit` output pixels. */
export interface Price {
  readonly pricePerUnitWei: bigint;
  readonly pixelsPerUnit: bigint;
}

/** `⌊pixels × pricePerUnit / pixelsPerUnit⌋`, exact. */
export function feeWei(pixels: bigint, price: Price): bigint {
  return (pixels * price.pricePerUnitWei) / price.pixelsPerUnit;
}

const PPM = 1_000_000n;

/** Splits a fee once: the commission rounds down, so the dust goes to the worker, and the two always add up. */
export function splitFee(fee: bigint, commissionPpm: bigint): { commissionWei: bigint; earnedWei: bigint } {
  const commissionWei = (fee * commissionPpm) / PPM;
  return { commissionWei, earnedWei: fee - commissionWei };
}
