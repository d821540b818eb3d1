import type { AdminLedger, AdminPayouts, AdminStatus } from "./api/admin.ts";
import { shortRig } from "./format/address.ts";
import { text } from "./text.tsx";

/** Something that an operator should look at. `halt`: it stopped itself and waits for a person. */
export interface Exception {
  readonly severity: "halt" | "warning" | "note";
  readonly code: string;
  readonly sentence: string;
  readonly action?: string | undefined;
  readonly sinceMs?: number | undefined;
}

const words = text.admin.exceptions;
const ORDER = { halt: 0, warning: 1, note: 2 } as const;

/** What is wrong, worst first. What could not be read is not judged. */
export function exceptionsOf(
  status: AdminStatus,
  ledger: AdminLedger | undefined,
  payouts: AdminPayouts | undefined,
): readonly Exception[] {
  const found: Exception[] = [];
  const add = (severity: Exception["severity"], code: string, sentence: string, more: Partial<Exception> = {}): void =>
    void found.push({ severity, code, sentence, ...more });

  if (!status.database.writable) add("halt", "log-unwritable", words.log, { action: words.logAction });
  if (!status.doors.gateways) add("halt", "door-gateways", words.gateways, { action: words.doorAction });
  if (!status.doors.workers) add("halt", "door-workers", words.workers, { action: words.doorAction });
  for (const halt of ledger?.halts ?? []) {
    add("halt", "books-halted", words.books(halt.reason), { action: words.booksAction, sinceMs: halt.sinceMs });
  }
  if (payouts !== undefined) {
    const { halted, paused, waitingFor, warnings } = payouts.status;
    if (halted !== undefined) {
      add("halt", "payouts-halted", words.payouts(halted.message), { action: words.payoutsAction });
    }
    if (paused !== undefined) add("note", "payouts-paused", words.paused(paused));
    for (const line of [waitingFor, ...warnings]) if (line !== undefined) add("warning", "payouts-warning", line);
    for (const run of payouts.runs) {
      if (run.state === "planned" && run.approvalReason !== undefined && run.approvedBy === undefined) {
        add("warning", "approval", words.approval(run.id, run.approvalReason), { sinceMs: run.createdAtMs });
      }
    }
  }
  if (!status.rigs.some((rig) => rig.state !== "gone")) {
    add("warning", "no-rigs", words.noRigs, { action: words.noRigsAction });
  }
  for (const rig of status.rigs) {
    if (rig.standing !== "barred" && rig.standing !== "probation") continue;
    const sentence = words.suspect(shortRig(rig.worker, rig.rig), text.standing[rig.standing], rig.reason);
    add("note", "suspect", sentence, { action: words.suspectAction });
  }
  return found.sort((a, b) => ORDER[a.severity] - ORDER[b.severity]);
}
