import { readFile, writeFile } from "node:fs/promises";
import { errorText, PoolError } from "@openpool/base";
import { deployPayoutContract, newPayoutKey } from "@openpool/pool";
import type { Command } from "commander";
import { z } from "zod";
import { exitCode } from "../io.ts";
import { collect } from "../collect.ts";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";
import { formatTable } from "../text/table.ts";
import { count, formatEth } from "../text/words.ts";
import { wei } from "../text/wei.ts";

const runSchema = z.object({
  id: z.string(),
  state: z.string(),
  createdAtMs: z.number(),
  payer: z.string(),
  asset: z.string(),
  totalWei: wei,
  lines: z.number(),
  gasWei: wei,
  approvalReason: z.string().optional(),
  notes: z.array(z.string()),
  prices: z.array(
    z.object({ token: z.string(), unitsPerEth: wei, source: z.string(), atBlock: z.number().optional() }),
  ),
  fiat: z.object({ currency: z.string(), perEth: z.string(), source: z.string(), atMs: z.number() }).optional(),
});
const lineSchema = z.object({
  id: z.string(),
  run: z.string(),
  worker: z.string(),
  payTo: z.string(),
  amountWei: wei,
  gasShareWei: wei,
  sendAmount: wei,
  asset: z.string(),
  state: z.string(),
  method: z.string(),
  methodReason: z.string(),
  reason: z.string().optional(),
  txHash: z.string().optional(),
});
const intentSchema = z.object({
  id: z.string(),
  kind: z.string(),
  nonce: z.number(),
  state: z.string(),
  lines: z.array(z.string()),
  transactions: z.array(z.object({ hash: z.string() })),
  minedBlock: z.number().optional(),
});
const waitingSchema = z.array(z.object({ worker: z.string(), owedWei: wei, reason: z.string() }));
/** A run with all that belongs to it, as the admin port says it. */
export const payoutRunSchema = z.object({
  run: runSchema,
  lines: z.array(lineSchema),
  intents: z.array(intentSchema),
});
/** What a plan does, or why it does nothing. */
export const payoutPlanSchema = z.object({
  run: runSchema.optional(),
  lines: z.array(lineSchema),
  waiting: waitingSchema,
  refused: z.string().optional(),
});
/** How payouts stand. */
export const payoutsSchema = z.object({
  status: z.object({
    chainId: z.number(),
    pool: z.string(),
    payToDelayMs: z.number(),
    payer: z.string().optional(),
    asset: z.string(),
    choices: z.array(z.string()),
    balanceWei: wei.optional(),
    paused: z.string().optional(),
    halted: z.object({ code: z.string(), message: z.string() }).optional(),
    waitingFor: z.string().optional(),
    warnings: z.array(z.string()),
  }),
  next: z.object({
    atMs: z.number().optional(),
    schedule: z.string().optional(),
    timeZone: z.string(),
    minimumWei: wei,
  }),
  runs: z.array(runSchema),
});
const resumeSchema = z.object({
  found: z.array(z.object({ worker: z.string(), amountWei: wei, hash: z.string() })),
  notOwed: z.array(z.object({ worker: z.string(), wei })),
  handedOut: z.array(z.string()),
});
const exportSchema = z.object({ text: z.string() });

