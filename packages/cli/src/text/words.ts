/** `1 segment`, `2 segments`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** `18n` of the smallest unit becomes ETH: as many decimals as it takes, none rounded away. */
export function formatEth(wei: bigint): string {
  const sign = wei < 0n ? "-" : "";
  const digits = (wei < 0n ? -wei : wei).toString().padStart(19, "0");
  const fraction = digits.slice(-18).replace(/0+$/, "");
  return `${sign}${digits.slice(0, -18)}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Groups of three digits: `1 234 567`. */
export function grouped(number: bigint | number): string {
  return number.toString().replaceAll(/\B(?=(\d{3})+$)/g, " ");
}
