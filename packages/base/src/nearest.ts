/** Edits (insert, delete, replace, swap of neighbours) that turn one text into the other. */
function distance(a: string, b: string): number {
  const rows: number[][] = Array.from({ length: a.length + 1 }, (_, i) => [i]);
  for (let j = 0; j <= b.length; j++) rows[0]![j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(rows[i - 1]![j]! + 1, rows[i]![j - 1]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      rows[i]![j] = best;
    }
  }
  return rows[a.length]![b.length]!;
}

/**
 * The candidate that someone who typed `text` most likely meant, or undefined if none is close. Case, `_` and `-` do not
 * count, and a candidate that begins or ends with all of the text is close.
 */
export function nearest(text: string, candidates: Iterable<string>): string | undefined {
  const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_\s]/g, "");
  const wanted = plain(text).slice(0, 64);
  let best: { readonly candidate: string; readonly edits: number } | undefined;
  for (const candidate of candidates) {
    const name = plain(candidate);
    const part = wanted.length >= 4 && (name.startsWith(wanted) || name.endsWith(wanted));
    const edits = part ? Math.min(2, Math.abs(name.length - wanted.length)) : distance(wanted, name);
    if (edits <= Math.max(1, Math.floor(Math.max(wanted.length, name.length) / 3)) && (!best || edits < best.edits)) {
      best = { candidate, edits };
    }
  }
  return best?.candidate;
}
