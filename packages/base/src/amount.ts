/** A whole number of the smallest unit, as a decimal number: as many digits as it takes, none rounded away. */
export function formatUnits(amount: bigint, decimals: number): string {
  const sign = amount < 0n ? "-" : "";
  const digits = (amount < 0n ? -amount : amount).toString().padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "");
  return `${sign}${whole}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Wei as ETH, exactly, without the unit. */
export function formatEth(wei: bigint): string {
  return formatUnits(wei, 18);
}

/** Wei as gwei, as gas is priced: exactly, without the unit. */
export function formatGwei(wei: bigint): string {
  return formatUnits(wei, 9);
}
