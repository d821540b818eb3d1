/** Between groups of digits: a space that does not break, so that a number never wraps. */
export const GROUP_SPACE = "\u00a0";

/** Digits of an ETH behind the point, down to the wei. */
export const WEI_DIGITS = 18;
/** Of an ETH down to the gwei, and of a percent down to the part per million: {@link parseUnits}. */
export const GWEI_DIGITS = 9;
export const PERCENT_DIGITS = 4;

/** Reads a decimal string of wei as the API writes it; undefined when it is none. */
export function parseWei(text: string): bigint | undefined {
  return /^-?\d{1,78}$/.test(text) ? BigInt(text) : undefined;
}

/**
 * Reads a number of a unit with so many digits as people type it: `0.05` ETH with 18. Undefined: it is none, or finer than
 * the unit. A comma is none either: what some write for a point others write between thousands, and this is money.
 */
export function parseUnits(typed: string, digits: number): bigint | undefined {
  const [, whole, fraction = ""] = /^(\d{1,30})(?:\.(\d{1,30}))?$/.exec(typed.trim()) ?? [];
  if (whole === undefined || fraction.length > digits) return undefined;
  return BigInt(whole + fraction.padEnd(digits, "0"));
}

/** Digits in groups of three from the right: `1 234 567`. */
export function groupInteger(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, GROUP_SPACE);
}

/** Digits in groups of three from the left, as behind a point: `018 442`. */
function groupFraction(digits: string): string {
  return digits.replace(/(\d{3})(?=\d)/g, `$1${GROUP_SPACE}`);
}

/**
 * How many digits behind the point show amounts side by side: three for hundreds of ETH, otherwise six, and more groups of
 * three where the largest of them would otherwise show fewer than four digits that are not leading zeros.
 */
export function ethDigits(amounts: readonly bigint[]): number {
  const largest = amounts.reduce((most, one) => {
    const size = one < 0n ? -one : one;
    return size > most ? size : most;
  }, 0n);
  if (largest === 0n) return 6;
  const length = largest.toString().length;
  if (length > WEI_DIGITS + 2) return 3;
  if (length > WEI_DIGITS - 3) return 6;
  const wanted = WEI_DIGITS - length + 4;
  return Math.min(WEI_DIGITS, Math.ceil(wanted / 3) * 3);
}

/** Digits behind the point for a headline: whole groups, at least three digits that are not leading zeros. */
export function briefDigits(amount: bigint): number {
  const size = amount < 0n ? -amount : amount;
  const missing = WEI_DIGITS - size.toString().length + 3;
  return size === 0n ? 3 : Math.min(WEI_DIGITS, Math.max(3, Math.ceil(missing / 3) * 3));
}

/**
 * An amount in ETH, in groups of three: `0.018 442`. Cut, never rounded up: nobody is shown more than there is. Without
 * `digits` it takes what the amount itself needs, and drops groups of zeros at the end (`0.01`).
 */
export function formatEth(wei: bigint, digits?: number): string {
  const shown = digits ?? ethDigits([wei]);
  const sign = wei < 0n ? "−" : "";
  const text = (wei < 0n ? -wei : wei).toString().padStart(WEI_DIGITS + 1, "0");
  const whole = groupInteger(text.slice(0, -WEI_DIGITS));
  let fraction = text.slice(-WEI_DIGITS).slice(0, shown);
  if (digits === undefined) fraction = fraction.replace(/0+$/, "");
  const zero = /^0*$/.test(text.slice(0, -WEI_DIGITS) + fraction);
  if (zero) return "0";
  return `${sign}${whole}${fraction === "" ? "" : `.${groupFraction(fraction)}`}`;
}

/** A small amount in gwei (10⁹ wei), with three digits behind the point: `3.386`. Cut, never rounded up. */
export function formatGwei(wei: bigint): string {
  const sign = wei < 0n ? "−" : "";
  const text = (wei < 0n ? -wei : wei).toString().padStart(10, "0");
  return `${sign}${groupInteger(text.slice(0, -9))}.${text.slice(-9, -6)}`;
}

/** The exact amount: `18 442 120 000 000 000 wei`. */
export function formatWei(wei: bigint): string {
  const size = (wei < 0n ? -wei : wei).toString();
  return `${wei < 0n ? "−" : ""}${groupInteger(size)} wei`;
}

/** `part` of `whole` in percent with two digits, cut; 0 when there is no whole. Exact however large both are. */
export function percentOf(part: bigint, whole: bigint): number {
  return whole <= 0n ? 0 : Number((part * 10_000n) / whole) / 100;
}
