import { bigintValue, BadValue } from "@openpool/base";
import { z } from "zod";
import { findDataDir, openAdminClient } from "../admin-client.ts";
import { exitCode } from "../io.ts";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";
import { formatTable } from "../text/table.ts";
import { formatEth } from "../text/words.ts";
import { wei } from "../text/wei.ts";

const incomeSchema = z.object({
  configured: z.boolean(),
  readTo: z.number().optional(),
  problem: z.string().optional(),
  income: z.array(
    z.object({
      ref: z.string(),
      kind: z.string(),
      at: z.string(),
      grossWei: wei,
      keptWei: wei,
      revertedAt: z.string().optional(),
    }),
  ),
});

interface AddFlags {
  readonly ref?: string;
  readonly pot?: string;
  readonly note?: string;
}

/** `openpool income`: what came in. */
export function addIncomeCommand(registry: Registry): void {
  const { run } = registry;
  const { add } = addPoolGroup(
    registry,
    "income",
    "what came in: redeemed tickets, and what is entered by hand",
    "Income is read from the chain (`orchestrator-address` and `rpc-url` of the pool), or entered by hand with a reference. A reference counts once.",
  );

  const list = add("list", "list income, the newest first");
  list
    .option("--limit <N>", "at most so many", "50")
    .option("--json", "print JSON; wei as decimal strings")
    .action(() =>
      run(async (io) => {
        const flags = list.opts<{ limit: string; json?: boolean }>();
        const pool = await openAdminClient(findDataDir(list, 0, io));
        const answer = await pool.get(`/income?limit=${encodeURIComponent(flags.limit)}`);
        await io.out(flags.json ? `${JSON.stringify(answer)}\n` : incomeText(answer));
        return exitCode.ok;
      }),
    );

  const enter = add("add", "enter income by hand, once, or fill a pot");
  enter
    .argument("<WEI>", "how much came in")
    .requiredOption("--ref <TEXT>", "what names it: an invoice, a transaction; entered a second time it is refused")
    .option("--pot <segment|uptime>", "it is no income, but fills what fixed amounts or the uptime bonus are paid from")
    .option("--note <TEXT>", "for people")
    .addHelpText("after", "\nExample:\n  openpool income add 250000000000000000 --ref 'invoice 2026-17'")
    .action((amount: string) =>
      run(async (io) => {
        const flags = enter.opts<AddFlags>();
        const parsed = bigintValue("WEI", { min: 1n, max: 10n ** 30n }).parse(amount);
        if (parsed instanceof BadValue) throw settingsError([{ where: "WEI", problem: parsed.problem }]);
        const pool = await openAdminClient(findDataDir(enter, 1, io));
        await pool.change("POST", "/income", { ref: flags.ref, wei: String(parsed), pot: flags.pot, note: flags.note });
        await io.out(`booked ${formatEth(parsed)} ETH as "${flags.ref}"\n`);
        return exitCode.ok;
      }),
    );
}

function incomeText(answer: unknown): string {
  const { configured, readTo, problem, income } = incomeSchema.parse(answer);
  const state = !configured
    ? "income is not read from the chain: see --orchestrator-address of `openpool pool`\n"
    : `read up to block ${readTo ?? "–"}${problem === undefined ? "" : `; not now: ${problem}`}\n`;
  if (income.length === 0) return `${state}nothing came in yet\n`;
  const rows = income.map((one) => [
    one.at.slice(0, 19),
    one.revertedAt === undefined ? one.kind : `${one.kind}, taken back`,
    formatEth(one.grossWei),
    formatEth(one.keptWei),
    one.ref,
  ]);
  return state + formatTable(["TIME (UTC)", "KIND", "PAID (ETH)", "KEPT (ETH)", "REFERENCE"], rows, new Set([2, 3]));
}
