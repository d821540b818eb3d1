/**
 * What a stranger wrote, as it may stand in logs, events and on pages: one line, no control characters, nothing that is
 * no Unicode, and not longer than `maxLength`.
 */
export function plainText(text: string, maxLength = 1_000): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
  // Cc: controls, Cf: invisible ones that turn text around, Cs: halves of characters, U+2028 and U+2029: lines.
  return cut.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]+/gu, " ").trim();
}
