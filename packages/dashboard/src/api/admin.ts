import { ApiProblem, getJson } from "./client.ts";

const KEY = "openpool-admin-token";

/** The operator's token lives as long as the tab does, and goes nowhere but to the admin port that served the page. */
export const adminToken = {
  read: (): string | undefined => sessionStorage.getItem(KEY) ?? undefined,
  keep: (token: string): void => sessionStorage.setItem(KEY, token),
  forget: (): void => sessionStorage.removeItem(KEY),
};

/** A rig as the admin port tells of it. */
export interface AdminRig {
  readonly worker: string;
  readonly rig: string;
  readonly state: "connected" | "draining" | "gone";
  readonly connections: number;
  readonly capacity: number;
  readonly sessions: number;
  readonly jobsInFlight: number;
  readonly standing: "new" | "trusted" | "probation" | "barred";
  readonly reason: string;
  readonly version?: string;
  readonly remoteAddress?: string;
  readonly lastSeen: string;
}

/** What the operator has laid down about a worker. Absent is as good as null. */
export interface AdminWorker {
  readonly worker: string;
  readonly locked: boolean;
  readonly banned?: string | null;
  readonly payTo?: string | null;
  readonly note?: string | null;
}

export interface AdminCredential {
  readonly id: string;
  readonly name: { readonly worker: string; readonly rig: string };
  readonly createdAt: string;
  readonly revokedAt?: string | null;
}

export interface WorkerChange {
  readonly locked?: boolean;
  readonly banned?: string | null;
  readonly note?: string | null;
}

/** A payout run as the admin port tells of it. */
export interface AdminRun {
  readonly id: string;
  readonly state: string;
  readonly createdAtMs: number;
  readonly totalWei: string;
  readonly lines: number;
  readonly approvalReason?: string;
  readonly approvedBy?: string;
}

export interface AdminPayouts {
  readonly status: {
    readonly payer?: string;
    readonly balanceWei?: string;
    readonly paused?: string;
    readonly halted?: { readonly code: string; readonly message: string };
    readonly waitingFor?: string;
    readonly warnings: readonly string[];
  };
  readonly next: { readonly atMs?: number; readonly minimumWei: string };
  readonly runs: readonly AdminRun[];
}

/** What a plan would do or did. */
export interface AdminPlan {
  readonly run?: AdminRun;
  readonly lines: readonly unknown[];
  readonly waiting: readonly unknown[];
  readonly refused?: string;
}

/** How the pool is, as the admin port tells it. */
export interface AdminStatus {
  readonly version: string;
  readonly startedAt: string;
  readonly serviceUri: string;
  readonly dataDir: string;
  readonly database: { readonly kind: string; readonly writable: boolean; readonly where: string };
  readonly doors: { readonly gateways: boolean; readonly workers: boolean };
  readonly sessions: number;
  readonly jobsInFlight: number;
  readonly bytesInFlight: number;
  readonly rigs: readonly AdminRig[];
}

export interface AdminLedger {
  readonly halts: readonly { readonly name: string; readonly reason: string; readonly sinceMs: number }[];
}

/** Something that was done, from the event log. */
export interface AdminEvent {
  readonly position: string;
  readonly time: string;
  readonly type: string;
  readonly worker?: string;
  readonly rig?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What operators do, and what stops for them to look at. */
const DEEDS = [
  "worker.changed",
  "worker.credential-issued",
  "worker.credential-revoked",
  "rig.drained",
  "rig.undrained",
  "upstream.drained",
  "upstream.undrained",
  "terms.announced",
  "ledger.adjusted",
  "ledger.violated",
  "ledger.clean",
  "payout.planned",
  "payout.approved",
  "payout.cancelled",
  "payout.paused",
  "payout.resumed",
  "payout.halted",
] as const;
const DEEDS_SINCE_MS = 30 * 86_400_000;

async function deeds(): Promise<readonly AdminEvent[]> {
  const query = new URLSearchParams(DEEDS.map((type) => ["type", type]));
  query.set("since", new Date(Date.now() - DEEDS_SINCE_MS).toISOString());
  const response = await fetch(`/events?${query}`);
  if (!response.ok) throw new ApiProblem(response.status, `http/${response.status}`, response.statusText);
  const lines = (await response.text()).split("\n").filter((line) => line !== "");
  // One JSON object a line, by our own pool.
  return lines.map((line) => JSON.parse(line) as AdminEvent).toReversed();
}

async function call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  const token = adminToken.read();
  return getJson<Answer>(path, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

/** Everything that the page asks of the admin port. Writes need the token; they reject with an {@link ApiProblem}. */
export const admin = {
  status: () => call<AdminStatus>("GET", "/status"),
  ledger: () => call<AdminLedger>("GET", "/ledger"),
  deeds,
  workers: () =>
    call<{ readonly workers: readonly AdminWorker[]; readonly credentials: readonly AdminCredential[] }>(
      "GET",
      "/workers",
    ),
  drain: (name: string) => call<undefined>("POST", `/rigs/${encodeURIComponent(name)}/drain`),
  undrain: (name: string) => call<undefined>("POST", `/rigs/${encodeURIComponent(name)}/undrain`),
  change: (worker: string, change: WorkerChange) => call<AdminWorker>("PATCH", `/workers/${worker}`, change),
  issue: (address: string, rig: string | undefined) =>
    call<{ readonly id: string; readonly secret: string; readonly name: string }>("POST", "/workers", {
      address,
      ...(rig === undefined ? {} : { rig }),
    }),
  payouts: () => call<AdminPayouts>("GET", "/payouts"),
  plan: (dryRun: boolean) => call<AdminPlan>("POST", "/payouts/plan", { dryRun }),
  pause: (reason: string) => call<undefined>("POST", "/payouts/pause", { reason }),
  resume: () => call<unknown>("POST", "/payouts/resume"),
  approve: (id: string, by: string) => call<AdminRun>("POST", `/payouts/${encodeURIComponent(id)}/approve`, { by }),
  cancel: (id: string) => call<AdminRun>("POST", `/payouts/${encodeURIComponent(id)}/cancel`),
  revoke: (id: string) => call<undefined>("DELETE", `/credentials/${encodeURIComponent(id)}`),
};

/** The admin port did not take the token, or there was none. */
export function needsToken(error: unknown): boolean {
  return error instanceof ApiProblem && error.status === 401;
}
