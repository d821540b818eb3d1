import { setTimeout as sleep } from "node:timers/promises";
import { BadValue, durationValue, PoolError } from "@openpool/base";
import { z } from "zod";
import { addPoolFinder, findDataDir, openAdminClient } from "../admin-client.ts";
import { collect } from "../collect.ts";
import { exitCode } from "../io.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";

const eventSchema = z.object({
  position: z.string(),
  time: z.string(),
  type: z.string(),
  worker: z.string().optional(),
  rig: z.string().optional(),
  data: z.record(z.string(), z.unknown()),
});

interface EventFlags {
  readonly follow?: boolean;
  readonly json?: boolean;
  readonly since?: string;
  readonly type?: readonly string[];
  readonly limit?: string;
}

export function addEventsCommand({ program, run }: Registry): void {
  const command = program
    .command("events")
    .summary("what happened, in order, from the event log")
    .description(
      "Prints the pool's event log, oldest first: jobs credited, rigs that came and went, refusals, settings.",
    )
    .option("-f, --follow", "go on with what happens from now, also across a restart of the pool")
    .option("--json", "one JSON object a line, as docs/events.md describes it")
    .option("--since <TIME>", "only what happened since: 2026-01-31T12:00:00Z, or 15m, 2h, 1d ago")
    .option("--type <TYPE>", "only events of this type; may be given several times", collect)
    .option("--limit <N>", "at most so many; following ends with the last of them")
    .addHelpText(
      "after",
      `
Examples:
  openpool events --since 1h
  openpool events --follow --type job.credited --json`,
    );
  addPoolFinder(command);
  command.action(() =>
    run(async (io) => {
      const dataDir = findDataDir(command, 0, io);
      const flags = command.opts<EventFlags>();
      const query = readQuery(flags);
      let after: string | undefined;
      let left = flags.limit === undefined ? Infinity : Number(flags.limit);
      let reached = false;
      let told = false;
      for (;;) {
        try {
          const pool = await openAdminClient(dataDir);
          reached = true;
          if (after !== undefined) query.set("after", after);
          if (left < Infinity) query.set("limit", String(left));
          for await (const line of pool.lines(`/events?${query}`, io.stop)) {
            told = false;
            const event = eventSchema.parse(JSON.parse(line));
            after = event.position;
            left -= 1;
            await io.out(flags.json ? `${line}\n` : eventText(event));
          }
          if (!flags.follow || left === 0) return exitCode.ok;
        } catch (error) {
          if (io.stop.aborted) return exitCode.ok;
          // Whoever follows has seen the pool before: it is being restarted, most likely.
          const gone = error instanceof PoolError && ["cli/no-pool", "cli/pool-unreachable"].includes(error.info.code);
          if (!flags.follow || !reached || !gone) throw error;
          if (!told) io.err("openpool: the pool went away, waiting for it to come back …\n");
          told = true;
        }
        await sleep(500, undefined, { signal: io.stop }).catch(() => undefined);
        if (io.stop.aborted) return exitCode.ok;
      }
    }),
  );
}

function readQuery(flags: EventFlags): URLSearchParams {
  const query = new URLSearchParams();
  const problems = [];
  if (flags.follow) query.set("follow", "1");
  if (flags.since === undefined) {
    if (flags.follow) query.set("since", new Date().toISOString());
  } else {
    const since = parseSince(flags.since, Date.now());
    if (since === undefined) {
      problems.push({
        where: "--since",
        problem: `${JSON.stringify(flags.since)} is no time like 2026-01-31T12:00:00Z or 15m`,
      });
    } else {
      query.set("since", new Date(since).toISOString());
    }
  }
  if (flags.limit !== undefined) {
    if (!/^[1-9]\d{0,5}$/.test(flags.limit)) {
      problems.push({ where: "--limit", problem: `${JSON.stringify(flags.limit)} is no number from 1 to 999999` });
    }
  }
  for (const type of flags.type ?? []) query.append("type", type);
  if (problems.length > 0) throw settingsError(problems);
  return query;
}

/** A moment in unix ms: a date with or without time, or a span before now. */
function parseSince(text: string, nowMs: number): number | undefined {
  const ago = durationValue({ minMs: 0 }).parse(text);
  if (!(ago instanceof BadValue)) return nowMs - ago;
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)) return undefined;
  const parsed = Date.parse(text);
  return Number.isNaN(parsed) ? undefined : parsed;
}

function eventText({ time, type, worker, rig, data }: z.infer<typeof eventSchema>): string {
  const who = worker === undefined ? "" : `  ${worker}${rig === undefined ? "" : `.${rig}`}`;
  const facts = Object.entries(data).map(
    ([key, value]) => `  ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  // What peers sent stands in events too: it must not steer the terminal.
  // oxlint-disable-next-line no-control-regex -- control characters are exactly what is replaced
  return `${`${time}  ${type}${who}${facts.join("")}`.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, "?")}\n`;
}
