const MORE = "…";

/** At most so many UTF-16 units of a text, no letter cut in two; `…` says that there was more. */
export function cutToUnits(text: string, most: number): string {
  if (text.length <= most) return text;
  // Half of a pair is no letter: services refuse it, or show a sign of replacement.
  return `${text.slice(0, most - MORE.length).replace(/[\uD800-\uDBFF]$/, "")}${MORE}`;
}

/** At most so many bytes of UTF-8, otherwise as {@link cutToUnits}. */
export function cutToBytes(text: string, most: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= most) return text;
  const kept = bytes.subarray(0, most - Buffer.byteLength(MORE));
  return `${new TextDecoder().decode(kept, { stream: true })}${MORE}`;
}
