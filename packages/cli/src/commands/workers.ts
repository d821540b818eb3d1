import { BadValue } from "@openpool/base";
import { addressValue } from "@openpool/pool";
import type { Command } from "commander";
import { z } from "zod";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";
import { formatTable } from "../text/table.ts";

const workersSchema = z.object({
  workers: z.array(
    z.object({
      worker: z.string(),
      locked: z.boolean(),
      banned: z.string().optional(),
      note: z.string().optional(),
    }),
  ),
  credentials: z.array(
    z.object({
      id: z.string(),
      name: z.object({ worker: z.string(), rig: z.string() }),
      createdAt: z.string(),
      revokedAt: z.string().optional(),
    }),
  ),
});
const issuedSchema = z.object({ id: z.string(), secret: z.string(), name: z.string() });

export function addWorkersCommand(registry: Registry): void {
  const { add, act } = addPoolGroup(
    registry,
    "workers",
    "who may work: list, issue credentials, lock, ban",
    "A worker is a payout address; each of its machines is a rig.",
  );
  const change = (command: Command, worker: string, body: object, done: string): Promise<void> =>
    act(command, 1, async (pool) => {
      await pool.change("PATCH", `/workers/${worker}`, body);
      return `${worker} ${done}\n`;
    });

  const list = add("list", "list the workers that something is known about, and the issued credentials");
  list.option("--json", "print JSON").action(() =>
    act(list, 0, async (pool) => {
      const answer = await pool.get("/workers");
      return { text: listText(answer), json: answer };
    }),
  );

  const issue = add("add", "issue a credential for a worker; its secret is shown once");
  issue
    .argument("<ADDRESS>", "the payout address", checkedAddress)
    .option("--name <NAME>", "the rig that it is for (default: default)")
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  openpool workers add 0xADDRESS --name rig1\n  openpool workers add 0xADDRESS --json | jq -r .secret > rig1.secret",
    )
    .action((address: string) =>
      act(issue, 1, async (pool, io) => {
        const { name, json } = issue.opts<{ name?: string; json?: boolean }>();
        const issued = issuedSchema.parse(
          await pool.change("POST", "/workers", { address, ...(name === undefined ? {} : { rig: name }) }),
        );
        if (!json)
          io.err(
            "The secret is shown only now. The rig joins with `openpool worker --pool HOST:PORT --secret-file FILE`\n" +
              "or `livepeer -transcoder -orchAddr HOST:PORT -orchSecret SECRET`.\n",
          );
        return {
          text: `id      ${issued.id}\nname    ${issued.name}\nsecret  ${issued.secret}\n`,
          json: issued,
        };
      }),
    );

  const revoke = add("revoke", "take a credential back; rigs that use it are let go");
  revoke.argument("<ID>", "the credential, as `workers list` shows it").action((id: string) =>
    act(revoke, 1, async (pool) => {
      await pool.change("DELETE", `/credentials/${encodeURIComponent(id)}`);
      return `${id} is revoked\n`;
    }),
  );

  const lock = add(
    "lock",
    "let an address be used with issued credentials only, so that nobody else can ruin its name",
  );
  lock
    .argument("<ADDRESS>", "the worker", checkedAddress)
    .action((address: string) => change(lock, address, { locked: true }, "is locked"));
  const unlock = add("unlock", "let anyone use an address again, where joining is open");
  unlock
    .argument("<ADDRESS>", "the worker", checkedAddress)
    .action((address: string) => change(unlock, address, { locked: false }, "is unlocked"));

  const ban = add("ban", "let an address work no more; its rigs are told to stop for good");
  ban
    .argument("<ADDRESS>", "the worker", checkedAddress)
    .option("--reason <TEXT>", "why; everybody can read it on the worker's page", "no reason given")
    .action((address: string) => change(ban, address, { banned: ban.opts<{ reason: string }>().reason }, "is banned"));
  const unban = add("unban", "let a banned address work again");
  unban
    .argument("<ADDRESS>", "the worker", checkedAddress)
    .action((address: string) => change(unban, address, { banned: null }, "may work again"));

  const hold = add("hold", "hold a worker's payouts back: what it earns stays owed. A ban does that, too");
  hold
    .argument("<ADDRESS>", "the worker", checkedAddress)
    .option("--reason <TEXT>", "why, for your record: it is not public", "no reason given")
    .action((address: string) =>
      act(hold, 1, async (pool) => {
        const { reason } = hold.opts<{ reason: string }>();
        await pool.change("POST", `/workers/${address}/payout-hold`, { reason });
        return `${address} is not paid until it is released\n`;
      }),
    );
  const release = add("release", "pay a worker again whose payouts are held, also while it is banned");
  release.argument("<ADDRESS>", "the worker", checkedAddress).action((address: string) =>
    act(release, 1, async (pool) => {
      await pool.change("DELETE", `/workers/${address}/payout-hold`);
      return `${address} is paid with the next payout\n`;
    }),
  );

  const set = add("set", "change the note about a worker; where its money goes is `openpool payto`");
  set
    .argument("<ADDRESS>", "the worker", checkedAddress)
    .option("--note <TEXT>", "a note for the operator")
    .action((address: string) => {
      const { note } = set.opts<{ note?: string }>();
      const body = note === undefined ? {} : { note: note === "" ? null : note };
      return change(set, address, body, "is changed");
    });
}

/** Read here too, so that a mistyped address is told before anything is asked of the pool. */
function checkedAddress(text: string): string {
  const address = addressValue.parse(text);
  if (address instanceof BadValue) throw settingsError([{ where: text, problem: address.problem }]);
  return address;
}

function listText(answer: unknown): string {
  const { workers, credentials } = workersSchema.parse(answer);
  const workerRows = workers.map((one) => [
    one.worker,
    one.banned === undefined ? (one.locked ? "locked" : "open") : `banned: ${one.banned}`,
    one.note ?? "",
  ]);
  const credentialRows = credentials.map((one) => [
    one.id,
    `${one.name.worker}.${one.name.rig}`,
    one.createdAt,
    one.revokedAt === undefined ? "valid" : `revoked ${one.revokedAt}`,
  ]);
  if (workerRows.length === 0 && credentialRows.length === 0) return "there are none\n";
  return [
    workerRows.length === 0 ? "" : formatTable(["WORKER", "STATE", "NOTE"], workerRows),
    credentialRows.length === 0 ? "" : formatTable(["CREDENTIAL", "RIG", "ISSUED", "STATE"], credentialRows),
  ]
    .filter((table) => table !== "")
    .join("\n");
}
