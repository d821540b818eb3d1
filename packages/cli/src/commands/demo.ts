import { runDemo, SEGMENTS_UNWATCHED } from "../demo/demo.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";

interface DemoFlags {
  readonly once?: string;
  readonly loop: boolean;
  readonly install: boolean;
  readonly workers: string;
  readonly streams: string;
  readonly file?: string;
  readonly dataDir?: string;
}

export function addDemoCommand({ program, run }: Registry): void {
  const command = program
    .command("demo")
    .summary("watch a pool, two workers and a gateway work on this machine")
    .description(
      "Starts a pool, local workers and a test gateway that pushes a real clip, and shows what happens. In a terminal, keys kill and add workers. Without one it ends by itself: it pushes some segments, pays the workers on a local chain, checks the books and says `paid <wei> of <wei> credited to <n> workers in <transaction>`. Everything ends with it.",
    )
    .option(
      "--once <N>",
      `push N segments, pay the workers, print a summary and end; exits 0 only if all came back right (default without a terminal: ${SEGMENTS_UNWATCHED})`,
    )
    .option("--loop", "without a terminal too, go on until it is told to stop; then it pays what is left", false)
    .option("--no-install", "do not install FFmpeg where it is missing")
    .option("--workers <N>", "how many workers to start with", "2")
    .option("--streams <N>", "how many streams the gateway pushes at once", "2")
    .option("--file <FILE>", "push this video (default: a clip of Big Buck Bunny that comes with the program)")
    .option("--data-dir <DIR>", "keep data and logs here (default: a temporary directory, removed at the end)")
    .addHelpText(
      "after",
      `
Examples:
  npm start
  npm start -- --once 20
  openpool demo --workers 3 --streams 4`,
    );
  command.action((flags: DemoFlags) =>
    run((io) => {
      const problems: { where: string; problem: string }[] = [];
      const number = (where: string, text: string, max: number): number => {
        const value = /^\d{1,6}$/.test(text) ? Number(text) : 0;
        if (value < 1 || value > max) {
          problems.push({ where, problem: `${JSON.stringify(text)} is no whole number from 1 to ${max}` });
        }
        return value;
      };
      const options = {
        once: flags.once === undefined ? undefined : number("--once", flags.once, 100_000),
        loop: flags.loop,
        mayInstall: flags.install,
        workers: number("--workers", flags.workers, 50),
        streams: number("--streams", flags.streams, 100),
        source: flags.file,
        dataDir: flags.dataDir,
      };
      if (problems.length > 0) throw settingsError(problems);
      return runDemo(options, io);
    }),
  );
}
