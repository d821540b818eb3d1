import type { Command } from "commander";
import { z } from "zod";
import { addPoolFinder, type AdminClient, findDataDir, openAdminClient } from "../admin-client.ts";
import { exitCode, type ExitCode } from "../io.ts";
import type { Registry } from "../registry.ts";
import { formatTable } from "../text/table.ts";

const listSchema = z.object({
  counts: z.object({ waiting: z.number(), sent: z.number(), dead: z.number() }),
  deliveries: z.array(
    z.object({
      id: z.string(),
      destination: z.string(),
      title: z.string(),
      at: z.string(),
      state: z.string(),
      attempts: z.number(),
      next: z.string().optional(),
      error: z.string().optional(),
    }),
  ),
});
const testSchema = z.object({
  channels: z.array(z.object({ channel: z.string(), kind: z.string(), error: z.string().optional() })),
});
const replaySchema = z.object({ replayed: z.number() });

export function addAlertsCommand(registry: Registry): void {
  const alerts = registry.program
    .command("alerts")
    .summary("what was told to whom: list, test the channels, send again what was given up")
    .description(
      "Alerts go out to the channels of `alerts-file` and to whoever subscribed on a worker's page. What cannot be delivered is tried again for two days and then put aside.",
    );
  const add = (name: string, summary: string): Command => {
    const command = alerts
      .command(name)
      .summary(summary)
      .description(`${summary[0]!.toUpperCase()}${summary.slice(1)}.`)
      .option("--json", "print JSON");
    addPoolFinder(command);
    return command;
  };
  const act = (
    command: Command,
    operands: number,
    work: (client: AdminClient, json: boolean) => Promise<readonly [text: string, code: ExitCode]>,
  ): Promise<void> =>
    registry.run(async (io) => {
      const client = await openAdminClient(findDataDir(command, operands, io));
      const [text, code] = await work(client, command.opts<{ json?: boolean }>().json === true);
      await io.out(text);
      return code;
    });
  const list = async (client: AdminClient, json: boolean, query: string): Promise<readonly [string, ExitCode]> => {
    const answer = await client.get(`/alerts${query}`);
    return [json ? `${JSON.stringify(answer)}\n` : listText(listSchema.parse(answer)), exitCode.ok];
  };

  const all = add("list", "list the newest alerts and what became of them");
  all.action(() => act(all, 0, (client, json) => list(client, json, "")));
  const dead = add("dead", "list the alerts that could not be delivered");
  dead.action(() => act(dead, 0, (client, json) => list(client, json, "?state=dead")));

  const test = add("test", "send a test over every channel of `alerts-file`");
  test.action(() =>
    act(test, 0, async (client, json) => {
      const answer = testSchema.parse(await client.change("POST", "/alerts/test"));
      const failed = answer.channels.some((one) => one.error !== undefined);
      const code = failed ? exitCode.failed : exitCode.ok;
      if (json) return [`${JSON.stringify(answer)}\n`, code];
      if (answer.channels.length === 0)
        return ["No channel is set up: name one under `operator` in --alerts-file.\n", code];
      const rows = answer.channels.map((one) => [one.channel, one.error ?? "sent"]);
      return [formatTable(["CHANNEL", "RESULT"], rows), code];
    }),
  );

  const replay = add("replay", "send again what could not be delivered; all of it, or the ones that are named");
  replay.argument("[ID...]", "as `openpool alerts dead` shows them").action((ids: string[]) =>
    act(replay, ids.length, async (client, json) => {
      const answer = replaySchema.parse(await client.change("POST", "/alerts/replay", ids.length === 0 ? {} : { ids }));
      return [json ? `${JSON.stringify(answer)}\n` : `${answer.replayed} are sent again\n`, exitCode.ok];
    }),
  );
}

function listText({ counts, deliveries }: z.infer<typeof listSchema>): string {
  const summary = `${counts.waiting} waiting, ${counts.sent} sent, ${counts.dead} could not be delivered\n`;
  if (deliveries.length === 0) return summary;
  const rows = deliveries.map((one) => [one.at, one.state, one.title, one.destination, one.error ?? "", one.id]);
  return `${formatTable(["TIME", "STATE", "ALERT", "TO", "LAST ERROR", "ID"], rows)}\n${summary}`;
}
