import type { WorkerAddress } from "@openpool/protocol";
import type { Client } from "pg";
import { type NewEntry, poolAccounts, workerAccount } from "../ledger/types.ts";
import type { Findings, FoundPayment, PayoutStore, Settlement } from "../payouts/ports.ts";
import type { Halt, Hex, PayoutLine, PayoutRun, SignedTransaction } from "../payouts/types.ts";
import type { TransactionEvent } from "./append-events.ts";
import { RESTORED_HALT } from "./backup.ts";
import { postEntries } from "./ledger-store.ts";
import { type LineRow, type RunDetails, toLine } from "./payout-rows.ts";

const HALT_PREFIX = "payout/";

/** A transaction of the payouts, with what it tells the event log. */
export interface PayoutTransaction {
  readonly client: Client;
  tell(event: TransactionEvent): void;
}

/** What payouts do to the books, inside the caller's transaction: lines and entries always together. */
export class PayoutBookings {
  readonly #newId: () => string;

  constructor(newId: () => string) {
    this.#newId = newId;
  }

  /** Books what was found on the chain, and ends the halts for that. */
  async bookFound(transaction: PayoutTransaction, found: Findings): ReturnType<PayoutStore["resume"]> {
    const { client, tell } = transaction;
    const { atMs } = found;
    const terms = await termsVersion(client, atMs);
    // What a lost intent gives back is what another transaction paid.
    const back: PayoutLine[] = [];
    for (const one of found.lost) back.push(...(await this.settle(transaction, one)));
    for (const { line: id, hash, block } of found.lines) {
      for (const line of await this.payLines(client, [id], hash, block, atMs, terms)) tell(foundEvent(line, hash));
    }
    await client.query(
      `update openpool.payout_runs set state = 'sending', approved_by = coalesce(approved_by, 'as the chain shows')
         where state in ('planned', 'approved') and id in (select run from openpool.payout_lines where id = any ($1))`,
      [found.lines.map(({ line }) => line)],
    );
    await this.takeBack(client, found);
    const { rows: open } = await client.query<{ id: string }>(
      "select id from openpool.payout_runs where state not in ('done', 'cancelled')",
    );
    for (const { id } of open) await finishRun(client, id, atMs);
    const notOwed = await this.bookUnplanned(transaction, found, terms);
    // What the transaction in its place paid a worker is told as that.
    const paid = new Set(found.payments.map(({ worker }) => worker));
    for (const line of back) if (!paid.has(line.worker)) tell(returnedEvent(line));
    await postEntries(
      client,
      found.gas.map(({ hash, block, wei }) => this.gas(hash, wei, { hash, block }, terms, atMs)),
    );
    await keepNonces(client, found);
    return notOwed;
  }

  /** Books what became of an intent. Answers what a lost one gave back: whoever knows why it is lost tells its workers. */
  async settle(transaction: PayoutTransaction, settlement: Settlement): Promise<readonly PayoutLine[]> {
    const { client, tell } = transaction;
    const { intent, state, minedHash, minedBlock, gasWei, paid, returned, atMs, halt } = settlement;
    const { rows } = await client.query<{ run: string; nonce: string }>(
      `update openpool.payout_intents set state = $2, mined_hash = $3, mined_block = $4, gas_wei = $5
         where id = $1 and state in ('signed', 'sent', 'confirmed') returning run, nonce`,
      [intent, state, minedHash ?? null, minedBlock ?? null, gasWei],
    );
    const [settled] = rows;
    // Settled before: its answer had got lost.
    if (!settled) return [];
    const terms = await termsVersion(client, atMs);
    for (const line of await this.payLines(client, paid, minedHash, minedBlock, atMs, terms)) tell(paidEvent(line));
    const back = await this.returnLines(client, returned, "live", minedHash, atMs);
    if (state === "lost") tell({ type: "payout.lost", data: { intent } });
    else for (const line of back) tell(returnedEvent(line));
    if (gasWei > 0n) {
      const data = { run: settled.run, intent, hash: minedHash, block: minedBlock };
      await postEntries(client, [this.gas(intent, gasWei, data, terms, atMs)]);
    }
    if (halt) await insertHalt(transaction, halt);
    await finishRun(client, settled.run, atMs);
    return state === "lost" ? back : [];
  }

