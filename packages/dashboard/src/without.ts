/** A copy that lacks one property. */
export function without<Whole extends object, Name extends keyof Whole>(whole: Whole, name: Name): Omit<Whole, Name> {
  const copy = { ...whole };
  delete copy[name];
  return copy;
}
