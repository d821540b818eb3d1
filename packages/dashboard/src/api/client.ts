import type {
  EarningsAnswer,
  JobsAnswer,
  PayoutRunAnswer,
  PayoutsAnswer,
  PoolAnswer,
  Problem,
  RigAnswer,
  RigsAnswer,
  SolvencyAnswer,
  StatusAnswer,
  TermsAnswer,
  WhyAnswer,
  WindowName,
  WorkerAnswer,
} from "@openpool/protocol";

/** The pool answered, and said no. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.name = "ApiProblem";
    this.status = status;
    this.code = code;
  }
}

/** The pool said no, which asking again does not change; anything else is no answer, also from who stands before a pool that is down. */
export function isRefusal(error: unknown): error is ApiProblem {
  return error instanceof ApiProblem && error.status < 500;
}

/** What is asked for is not there, nor will it be in five seconds. */
export function isAbsent(error: unknown): boolean {
  return error instanceof ApiProblem && (error.status === 404 || error.code.endsWith("/not-configured"));
}

/**
 * How long a question may stay without an answer, in milliseconds. A connection that died says nothing, and a browser has
 * few of them: what waits on one for ever keeps everything else of this page from being asked.
 */
const ANSWER_WITHIN_MS = 15_000;

/** Asks, and reads the answer to its end. What changes something is waited for: nobody would know whether it was done. */
async function ask(path: string, init: RequestInit): Promise<{ readonly response: Response; readonly text: string }> {
  const late = new AbortController();
  const reads = init.method === undefined || init.method === "GET";
  const stop = (): void => late.abort();
  const timer = reads ? setTimeout(stop, ANSWER_WITHIN_MS) : undefined;
  // Not AbortSignal.any: telephones of a few years ago do not have it.
  if (init.signal?.aborted) stop();
  init.signal?.addEventListener("abort", stop, { once: true });
  try {
    const response = await fetch(path, {
      ...init,
      headers: { accept: "application/json", ...init.headers },
      signal: late.signal,
    });
    return { response, text: await response.text() };
  } finally {
    clearTimeout(timer);
    init.signal?.removeEventListener("abort", stop);
  }
}

/**
 * Reads JSON from the pool. Rejects with an {@link ApiProblem} when the pool refuses, with whatever `fetch` rejects with
 * when it cannot be reached. Answers are not checked against their schemas: the pages come from the same program.
 */
export async function getJson<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
  const { response, text } = await ask(path, init);
  if (!response.ok) {
    const problem = readProblem(text);
    throw new ApiProblem(
      response.status,
      problem?.code ?? `http/${response.status}`,
      problem?.detail ?? problem?.message ?? response.statusText,
    );
  }
  // Where a route does not exist, a server of pages answers with a page.
  if (text !== "" && !(response.headers.get("content-type") ?? "").includes("json")) {
    throw new ApiProblem(404, "http/no-json", `${path} is not served here`);
  }
  // The one place where an answer gets its type: what a route answers is decided by the schemas of the API.
  return (text === "" ? undefined : JSON.parse(text)) as Answer;
}

function readProblem(text: string): (Partial<Problem> & { readonly message?: string }) | undefined {
  try {
    const read: unknown = JSON.parse(text);
    return typeof read === "object" && read !== null ? read : undefined;
  } catch {
    return undefined;
  }
}

/** A path with its parameters; those without a value are left out. */
export function withQuery(path: string, query: Readonly<Record<string, string | number | undefined>>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text === "" ? path : `${path}?${text}`;
}

export interface RigsFilter {
  readonly state?: string | undefined;
  readonly standing?: string | undefined;
  readonly device?: string | undefined;
  readonly search?: string | undefined;
  readonly sort?: string | undefined;
  readonly order?: string | undefined;
  readonly limit?: number | undefined;
}

/** Where each answer is: the pages read these and link to them as the raw JSON. */
export const paths = {
  pool: () => "/v1/pool",
  rigs: (filter: RigsFilter, cursor?: string) => withQuery("/v1/rigs", { ...filter, cursor }),
  rigsCsv: (filter: RigsFilter) => withQuery("/v1/rigs.csv", { ...filter, limit: undefined }),
  worker: (address: string) => `/v1/workers/${address}`,
  why: (address: string) => `/v1/workers/${address}/why`,
  rig: (address: string, rig: string) => `/v1/workers/${address}/rigs/${encodeURIComponent(rig)}`,
  earnings: (address: string, window: WindowName, rig?: string) =>
    withQuery(`/v1/workers/${address}/earnings`, { window, rig }),
  earningsCsv: (address: string, window: WindowName, rig?: string) =>
    withQuery(`/v1/workers/${address}/earnings.csv`, { window, rig }),
  poolEarnings: (window: WindowName) => withQuery("/v1/earnings", { window }),
  jobs: (address: string, rig: string | undefined, limit: number, cursor?: string) =>
    withQuery(`/v1/workers/${address}/jobs`, { rig, limit, cursor }),
  jobsCsv: (address: string, rig?: string) => withQuery(`/v1/workers/${address}/jobs.csv`, { rig }),
  workerPayoutsCsv: (address: string) => `/v1/workers/${address}/payouts.csv`,
  workerPayouts: (address: string, cursor?: string) => withQuery(`/v1/workers/${address}/payouts`, { cursor }),
  statement: (address: string) => `/v1/workers/${address}/statements.csv`,
  payouts: (cursor?: string) => withQuery("/v1/payouts", { cursor }),
  payoutsCsv: () => "/v1/payouts.csv",
  payoutRun: (id: string, cursor?: string) => withQuery(`/v1/payouts/${encodeURIComponent(id)}`, { cursor }),
  terms: () => "/v1/terms",
  solvency: () => "/v1/solvency",
  status: () => "/v1/status",
  apiDocs: () => "/v1/docs",
} as const;

/** What each page reads. Live pages ask again every few seconds; what is on the screen stays until the answer is here. */
const every = (ms: number): { refetchInterval: number; staleTime: number } => ({
  refetchInterval: ms,
  staleTime: ms / 2,
});
const read = <Answer>(path: string, ms: number) => ({
  queryKey: [path] as const,
  queryFn: ({ signal }: { signal: AbortSignal }) => getJson<Answer>(path, { signal }),
  ...every(ms),
});

export const queries = {
  pool: () => read<PoolAnswer>(paths.pool(), 5_000),
  rigs: (filter: RigsFilter) => read<RigsAnswer>(paths.rigs(filter), 10_000),
  worker: (address: string) => read<WorkerAnswer>(paths.worker(address), 5_000),
  why: (address: string) => read<WhyAnswer>(paths.why(address), 5_000),
  rig: (address: string, rig: string) => read<RigAnswer>(paths.rig(address, rig), 5_000),
  earnings: (address: string, window: WindowName, rig?: string) =>
    read<EarningsAnswer>(paths.earnings(address, window, rig), 15_000),
  poolEarnings: (window: WindowName) => read<EarningsAnswer>(paths.poolEarnings(window), 15_000),
  jobs: (address: string, rig: string | undefined, limit: number) =>
    read<JobsAnswer>(paths.jobs(address, rig, limit), 10_000),
  payouts: () => read<PayoutsAnswer>(paths.payouts(), 10_000),
  payoutRun: (id: string) => read<PayoutRunAnswer>(paths.payoutRun(id), 10_000),
  terms: () => read<TermsAnswer>(paths.terms(), 60_000),
  solvency: () => read<SolvencyAnswer>(paths.solvency(), 10_000),
  status: () => read<StatusAnswer>(paths.status(), 10_000),
};
