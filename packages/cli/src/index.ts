import { homedir } from "node:os";
import process from "node:process";
import { runCli } from "./program.ts";
import { watchSignals } from "./signals.ts";

/** Runs the openpool command with this process's arguments, and ends the process with its exit code. */
export async function main(): Promise<void> {
  const signals = watchSignals((code) => process.exit(code), process.env["npm_command"] !== undefined);
  // Who read our log may end before us (`openpool pool 2>&1 | tee log`): that is no reason to end with them.
  process.stderr.on("error", () => {});
  // The reader of our data has gone (`openpool events | head`): nobody is left to write for.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  // Rooms wait with timers that hold nobody up. Until the command is done, this one does: a worker that waits to dial
  // again has nothing else open.
  const alive = setInterval(() => {}, 3_600_000);
  const code = await runCli(process.argv.slice(2), {
    env: process.env,
    cwd: process.cwd(),
    home: homedir(),
    async out(text) {
      if (!process.stdout.write(text)) await new Promise<void>((resolve) => process.stdout.once("drain", resolve));
    },
    err: (text) => void process.stderr.write(text),
    outIsTerminal: process.stdout.isTTY ?? false,
    errIsTerminal: process.stderr.isTTY ?? false,
    stop: signals.stop,
    kill: signals.kill,
    onHangup: signals.onHangup,
    self: [process.execPath, ...process.execArgv, ...process.argv.slice(1, 2)],
    terminal: process.stdout.isTTY ? process.stdout : undefined,
    keyboard: process.stdin.isTTY ? process.stdin : undefined,
  });
  clearInterval(alive);
  process.exitCode = code;
  signals.forget();
  // Everything was closed. Should something still hold the process, it does not get to hold it for long.
  setTimeout(() => process.exit(code), 1_000).unref();
}
