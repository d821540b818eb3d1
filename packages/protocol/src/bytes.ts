/** Minimal big-endian bytes of a non-negative integer; 0 is no bytes at all (Go's `big.Int.Bytes`). */
export function minBytes(value: bigint): Uint8Array {
  if (value < 0n) throw new RangeError("minBytes takes non-negative integers");
  if (value === 0n) return new Uint8Array();
  const hex = value.toString(16);
  return hexToBytes(hex.length % 2 ? `0${hex}` : hex);
}

export function bytesToHex(bytes: Uint8Array): string {
  let hex = "";
  for (const byte of bytes) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

/** Bytes of an even-length hex text without `0x`. */
export function hexToBytes(hex: string): Uint8Array {
  if (hex.length % 2 || !/^[0-9a-fA-F]*$/.test(hex)) throw new RangeError("not a hex text of whole bytes");
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
