import type { PoolAnswer, WindowName } from "@openpool/protocol";

/** What gateways commonly ask for: the renditions of one stream. */
export const LADDERS = {
  small: [
    [426, 240],
    [640, 360],
  ],
  usual: [
    [426, 240],
    [640, 360],
    [1280, 720],
  ],
  large: [
    [640, 360],
    [1280, 720],
    [1920, 1080],
  ],
} as const satisfies Record<string, readonly (readonly [number, number])[]>;
export type Ladder = keyof typeof LADDERS;

export interface Workload {
  readonly ladder: Ladder;
  /** Frames a second of each rendition. */
  readonly fps: number;
  /** Streams at once. */
  readonly streams: number;
  /** Hours of a day with that many streams. */
  readonly hours: number;
}

/** Output pixels of a workload in one day. Parts of an hour count by the second. */
export function pixelsPerDay({ ladder, fps, streams, hours }: Workload): bigint {
  const perFrame = LADDERS[ladder].reduce((sum, [width, height]) => sum + width * height, 0);
  return BigInt(perFrame) * BigInt(fps) * BigInt(streams) * BigInt(Math.round(hours * 3600));
}

export interface WorkPrice {
  readonly pricePerUnitWei: bigint;
  readonly pixelsPerUnit: bigint;
  /** The time of whose work it is the mean; undefined: it is the price in the pool's settings. */
  readonly window: Exclude<WindowName, "1h"> | undefined;
}

/**
 * The price that work is reckoned at. Where orchestrators that the pool works for may say another one, it is what was
 * really charged for the work of the last day, or of longer where there was none; the pool's own before the first work.
 */
export function workPrice({ price, terms, windows }: Pick<PoolAnswer, "price" | "terms" | "windows">): WorkPrice {
  const window =
    terms.priceSource === "upstream"
      ? (["24h", "7d", "30d"] as const).find((one) => BigInt(windows[one].pixels) > 0n)
      : undefined;
  const { pricePerUnitWei, pixelsPerUnit } =
    window === undefined ? price : { pricePerUnitWei: windows[window].feeWei, pixelsPerUnit: windows[window].pixels };
  return { pricePerUnitWei: BigInt(pricePerUnitWei), pixelsPerUnit: BigInt(pixelsPerUnit), window };
}

/** What a day of such work would earn at a price and a commission, in wei: the pool's own formula. */
export function earnedPerDayWei(
  workload: Workload,
  price: Pick<WorkPrice, "pricePerUnitWei" | "pixelsPerUnit">,
  commissionPpm: number,
): bigint {
  const feeWei = (pixelsPerDay(workload) * price.pricePerUnitWei) / price.pixelsPerUnit;
  return feeWei - (feeWei * BigInt(commissionPpm)) / 1_000_000n;
}
