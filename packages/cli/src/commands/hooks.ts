import { writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { PoolError, systemClock } from "@openpool/base";
import { hookTemplate, hookTypes, readHookModule, tryHook } from "@openpool/pool";
import { z } from "zod";
import { exitCode } from "../io.ts";
import { addPoolGroup } from "../pool-group.ts";
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
export function addHooksCommand(registry: Registry): void {
  const {
    command: group,
    add,
    act,
  } = addPoolGroup(
    registry,
    "hooks",
    "your own functions: how fees are shared, who may join, what is paid",
    "Hooks are JavaScript or TypeScript of the operator's own, run isolated. docs/hooks.md explains them.",
  );

  group
    .command("init")
    .summary("write a module to begin with, and the types that it uses")
    .description("Write a module to begin with, and the types that it uses.")
    .argument("[FILE]", "hooks.ts or hooks.js; nothing is overwritten", "hooks.ts")
    .action((file: string) =>
      registry.run(async (io) => {
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
      act(test, 1, async (pool, io) => {
        const { last } = test.opts<{ last: string }>();
        if (!/^[1-9]\d{0,3}$|^10000$/.test(last)) {
          throw settingsError([{ where: "--last", problem: `${last} is no number from 1 to 10000` }]);
        }
        const jobs = await pool.get(`/hooks/jobs?limit=${last}`);
        const trial = await tryHook(resolve(io.cwd, file), jobs, { clock: systemClock });
        const rows = trial.payees.map((one) => [
          one.to,
          formatEth(one.nowWei),
          formatEth(one.thenWei),
          formatEth(one.thenWei - one.nowWei),
        ]);
        return {
          text:
            `${trial.hash}\n${trial.jobs} jobs, ${trial.failed} on which it failed\n` +
            (rows.length === 0
              ? ""
              : formatTable(["PAYEE", "NOW (ETH)", "WITH IT (ETH)", "MORE"], rows, new Set([1, 2, 3]))) +
            trial.failures.map((one) => `${one.job}: ${one.why}\n`).join(""),
          json: {
            ...trial,
            payees: trial.payees.map(({ to, nowWei, thenWei }) => ({ to, nowWei: `${nowWei}`, thenWei: `${thenWei}` })),
          },
          code: trial.failed === 0 ? exitCode.ok : exitCode.failed,
        };
      }),
    );

  const keep = add("add", "keep a module in the pool, and print the hash that terms name it by");
  keep.argument("<FILE>", "the module: .js, .mjs or .ts").action((file: string) =>
    act(keep, 1, async (pool, io) => {
      const { source } = await readHookModule(resolve(io.cwd, file));
      const { hash, exports } = hookSchema.parse(await pool.change("POST", "/hooks", { source }));
      io.err(
        `kept, with ${exports.join(", ")}. Nothing uses it until terms name it: openpool terms set --scheme hook --scheme-option hook=${hash}\n`,
      );
      return `${hash}\n`;
    }),
  );

  const list = add("list", "list the modules that the pool has");
  list.option("--json", "print JSON").action(() =>
    act(list, 0, async (pool) => {
      const answer = await pool.get("/hooks");
      const rows = listSchema.parse(answer).map((one) => [one.hash, one.exports.join(" "), one.addedAt.slice(0, 19)]);
      return {
        text: rows.length === 0 ? "there are none\n" : formatTable(["HASH", "HAS", "ADDED (UTC)"], rows, new Set()),
        json: answer,
      };
    }),
  );

  const held = add("held", "list jobs whose fee is held because their hook failed");
  held.option("--json", "print JSON").action(() =>
    act(held, 0, async (pool) => {
      const answer = await pool.get("/hooks/held?limit=1000");
      const rows = heldSchema
        .parse(answer)
        .map((one) => [one.job.job, one.job.worker, formatEth(BigInt(one.job.feeWei)), one.why]);
      return {
        text:
          rows.length === 0
            ? "nothing is held\n"
            : formatTable(["JOB", "WORKER", "FEE (ETH)", "WHY"], rows, new Set([2])),
        json: answer,
      };
    }),
  );

  const release = add("release", "share held jobs after all");
  release
    .option("--hook <HASH>", "by this module")
    .option("--by-fee", "each by its own fee, as the scheme `unit` does")
    .action(() =>
      act(release, 0, async (pool) => {
        const { hook, byFee } = release.opts<{ hook?: string; byFee?: boolean }>();
        if ((hook === undefined) === (byFee === undefined)) {
          throw settingsError([{ where: "--hook", problem: "or --by-fee: say one of the two" }]);
        }
        const { released, failed } = releasedSchema.parse(
          await pool.change("POST", "/hooks/release", hook === undefined ? { byFee: true } : { hook }),
        );
        return {
          text: `${released} jobs shared${failed > 0 ? `, ${failed} on which it failed are still held` : ""}\n`,
          code: failed === 0 ? exitCode.ok : exitCode.failed,
        };
      }),
    );
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
