import { formatRig, parseOpenSecret } from "@openpool/protocol";
import { z } from "zod";
import { exitCode } from "../io.ts";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { formatTable } from "../text/table.ts";

const rigsSchema = z.array(
  z.object({
    worker: z.string(),
    rig: z.string(),
    state: z.string(),
    connections: z.number(),
    capacity: z.number(),
    sessions: z.number(),
    jobsInFlight: z.number(),
    standing: z.string(),
    reason: z.string(),
  }),
);
const WAIT_POLL_MS = 500;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

const decisionsSchema = z.array(z.object({ at: z.string(), chosen: z.boolean(), reason: z.string() }));

export function addRigsCommand(registry: Registry): void {
  const { add, act } = addPoolGroup(
    registry,
    "rigs",
    "the workers' machines: list, drain, and why one gets no work",
    "A rig is one machine of a worker, named 0xADDRESS.NAME.",
  );

  const list = add("list", "list the rigs that are or were connected");
  list.option("--json", "print JSON").action(() =>
    act(list, 0, async (pool) => {
      const answer = await pool.get("/rigs");
      const rows = rigsSchema
        .parse(answer)
        .map((one) => [
          `${one.worker}.${one.rig}`,
          one.state,
          `${one.sessions}/${one.capacity}`,
          String(one.jobsInFlight),
          one.standing,
          one.reason,
        ]);
      const head = ["RIG", "STATE", "SESSIONS", "JOBS", "STANDING", "WHY"];
      return { text: formatTable(head, rows, new Set([2, 3])), json: answer };
    }),
  );

  const drain = add("drain", "give a rig no new sessions; what it holds is finished or goes elsewhere");
  drain
    .argument("<RIG>", "0xADDRESS.NAME")
    .option("--wait", "come back when it holds nothing any more: then it can be stopped")
    .addHelpText(
      "after",
      `
Running streams go to other rigs with their next segment. Where no other rig has room they stay, because a drain must not
lose a segment: until they end, or another rig joins.`,
    )
    .action((name: string) =>
      act(drain, 1, async (pool, io) => {
        await pool.change("POST", `/rigs/${encodeURIComponent(name)}/drain`);
        if (!drain.opts<{ wait?: boolean }>().wait) return `${name} is draining\n`;
        // The pool took it, in whatever letters; its answers have it in one form.
        const parsed = parseOpenSecret(name);
        const wanted = typeof parsed === "string" ? name : formatRig(parsed);
        for (let said = ""; ;) {
          const all = rigsSchema.parse(await pool.get("/rigs"));
          const rig = all.find((one) => `${one.worker}.${one.rig}` === wanted);
          if (!rig) {
            io.err(`the pool does not know ${wanted} any more, so nobody can say what it holds\n`);
            return { text: "", code: exitCode.failed };
          }
          if (rig.sessions === 0 && rig.jobsInFlight === 0) return `${name} holds nothing any more\n`;
          const room = all.some((one) => one.state === "connected" && one.sessions < one.capacity);
          const text = `${name} holds ${rig.sessions} sessions${room ? "" : ", and no other rig has room for them"}`;
          if (text !== said) io.err(`${(said = text)}\n`);
          await pause(WAIT_POLL_MS, io.stop);
          if (io.stop.aborted) return { text: "", code: exitCode.failed };
        }
      }),
    );
  const undrain = add("undrain", "give a drained rig work again");
  undrain.argument("<RIG>", "0xADDRESS.NAME").action((name: string) =>
    act(undrain, 1, async (pool) => {
      await pool.change("POST", `/rigs/${encodeURIComponent(name)}/undrain`);
      return `${name} gets work again\n`;
    }),
  );
  const why = add("why", "say why a rig was given work, or was not");
  why
    .argument("<RIG>", "0xADDRESS.NAME")
    .option("--json", "print JSON")
    .action((name: string) =>
      act(why, 1, async (pool) => {
        const answer = await pool.get(`/rigs/${encodeURIComponent(name)}/decisions`);
        const rows = decisionsSchema
          .parse(answer)
          .map((one) => [one.at, one.chosen ? "chosen" : "not chosen", one.reason]);
        return { text: formatTable(["TIME", "DECISION", "WHY"], rows), json: answer };
      }),
    );
}
