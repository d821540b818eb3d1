import { setTimeout as sleep } from "node:timers/promises";
import { BadValue, type ValueKind } from "@openpool/base";
import type { Command } from "commander";
import { z } from "zod";
import { type AdminClient, findDataDir, openAdminClient } from "../admin-client.ts";
import { type ExitCode, exitCode, type Io } from "../io.ts";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";
import { formatTable } from "../text/table.ts";
import { count, formatEth, grouped } from "../text/words.ts";
import { wei } from "../text/wei.ts";

const haltSchema = z.object({ name: z.string(), reason: z.string(), sinceMs: z.number() });
const summarySchema = z.object({
  progress: z.object({
    position: z.string(),
    head: z.string(),
    lagMs: z.number().optional(),
    stuck: z.string().optional(),
  }),
  totals: z.object({
    feesWei: wei,
    commissionWei: wei,
    heldWei: wei,
    owedWei: wei,
    payingWei: wei,
    paidWei: wei,
    gasWei: wei,
    adjustmentsWei: wei,
  }),
  halts: z.array(haltSchema),
  lastCheck: z.object({ at: z.string(), violations: z.array(z.unknown()) }).optional(),
  closedPeriods: z.array(z.object({ period: z.string(), lines: z.number() })),
});
const reportSchema = z.object({
  violations: z.array(z.object({ check: z.string(), message: z.string() })),
  jobs: z.number(),
  transactions: z.number(),
  unread: z.array(z.string()).default([]),
  chainProblem: z.string().optional(),
});
const rebuildSchema = z.object({
  state: z.enum(["idle", "running", "done", "failed"]),
  jobs: z.number().optional(),
  error: z.string().optional(),
  replaced: z.boolean().optional(),
  differences: z.array(z.object({ what: z.string(), kept: z.string(), rebuilt: z.string() })).optional(),
});

/** Signed: what is taken begins with a minus. */
const signedWei: ValueKind<bigint> = {
  placeholder: "WEI",
  allowed: "a whole number",
  parse: (text) => (/^[+-]?\d{1,78}$/.test(text) ? BigInt(text) : new BadValue("is not a whole number of wei")),
  format: String,
};

