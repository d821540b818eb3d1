import { BadValue, formatGwei, percentValue } from "@openpool/base";
import { type AssetChoice, payToDocument } from "@openpool/pool";
import { addressValue } from "@openpool/pool";
import type { WorkerAddress } from "@openpool/protocol";
import type { Command } from "commander";
import { z } from "zod";
import type { AdminClient } from "../admin-client.ts";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";
import { formatTable } from "../text/table.ts";
import { formatEth } from "../text/words.ts";
import { payoutsSchema } from "./payouts.ts";

const changesSchema = z.array(
  z.object({
    payTo: z.string(),
    thresholdWei: z.string().transform(BigInt),
    asset: z.string(),
    maxGasPriceWei: z.string().transform(BigInt),
    maxGasSharePpm: z.string().transform(BigInt),
    nonce: z.string().transform(BigInt),
    effectiveAtMs: z.number(),
    state: z.string(),
  }),
);

interface ChangeFlags {
  readonly to?: string;
  readonly threshold: string;
  readonly asset: string;
  readonly maxGasPrice: string;
  readonly maxGasShare: string;
  readonly nonce?: string;
  readonly signature?: string;
}

export function addPayToCommand(registry: Registry): void {
  const group = addPoolGroup(
    registry,
    "payto",
    "how a worker is paid: where, in what, from how much on; changed only by its own signature",
    "A worker is paid at its own address, in what the pool pays in, unless that address has signed (EIP-712) what it wants instead. A change counts after a delay and can be taken back until then.",
  );
  const add = (name: string, summary: string): Command => group.add(name, summary).argument("<ADDRESS>", "the worker");
  const act = (command: Command, work: (pool: AdminClient) => Promise<string>): Promise<void> =>
    group.act(command, 1, work);
  const withChange = (command: Command): Command =>
    command
      .option("--to <ADDRESS>", "where the money shall go; the worker itself if not given")
      .option("--threshold <WEI>", "pay only from this much on; 0 leaves it to the pool", "0")
      .option("--asset <ASSET>", "what to be paid in: pool (what the pool pays in), eth, or a token's address", "pool")
      .option("--max-gas-price <WEI>", "not to be paid while gas costs more; 0 leaves it to the pool", "0")
      .option(
        "--max-gas-share <PERCENT>",
        "not to be paid while gas takes more of the amount; 0 % leaves it to the pool",
        "0%",
      )
      .option("--nonce <N>", "higher than that of every change before; the next one if not given");
  const nextNonce = async (pool: AdminClient, worker: string): Promise<bigint> => {
    const changes = changesSchema.parse(await pool.get(`/workers/${worker}/payto`));
    return changes.reduce((most, one) => (one.nonce >= most ? one.nonce + 1n : most), 1n);
  };
  const readChange = async (pool: AdminClient, address: string, flags: ChangeFlags) => {
    const { to, threshold, asset, maxGasPrice, maxGasShare, nonce } = flags;
    const worker = checkedAddress(address);
    return {
      worker,
      payTo: to === undefined ? worker : checkedAddress(to),
      thresholdWei: wholeNumber("--threshold", threshold),
      asset: checkedAsset(asset),
      maxGasPriceWei: wholeNumber("--max-gas-price", maxGasPrice),
      maxGasSharePpm: partOf("--max-gas-share", maxGasShare),
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
        one.asset,
        one.thresholdWei === 0n ? "" : formatEth(one.thresholdWei),
        gasLimitText(one),
        one.state,
        new Date(one.effectiveAtMs).toISOString(),
      ]);
      const heads = ["NONCE", "PAID TO", "IN", "FROM (ETH)", "GAS AT MOST", "STATE", "COUNTS FROM"];
      return formatTable(heads, rows, new Set([0, 3]));
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
      const { worker, payTo, asset, ...numbers } = await readChange(pool, address, flags);
      const body = {
        payTo,
        asset,
        ...Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, String(value)])),
        signature: flags.signature,
      };
      const answer = await pool.change("POST", `/workers/${worker}/payto`, body);
      const { effectiveAtMs } = z.object({ effectiveAtMs: z.number() }).parse(answer);
      const what = asset === "pool" ? "" : ` in ${asset}`;
      return `${worker} is paid at ${payTo}${what} from ${new Date(effectiveAtMs).toISOString()} on\n`;
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

function checkedAddress(text: string): WorkerAddress {
  const address = addressValue.parse(text);
  if (address instanceof BadValue) throw settingsError([{ where: text, problem: address.problem }]);
  return address;
}

function checkedAsset(text: string): AssetChoice {
  return text === "pool" || text === "eth" ? text : checkedAddress(text);
}

function gasLimitText(change: { readonly maxGasPriceWei: bigint; readonly maxGasSharePpm: bigint }): string {
  return [
    ...(change.maxGasPriceWei === 0n ? [] : [`${formatGwei(change.maxGasPriceWei)} gwei`]),
    ...(change.maxGasSharePpm === 0n ? [] : [`${Number(change.maxGasSharePpm) / 10_000} %`]),
  ].join(", ");
}

function partOf(where: string, text: string): bigint {
  const ppm = percentValue.parse(text);
  if (ppm instanceof BadValue) throw settingsError([{ where, problem: ppm.problem }]);
  return ppm;
}

function wholeNumber(where: string, text: string): bigint {
  if (/^\d{1,77}$/.test(text)) return BigInt(text);
  throw settingsError([{ where, problem: "is no whole number" }]);
}
