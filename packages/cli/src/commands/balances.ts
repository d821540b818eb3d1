import { z } from "zod";
import { addPoolFinder, findDataDir, openAdminClient } from "../admin-client.ts";
import { exitCode } from "../io.ts";
import type { Registry } from "../registry.ts";
import { formatTable } from "../text/table.ts";
import { formatEth, grouped } from "../text/words.ts";

const wholeNumber = z
  .string()
  .regex(/^-?\d+$/)
  .transform(BigInt);
const sums = { segments: z.number(), pixels: wholeNumber, creditedWei: wholeNumber };
/** What each worker was credited, as the admin port and `balances --json` say it. */
export const balancesSchema = z.array(
  z.object({ worker: z.string(), ...sums, rigs: z.array(z.object({ name: z.string(), ...sums })) }),
);

export function addBalancesCommand({ program, run }: Registry): void {
  const command = program
    .command("balances")
    .summary("what each worker was credited")
    .description("Prints what each worker and each of its rigs was credited, after the pool's commission.")
    .option(
      "--json",
      "print an array of {worker, segments, pixels, creditedWei, rigs: [{name, …}]}; wei and pixels as decimal strings",
    )
    .addHelpText("after", "\nExample:\n  openpool balances --json | jq -r '.[] | [.worker, .creditedWei] | @tsv'");
  addPoolFinder(command);
  command.action(() =>
    run(async (io) => {
      const pool = await openAdminClient(findDataDir(command, 0, io));
      const answer = await pool.get("/balances");
      await io.out(command.opts<{ json?: boolean }>().json ? `${JSON.stringify(answer)}\n` : balancesText(answer));
      return exitCode.ok;
    }),
  );
}

function balancesText(answer: unknown): string {
  const rows: string[][] = [];
  for (const worker of balancesSchema.parse(answer)) {
    rows.push([worker.worker, ...sumCells(worker)]);
    for (const rig of worker.rigs) rows.push([`  ${rig.name}`, ...sumCells(rig)]);
  }
  if (rows.length === 0) return "nothing was credited yet\n";
  return formatTable(["WORKER", "SEGMENTS", "PIXELS", "CREDITED (ETH)"], rows, new Set([1, 2, 3]));
}

function sumCells(one: { segments: number; pixels: bigint; creditedWei: bigint }): string[] {
  return [grouped(one.segments), grouped(one.pixels), formatEth(one.creditedWei)];
}
