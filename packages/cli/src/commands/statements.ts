import { addPoolFinder, findDataDir, openAdminClient } from "../admin-client.ts";
import { exitCode } from "../io.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";

interface Flags {
  readonly month?: string;
  readonly from?: string;
  readonly to?: string;
  readonly format: string;
}

export function addStatementsCommand({ program, run }: Registry): void {
  const command = program
    .command("statements")
    .summary("a worker's statement: one row a credit and a payout, as CSV or JSON")
    .description(
      "Prints a worker's statement: one row for each credit, adjustment and payout. The rows of all time sum to what the pool owes it.",
    )
    .argument("<ADDRESS>", "whose")
    .option("--month <YYYY-MM>", "only this month (UTC)")
    .option("--from <TIME>", "only from then on: 2026-11-01T00:00:00Z")
    .option("--to <TIME>", "only before then")
    .option("--format <csv|json>", "what to print", "csv")
    .addHelpText(
      "after",
      "\nThe columns are explained in docs/money.md and never renamed.\n\nExample:\n  openpool statements 0xADDRESS --month 2026-11 > november.csv",
    );
  addPoolFinder(command);
  command.action((worker: string) =>
    run(async (io) => {
      const query = readQuery(command.opts<Flags>());
      const pool = await openAdminClient(findDataDir(command, 1, io));
      let first = true;
      for await (const line of pool.lines(`/ledger/statements/${encodeURIComponent(worker)}?${query}`, io.stop)) {
        await io.out(first ? line : `\n${line}`);
        first = false;
      }
      await io.out("\n");
      return exitCode.ok;
    }),
  );
}

function readQuery({ month, from, to, format }: Flags): URLSearchParams {
  const query = new URLSearchParams();
  const problems = [];
  if (format !== "csv" && format !== "json") problems.push({ where: "--format", problem: "is neither csv nor json" });
  query.set("format", format);
  if (month !== undefined) {
    const start = /^\d{4}-(0[1-9]|1[0-2])$/.test(month) ? new Date(`${month}-01T00:00:00Z`) : undefined;
    if (!start) problems.push({ where: "--month", problem: `${JSON.stringify(month)} is no month like 2026-11` });
    else if (from !== undefined || to !== undefined) {
      problems.push({ where: "--month", problem: "goes without --from and --to" });
    } else {
      query.set("from", start.toISOString());
      query.set("to", new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1, 1)).toISOString());
    }
  }
  for (const [name, text] of [
    ["from", from],
    ["to", to],
  ] as const) {
    if (text === undefined) continue;
    const ms = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
    if (Number.isNaN(ms)) problems.push({ where: `--${name}`, problem: `${JSON.stringify(text)} is no time` });
    else query.set(name, new Date(ms).toISOString());
  }
  if (problems.length > 0) throw settingsError(problems);
  return query;
}