  /** What a transaction cost, out of the reserve. */
  gas(of: string, wei: bigint, data: Readonly<Record<string, unknown>>, termsVersion: number, atMs: number): NewEntry {
    return {
      id: this.#newId(),
      source: `${of}/gas`,
      rule: "gas",
      termsVersion,
      atMs,
      postings: [
        { account: poolAccounts.gas, amountWei: wei },
        { account: poolAccounts.reserve, amountWei: -wei },
      ],
      data,
    };
  }

  /** Lines that were to pay workers who were paid otherwise: what is left to pay them is planned anew. */
  async takeBack(client: Client, { payments, atMs }: Findings): Promise<void> {
    const { rows } = await client.query<{ id: string }>(
      "select id from openpool.payout_lines where worker = any ($1) and state = 'planned' and method <> 'safe'",
      [payments.map(({ worker }) => worker)],
    );
    const reason = "its worker was paid otherwise, as the chain shows";
    const returned = rows.map(({ id }) => ({ line: id, reason, hold: false }));
    await this.returnLines(client, returned, "planned", undefined, atMs);
    await client.query(
      `update openpool.payout_runs r set state = 'cancelled', finished_at = $1 where r.state = 'planned'
         and not exists (select from openpool.payout_lines l where l.run = r.id and l.state = 'planned')`,
      [new Date(atMs)],
    );
  }

  /**
   * Payments that no line stood for: each transaction becomes a run that is done, or several where it paid a worker at several
   * addresses: a line has one, and a worker one line in a run.
   */
  async bookUnplanned(
    { client, tell }: PayoutTransaction,
    { payments, chainId, payer, atMs }: Findings,
    terms: number,
  ): Promise<readonly { readonly worker: WorkerAddress; readonly wei: bigint }[]> {
    const notOwed: { worker: WorkerAddress; wei: bigint }[] = [];
    for (const together of runsOf(payments)) {
      const [{ hash, asset, price }] = together;
      const lines = new Map<WorkerAddress, PayoutLine>();
      const run = this.#newId();
      for (const one of together) {
        const before = lines.get(one.worker);
        lines.set(one.worker, {
          id: before?.id ?? this.#newId(),
          run,
          worker: one.worker,
          payTo: one.payTo,
          amountWei: (before?.amountWei ?? 0n) + one.amountWei,
          gasShareWei: 0n,
          sendAmount: (before?.sendAmount ?? 0n) + one.sendAmount,
          asset,
          method: one.method,
          methodReason: "found on the chain",
          state: "planned",
          intent: undefined,
          reason: undefined,
          txHash: hash,
          block: one.block,
          plannedAtMs: atMs,
          sentAtMs: undefined,
          finishedAtMs: undefined,
          fiat: undefined,
        });
      }
      const all = [...lines.values()];
      await insertRun(
        client,
        {
          id: run,
          state: "done",
          createdAtMs: atMs,
          finishedAtMs: atMs,
          chainId,
          payer,
          asset,
          totalWei: all.reduce((sum, line) => sum + line.amountWei, 0n),
          lines: all.length,
          approvalReason: undefined,
          approvedBy: "as the chain shows",
          prices: price ? [price] : [],
          fiat: undefined,
          gasWei: 0n,
          waiting: [],
          notes: [`found on the chain: transaction ${hash}`],
        },
        all,
      );
      for (const line of all) {
        const { rows } = await client.query<{ balance_wei: string }>(
          "select balance_wei from openpool.ledger_accounts where account = $1 for update",
          [workerAccount(line.worker, "owed")],
        );
        const missing = line.amountWei - BigInt(rows[0]?.balance_wei ?? 0);
        if (missing <= 0n) continue;
        notOwed.push({ worker: line.worker, wei: missing });
        await postEntries(client, [
          {
            id: this.#newId(),
            source: `${line.id}/lost-credits`,
            rule: "adjusted",
            termsVersion: terms,
            atMs,
            postings: [
              { account: workerAccount(line.worker, "owed"), amountWei: missing },
              { account: poolAccounts.adjustments, amountWei: -missing },
            ],
            data: { reason: `paid in ${hash} beyond what these books owe it` },
          },
        ]);
      }
      await postEntries(
        client,
        all.map((line) => this.move(line, "plan", terms, atMs, "owed", "paying")),
      );
      for (const { id, block } of all) {
        for (const line of await this.payLines(client, [id], hash, block, atMs, terms)) tell(foundEvent(line, hash));
      }
      for (const one of await holdPaidElsewhere(client, run)) tell({ type: "payout.held", ...one });
    }
    return notOwed;
  }

