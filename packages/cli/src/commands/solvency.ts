import { z } from "zod";
import { addPoolFinder, findDataDir, openAdminClient } from "../admin-client.ts";
import { exitCode } from "../io.ts";
import type { Registry } from "../registry.ts";
import { formatTable } from "../text/table.ts";
import { formatEth } from "../text/words.ts";
import { wei } from "../text/wei.ts";

const known = wei.nullable();
const solvencySchema = z.object({
  creditedWei: wei,
  heldWei: wei,
  owedWei: wei,
  payingWei: wei,
  paidWei: wei,
  potsWei: wei,
  heldByHooksWei: wei,
  recentDays: z.number(),
  recentFeesWei: wei,
  recentEarnedWei: wei,
  receivedWei: known,
  recentRedeemedWei: known,
  recentKeptWei: known,
  withdrawnWei: known,
  unpaidTicketsWei: known,
  luckPpm: known,
  withdrawableWei: known,
  walletWei: known,
  payoutBalanceWei: known,
  reserveWei: known,
  reserveDays: z.number().nullable(),
  wantedReserveWei: known,
  feeSharePpm: known,
  keptPpm: known,
  maxSharePpm: known,
  promisedPpm: known,
  warnings: z.array(z.object({ code: z.string(), text: z.string() })),
  incomeProblem: z.string().nullable(),
});

/** `openpool solvency`: whether what was promised can be paid. */
export function addSolvencyCommand({ program, run }: Registry): void {
  const command = program
    .command("solvency")
    .summary("whether what workers are promised can be paid")
    .description(
      "Prints what was credited, owed and paid, what came in, how lucky that was, what is left in reserve, and the largest share of a fee that can be promised. docs/money.md has the formulas. Ends with 1 when there is a warning.",
    )
    .option("--json", "print JSON: wei and parts per million as decimal strings, null where nobody knows");
  addPoolFinder(command);
  command.action(() =>
    run(async (io) => {
      const pool = await openAdminClient(findDataDir(command, 0, io));
      const answer = await pool.get("/solvency");
      const solvency = solvencySchema.parse(answer);
      await io.out(command.opts<{ json?: boolean }>().json ? `${JSON.stringify(answer)}\n` : solvencyText(solvency));
      return solvency.warnings.length === 0 ? exitCode.ok : exitCode.failed;
    }),
  );
}

function solvencyText(s: z.infer<typeof solvencySchema>): string {
  const eth = (amount: bigint | null): string => (amount === null ? "not known" : formatEth(amount));
  const percent = (ppm: bigint | null): string => (ppm === null ? "not known" : `${Number(ppm) / 10_000} %`);
  const days = `last ${s.recentDays} days`;
  const rows = [
    ["credited to workers", eth(s.creditedWei)],
    ["  held", eth(s.heldWei)],
    ["  owed", eth(s.owedWei)],
    ["  in payouts", eth(s.payingWei)],
    ["  paid", eth(s.paidWei)],
    [`fees, ${days}`, eth(s.recentFeesWei)],
    [`earned by workers, ${days}`, eth(s.recentEarnedWei)],
    ["received in all", eth(s.receivedWei)],
    [`tickets redeemed, ${days}`, eth(s.recentRedeemedWei)],
    ["  kept of them, after delegators", eth(s.recentKeptWei)],
    ["withdrawn from the protocol", eth(s.withdrawnWei)],
    ["luck: redeemed of expected", percent(s.luckPpm)],
    ["to withdraw from the protocol", eth(s.withdrawableWei)],
    ["in the orchestrator's wallet", eth(s.walletWei)],
    ["in the account that pays", eth(s.payoutBalanceWei)],
    ["reserve beyond all debts", eth(s.reserveWei)],
    ["  days it covers", s.reserveDays === null ? "not known" : s.reserveDays.toFixed(1)],
    ["  wanted", eth(s.wantedReserveWei)],
    ["promised to workers", percent(s.promisedPpm)],
    ["most that can be promised", percent(s.maxSharePpm)],
    ["fee share of delegators", percent(s.feeSharePpm)],
    ...(s.potsWei === 0n ? [] : [["pots", eth(s.potsWei)]]),
    ...(s.heldByHooksWei === 0n ? [] : [["fees held by failed hooks", eth(s.heldByHooksWei)]]),
  ];
  const warnings = s.warnings.map((one) => `warning: ${one.text}\n`).join("");
  const old = s.incomeProblem === null ? "" : `the chain's part is old or missing: ${s.incomeProblem}\n`;
  return `${formatTable(["", "ETH"], rows, new Set([1]))}${old}${warnings}`;
}
