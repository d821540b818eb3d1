import type { AdminDisk, AdminGateways, AdminOverview, AuditAnswer } from "@openpool/protocol";
import { ApiProblem, getJson, withQuery } from "./client.ts";

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
    readonly chainId: number;
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

/** An orchestrator that the pool works for, as the admin port tells of it. */
export interface AdminUpstream {
  readonly name: string;
  readonly address: string;
  readonly state: string;
  readonly why?: string;
  readonly capacity: number;
  readonly sessions: number;
  readonly answered: number;
  readonly failed: number;
  readonly lost: number;
  readonly version?: string;
}

/** A version of the terms with everything that it holds: what is announced is this, changed. */
export interface AdminTerms {
  readonly version: number;
  readonly announcedAt: string;
  readonly effectiveAt: string;
  readonly commissionPpm: string;
  readonly scheme: string;
  readonly holdMs: number;
  readonly minimumPayoutWei: string;
  readonly schedule: { readonly cron: string; readonly timeZone: string };
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
  overview: () => call<AdminOverview>("GET", "/admin/v1/overview"),
  audit: (cursor: string | undefined) => call<AuditAnswer>("GET", withQuery("/admin/v1/audit", { cursor })),
  gateways: () => call<AdminGateways>("GET", "/admin/v1/gateways"),
  disk: () => call<AdminDisk>("GET", "/admin/v1/disk"),
  terms: () => call<{ readonly current: number; readonly versions: readonly AdminTerms[] }>("GET", "/terms"),
  announce: (change: { readonly terms: object; readonly effectiveAt: string }) =>
    call<AdminTerms>("POST", "/terms", change),
  upstreams: () => call<readonly AdminUpstream[]>("GET", "/upstreams"),
  drainUpstream: (name: string) => call<undefined>("POST", `/upstreams/${encodeURIComponent(name)}/drain`),
  undrainUpstream: (name: string) => call<undefined>("POST", `/upstreams/${encodeURIComponent(name)}/undrain`),
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