export function addPayoutsCommand(registry: Registry): void {
  const group = addPoolGroup(
    registry,
    "payouts",
    "pay the workers: plan, look, approve, pause, retry, export",
    "Pays what workers are owed, on the schedule of the terms or when asked. docs/money.md says how, and what to do when payouts are halted.",
  );
  const add = (name: string, summary: string): Command => group.add(name, summary).option("--json", "print JSON");
  const { act } = group;
  const path = (...parts: readonly string[]): string => `/payouts/${parts.map(encodeURIComponent).join("/")}`;

  const plan = add("plan", "show what a payout would pay now, to whom and how; nothing is written");
  plan.action(() =>
    act(plan, 0, async (pool) => {
      const answer = await pool.change("POST", "/payouts/plan", { dryRun: true });
      return { text: planText(answer), json: answer };
    }),
  );

  const run = add("run", "plan a payout and begin with it");
  run.action(() =>
    act(run, 0, async (pool) => {
      const answer = await pool.change("POST", "/payouts/plan", { dryRun: false });
      const planned = payoutPlanSchema.parse(answer).run !== undefined;
      return { text: planText(answer), json: answer, code: planned ? exitCode.ok : exitCode.failed };
    }),
  );

  const list = add("list", "list the payouts, how they stand and when the next one is");
  list.option("--limit <N>", "at most so many", "20").action(() =>
    act(list, 0, async (pool) => {
      const answer = await pool.get(`/payouts?limit=${encodeURIComponent(list.opts<{ limit: string }>().limit)}`);
      return { text: listText(answer), json: answer };
    }),
  );

  const show = add("show", "show one payout: its lines, its transactions");
  show.argument("<ID>").action((id: string) =>
    act(show, 1, async (pool) => {
      const answer = await pool.get(path(id));
      return { text: runText(answer), json: answer };
    }),
  );

  const approve = add("approve", "let a payout above the limit go out");
  approve
    .argument("<ID>")
    .option("--by <NAME>", "who approves, for the record", "the operator")
    .action((id: string) =>
      act(approve, 1, async (pool) => {
        const answer = await pool.change("POST", path(id, "approve"), { by: approve.opts<{ by: string }>().by });
        return { text: `${id} is approved\n`, json: answer };
      }),
    );

  const cancel = add("cancel", "take back what of a payout is not signed yet; its money is owed again");
  cancel.argument("<ID>").action((id: string) =>
    act(cancel, 1, async (pool) => {
      const answer = await pool.change("POST", path(id, "cancel"), {});
      return { text: `${id} is cancelled\n`, json: answer };
    }),
  );

  const pause = add("pause", "make no payouts until `payouts resume`; what was sent may still arrive");
  pause.option("--reason <TEXT>", "why; everybody can read it on the pages", "no reason given").action(() =>
    act(pause, 0, async (pool) => {
      await pool.change("POST", "/payouts/pause", { reason: pause.opts<{ reason: string }>().reason });
      return { text: "payouts are paused\n" };
    }),
  );

  const resume = add("resume", "end a pause, and a halt that you have looked into");
  resume
    .option("--foreign <HASH>", "this transaction paid no worker, or you entered what it paid; or `all`", collect)
    .option(
      "--paid-for <ADDRESS=WORKER>",
      "what went to this address was for this worker; or HASH/PLACE=WORKER",
      collect,
    )
    .option("--token-price <TOKEN=UNITS>", "what the token was worth: its smallest units for one ETH", collect)
    .option("--also-payer <ADDRESS>", "this account or multisig paid workers since the backup, too", collect)
    .option("--no-other-payer", "since the backup nothing else paid workers; say it, or name all")
    .option("--despite-pending", "what accounts of before sent may still be mined; whom it pays is held")
    .addHelpText(
      "after",
      `
After a restore, and where accounts made transactions that the books do not know, it first reads them from the
chain and books what they paid to workers. After a restore you say which accounts and multisigs paid that the books do
not know, or that none did. What it cannot explain it tells, and payouts stay halted until you do:

  openpool payouts resume --also-payer 0xADDRESS
  openpool payouts resume --no-other-payer --foreign 0xHASH --paid-for 0xADDRESS=0xWORKER

With \`--foreign all\` nothing is read: what was paid and is not in the books is then paid again, unless you hold its workers
before (\`openpool workers hold\`) and take it from what they are owed (\`openpool ledger adjust\`) before you release them.`,
    )
    .action(() =>
      act(resume, 0, async (pool) => {
        const answer = await pool.change("POST", "/payouts/resume", resumeBody(resume.opts<ResumeFlags>()));
        return { text: resumeText(answer), json: answer };
      }),
    );

  const retry = add("retry", "let a worker whose payment failed be paid again, by a transfer of its own");
  retry.argument("<LINE>", "the line, as `payouts show` shows it, or the worker").action((line: string) =>
    act(retry, 1, async (pool) => {
      const answer = await pool.change("POST", path("lines", line, "retry"), {});
      return { text: `${lineSchema.parse(answer).worker} is paid again with the next payout\n`, json: answer };
    }),
  );

  const exportIt = add("export", "print a payout as CSV or JSON, or as a file for a Safe's transaction builder");
  exportIt
    .argument("<ID>")
    .option(
      "--format <FORMAT>",
      "csv, json, safe (makes the payout the multisig's), or safe-cancel (makes it impossible)",
      "csv",
    )
    .action((id: string) =>
      act(exportIt, 1, async (pool) => {
        const { format } = exportIt.opts<{ format: string }>();
        if (!["csv", "json", "safe", "safe-cancel"].includes(format)) {
          const problem = `is ${JSON.stringify(format)}: give csv, json, safe or safe-cancel`;
          throw settingsError([{ where: "--format", problem }]);
        }
        const place = path(id, "export", format);
        const answer = format.startsWith("safe") ? await pool.change("POST", place, {}) : await pool.get(place);
        return { text: exportSchema.parse(answer).text };
      }),
    );

  const reconcile = add("reconcile", "book what the multisig's transaction paid or cancelled, once it is final");
  reconcile
    .argument("<ID>")
    .argument("<HASH>", "the transaction that executed it")
    .action((id: string, hash: string) =>
      act(reconcile, 2, async (pool) => {
        const answer = await pool.change("POST", path(id, "reconcile"), { hash });
        return { text: `${id} is ${runSchema.parse(answer).state}\n`, json: answer };
      }),
    );

  const giveUp = add("give-up", "take back a payout whose multisig lost its keys, or whose account was stolen");
  giveUp
    .argument("<ID>")
    .option("--safe <ADDRESS>", "the multisig that is lost, once more")
    .option("--payer <ADDRESS>", "or the account that is lost, once more")
    .requiredOption("--reason <TEXT>", "what happened, for the workers and the record")
    .option("--by <NAME>", "who answers for it, for the record", "the operator")
    .addHelpText(
      "after",
      `
Nobody can prove that no signature of that multisig is in somebody's hands. So the pool must pay from another account by
now, the chain must not know the payout as executed, and if it is executed later after all, payouts halt: then its workers
got that money besides. Where the multisig still works, \`payouts export ID --format safe-cancel\` makes that impossible.

What an account has signed stays good for ever, too. So the pool must pay from another account by now, no node may know of
a transaction of the old one that waits, and if one is mined later after all, payouts halt and \`payouts resume\` books it.
Where you have the key, start the pool with it and fund that account until the payout is done: then nothing is paid twice.`,
    )
    .action((id: string) =>
      act(giveUp, 1, async (pool) => {
        const answer = await pool.change("POST", path(id, "give-up"), flagsOf(giveUp));
        return {
          text: `${id} is ${runSchema.parse(answer).state}: what was not decided of it is owed again\n`,
          json: answer,
        };
      }),
    );

  addKeyCommands(group.command, registry);
}

