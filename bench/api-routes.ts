/** Every route of the public API that reads, and of those that write the ones that a wallet signs, as the bench asks them. */
import type { WorkerAddress } from "@openpool/protocol";

export interface Asked {
  readonly path: string;
  readonly method?: "GET" | "POST" | "DELETE" | "PUT";
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Route {
  readonly name: string;
  readonly path: (i: number) => string;
  /** How often: fewer where one takes long. */
  readonly asked: number;
  /** What is asked, where that takes a preparation of its own, which is not measured. */
  readonly ready?: (i: number) => Promise<Asked>;
  /** When it is not 200. */
  readonly status?: number;
}

const OFTEN = 300;
/** Files of everything. */
const SELDOM = 40;

export function readingRoutes({
  some,
  farm,
  run,
}: {
  /** One worker after another, but for the farm. */
  readonly some: (i: number) => WorkerAddress;
  /** The worker with hundreds of rigs. */
  readonly farm: WorkerAddress;
  readonly run: string;
}): readonly Route[] {
  const aDayAgo = new Date(Date.now() - 86_400_000).toISOString();
  const often = (name: string, path: (i: number) => string): Route => ({ name, path, asked: OFTEN });
  const seldom = (name: string, path: (i: number) => string): Route => ({ name, path, asked: SELDOM });
  const own = (i: number): string => `/v1/workers/${some(i)}`;
  return [
    often("/v1/pool", () => "/v1/pool"),
    often("/v1/status", () => "/v1/status"),
    often("/v1/terms", () => "/v1/terms"),
    often("/v1/solvency", () => "/v1/solvency"),
    often("/v1/payouts", () => "/v1/payouts?limit=50"),
    often("/v1/payouts/{id}", () => `/v1/payouts/${run}?limit=50`),
    often("/v1/problems", () => "/v1/problems"),
    often("/v1/openapi.json", () => "/v1/openapi.json"),
    often("/v1/docs", () => "/v1/docs"),
    often("/v1/earnings 30d by hour", () => "/v1/earnings?window=30d&step=hour"),
    often("/v1/workers", () => "/v1/workers?limit=100"),
    often("/v1/rigs by speed", () => "/v1/rigs?sort=speed&limit=100"),
    often("/v1/leaderboard 30d", () => "/v1/leaderboard?window=30d"),
    often("/v1/workers/{address}", own),
    often("/v1/workers/{address}/rigs", (i) => `${own(i)}/rigs`),
    often("/v1/workers/{address}/rigs/{name}", (i) => `${own(i)}/rigs/rig1`),
    often("/v1/workers/{address}/why", (i) => `${own(i)}/why`),
    often("/v1/workers/{address}/payouts", (i) => `${own(i)}/payouts?limit=50`),
    often("/v1/workers/{address}/jobs", (i) => `${own(i)}/jobs?limit=50`),
    often("/v1/workers/{address}/earnings 30d by day", (i) => `${own(i)}/earnings?window=30d`),
    often("/v1/workers/{address}/earnings 24h by minute", (i) => `${own(i)}/earnings?window=24h&step=minute`),
    ...["", "/rigs", "/rigs/rig1", "/why", "/jobs?limit=50", "/earnings?window=24h&step=minute"].map((of) =>
      often(
        `/v1/workers/{address}${of.replace("/rigs/rig1", "/rigs/{name}").replace(/\?.*/, "")} of a farm`,
        () => `/v1/workers/${farm}${of}`,
      ),
    ),
    often("/v1/alerts", () => "/v1/alerts"),
    // Files, from the first byte to the last.
    often("/v1/workers/{address}/statements.csv of a day", (i) => `${own(i)}/statements.csv?from=${aDayAgo}`),
    seldom("/v1/workers/{address}/statements.csv", (i) => `${own(i)}/statements.csv`),
    often("/v1/workers/{address}/payouts.csv", (i) => `${own(i)}/payouts.csv`),
    seldom("/v1/workers/{address}/jobs.csv", (i) => `${own(i)}/jobs.csv`),
    seldom("/v1/workers/{address}/jobs.csv of a rig of a farm", () => `/v1/workers/${farm}/jobs.csv?rig=rig7`),
    often("/v1/workers/{address}/earnings.csv", (i) => `${own(i)}/earnings.csv?window=30d`),
    often("/v1/earnings.csv", () => "/v1/earnings.csv?window=30d&step=hour"),
    often("/v1/payouts.csv", () => "/v1/payouts.csv"),
    seldom("/v1/workers.csv", () => "/v1/workers.csv"),
    seldom("/v1/rigs.csv", () => "/v1/rigs.csv"),
  ];
}

interface Wallet {
  readonly address: string;
  signMessage(message: { readonly message: string }): Promise<string>;
}

/** Signing in with a wallet and what a worker reads and changes with it, and subscribing to alerts. */
export async function writingRoutes({
  ask,
  wallet,
  tokenOf,
}: {
  readonly ask: (
    asked: Asked,
  ) => Promise<{ readonly status: number; readonly text: string; readonly cookie?: string | undefined }>;
  readonly wallet: Wallet;
  /** The token of a link in the message that a new subscription made. */
  readonly tokenOf: (action: "confirm" | "unsubscribe") => Promise<string>;
}): Promise<readonly Route[]> {
  const textPath = `/v1/sign-in?address=${wallet.address}`;
  const signed = async (): Promise<Asked> => {
    const { message } = JSON.parse((await ask({ path: textPath })).text) as { message: string };
    return { path: "/v1/sign-in", method: "POST", body: { message, signature: await wallet.signMessage({ message }) } };
  };
  const signedIn = async (): Promise<Record<string, string>> => {
    const { cookie } = await ask(await signed());
    if (cookie === undefined) throw new Error("a sign-in set no cookie");
    return { cookie };
  };
  /** A worker has only so many sessions: those that are asked with are made anew each time. */
  let headers: Record<string, string> = {};
  const settings = `/v1/workers/${wallet.address}/settings`;
  const subscription = (i: number): Asked => ({
    path: "/v1/alerts",
    method: "POST",
    body: { worker: wallet.address, channel: "webhook", target: `https://bench${i}.invalid/`, kinds: ["rig-offline"] },
  });
  await ask(subscription(0));
  const [confirm, unsubscribe] = [await tokenOf("confirm"), await tokenOf("unsubscribe")];
  const reading = (name: string, path: string): Route => ({
    name,
    asked: OFTEN,
    path: () => path,
    async ready(i) {
      if (i === 0) headers = await signedIn();
      return { path, headers };
    },
  });
  return [
    { name: "/v1/sign-in", path: () => textPath, asked: OFTEN },
    { name: "POST /v1/sign-in", path: () => "/v1/sign-in", asked: OFTEN, ready: signed },
    reading("/v1/session", "/v1/session"),
    reading("/v1/workers/{address}/settings", settings),
    reading(
      "/v1/workers/{address}/settings/pay-to",
      `${settings}/pay-to?payTo=${wallet.address}&minimumWei=20000000000000000&maxGasSharePpm=5000`,
    ),
    {
      name: "PUT /v1/workers/{address}/settings/rigs/{name}",
      path: () => settings,
      asked: OFTEN,
      async ready(i) {
        if (i === 0) headers = await signedIn();
        return { path: `${settings}/rigs/rig1`, method: "PUT", headers, body: { label: `Shed ${i}` } };
      },
    },
    {
      name: "DELETE /v1/session",
      path: () => "/v1/session",
      asked: 100,
      ready: async () => ({ path: "/v1/session", method: "DELETE", headers: await signedIn() }),
    },
    { name: "/v1/alerts/confirm", path: () => `/v1/alerts/confirm?token=${confirm}`, asked: OFTEN },
    { name: "/v1/alerts/unsubscribe", path: () => `/v1/alerts/unsubscribe?token=${unsubscribe}`, asked: OFTEN },
  ];
}
