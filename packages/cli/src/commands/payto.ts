import { BadValue } from "@openpool/base";
import { payToDocument } from "@openpool/pool";
import type { Command } from "commander";
import { z } from "zod";
import type { AdminClient } from "../admin-client.ts";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";
import { addressValue } from "../settings/worker-options.ts";
import { formatTable } from "../text/table.ts";
import { formatEth } from "../text/words.ts";
import { payoutsSchema } from "./payouts.ts";

const changesSchema = z.array(
  z.object({
    payTo: z.string(),
    thresholdWei: z.string().transform(BigInt),
    nonce: z.string().transform(BigInt),
    effectiveAtMs: z.number(),
    state: z.string(),
  }),
);

interface ChangeFlags {
  readonly to?: string;
  readonly threshold: string;
  readonly nonce?: string;
  readonly signature?: string;
}

export function addPayToCommand(registry: Registry): void {
  const group = addPoolGroup(
    registry,
    "payto",
    "where a worker's money goes: changed only by the worker's own signature",
    "A worker is paid at its own address, unless that address has signed (EIP-712) that the money goes elsewhere. A change counts after a delay and can be taken back until then.",
  );
  const add = (name: string, summary: string): Command => group.add(name, summary).argument("<ADDRESS>", "the worker");
  const act = (command: Command, work: (pool: AdminClient) => Promise<string>): Promise<void> =>
    group.act(command, 1, work);
  const withChange = (command: Command): Command =>
    command
      .option("--to <ADDRESS>", "where the money shall go; the worker itself if not given")
      .option("--threshold <WEI>", "pay only from this much on; 0 leaves it to the pool", "0")
      .option("--nonce <N>", "higher than that of every change before; the next one if not given");
  const nextNonce = async (pool: AdminClient, worker: string): Promise<bigint> => {
    const changes = changesSchema.parse(await pool.get(`/workers/${worker}/payto`));
    return changes.reduce((most, one) => (one.nonce >= most ? one.nonce + 1n : most), 1n);
  };
  const readChange = async (pool: AdminClient, address: string, { to, threshold, nonce }: ChangeFlags) => {
    const worker = checkedAddress(address);
    return {
      worker,
      payTo: to === undefined ? worker : checkedAddress(to),
      thresholdWei: wholeNumber("--threshold", threshold),
      nonce: nonce === undefined ? await nextNonce(pool, worker) : wholeNumber("--nonce", nonce),
    };
  };

  const show = add("show", "show the changes that a worker has asked for");
  show.action((address: string) =>
    act(show, async (pool) => {
      const changes = changesSchema.parse(await pool.get(`/workers/${checkedAddress(address)}/payto`));
      if (changes.length === 0) return "it is paid at its own address\n";
      const rows = changes.map((one) => [
        String(one.nonce),
        one.payTo,
        formatEth(one.thresholdWei),
        one.state,
        new Date(one.effectiveAtMs).toISOString(),
      ]);
      return formatTable(["NONCE", "PAID TO", "FROM (ETH)", "STATE", "COUNTS FROM"], rows, new Set([0, 2]));
    }),
  );

  const document = withChange(
    add("document", "print what the worker's wallet has to sign, as JSON for eth_signTypedData_v4"),
  );
  document.action((address: string) =>
    act(document, async (pool) => {
      const { status } = payoutsSchema.parse(await pool.get("/payouts?limit=1"));
      return `${await payToDocument(await readChange(pool, address, document.opts<ChangeFlags>()), status)}\n`;
    }),
  );

  const set = withChange(add("set", "hand in a change that the worker has signed")).requiredOption(
    "--signature <HEX>",
    "the signature of what `payto document` printed, with the same nonce",
  );
  set.action((address: string) =>
    act(set, async (pool) => {
      const flags = set.opts<ChangeFlags>();
      const { worker, payTo, thresholdWei, nonce } = await readChange(pool, address, flags);
      const body = {
        payTo,
        thresholdWei: String(thresholdWei),
        nonce: String(nonce),
        signature: flags.signature,
      };
      const answer = await pool.change("POST", `/workers/${worker}/payto`, body);
      const { effectiveAtMs } = z.object({ effectiveAtMs: z.number() }).parse(answer);
      return `${worker} is paid at ${payTo} from ${new Date(effectiveAtMs).toISOString()} on\n`;
    }),
  );

  const cancel = add("cancel", "take a change back that does not count yet");
  cancel.action((address: string) =>
    act(cancel, async (pool) => {
      const worker = checkedAddress(address);
      await pool.change("DELETE", `/workers/${worker}/payto`);
      return `nothing changes for ${worker}\n`;
    }),
  );
}

function checkedAddress(text: string): string {
  const address = addressValue.parse(text);
  if (address instanceof BadValue) throw settingsError([{ where: text, problem: address.problem }]);
  return address;
}

function wholeNumber(where: string, text: string): bigint {
  if (/^\d{1,77}$/.test(text)) return BigInt(text);
  throw settingsError([{ where, problem: "is no whole number" }]);
}
