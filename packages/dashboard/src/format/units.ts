/** Reads a decimal number of a unit with so many digits, as `0.05` ETH with 18; undefined: it is none. */
export function parseUnits(typed: string, digits: number): bigint | undefined {
  const [, whole, fraction = ""] = /^(\d{1,12})(?:[.,](\d*))?$/.exec(typed.trim()) ?? [];
  if (whole === undefined || fraction.length > digits) return undefined;
  return BigInt(whole + fraction.padEnd(digits, "0"));
}

/** The same back, as short as it is exact: `0.05`. */
export function formatUnits(amount: bigint, digits: number): string {
  const text = amount.toString().padStart(digits + 1, "0");
  const fraction = text.slice(text.length - digits).replace(/0+$/, "");
  return fraction === "" ? text.slice(0, text.length - digits) : `${text.slice(0, text.length - digits)}.${fraction}`;
}
