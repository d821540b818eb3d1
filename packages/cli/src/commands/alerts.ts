import { z } from "zod";
import { exitCode } from "../io.ts";
import { addPoolGroup } from "../pool-group.ts";
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
  const { add, act } = addPoolGroup(
    registry,
    "alerts",
    "what was told to whom: list, test the channels, send again what was given up",
    "Alerts go out to the channels of `alerts-file` and to whoever subscribed on a worker's page. What cannot be delivered is tried again for two days and then put aside.",
  );
  const list = (name: string, summary: string, query: string): void => {
    const command = add(name, summary).option("--json", "print JSON");
    command.action(() =>
      act(command, 0, async (pool) => {
        const answer = await pool.get(`/alerts${query}`);
        return { text: listText(listSchema.parse(answer)), json: answer };
      }),
    );
  };
  list("list", "list the newest alerts and what became of them", "");
  list("dead", "list the alerts that could not be delivered", "?state=dead");

  const test = add("test", "send a test over every channel of `alerts-file`").option("--json", "print JSON");
  test.action(() =>
    act(test, 0, async (pool) => {
      const answer = testSchema.parse(await pool.change("POST", "/alerts/test"));
      const failed = answer.channels.some((one) => one.error !== undefined);
      const rows = answer.channels.map((one) => [one.channel, one.error ?? "sent"]);
      return {
        text:
          rows.length === 0
            ? "No channel is set up: name one under `operator` in --alerts-file.\n"
            : formatTable(["CHANNEL", "RESULT"], rows),
        json: answer,
        code: failed ? exitCode.failed : exitCode.ok,
      };
    }),
  );

  const replay = add("replay", "send again what could not be delivered; all of it, or the ones that are named");
  replay
    .option("--json", "print JSON")
    .argument("[ID...]", "as `openpool alerts dead` shows them")
    .action((ids: string[]) =>
      act(replay, ids.length, async (pool) => {
        const answer = replaySchema.parse(await pool.change("POST", "/alerts/replay", ids.length === 0 ? {} : { ids }));
        return { text: `${answer.replayed} are sent again\n`, json: answer };
      }),
    );
}

function listText({ counts, deliveries }: z.infer<typeof listSchema>): string {
  const summary = `${counts.waiting} waiting, ${counts.sent} sent, ${counts.dead} could not be delivered\n`;
  if (deliveries.length === 0) return summary;
  const rows = deliveries.map((one) => [one.at, one.state, one.title, one.destination, one.error ?? "", one.id]);
  return `${formatTable(["TIME", "STATE", "ALERT", "TO", "LAST ERROR", "ID"], rows)}\n${summary}`;
}