  /** Answers the lines that were not decided before. */
  async payLines(
    client: Client,
    ids: readonly string[],
    hash: Hex | undefined,
    block: number | undefined,
    atMs: number,
    terms: number,
  ): Promise<readonly PayoutLine[]> {
    const { rows } = await client.query<LineRow>(
      `update openpool.payout_lines l set state = 'final', tx_hash = $2, block = $3, finished_at = $4
       from openpool.payout_runs r
       where r.id = l.run and l.id = any ($1) and l.state not in ('final', 'failed', 'returned')
       returning l.*, r.details -> 'fiat' as fiat`,
      [ids, hash ?? null, block ?? null, new Date(atMs)],
    );
    const lines = rows.map(toLine);
    await postEntries(
      client,
      lines.map((line): NewEntry => {
        const { worker, amountWei, gasShareWei } = line;
        return {
          id: this.#newId(),
          source: `${line.id}/paid`,
          rule: "paid",
          termsVersion: terms,
          atMs,
          postings: [
            { account: workerAccount(worker, "paying"), amountWei: -amountWei },
            { account: workerAccount(worker, "paid"), amountWei: amountWei - gasShareWei },
            // What the worker bears of the gas goes to the reserve, from which the gas is taken.
            ...(gasShareWei > 0n ? [{ account: poolAccounts.reserve, amountWei: gasShareWei }] : []),
          ],
          data: {
            run: line.run,
            line: line.id,
            payTo: line.payTo,
            asset: line.asset,
            sendAmount: String(line.sendAmount),
            gasShareWei: String(gasShareWei),
            hash,
            block,
            fiat: line.fiat,
          },
        };
      }),
    );
    return lines;
  }

  /** Answers the lines that were not decided before. */
  async returnLines(
    client: Client,
    returned: Settlement["returned"],
    from: "planned" | "live",
    hash: Hex | undefined,
    atMs: number,
  ): Promise<readonly PayoutLine[]> {
    if (returned.length === 0) return [];
    const back: PayoutLine[] = [];
    const states = from === "planned" ? ["planned"] : ["signed", "sent", "confirmed"];
    const terms = await termsVersion(client, atMs);
    for (const { line: id, reason, hold } of returned) {
      const { rows } = await client.query<LineRow>(
        `update openpool.payout_lines set state = $5, reason = $2, tx_hash = $3, finished_at = $4
         where id = $1 and state = any ($6) returning *`,
        [id, reason, hash ?? null, new Date(atMs), hold ? "failed" : "returned", states],
      );
      const [row] = rows;
      if (!row) continue;
      const line = toLine(row);
      back.push(line);
      await postEntries(client, [this.move(line, "returned", terms, atMs, "paying", "owed")]);
      if (!hold) continue;
      // Of an address that is not the worker's any more it says nothing about the new one.
      await client.query(
        `insert into openpool.payout_payees as p (worker, held) values ($1, $2)
         on conflict (worker) do update set held = excluded.held where coalesce(p.pay_to, p.worker) = $3`,
        [row.worker, reason, line.payTo],
      );
    }
    return back;
  }

