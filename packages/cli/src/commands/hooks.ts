import { writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { PoolError, systemClock } from "@openpool/base";
import { hookTemplate, hookTypes, readHookModule, tryHook } from "@openpool/pool";
import type { Command } from "commander";
import { z } from "zod";
import { addPoolFinder, findDataDir, openAdminClient } from "../admin-client.ts";
import { exitCode } from "../io.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";
import { formatTable } from "../text/table.ts";
import { formatEth } from "../text/words.ts";

const hookSchema = z.object({ hash: z.string(), exports: z.array(z.string()) });
const listSchema = z.array(hookSchema.extend({ addedAt: z.string() }));
const heldSchema = z.array(
  z.looseObject({ job: z.looseObject({ job: z.string(), worker: z.string(), feeWei: z.string() }), why: z.string() }),
);
const releasedSchema = z.object({ released: z.number(), failed: z.number() });

/** `openpool hooks`: the operator's own functions. */
export function addHooksCommand({ program, run }: Registry): void {
  const hooks = program
    .command("hooks")
    .summary("your own functions: how fees are shared, who may join, what is paid")
    .description(
      "Hooks are JavaScript or TypeScript of the operator's own, run isolated. docs/hooks.md explains them.",
    );
  const add = (name: string, summary: string): Command =>
    hooks
      .command(name)
      .summary(summary)
      .description(`${summary[0]?.toUpperCase() ?? ""}${summary.slice(1)}.`);

  add("init", "write a module to begin with, and the types that it uses")
    .argument("[FILE]", "hooks.ts or hooks.js; nothing is overwritten", "hooks.ts")
    .action((file: string) =>
      run(async (io) => {
        const path = resolve(io.cwd, file);
        const language = /^\.[cm]?ts$/.test(extname(path)) ? "ts" : "js";
        const types = `${basename(path, extname(path))}-types`;
        const beside = join(dirname(path), `${types}.d.ts`);
        await writeNew(path, hookTemplate(language, `${types}.d.ts`));
        await writeNew(beside, hookTypes);
        await io.out(`wrote ${path}\nwrote ${beside}\nnext: openpool hooks test ${file}\n`);
        return exitCode.ok;
      }),
    );

  const test = add("test", "share past jobs by a module and print what would have been different");
  test
    .argument("<FILE>", "the module: .js, .mjs or .ts")
    .option("--last <N>", "how many jobs", "1000")
    .option("--json", "print JSON; wei as decimal strings")
    .action((file: string) =>
      run(async (io) => {
        const flags = test.opts<{ last: string; json?: boolean }>();
        if (!/^[1-9]\d{0,3}$|^10000$/.test(flags.last)) {
          throw settingsError([{ where: "--last", problem: `${flags.last} is no number from 1 to 10000` }]);
        }
        const pool = await openAdminClient(findDataDir(test, 1, io));
        const jobs = await pool.get(`/hooks/jobs?limit=${flags.last}`);
        const trial = await tryHook(resolve(io.cwd, file), jobs, { clock: systemClock });
        if (flags.json) {
          await io.out(
            `${JSON.stringify(trial, (_key, value) => (typeof value === "bigint" ? String(value) : value))}\n`,
          );
        } else {
          const rows = trial.payees.map((one) => [
            one.to,
            formatEth(one.nowWei),
            formatEth(one.thenWei),
            formatEth(one.thenWei - one.nowWei),
          ]);
          await io.out(
            `${trial.hash}\n${trial.jobs} jobs, ${trial.failed} on which it failed\n` +
              (rows.length === 0
                ? ""
                : formatTable(["PAYEE", "NOW (ETH)", "WITH IT (ETH)", "MORE"], rows, new Set([1, 2, 3]))) +
              trial.failures.map((one) => `${one.job}: ${one.why}\n`).join(""),
          );
        }
        return trial.failed === 0 ? exitCode.ok : exitCode.failed;
      }),
    );
  addPoolFinder(test);

  const keep = add("add", "keep a module in the pool, and print the hash that terms name it by");
  keep.argument("<FILE>", "the module: .js, .mjs or .ts").action((file: string) =>
    run(async (io) => {
      const pool = await openAdminClient(findDataDir(keep, 1, io));
      const { source } = await readHookModule(resolve(io.cwd, file));
      const { hash, exports } = hookSchema.parse(await pool.change("POST", "/hooks", { source }));
      await io.out(`${hash}\n`);
      io.err(
        `kept, with ${exports.join(", ")}. Nothing uses it until terms name it: openpool terms set --scheme hook --scheme-option hook=${hash}\n`,
      );
      return exitCode.ok;
    }),
  );
  addPoolFinder(keep);

  const list = add("list", "list the modules that the pool has");
  list.option("--json", "print JSON").action(() =>
    run(async (io) => {
      const pool = await openAdminClient(findDataDir(list, 0, io));
      const answer = await pool.get("/hooks");
      const rows = listSchema.parse(answer).map((one) => [one.hash, one.exports.join(" "), one.addedAt.slice(0, 19)]);
      if (list.opts<{ json?: boolean }>().json) await io.out(`${JSON.stringify(answer)}\n`);
      else
        await io.out(
          rows.length === 0 ? "there are none\n" : formatTable(["HASH", "HAS", "ADDED (UTC)"], rows, new Set()),
        );
      return exitCode.ok;
    }),
  );
  addPoolFinder(list);

  const held = add("held", "list jobs whose fee is held because their hook failed");
  held.option("--json", "print JSON").action(() =>
    run(async (io) => {
      const pool = await openAdminClient(findDataDir(held, 0, io));
      const answer = await pool.get("/hooks/held?limit=1000");
      if (held.opts<{ json?: boolean }>().json) {
        await io.out(`${JSON.stringify(answer)}\n`);
        return exitCode.ok;
      }
      const rows = heldSchema
        .parse(answer)
        .map((one) => [one.job.job, one.job.worker, formatEth(BigInt(one.job.feeWei)), one.why]);
      await io.out(
        rows.length === 0
          ? "nothing is held\n"
          : formatTable(["JOB", "WORKER", "FEE (ETH)", "WHY"], rows, new Set([2])),
      );
      return exitCode.ok;
    }),
  );
  addPoolFinder(held);

  const release = add("release", "share held jobs after all");
  release
    .option("--hook <HASH>", "by this module")
    .option("--by-fee", "each by its own fee, as the scheme `unit` does")
    .action(() =>
      run(async (io) => {
        const { hook, byFee } = release.opts<{ hook?: string; byFee?: boolean }>();
        if ((hook === undefined) === (byFee === undefined)) {
          throw settingsError([{ where: "--hook", problem: "or --by-fee: say one of the two" }]);
        }
        const pool = await openAdminClient(findDataDir(release, 0, io));
        const { released, failed } = releasedSchema.parse(
          await pool.change("POST", "/hooks/release", hook === undefined ? { byFee: true } : { hook }),
        );
        await io.out(`${released} jobs shared${failed > 0 ? `, ${failed} on which it failed are still held` : ""}\n`);
        return failed === 0 ? exitCode.ok : exitCode.failed;
      }),
    );
  addPoolFinder(release);
}

async function writeNew(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: "wx" });
  } catch (cause) {
    throw new PoolError(
      { code: "hooks/not-written" },
      `${path} is there already, or cannot be written: nothing was overwritten.`,
      {
        cause,
      },
    );
  }
}
