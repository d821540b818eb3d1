import { type OptionDefinitions } from "@openpool/base";
import { poolOptions } from "@openpool/pool";
import { pushOptions } from "./push-options.ts";
import { workerOptions } from "./worker-options.ts";

/** The commands that have settings. */
export const settingsOf = { pool: poolOptions, worker: workerOptions, push: pushOptions } as const;

/** Settings that are not the given command's own, with the command that has them. */
export function settingsElsewhere(own: OptionDefinitions): ReadonlyMap<string, string> {
  const names = new Set(Object.values(own).map((one) => one.name));
  const elsewhere = new Map<string, string>();
  for (const [command, definitions] of Object.entries(settingsOf)) {
    for (const one of Object.values(definitions)) {
      if (!names.has(one.name) && !elsewhere.has(one.name)) elsewhere.set(one.name, command);
    }
  }
  return elsewhere;
}
