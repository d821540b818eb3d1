/**
 * Divides `totalWei` in proportion to weights, exactly: what is given out is what there was. Everybody gets
 * `⌊total × weight / Σ weights⌋`; the wei that are left, fewer than there are sharers, go one each to the largest remainders,
 * ties by name in plain character order. So neither the order of `weights` nor a restart changes anything.
 *
 * Sharers without weight get nothing and are left out. Without any weight nothing is given: the result is empty.
 *
 * @throws RangeError when the total or a weight is negative: there is no fair way to share a debt.
 */
export function shareOut<Name extends string>(
  totalWei: bigint,
  weights: ReadonlyMap<Name, bigint>,
): ReadonlyMap<Name, bigint> {
  if (totalWei < 0n) throw new RangeError("a negative amount cannot be shared out");
  let sum = 0n;
  for (const weight of weights.values()) {
    if (weight < 0n) throw new RangeError("a share cannot have a negative weight");
    sum += weight;
  }
  if (sum === 0n) return new Map();
  const sharers = [...weights]
    .filter(([, weight]) => weight > 0n)
    .map(([name, weight]) => ({
      name,
      wei: (totalWei * weight) / sum,
      remainder: (totalWei * weight) % sum,
    }));
  let left = totalWei - sharers.reduce((given, one) => given + one.wei, 0n);
  const byRemainder = [...sharers].sort((a, b) =>
    a.remainder === b.remainder ? compareText(a.name, b.name) : a.remainder > b.remainder ? -1 : 1,
  );
  for (const one of byRemainder) {
    if (left === 0n) break;
    one.wei += 1n;
    left -= 1n;
  }
  return new Map(sharers.sort((a, b) => compareText(a.name, b.name)).map(({ name, wei }) => [name, wei]));
}

/** Not `localeCompare`: its order depends on the machine. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const PPM = 1_000_000n;

/** `⌊wei × ppm / 1 000 000⌋` and the rest, by subtraction, so that the two always add up. */
export function cutPpm(wei: bigint, ppm: bigint): { readonly partWei: bigint; readonly restWei: bigint } {
  const partWei = (wei * ppm) / PPM;
  return { partWei, restWei: wei - partWei };
}
