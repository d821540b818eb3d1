import { PoolError } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import type { ClientBase } from "pg";
import { hookedCredits } from "../ledger/book-credits.ts";
import type { CreditEvent } from "../ledger/decode-credit.ts";
import type { TermsBook } from "../ledger/terms.ts";
import type { BookJob, HookVerdict, HookVerdicts } from "../ledger/types.ts";

/** Keeps what hooks said, in the transaction that books by it. */
export async function writeVerdicts(client: ClientBase, verdicts: HookVerdicts): Promise<void> {
  if (verdicts.size === 0) return;
  await client.query({
    name: "write-hook-verdicts",
    text: `insert into openpool.hook_verdicts (event, verdict) select * from unnest($1::uuid[], $2::json[])`,
    values: [[...verdicts.keys()], [...verdicts.values()].map((verdict) => toJson(verdict))],
  });
}

/** A verdict as JSON has it: wei as decimal strings. */
interface KeptVerdict {
  readonly note?: string;
  readonly share?:
    | { readonly kind: "failed"; readonly hash: string; readonly why: string }
    | {
        readonly kind: "shared";
        readonly hash: string;
        readonly lines: readonly { readonly to: WorkerAddress | "pool"; readonly wei: string }[];
        readonly note?: string;
      };
}

function toJson(verdict: HookVerdict): string {
  return JSON.stringify(verdict, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}

function fromKept({ share, note }: KeptVerdict): HookVerdict {
  if (share?.kind !== "shared") return { share, note };
  return { share: { ...share, lines: share.lines.map(({ to, wei }) => ({ to, wei: BigInt(wei) })) }, note };
}

/**
 * What hooks said when these credits were booked: they are never asked a second time, for how long they took decided too.
 *
 * @throws PoolError `ledger/verdict-missing` when nothing is kept of a job that a hook shared.
 */
export async function readVerdicts(
  client: ClientBase,
  events: readonly CreditEvent[],
  rules: { readonly terms: TermsBook; readonly bookJob: BookJob },
): Promise<HookVerdicts> {
  const hooked = hookedCredits(events, rules);
  if (hooked.length === 0) return new Map();
  const { rows } = await client.query<{ event: string; verdict: KeptVerdict }>(
    "select event, verdict from openpool.hook_verdicts where event = any ($1)",
    [hooked.map(({ job }) => job.event)],
  );
  const verdicts = new Map(rows.map(({ event, verdict }) => [event, fromKept(verdict)]));
  for (const { job, wants } of hooked) {
    if (wants !== "share" || verdicts.get(job.event)?.share) continue;
    throw new PoolError(
      { code: "ledger/verdict-missing" },
      `What the hook said of job ${job.job} is not in the database, and asking it again could say something else: ` +
        "restore a backup that has it.",
    );
  }
  return verdicts;
}
