import type { WorkerAddress } from "@openpool/protocol";
import type { Client } from "pg";
import { workerAccount } from "../../ledger/types.ts";
import { postEntries } from "../ledger-store.ts";
import type { LedgerWorld } from "./ledger-world.ts";
import { ada, newJob } from "./sample-credit.ts";

/** What the books see of a payout: planned, then final or failed, beside its line. */
export async function pay(world: LedgerWorld, worker: WorkerAddress, amountWei: bigint, atMs: number, final: boolean) {
  const line = newJob();
  const run = newJob();
  await world.client.query(
    `insert into openpool.payout_runs (id, state, created_at, finished_at, chain_id, payer, asset, total_wei, details)
     values ($1, 'done', $2, $2, 1, $3, 'eth', $4, '{}')`,
    [run, new Date(atMs), ada, amountWei],
  );
  await world.client.query(
    `insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount, asset, method,
       method_reason, state, tx_hash, planned_at, finished_at)
     values ($1, $2, 1, $3, $3, $4, 0, $4, 'eth', 'transfer', 'a test', $5, $6, $7, $7)`,
    [line, run, worker, amountWei, final ? "final" : "returned", final ? "0x12" : null, new Date(atMs)],
  );
  const move = (rule: string, from: "owed" | "paying", to: "paying" | "paid" | "owed") => ({
    id: newJob(),
    source: `${line}/${rule}`,
    rule,
    termsVersion: 1,
    atMs,
    postings: [
      { account: workerAccount(worker, from), amountWei: -amountWei },
      { account: workerAccount(worker, to), amountWei },
    ],
    data: { line },
  });
  const last = final ? move("paid", "paying", "paid") : move("returned", "paying", "owed");
  await postEntries(world.client, [move("plan", "owed", "paying")]);
  await postEntries(world.client, [last]);
}

/** What was kept of the ends of closed months, where it is not what the entries before them sum to. */
export async function wrongClosings(client: Client): Promise<readonly unknown[]> {
  const { rows } = await client.query(
    `select p.period, a.account, c.balance_wei as kept, sum(x.amount_wei) as sum
     from openpool.ledger_periods p cross join openpool.ledger_accounts a
       left join openpool.ledger_closings c on c.period = p.period and c.account = a.account
       left join (openpool.ledger_postings x join openpool.ledger_entries e on e.id = x.entry)
         on x.account = a.id and e.time < p.ends_at
     group by 1, 2, 3 having coalesce(c.balance_wei, 0) <> coalesce(sum(x.amount_wei), 0)`,
  );
  return rows;
}