/** Without `--json`, which every command takes. */
function flagsOf(command: Command): object {
  const { safe, payer, reason, by } = command.opts<{ safe?: string; payer?: string; reason: string; by: string }>();
  return { safe, payer, reason, by };
}

/** What needs no pool: a new key, and the contract. */
function addKeyCommands(payouts: Command, registry: Registry): void {
  const newKey = payouts
    .command("new-key")
    .summary("make an account for payouts, as an encrypted keystore")
    .description("Makes an account for payouts, as an encrypted keystore. The key itself is shown nowhere.")
    .requiredOption("--out <FILE>", "where the keystore goes; an existing file is never replaced")
    .requiredOption("--password-file <FILE>", "a file with its password");
  newKey.action(() =>
    registry.run(async (io) => {
      const { out, passwordFile } = newKey.opts<{ out: string; passwordFile: string }>();
      const { address, keystore } = await newPayoutKey(await secretIn(passwordFile));
      try {
        await writeFile(out, keystore, { flag: "wx", mode: 0o600 });
      } catch (error) {
        throw settingsError([{ where: "--out", problem: `cannot be written: ${errorText(error)}` }]);
      }
      await io.out(`${address}\n`);
      return exitCode.ok;
    }),
  );

  const deploy = payouts
    .command("deploy")
    .summary("put the batch contract on a chain, unless it is there")
    .description(
      "Puts the batch contract on a chain, unless it is there. It has no owner, and on every chain the same address. Pay for it from any account but the one that makes the payouts.",
    )
    .requiredOption("--rpc-url <URL>", "a node of the chain")
    .requiredOption("--keystore <FILE>", "the keystore of the account that pays for the deployment")
    .requiredOption("--password-file <FILE>", "a file with its password");
  deploy.action(() =>
    registry.run(async (io) => {
      const { rpcUrl, keystore, passwordFile } = deploy.opts<{
        rpcUrl: string;
        keystore: string;
        passwordFile: string;
      }>();
      const key = { keystore: await readText(keystore, "--keystore"), password: await secretIn(passwordFile) };
      const { address, hash } = await deployPayoutContract(rpcUrl, key);
      io.err(hash === undefined ? "openpool: it is there already\n" : `openpool: deployed in ${hash}\n`);
      await io.out(`${address}\n`);
      return exitCode.ok;
    }),
  );
}

