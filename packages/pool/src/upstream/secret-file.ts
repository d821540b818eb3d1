import { PoolError } from "@openpool/base";

/**
 * The secret for an orchestrator from the text of the file: its only line is the secret of all, or each line is
 * `NAME=SECRET`. `names` are those of all orchestrators: what is written for one never goes to another. Never shows up in
 * an error.
 */
export function secretFor(name: string, names: readonly string[], text: string, file: string): string {
  const lines = text.split(/\r?\n/).filter((line) => line !== "");
  for (const line of lines) if (line.startsWith(`${name}=`)) return line.slice(name.length + 1);
  const [only] = lines;
  const named = names.some((one) => only?.startsWith(`${one}=`));
  if (only !== undefined && lines.length === 1 && !named) return only;
  throw new PoolError(
    { code: "upstream/no-secret", upstream: name },
    lines.length === 0
      ? `${file} is empty: write the secret of the orchestrator into it, as its -orchSecret has it.`
      : `${file} has no line "${name}=SECRET" for the orchestrator "${name}".`,
  );
}
