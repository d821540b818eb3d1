import type { Command } from "commander";
import type { Io, Run } from "./io.ts";

/** What a command is registered with. */
export interface Registry {
  readonly program: Command;
  readonly io: Io;
  /** Runs what the action of a command found to do. */
  run(run: Run): Promise<void>;
}