interface ResumeFlags {
  readonly foreign?: readonly string[];
  readonly paidFor?: readonly string[];
  readonly tokenPrice?: readonly string[];
  readonly alsoPayer?: readonly string[];
  /** False where the flag is there. */
  readonly otherPayer?: boolean;
  readonly despitePending?: boolean;
}

function resumeBody({
  foreign,
  paidFor = [],
  tokenPrice = [],
  alsoPayer,
  otherPayer,
  despitePending,
}: ResumeFlags): object {
  const told = paidFor.map((one) => {
    const [payment, worker, ...more] = one.split("=");
    if (payment && worker && more.length === 0) return [payment, worker] as const;
    throw settingsError([{ where: "--paid-for", problem: `${JSON.stringify(one)} is not ADDRESS=WORKER` }]);
  });
  const priced = tokenPrice.map((one) => {
    const [, token, units] = /^(0x[0-9a-fA-F]{40})=([1-9]\d{0,77})$/.exec(one) ?? [];
    if (token !== undefined && units !== undefined) return [token, units] as const;
    throw settingsError([{ where: "--token-price", problem: `${JSON.stringify(one)} is not TOKEN=UNITS` }]);
  });
  return {
    ...(foreign === undefined ? {} : { foreign: foreign.includes("all") ? "all" : foreign }),
    ...(told.length === 0 ? {} : { paidFor: Object.fromEntries(told) }),
    ...(priced.length === 0 ? {} : { unitsPerEth: Object.fromEntries(priced) }),
    ...(alsoPayer === undefined ? {} : { alsoPayers: alsoPayer }),
    ...(otherPayer === false ? { noOtherPayer: true } : {}),
    ...(despitePending ? { despitePending } : {}),
  };
}

function resumeText(answer: unknown): string {
  const { found, notOwed, handedOut } = resumeSchema.parse(answer);
  const rows = found.map((one) => [one.worker, formatEth(one.amountWei), one.hash]);
  return [
    ...(rows.length === 0
      ? []
      : [`found on the chain and booked:\n${formatTable(["WORKER", "ETH", "TRANSACTION"], rows, new Set([1]))}`]),
    ...notOwed.map(
      ({ worker, wei: more }) =>
        `${formatEth(more)} ETH of what ${worker} got is beyond what these books owe it: see its statement\n`,
    ),
    ...handedOut.map(
      (run) =>
        `run ${run} may be in the multisig's hands, or done: \`openpool payouts reconcile ${run} TRANSACTION\` if it is done, else have it executed or cancelled there\n`,
    ),
    "payouts go on\n",
  ].join("");
}

async function readText(file: string, where: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw settingsError([{ where, problem: `cannot be read: ${errorText(error)}` }]);
  }
}

async function secretIn(file: string): Promise<string> {
  const password = (await readText(file, "--password-file")).replace(/\r?\n$/, "");
  if (password !== "") return password;
  throw new PoolError({ code: "payout/wrong-password" }, `${file} is empty: a keystore needs a password.`);
}

function planText(answer: unknown): string {
  const { run, lines, waiting, refused } = payoutPlanSchema.parse(answer);
  const rows = lines.map((line) => [
    line.worker,
    line.payTo === line.worker ? "" : line.payTo,
    formatEth(line.amountWei),
    sentText(line),
    line.method,
    line.methodReason,
  ]);
  const waits = waiting.map((one) => [one.worker, formatEth(one.owedWei), one.reason]);
  return [
    run
      ? `run ${run.id}: ${formatEth(run.totalWei)} ETH to ${count(run.lines, "worker")}, ${run.state}\n`
      : `nothing is paid: ${refused ?? "no reason given"}\n`,
    run?.approvalReason === undefined
      ? ""
      : `it waits for \`openpool payouts approve ${run.id}\`: ${run.approvalReason}\n`,
    run ? recordText(run) : "",
    rows.length === 0 ? "" : formatTable(["WORKER", "PAID TO", "ETH", "SENT", "BY", "BECAUSE"], rows, new Set([2])),
    waits.length === 0 ? "" : formatTable(["WAITS", "OWED (ETH)", "BECAUSE"], waits, new Set([1])),
  ]
    .filter((part) => part !== "")
    .join("\n");
}