export function addLedgerCommand(registry: Registry): void {
  const group = addPoolGroup(
    registry,
    "ledger",
    "the books: show, check, rebuild, adjust, close",
    "The books are double entry and derived from the event log: whatever is in doubt can be checked and made anew.",
  );
  const add = (
    name: string,
    summary: string,
    work: (pool: AdminClient, io: Io, command: Command) => Promise<ExitCode>,
  ): Command => {
    const command = group.add(name, summary);
    return command.action(() =>
      registry.run(async (io) => work(await openAdminClient(findDataDir(command, 0, io)), io, command)),
    );
  };

  add(
    "show",
    "print what is held, owed and paid, how far the books are, and what halts payouts",
    async (pool, io, own) => {
      const answer = await pool.get("/ledger");
      await io.out(own.opts<{ json?: boolean }>().json ? `${JSON.stringify(answer)}\n` : summaryText(answer));
      return exitCode.ok;
    },
  ).option("--json", "print JSON");

  add("accounts", "print every account and its balance in wei", async (pool, io, own) => {
    const answer = z.record(z.string(), z.string()).parse(await pool.get("/ledger/accounts"));
    await io.out(
      own.opts<{ json?: boolean }>().json
        ? `${JSON.stringify(answer)}\n`
        : formatTable(["ACCOUNT", "WEI"], Object.entries(answer), new Set([1])),
    );
    return exitCode.ok;
  }).option("--json", "print JSON");

  add(
    "check",
    "compare all of the books with themselves, with the event log and with the chain; 1 when something is wrong",
    async (pool, io, own) => {
      const { all: everyTransaction = false } = own.opts<{ all?: boolean }>();
      const answer = await pool.change("POST", "/ledger/check", { whole: true, everyTransaction });
      const { violations, jobs, transactions, unread, chainProblem } = reportSchema.parse(answer);
      if (own.opts<{ json?: boolean }>().json) await io.out(`${JSON.stringify(answer)}\n`);
      else if (violations.length === 0)
        await io.out(
          `the books are right: ${count(jobs, "credit")} compared with the log` +
            `${transactions === 0 ? "" : `, ${count(transactions, "transaction")} with the chain`}\n`,
        );
      else {
        await io.out(violations.map(({ check, message }) => `${check}: ${message}\n`).join(""));
        io.err(
          "openpool: the books do not add up; payouts are halted. `openpool ledger rebuild --verify` says what the log says\n",
        );
      }
      for (const one of unread) io.err(`openpool: a payment could not be compared with the chain: ${one}\n`);
      if (chainProblem !== undefined) io.err(`openpool: not all could be compared with the chain: ${chainProblem}\n`);
      return violations.length === 0 ? exitCode.ok : exitCode.failed;
    },
  )
    .option(
      "--all",
      "compare every payment that was ever made with the chain, not only those that are new and the newest",
    )
    .option("--json", "print JSON");

  add(
    "rebuild",
    "make the books anew from the event log, beside those in use, and put them in their place",
    async (pool, io, own) => {
      const { verify = false } = own.opts<{ verify?: boolean }>();
      await pool.change("POST", "/ledger/rebuild", { verify });
      for (;;) {
        const now = rebuildSchema.parse(await pool.get("/ledger/rebuild"));
        if (now.state !== "running") return rebuildOutcome(now, verify, io);
        if (io.errIsTerminal) io.err(`\r${grouped(now.jobs ?? 0)} credits read `);
        // The pool goes on without us.
        if (io.stop.aborted) return exitCode.ok;
        await sleep(200, undefined, { signal: io.stop }).catch(() => undefined);
      }
    },
  ).option("--verify", "only compare the two and change nothing; 1 when they differ");

  const adjust = add(
    "adjust",
    "add to what a worker is owed, or take from it, with a reason that it will read",
    async (pool, io, own) => {
      const flags = own.opts<{ worker: string; wei: string; reason: string; corrects?: string; key?: string }>();
      const amount = signedWei.parse(flags.wei);
      if (amount instanceof BadValue) {
        throw settingsError([{ where: "--wei", problem: `${JSON.stringify(flags.wei)} ${amount.problem}` }]);
      }
      const answer = z.object({ entry: z.string(), repeated: z.boolean(), balance: z.object({ owedWei: wei }) }).parse(
        await pool.change("POST", "/ledger/adjust", {
          worker: flags.worker,
          amountWei: amount.toString(),
          reason: flags.reason,
          ...(flags.corrects === undefined ? {} : { corrects: flags.corrects }),
          ...(flags.key === undefined ? {} : { key: flags.key }),
        }),
      );
      const before = answer.repeated ? ", booked before" : "";
      await io.out(
        `entry ${answer.entry}${before}; ${flags.worker} is owed ${formatEth(answer.balance.owedWei)} ETH now\n`,
      );
      return exitCode.ok;
    },
  );
  adjust
    .requiredOption("--worker <ADDRESS>", "whose")
    .requiredOption("--wei <WEI>", "how much; --wei=-1000 takes")
    .requiredOption("--reason <TEXT>", "why; it stands in the worker's statement")
    .option("--corrects <ID>", "the job or the entry that this corrects")
    .option("--key <KEY>", "your own name for it: however often it is asked for, it is booked once")
    .addHelpText(
      "after",
      '\nExample:\n  openpool ledger adjust --worker 0xADDRESS --wei=-4000 --reason "the pictures were black" --corrects 019aa5b2-…',
    );

  const months = z.object({
    months: z.array(z.object({ month: z.string(), file: z.string(), rows: z.number() })),
  });
  const ofMonths =
    (path: string) =>
    async (pool: AdminClient, io: Io, own: Command): Promise<ExitCode> => {
      const { month } = own.opts<{ month?: string }>();
      const done = months.parse(await pool.change("POST", path, month === undefined ? {} : { month }));
      const rows = done.months.map((one) => [one.month, grouped(one.rows), one.file]);
      await io.out(
        rows.length === 0 ? "no closed month is in the log\n" : formatTable(["MONTH", "EVENTS", "FILE"], rows),
      );
      return exitCode.ok;
    };
  add(
    "export",
    "write the event log's closed months into files, and leave them in it",
    ofMonths("/ledger/export"),
  ).option("--month <YYYY-MM>", "this one; else all");
  add(
    "prune",
    "write the event log's closed months into files, and take them out of it; the books keep what followed from them",
    ofMonths("/ledger/prune"),
  ).option("--month <YYYY-MM>", "this one; else all");

  add("close", "close the books of the months that are over now, instead of within minutes", async (pool, io) => {
    const { closed } = z.object({ closed: z.array(z.string()) }).parse(await pool.change("POST", "/ledger/close"));
    await io.out(closed.length === 0 ? "no month is to be closed\n" : `closed: ${closed.join(", ")}\n`);
    return exitCode.ok;
  });
}

