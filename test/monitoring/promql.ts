/** What an expression in PromQL names; enough of the language for the ones that we write. */
export interface Names {
  readonly selectors: readonly { readonly metric: string; readonly labels: readonly string[] }[];
  /** Labels in `by (…)` and the like. */
  readonly grouped: readonly string[];
  /** Values that `account` is compared with. */
  readonly accounts: readonly string[];
}

const WORDS = new Set(["and", "or", "unless", "bool", "offset"]);
const GROUPING = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g;

export function namesIn(expr: string): Names {
  const selectors: { metric: string; labels: string[] }[] = [];
  const accounts: string[] = [];
  const split = (labels: string): string[] => labels.split(",").flatMap((label) => label.trim() || []);
  const grouped = [...expr.matchAll(GROUPING)].flatMap(([, labels = ""]) => split(labels));
  const rest = expr
    .replace(GROUPING, " ")
    .replace(/([a-zA-Z_:][\w:]*)\s*\{((?:"(?:[^"\\]|\\.)*"|[^}"])*)\}/g, (_, metric: string, matchers: string) => {
      const parsed = [...matchers.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"/g)];
      selectors.push({ metric, labels: parsed.map(([, label = ""]) => label) });
      for (const [, label, operator, value = ""] of parsed) {
        if (label === "account" && operator === "=") accounts.push(value);
      }
      return " ";
    })
    .replace(/\[[^\]]*\]/g, " ");
  // What is left are functions, words and numbers; or a metric without a selector, which is as good as any.
  for (const [name, after = ""] of [...rest.matchAll(/\b[a-zA-Z_:][\w:]*\b(\s*\()?/g)].map(
    ([all, paren]) => [all.replace(/\s*\($/, ""), paren] as const,
  )) {
    if (after === "" && !WORDS.has(name)) selectors.push({ metric: name, labels: [] });
  }
  return { selectors, grouped, accounts };
}
