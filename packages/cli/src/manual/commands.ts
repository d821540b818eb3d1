import type { Command } from "commander";

const intro = `# The openpool command

<!-- Written by \`npm run docs\` from the help of the commands. Edit that, not this file. -->

In a checkout, after \`npm ci\`: \`npx openpool …\`. The first run after a change of the sources builds them.

Data goes to stdout, everything else (logs, progress, errors) to stderr. \`--json\` gives data for programs.

Commands that need a running pool find it by its data directory: \`--data-dir\`, or \`OPENPOOL_DATA_DIR\`. The pool keeps
its address and a token there that only its own user can read; reading needs no token, changing does.

The first SIGINT (Ctrl-C) or SIGTERM lets a pool, a worker or a push finish what it holds. A second one, at least half a
second later, ends it at once. SIGHUP restarts a pool without refusing a connection.

## Exit codes

| code | means |
| --- | --- |
| 0 | done; also after a first SIGINT or SIGTERM that was obeyed to the end |
| 1 | it ran, and what was asked for was not achieved: a segment was lost, a check failed, something broke |
| 2 | wrong usage: a flag, a variable, a settings file or an argument; nothing was started |
| 3 | no pool answers where one was looked for |
| 4 | the pool said no: to a change, or to a worker for good |
| 129, 130, 143 | ended at once by a second SIGHUP, SIGINT or SIGTERM |

Errors carry a code in brackets, such as \`[config/invalid]\`; [errors.md](errors.md) lists them all.
`;

/** `docs/cli.md`: the help of every command that is not hidden. */
export function cliManual(program: Command): string {
  const parts = [intro, section(program, "openpool", 2)];
  const walk = (command: Command, path: string, depth: number): void => {
    for (const one of command.commands) {
      const name = `${path} ${one.name()}`;
      if (one.name() === "help" || one.name() === "docs") continue;
      parts.push(section(one, name, depth));
      walk(one, name, depth + 1);
    }
  };
  walk(program, "openpool", 2);
  return parts.join("\n");
}

function section(command: Command, name: string, depth: number): string {
  return `${"#".repeat(depth)} ${name}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\`\n`;
}

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => (text += part),
    getOutHelpWidth: () => 100,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trim();
}
