import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { WorkerAddress } from "@openpool/protocol";
import { deployTestContract } from "../../chain/testing/deploy-test-contract.ts";
import { ourAddress } from "../../chain/signer.ts";
import type { PlanRules } from "../planner.ts";
import type { Asset } from "../types.ts";
import { type AnvilWorld, FINALITY } from "./anvil-pool.ts";
import { type PayerTask, payToTheEnd } from "./payer.ts";

/** A way to pay, on a real chain. */
export interface Way {
  readonly name: string;
  readonly method: PlanRules["method"];
  readonly inToken: boolean;
}

export const ways: readonly Way[] = [
  { name: "transfers", method: "transfers", inToken: false },
  { name: "batches", method: "batch", inToken: false },
  { name: "batches of a token", method: "batch", inToken: true },
  { name: "transfers of a token", method: "transfers", inToken: true },
  { name: "a multisig", method: "safe", inToken: false },
];

const program = fileURLToPath(new URL("payer-process.ts", import.meta.url));

/** What became of a process: how much it asked until the payout was done, or that it was killed. */
type Ended = { readonly asked: number } | "killed";

async function spawnPayer(task: PayerTask): Promise<Ended> {
  const args = ["--conditions=source", "--import", "tsx", program, JSON.stringify(task)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  if (signal === "SIGKILL") return "killed";
  if (code !== 0) throw new Error(`the payer ended with ${code ?? signal}`);
  return { asked: Number(said) };
}

export interface KilledRun {
  /** How many of the processes were killed. */
  readonly killed: number;
  /** What the one asked that paid to the end without being killed. */
  readonly asked: number;
}

/**
 * Pays three workers with processes that pay at once, each of which dies at its own question, then without trouble. Throws
 * where anybody got more or less than it was owed, the books say something else, or the event log tells it twice.
 */
export async function payWithDeaths(
  world: AnvilWorld,
  { name, method, inToken }: Way,
  dies: readonly NonNullable<PayerTask["dies"]>[],
): Promise<KilledRun> {
  const { local, contract } = world;
  await using pool = await world.openPool({});
  const [, , , people] = (await local.request("eth_accounts")) as readonly string[];
  const safe = method === "safe" ? ourAddress(people ?? "") : undefined;
  let asset: Asset = "eth";
  if (inToken) {
    const token = await deployTestContract(local, "Token", "POOL");
    await token.send("set", 0, 18);
    await token.send("give", pool.signer.address, 10n ** 24n);
    asset = token.address;
  }
  await pool.store[Symbol.asyncDispose]();
  const owed = new Map<WorkerAddress, bigint>();
  for (let i = 0; i < 3; i++) owed.set(await pool.owe(world.newWorker(), 1_000n + BigInt(i)), 1_000n + BigInt(i));
  const task: PayerTask = {
    connection: pool.database.connection,
    url: local.url,
    chainId: local.chainId,
    finality: FINALITY,
    contract,
    method,
    asset,
    batchSize: 2,
    key: local.richKeys[0] ?? "0x",
    ...(safe === undefined ? {} : { safe }),
  };
  const ended = await Promise.all(dies.map((one) => spawnPayer({ ...task, dies: one })));
  const asked = await payToTheEnd(task);
  const wrong: string[] = [];
  for (const [worker, wei] of owed) {
    const got = asset === "eth" ? await pool.chain.balance(worker) : await pool.chain.tokenBalance(asset, worker);
    const { owedWei, payingWei, paidWei } = await pool.ledger.balance(worker);
    if (got !== wei || paidWei !== wei || owedWei !== 0n || payingWei !== 0n) {
      wrong.push(
        `${worker} was owed ${wei}, got ${got}; the books say ${owedWei} owed, ${payingWei} paying, ${paidWei} paid`,
      );
    }
  }
  wrong.push(
    ...(
      await pool.database.query<{ what: string }>(
        `select type || ' was told ' || count(*) || ' times of ' || coalesce(data->>'line', data->>'intent', data->>'run') as what
         from openpool.events where type in ('payout.planned', 'payout.signed', 'payout.paid')
         group by type, coalesce(data->>'line', data->>'intent', data->>'run') having count(*) > 1`,
      )
    ).map(({ what }) => what),
  );
  if (wrong.length > 0) throw new Error(`${name}, killed at ${JSON.stringify(dies)}: ${wrong.join("; ")}`);
  return { killed: ended.filter((one) => one === "killed").length, asked };
}