  move(
    line: PayoutLine,
    rule: "plan" | "returned",
    termsVersion: number,
    atMs: number,
    from: "owed" | "paying",
    to: "owed" | "paying",
  ): NewEntry {
    return {
      id: this.#newId(),
      source: `${line.id}/${rule}`,
      rule,
      termsVersion,
      atMs,
      postings: [
        { account: workerAccount(line.worker, from), amountWei: -line.amountWei },
        { account: workerAccount(line.worker, to), amountWei: line.amountWei },
      ],
      data: { run: line.run, line: line.id, ...(line.reason === undefined ? {} : { reason: line.reason }) },
    };
  }
}

/**
 * Books that were set back have forgotten where a worker wanted its money since: who was paid elsewhere than they say is held
 * until somebody knows more. Answers who is held now and was not.
 */
async function holdPaidElsewhere(
  client: Client,
  run: string,
): Promise<readonly { readonly worker: WorkerAddress; readonly data: { readonly reason: string } }[]> {
  const { rows } = await client.query<{ worker: WorkerAddress; reason: string }>(
    `insert into openpool.payout_payees as p (worker, stopped)
       select l.worker, 'it was paid at ' || l.pay_to || ' after the backup, which knows nothing of that address: let it sign again where it wants its money'
       from openpool.payout_lines l left join openpool.payout_payees k on k.worker = l.worker
       where l.run = $1 and lower(l.pay_to) <> lower(coalesce(k.pay_to, l.worker)) and k.stopped is null
         and exists (select from openpool.halts where name = $2)
     on conflict (worker) do update set stopped = excluded.stopped
     returning worker, stopped as reason`,
    [run, RESTORED_HALT],
  );
  return rows.map(({ worker, reason }) => ({ worker, data: { reason } }));
}

type SomePayments = [FoundPayment, ...FoundPayment[]];

/** Payments that a run can hold together: of one transaction, and to each worker at one address. */
function runsOf(payments: readonly FoundPayment[]): readonly Readonly<SomePayments>[] {
  const runs: SomePayments[] = [];
  for (const one of payments) {
    const run = runs.find(
      ([first, ...rest]) =>
        first.hash === one.hash &&
        [first, ...rest].every((other) => other.worker !== one.worker || other.payTo === one.payTo),
    );
    if (run) run.push(one);
    else runs.push([one]);
  }
  return runs;
}

