import { statfs } from "node:fs/promises";
import { errorText, type Clock } from "@openpool/base";
import type { AdminDisk, AdminException, AdminGateways, AdminOverview, AuditAnswer } from "@openpool/protocol";
import type { StoredEvent } from "../store/types.ts";
import type { Halt, PayoutPort } from "../payouts/types.ts";
import type { AdminPort } from "./types.ts";

/** Below this there is too little room for the event log of a busy week. */
const LOW_DISK_BYTES = 5 * 2 ** 30;
/** More of one kind are only counted. */
const MOST_PAYEES = 20;
const RANK = { halt: 0, warning: 1, note: 2 } as const;
const AUDIT_PAGE = 1_000;
/** Names of fields whose values are not recorded. */
const SECRET = /secret|password|token|key|signature/i;

type Say = (
  severity: AdminException["severity"],
  code: string,
  sentence: string,
  more?: { readonly action?: string; readonly sinceMs?: number; readonly subject?: string | undefined },
) => void;

/** What an operator should look at, worst first, and how the pool goes. */
export async function adminOverview(
  port: AdminPort,
  clock: Pick<Clock, "now">,
  disk: (dir: string) => Promise<DiskNow> = diskOf,
): Promise<AdminOverview> {
  const status = port.status();
  const exceptions: AdminException[] = [];
  const say: Say = (severity, code, sentence, more = {}) =>
    void exceptions.push({
      severity,
      code,
      sentence,
      action: more.action ?? null,
      since: more.sinceMs === undefined ? null : new Date(more.sinceMs).toISOString(),
      subject: more.subject ?? null,
    });

  for (const reason of port.unhealthy()) {
    const sentence = `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
    say("halt", "unhealthy", sentence, { action: "No work is answered meanwhile; the log says why." });
  }
  try {
    await sayOfBooks(port, say);
    if (port.payouts) await sayOfPayouts(port.payouts, say);
  } catch (error) {
    say("halt", "books-unreadable", `The books cannot be read now: ${errorText(error)}`);
  }
  const { freeBytes: diskFreeBytes } = await disk(status.dataDir);
  if (diskFreeBytes !== null && diskFreeBytes < LOW_DISK_BYTES) {
    say("warning", "disk-low", `${Math.round(diskFreeBytes / 2 ** 20)} MiB are free where the pool keeps its data.`, {
      action: "Make room: when the disk is full, no work is answered.",
    });
  }
  for (const { name, state, why } of status.upstreams) {
    if (state === "registered" || state === "drained") continue;
    say("warning", "upstream-lost", `The orchestrator ${name} does not have this pool: ${why ?? state}.`, {
      subject: name,
      action: "`openpool doctor --upstream` looks into it.",
    });
  }
  const rigs = status.rigs.filter((rig) => rig.state !== "gone");
  if (rigs.length === 0) {
    say("warning", "no-rigs", "No rig is connected.", { action: "Without one no work is taken." });
  }
  for (const rig of rigs) {
    if (rig.standing !== "barred" && rig.standing !== "probation") continue;
    const word = rig.standing === "barred" ? "barred" : "on probation";
    say(rig.standing === "barred" ? "warning" : "note", rig.standing, `A rig is ${word}: ${rig.reason}.`, {
      subject: `${rig.worker}.${rig.rig}`,
      action: "It earns its way back by good results.",
    });
  }
  exceptions.sort((a, b) => RANK[a.severity] - RANK[b.severity]);
  const halted = exceptions.some((one) => one.severity === "halt");
  return {
    asOf: new Date(clock.now()).toISOString(),
    ageMs: 0,
    health: port.unhealthy().length > 0 ? "down" : halted ? "degraded" : "ok",
    exceptions,
    pool: {
      version: status.version,
      startedAt: status.startedAt,
      serviceUri: status.serviceUri,
      publicUrl: status.publicListen ?? null,
      dataDir: status.dataDir,
      database: status.database.where,
      sessions: status.sessions,
      jobsInFlight: status.jobsInFlight,
      bytesInFlight: status.bytesInFlight,
      diskFreeBytes,
    },
  };
}

async function sayOfBooks(port: AdminPort, say: Say): Promise<void> {
  const halted = (await port.payouts?.status())?.halted;
  for (const halt of (await port.ledger?.halts()) ?? []) {
    // Payouts say more of their own.
    if (halt.name !== halted?.code || !isOfPayouts(halted))
      say("halt", "payouts-halted", halt.reason, { sinceMs: halt.sinceMs, subject: halt.name });
  }
  for (const violation of port.ledger?.lastCheck()?.violations ?? []) {
    say("halt", "books-differ", violation.message, {
      action: "See `openpool ledger check`.",
      subject: violation.check,
    });
  }
  for (const { code, text } of (await port.schemes?.solvency())?.warnings ?? []) {
    const action =
      code === "hook-holds" ? "`openpool hooks held`, then `openpool hooks release`" : "`openpool solvency`";
    say("warning", code === "hook-holds" ? "credits-held" : code, text, { action });
  }
}

function isOfPayouts({ code }: Halt): boolean {
  return code.startsWith("payout/");
}

async function sayOfPayouts(payouts: PayoutPort, say: Say): Promise<void> {
  const { halted, paused, waitingFor, floats } = await payouts.status();
  if (halted && isOfPayouts(halted)) {
    // A transaction that failed as a whole, or that another one took the nonce of, stops everything: it is named here.
    say("halt", "payouts-halted", halted.message, {
      sinceMs: halted.atMs,
      subject: halted.intent === undefined ? halted.code : `${halted.code}, transaction ${halted.intent}`,
      action: "Look at the transactions, then `openpool payouts resume`.",
    });
  }
  if (paused !== undefined) {
    say("note", "payouts-paused", `Payouts are paused: ${paused}`, { action: "`openpool payouts resume`" });
  }
  if (waitingFor !== undefined) say("warning", "payouts-wait", waitingFor);
  for (const { state, text } of floats) {
    if (text !== undefined) say(state === "low" ? "warning" : "note", `${state}-float`, text);
  }
  for (const run of await payouts.runs({ limit: 50 })) {
    if (run.state !== "planned" || run.approvalReason === undefined) continue;
    say("warning", "approval-needed", `A payout run waits for an approval: ${run.approvalReason}`, {
      subject: run.id,
      sinceMs: run.createdAtMs,
      action: `\`openpool payouts approve ${run.id}\``,
    });
  }
  const payees = await payouts.payees();
  const failed = payees.flatMap(({ worker, failed: why }) => (why === undefined ? [] : [{ worker, why }]));
  for (const { worker, why } of failed.slice(0, MOST_PAYEES)) {
    say("warning", "payment-failed", `Its last payment failed, and its money is owed again: ${why}.`, {
      subject: worker,
      action: `\`openpool payouts retry ${worker}\``,
    });
  }
  const held = payees.flatMap(({ worker, heldBack: why }) => (why === undefined ? [] : [{ worker, why }]));
  for (const { worker, why } of held.slice(0, MOST_PAYEES)) {
    say("note", "worker-held", `Nothing is paid to it: ${why}.`, {
      subject: worker,
      action: `\`openpool workers release ${worker}\``,
    });
  }
  const more = Math.max(0, failed.length - MOST_PAYEES) + Math.max(0, held.length - MOST_PAYEES);
  if (more > 0) {
    say("note", "more-payees", `${more} more workers are not paid.`, { action: "`openpool payouts plan`" });
  }
}

