export { formatEth } from "@openpool/base";

/** `1 segment`, `2 segments`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** Groups of three digits: `1 234 567`. */
export function grouped(number: bigint | number): string {
  return number.toString().replaceAll(/\B(?=(\d{3})+$)/g, " ");
}