/** What arrives, where that is not the amount itself: less gas, or a token. */
function sentText({ asset, sendAmount, amountWei }: z.infer<typeof lineSchema>): string {
  if (asset !== "eth") return `${sendAmount} of ${asset}`;
  return sendAmount === amountWei ? "" : formatEth(sendAmount);
}

/** What was read when it was planned. */
function recordText({ prices, fiat, notes }: z.infer<typeof runSchema>): string {
  return [
    ...prices.map(
      ({ token, unitsPerEth, source, atBlock }) =>
        `price  1 ETH = ${unitsPerEth} of ${token} (${source}${atBlock === undefined ? "" : `, block ${atBlock}`})\n`,
    ),
    ...(fiat ? [`worth  1 ETH = ${fiat.perEth} ${fiat.currency} (${fiat.source})\n`] : []),
    ...notes.map((note) => `note   ${note}\n`),
  ].join("");
}

function listText(answer: unknown): string {
  const { status, next, runs } = payoutsSchema.parse(answer);
  const state =
    status.halted !== undefined
      ? `HALTED [${status.halted.code}] ${status.halted.message}`
      : status.paused === undefined
        ? (status.waitingFor ?? "nothing is under way")
        : `paused: ${status.paused}`;
  const rows = runs.map((run) => [
    run.id,
    new Date(run.createdAtMs).toISOString(),
    run.state,
    String(run.lines),
    formatEth(run.totalWei),
    formatEth(run.gasWei),
  ]);
  return [
    `payer  ${status.payer ?? "none"} on chain ${status.chainId}${status.balanceWei === undefined ? "" : `, ${formatEth(status.balanceWei)} ETH`}\n` +
      `next   ${next.atMs === undefined ? "only when asked" : new Date(next.atMs).toISOString()} (${next.schedule ?? "no schedule"}, ${next.timeZone}), from ${formatEth(next.minimumWei)} ETH on\n` +
      `pays   ${[status.asset, ...status.choices].map((asset) => (asset === "eth" ? "ETH" : asset)).join(", or as workers choose ")}\n` +
      `state  ${state}\n` +
      status.warnings.map((one) => `mind   ${one}\n`).join(""),
    rows.length === 0
      ? "no payout was made yet\n"
      : formatTable(["RUN", "PLANNED", "STATE", "WORKERS", "ETH", "GAS (ETH)"], rows, new Set([3, 4, 5])),
  ].join("\n");
}

function runText(answer: unknown): string {
  const { run, lines, intents } = payoutRunSchema.parse(answer);
  const rows = lines.map((line) => [
    line.id,
    line.worker,
    line.payTo === line.worker ? "" : line.payTo,
    formatEth(line.amountWei),
    sentText(line),
    line.method,
    line.state,
    line.txHash ?? "",
    line.reason ?? "",
  ]);
  const sent = intents.map((one) => [
    String(one.nonce),
    one.kind,
    one.state,
    String(one.lines.length),
    one.transactions.at(-1)?.hash ?? "",
    one.minedBlock === undefined ? "" : String(one.minedBlock),
  ]);
  return [
    `run ${run.id}: ${formatEth(run.totalWei)} ETH to ${count(run.lines, "worker")}, ${run.state}, gas ${formatEth(run.gasWei)} ETH\n`,
    recordText(run),
    formatTable(
      ["LINE", "WORKER", "PAID TO", "ETH", "SENT", "BY", "STATE", "TRANSACTION", "REASON"],
      rows,
      new Set([3]),
    ),
    sent.length === 0
      ? ""
      : formatTable(["NONCE", "KIND", "STATE", "LINES", "TRANSACTION", "BLOCK"], sent, new Set([0, 3])),
  ]
    .filter((part) => part !== "")
    .join("\n");
}
