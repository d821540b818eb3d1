import type { Command } from "commander";
import { addPoolFinder, type AdminClient, findDataDir, openAdminClient } from "./admin-client.ts";
import { type ExitCode, exitCode, type Io } from "./io.ts";
import type { Registry } from "./registry.ts";

/** What a command found out: text for people, and what `--json` prints instead, where it is taken. */
export interface Answer {
  readonly text: string;
  readonly json?: unknown;
  readonly code?: ExitCode;
}

/** Commands about one thing of a running pool. */
export interface PoolGroup {
  /** For commands that need no running pool. */
  readonly command: Command;
  /** A new command of the group; its description is its summary as a sentence. */
  add(name: string, summary: string): Command;
  /** Asks the running pool and prints what came of it. `operands`: how many of the words were for the command itself. */
  act(command: Command, operands: number, work: (pool: AdminClient, io: Io) => Promise<string | Answer>): Promise<void>;
}

export function addPoolGroup(registry: Registry, name: string, summary: string, description: string): PoolGroup {
  const group = registry.program.command(name).summary(summary).description(description);
  return {
    command: group,
    add(one, its) {
      const command = group
        .command(one)
        .summary(its)
        .description(`${its[0]!.toUpperCase()}${its.slice(1)}.`);
      addPoolFinder(command);
      return command;
    },
    act: (command, operands, work) =>
      registry.run(async (io) => {
        const answer = await work(await openAdminClient(findDataDir(command, operands, io)), io);
        const { text, json, code } = typeof answer === "string" ? { text: answer } : answer;
        const asJson = command.opts<{ json?: boolean }>().json === true && json !== undefined;
        await io.out(asJson ? `${JSON.stringify(json)}\n` : text);
        return code ?? exitCode.ok;
      }),
  };
}
