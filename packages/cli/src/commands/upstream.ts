import { z } from "zod";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { formatTable } from "../text/table.ts";

const upstreamsSchema = z.array(
  z.object({
    name: z.string(),
    address: z.string(),
    state: z.string(),
    why: z.string().optional(),
    capacity: z.number(),
    sessions: z.number(),
    tasksInFlight: z.number(),
    answered: z.number(),
    failed: z.number(),
    lost: z.number(),
    price: z.object({ pricePerUnitWei: z.string(), pixelsPerUnit: z.string() }),
    priceSource: z.string(),
  }),
);

export function addUpstreamCommand(registry: Registry): void {
  const { add, act } = addPoolGroup(
    registry,
    "upstream",
    "orchestrators that the pool works for: list, take the pool out, put it back",
    "An upstream is a go-livepeer orchestrator that the pool is attached to with `--upstream`.",
  );

  const list = add("list", "list the orchestrators, whether the pool is registered, and what they pay");
  list.option("--json", "print JSON").action(() =>
    act(list, 0, async (pool) => {
      const answer = await pool.get("/upstreams");
      const rows = upstreamsSchema
        .parse(answer)
        .map((one) => [
          one.name,
          one.address,
          one.state,
          `${one.sessions}/${one.capacity}`,
          String(one.tasksInFlight),
          String(one.answered),
          String(one.failed),
          String(one.lost),
          `${one.price.pricePerUnitWei}/${one.price.pixelsPerUnit} ${one.priceSource}`,
          one.why ?? "",
        ]);
      const head = ["NAME", "ADDRESS", "STATE", "SESSIONS", "TASKS", "ANSWERED", "FAILED", "LOST", "WEI/PIXELS", "WHY"];
      return { text: formatTable(head, rows, new Set([3, 4, 5, 6, 7])), json: answer };
    }),
  );
  const drain = add("drain", "take no more work from an orchestrator; what runs is answered, also after a restart");
  drain.argument("<NAME>", "as `openpool upstream list` shows it").action((name: string) =>
    act(drain, 1, async (pool) => {
      await pool.change("POST", `/upstreams/${encodeURIComponent(name)}/drain`);
      return `the pool is taken out of ${name}\n`;
    }),
  );
  const undrain = add("undrain", "take work from an orchestrator again");
  undrain.argument("<NAME>", "as `openpool upstream list` shows it").action((name: string) =>
    act(undrain, 1, async (pool) => {
      await pool.change("POST", `/upstreams/${encodeURIComponent(name)}/undrain`);
      return `the pool takes work from ${name} again\n`;
    }),
  );
}
