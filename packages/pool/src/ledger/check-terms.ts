import { errorText } from "@openpool/base";
import { readScheme } from "./schemes/index.ts";
import type { TermsDocument } from "./terms.ts";

/** What is wrong with terms that can be read: schemes that there are not, parameters that do not fit them. */
export function termsProblems(document: TermsDocument): readonly string[] {
  const common = schemeProblem(document.scheme, document.schemeOptions);
  const problems = common === undefined ? [] : [common];
  for (const { name, scheme, schemeOptions } of document.overrides) {
    // What it takes from the common terms was read with them.
    const own =
      scheme === undefined && schemeOptions === undefined
        ? undefined
        : schemeProblem(scheme ?? document.scheme, schemeOptions ?? {});
    if (own !== undefined) problems.push(`The override "${name}": ${own}`);
    if (schemeOptions?.["uptime"] !== undefined) {
      problems.push(
        `The override "${name}" has the parameter uptime: that bonus is one budget, shared by all workers that are ready. Name it in the common schemeOptions, and take it out of the override.`,
      );
    }
  }
  return problems;
}

function schemeProblem(scheme: string, options: Readonly<Record<string, unknown>>): string | undefined {
  try {
    readScheme(scheme, options);
    return undefined;
  } catch (error) {
    // The code is that of the whole document.
    return errorText(error).replace(/^\[[^\]]*\] /, "");
  }
}