export async function addTransaction(
  client: Client,
  intent: string,
  { hash, raw, maxFeeWei, maxTipWei, signedAtMs }: SignedTransaction,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into openpool.payout_transactions (hash, intent, version, raw, max_fee_wei, max_tip_wei, signed_at)
     select $1, $2, count(*), $3, $4, $5, $6 from openpool.payout_transactions where intent = $2
     on conflict (hash) do nothing`,
    [hash, intent, raw, maxFeeWei, maxTipWei, new Date(signedAtMs)],
  );
  return rowCount === 1;
}

/** The first halt of its kind stays, and is told. */
export async function insertHalt({ client, tell }: PayoutTransaction, halt: Halt): Promise<void> {
  const { code, message, atMs, intent, nonce } = halt;
  const { rowCount } = await client.query(
    "insert into openpool.halts (name, reason, details, since) values ($1, $2, $3, $4) on conflict (name) do nothing",
    [code, message, JSON.stringify({ intent, nonce }), new Date(atMs)],
  );
  if (rowCount === 1) tell({ type: "payout.halted", data: { code, message } });
}

/** Keeps what is known of an account's nonces; neither of the two ever falls. */
export async function keepNonces(
  client: Client,
  { chainId, payer, nonceFloor, nonceGuard }: Pick<Findings, "chainId" | "payer" | "nonceFloor" | "nonceGuard">,
): Promise<void> {
  await client.query(
    `insert into openpool.payout_accounts as a (chain_id, payer, nonce_floor, nonce_guard) values ($1, $2, $3, $4)
     on conflict (chain_id, payer) do update set nonce_floor = greatest(a.nonce_floor, excluded.nonce_floor),
       nonce_guard = greatest(a.nonce_guard, excluded.nonce_guard)`,
    [chainId, payer, nonceFloor, nonceGuard ?? null],
  );
}

/** A run is done when nothing of it is under way any more. */
export async function finishRun(client: Client, run: string, atMs: number): Promise<void> {
  await client.query(
    `update openpool.payout_runs r set state = 'done', finished_at = $2
     where r.id = $1 and r.state in ('approved', 'sending', 'exported')
       and not exists (select from openpool.payout_lines l
         where l.run = r.id and l.state not in ('final', 'failed', 'returned'))
       and not exists (select from openpool.payout_intents i
         where i.run = r.id and i.state in ('signed', 'sent', 'confirmed'))`,
    [run, new Date(atMs)],
  );
}

/** The terms in force, which every entry names. */
export async function termsVersion(client: Client, atMs: number): Promise<number> {
  const { rows } = await client.query<{ version: number }>(
    "select version from openpool.terms where effective_at <= $1 order by version desc limit 1",
    [new Date(atMs)],
  );
  return rows[0]?.version ?? 1;
}

/** Writes a run with its lines, none of which anything was done about yet. */
export async function insertRun(client: Client, run: PayoutRun, lines: readonly PayoutLine[]): Promise<void> {
  const details: RunDetails = {
    prices: run.prices.map(({ token, unitsPerEth, source, atBlock }) => ({
      token,
      unitsPerEth: String(unitsPerEth),
      source,
      ...(atBlock === undefined ? {} : { atBlock }),
    })),
    ...(run.fiat ? { fiat: run.fiat } : {}),
    ...(run.batchContract === undefined ? {} : { batchContract: run.batchContract }),
    waiting: run.waiting.map((one) => ({ ...one, owedWei: String(one.owedWei) })),
    notes: run.notes,
  };
  await client.query(
    `insert into openpool.payout_runs
           (id, state, created_at, finished_at, chain_id, payer, asset, total_wei, approval_reason, approved_by, details)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
    [
      run.id,
      run.state,
      new Date(run.createdAtMs),
      run.finishedAtMs === undefined ? null : new Date(run.finishedAtMs),
      run.chainId,
      run.payer,
      run.asset,
      run.totalWei,
      run.approvalReason ?? null,
      run.approvedBy ?? null,
      JSON.stringify(details),
    ],
  );
  await client.query(
    `insert into openpool.payout_lines (id, run, place, worker, pay_to, amount_wei, gas_share_wei, send_amount,
           asset, method, method_reason, state, planned_at)
         select l.id, $1, l.place, l.worker, l.pay_to, l.amount, l.gas_share, l.send, l.asset, l.method, l.reason, 'planned', $2
         from unnest($3::uuid[], $4::text[], $5::text[], $6::numeric[], $7::numeric[], $8::numeric[], $9::text[],
           $10::text[], $11::text[]) with ordinality as l (id, worker, pay_to, amount, gas_share, send, asset, method, reason, place)`,
    [
      run.id,
      new Date(run.createdAtMs),
      lines.map((line) => line.id),
      lines.map((line) => line.worker),
      lines.map((line) => line.payTo),
      lines.map((line) => line.amountWei),
      lines.map((line) => line.gasShareWei),
      lines.map((line) => line.sendAmount),
      lines.map((line) => line.asset),
      lines.map((line) => line.method),
      lines.map((line) => line.methodReason),
    ],
  );
}

export async function clearHalts(client: Client): Promise<void> {
  await client.query("delete from openpool.halts where starts_with(name, $1)", [HALT_PREFIX]);
}

export function paidEvent(line: PayoutLine): TransactionEvent {
  return { type: "payout.paid", worker: line.worker, data: { ...factsOf(line), hash: line.txHash } };
}

export function returnedEvent(line: PayoutLine): TransactionEvent {
  return { type: "payout.returned", worker: line.worker, data: { ...factsOf(line), reason: line.reason } };
}

function factsOf({ id: line, run, amountWei, sendAmount, asset, payTo }: PayoutLine): TransactionEvent["data"] {
  return { line, run, amountWei, sendAmount, asset, payTo };
}

function foundEvent({ worker, amountWei, sendAmount, asset, payTo }: PayoutLine, hash: Hex): TransactionEvent {
  return { type: "payout.found", worker, data: { amountWei, sendAmount, asset, payTo, hash } };
}
