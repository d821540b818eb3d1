import type { Io } from "../io.ts";
import { runCli } from "../program.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Nothing around: no variables, no terminal, no signals; what is written goes nowhere. */
export function bareIo(): Io {
  return {
    env: {},
    cwd: "/",
    home: "/home/ada",
    async out() {},
    err() {},
    outIsTerminal: false,
    errIsTerminal: false,
    stop: new AbortController().signal,
    kill: new AbortController().signal,
    onHangup: () => {},
    self: ["false"],
    terminal: undefined,
    keyboard: undefined,
  };
}

/** Runs a command inside this process, as a user would with this command line and nothing else around. */
export async function run(args: readonly string[], around: Partial<Io> = {}): Promise<Ran> {
  let out = "";
  let err = "";
  const code = await runCli(args, {
    ...bareIo(),
    async out(text) {
      out += text;
    },
    err: (text) => (err += text),
    ...around,
  });
  return { code, out, err };
}