type DiskNow = Pick<AdminDisk, "freeBytes" | "sizeBytes">;

async function diskOf(dir: string): Promise<DiskNow> {
  const disk = await statfs(dir).catch(() => undefined);
  if (!disk) return { freeBytes: null, sizeBytes: null };
  return { freeBytes: disk.bavail * disk.bsize, sizeBytes: disk.blocks * disk.bsize };
}

/** Where the data is, how much room is left, and what the log takes. */
export async function adminDisk(port: AdminPort): Promise<AdminDisk> {
  const { dataDir } = port.status();
  const [disk, partitions] = await Promise.all([diskOf(dataDir), port.partitions()]);
  return { dataDir, ...disk, partitions: [...partitions] };
}

/** Who sends work. */
export function adminGateways(port: AdminPort): AdminGateways {
  return {
    since: port.status().startedAt,
    items: port.gateways().map(({ pixels, feeWei, lastSeenMs, ...one }) => ({
      ...one,
      pixels: pixels.toString(),
      feeWei: feeWei.toString(),
      lastSeenAt: new Date(lastSeenMs).toISOString(),
    })),
  };
}

/** What is recorded of a write before it is done: the request, without what looks like a secret. */
export function auditData(method: string, path: string, body: unknown): Record<string, unknown> {
  const fields = typeof body === "object" && body !== null && !Array.isArray(body) ? Object.entries(body) : [];
  return {
    action: `${method} ${path}`,
    body: Object.fromEntries(fields.map(([name, value]) => [name, SECRET.test(name) ? "(not recorded)" : value])),
  };
}

/** Every write there was, newest first. Writes are rare: a person makes them. */
export async function auditAnswer(
  port: AdminPort,
  query: { readonly limit: number; readonly cursor?: string | undefined },
): Promise<AuditAnswer> {
  const events: StoredEvent[] = [];
  let page: readonly StoredEvent[];
  do {
    page = await port.events({ after: events.at(-1)?.position, types: ["admin.requested"], limit: AUDIT_PAGE });
    events.push(...page);
  } while (page.length === AUDIT_PAGE);
  const newest = events.toReversed();
  const behind = query.cursor === undefined ? newest : newest.filter((one) => one.position < BigInt(query.cursor ?? 0));
  const shown = behind.slice(0, query.limit);
  return {
    items: shown.map(auditLine),
    next: behind.length > query.limit ? (shown.at(-1)?.position.toString() ?? null) : null,
  };
}

function auditLine(event: StoredEvent): AuditAnswer["items"][number] {
  const action = String(event.data["action"] ?? "");
  const { body } = event.data;
  return {
    position: event.position.toString(),
    at: event.time,
    action,
    target: event.worker === undefined ? null : event.worker,
    body: typeof body === "object" && body !== null ? { ...body } : {},
  };
}
