import { statfs } from "node:fs/promises";
import { errorText, type Clock } from "@openpool/base";
import type {
  AdminDisk,
  AdminException,
  AdminGateways,
  AdminOverview,
  AuditAnswer,
  ExceptionCode,
  ExceptionFacts,
} from "@openpool/protocol";
import type { StoredEvent } from "../store/types.ts";
import type { Halt, PayoutPort } from "../payouts/types.ts";
import { exceptionOf } from "./public/amounts.ts";
import type { AdminPort } from "./types.ts";

/** Below this there is too little room for the event log of a busy week. */
const LOW_DISK_BYTES = 5 * 2 ** 30;
/** More of one kind are only counted. */
const MOST_PAYEES = 20;
const RANK = { halt: 0, warning: 1, note: 2 } as const;
const AUDIT_PAGE = 1_000;
/** Names of fields whose values are not recorded. */
const SECRET = /secret|password|token|key|signature/i;

interface Tell {
  readonly sinceMs?: number | undefined;
  readonly subject?: string | undefined;
}
type Say = <Code extends ExceptionCode>(
  severity: AdminException["severity"],
  code: Code,
  facts: ExceptionFacts<Code>,
  more?: Tell,
) => void;

/** What an operator should look at, worst first, and how the pool goes. */
export async function adminOverview(
  port: AdminPort,
  clock: Pick<Clock, "now">,
  disk: (dir: string) => Promise<DiskNow> = diskOf,
): Promise<AdminOverview> {
  const status = port.status();
  const exceptions: AdminException[] = [];
  const say: Say = (severity, code, facts, more = {}) =>
    void exceptions.push({
      severity,
      ...exceptionOf(code, facts),
      since: more.sinceMs === undefined ? null : new Date(more.sinceMs).toISOString(),
      subject: more.subject ?? null,
    });

  for (const reason of port.unhealthy()) {
    say("halt", "unhealthy", { why: `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.` });
  }
  try {
    await sayOfBooks(port, say);
    if (port.payouts) await sayOfPayouts(port.payouts, say);
  } catch (error) {
    say("halt", "books-unreadable", { why: errorText(error) });
  }
  const { freeBytes: diskFreeBytes } = await disk(status.dataDir);
  if (diskFreeBytes !== null && diskFreeBytes < LOW_DISK_BYTES) {
    say("warning", "disk-low", { freeMib: Math.round(diskFreeBytes / 2 ** 20) });
  }
  for (const { name, state, why } of status.upstreams) {
    if (state === "registered" || state === "drained") continue;
    say("warning", "upstream-lost", { upstream: name, why: why ?? state }, { subject: name });
  }
  const rigs = status.rigs.filter((rig) => rig.state !== "gone");
  if (rigs.length === 0) {
    say("warning", "no-rigs", {});
  }
  for (const rig of rigs) {
    if (rig.standing !== "barred" && rig.standing !== "probation") continue;
    const subject = `${rig.worker}.${rig.rig}`;
    say(rig.standing === "barred" ? "warning" : "note", rig.standing, { why: rig.reason }, { subject });
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
      say(
        "halt",
        "payouts-halted",
        { why: halt.reason, books: halt.name },
        { sinceMs: halt.sinceMs, subject: halt.name },
      );
  }
  for (const violation of port.ledger?.lastCheck()?.violations ?? []) {
    say("halt", "books-differ", { why: violation.message }, { subject: violation.check });
  }
  for (const { code, text } of (await port.schemes?.solvency())?.warnings ?? []) {
    say("warning", code === "hook-holds" ? "credits-held" : code, { why: text });
  }
}

function isOfPayouts({ code }: Halt): boolean {
  return code.startsWith("payout/");
}

async function sayOfPayouts(payouts: PayoutPort, say: Say): Promise<void> {
  const { halted, paused, waitingFor, floats } = await payouts.status();
  if (halted && isOfPayouts(halted)) {
    // A transaction that failed as a whole, or that another one took the nonce of, stops everything: it is named here.
    const subject = halted.intent === undefined ? halted.code : `${halted.code}, transaction ${halted.intent}`;
    say("halt", "payouts-halted", { why: halted.message }, { sinceMs: halted.atMs, subject });
  }
  if (paused !== undefined) {
    say("note", "payouts-paused", { why: paused });
  }
  if (waitingFor !== undefined) say("warning", "payouts-wait", { why: waitingFor });
  for (const { state, text } of floats) {
    if (text === undefined) continue;
    if (state === "low") say("warning", "low-float", { why: text });
    else say("note", "high-float", { why: text });
  }
  for (const run of await payouts.runs({ limit: 50 })) {
    if (run.state !== "planned" || run.approvalReason === undefined) continue;
    const { id, approvalReason: why, createdAtMs: sinceMs } = run;
    say("warning", "approval-needed", { why, run: id }, { subject: id, sinceMs });
  }
  const payees = await payouts.payees();
  const failed = payees.flatMap(({ worker, failed: why }) => (why === undefined ? [] : [{ worker, why }]));
  for (const { worker, why } of failed.slice(0, MOST_PAYEES)) {
    say("warning", "payment-failed", { why, worker }, { subject: worker });
  }
  const held = payees.flatMap(({ worker, heldBack: why }) => (why === undefined ? [] : [{ worker, why }]));
  for (const { worker, why } of held.slice(0, MOST_PAYEES)) {
    say("note", "worker-held", { why, worker }, { subject: worker });
  }
  const more = Math.max(0, failed.length - MOST_PAYEES) + Math.max(0, held.length - MOST_PAYEES);
  if (more > 0) {
    say("note", "more-payees", { workers: more });
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