async function rebuildOutcome(now: z.infer<typeof rebuildSchema>, verify: boolean, io: Io): Promise<ExitCode> {
  if (io.errIsTerminal) io.err("\r\u001b[K");
  if (now.state !== "done") {
    io.err(`openpool: the books were not rebuilt: ${now.error ?? "the pool was restarted meanwhile"}\n`);
    return exitCode.failed;
  }
  const differences = now.differences ?? [];
  const read = `${count(now.jobs ?? 0, "credit")} read from the log`;
  if (differences.length > 0) {
    const rows = differences.map(({ what, kept, rebuilt }) => [what, kept, rebuilt]);
    await io.out(formatTable(["WHAT", "IN THE BOOKS", "FROM THE LOG"], rows));
  }
  await io.out(
    differences.length === 0
      ? `the books are what the log says: ${read}${verify ? "" : "; the rebuilt ones are in use"}\n`
      : `${count(differences.length, "difference")}: ${read}${verify ? "; nothing was changed" : "; the books are what the log says now"}\n`,
  );
  return verify && differences.length > 0 ? exitCode.failed : exitCode.ok;
}

function summaryText(answer: unknown): string {
  const { progress, totals, halts, lastCheck, closedPeriods } = summarySchema.parse(answer);
  const rows = [
    ["fees credited", totals.feesWei],
    ["commission", totals.commissionWei],
    ["held", totals.heldWei],
    ["owed", totals.owedWei],
    ["being paid", totals.payingWei],
    ["paid", totals.paidWei],
    ["gas", totals.gasWei],
    ["adjustments", -totals.adjustmentsWei],
  ].map(([name, amount]) => [String(name), formatEth(BigInt(amount ?? 0))]);
  const behind = BigInt(progress.head) - BigInt(progress.position);
  const lines = [
    formatTable(["", "ETH"], rows, new Set([1])).trimEnd(),
    `booked up to event ${progress.position}${behind > 0n ? `, ${grouped(behind)} behind` : ""}${progress.lagMs === undefined ? "" : `; the last line came ${Math.round(progress.lagMs)} ms after its job`}`,
    ...(progress.stuck === undefined ? [] : [`stuck: ${progress.stuck}`]),
    lastCheck === undefined
      ? "not checked yet"
      : `checked ${lastCheck.at}: ${lastCheck.violations.length === 0 ? "right" : count(lastCheck.violations.length, "violation")}`,
    closedPeriods.length === 0 ? "no month is closed yet" : `closed up to ${closedPeriods.at(-1)?.period}`,
    ...halts.map(
      (one) => `payouts are halted (${one.name}) since ${new Date(one.sinceMs).toISOString()}: ${one.reason}`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}
