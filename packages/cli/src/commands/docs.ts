import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { errorCode, PoolError } from "@openpool/base";
import { exitCode } from "../io.ts";
import type { Registry } from "../registry.ts";
import { cliManual } from "../manual/commands.ts";
import { configurationManual } from "../manual/configuration.ts";

class DocsError extends PoolError<{ readonly code: "cli/docs-stale"; readonly files: readonly string[] }> {}

export function addDocsCommand({ program, run }: Registry): void {
  const command = program
    .command("docs", { hidden: true })
    .description("Writes the parts of docs/ that come from the program itself.")
    .option("--check", "write nothing, and fail if a file differs");
  command.action(() =>
    run(async (io) => {
      const check = command.opts<{ check?: boolean }>().check ?? false;
      const root = new URL("../../../../", import.meta.url);
      const stale: string[] = [];
      // Written from the definitions themselves, so that they never say anything else than the program does.
      const generated = [
        { file: "docs/configuration.md", write: configurationManual },
        { file: "docs/cli.md", write: () => cliManual(program) },
      ];
      for (const { file, write } of generated) {
        const path = fileURLToPath(new URL(file, root));
        const text = write();
        if ((await readOrEmpty(path)) === text) continue;
        if (!check) {
          await writeFile(path, text);
          io.err(`wrote ${file}\n`);
        }
        stale.push(file);
      }
      if (check && stale.length > 0) {
        throw new DocsError(
          { code: "cli/docs-stale", files: stale },
          `${stale.join(", ")} no longer says what the program does: run \`npm run docs\` and commit what it writes`,
        );
      }
      return exitCode.ok;
    }),
  );
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return "";
    throw error;
  }
}
