import type {
  AlertChannel,
  NewCredential,
  PayoutWish,
  PayToDocument,
  Session,
  SignInText,
  Subscribed,
  WorkerAlert,
  WorkerSettingsAnswer,
} from "@openpool/protocol";
import { getJson, withQuery } from "./client.ts";

const change = <Answer = unknown>(method: string, path: string, body?: unknown): Promise<Answer> =>
  getJson<Answer>(path, {
    method,
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });

/** What a subscription hears. */
export interface Heard {
  readonly kinds: readonly WorkerAlert[];
  readonly thresholds: {
    readonly noWorkHours: number;
    readonly successPercent: number;
    readonly realTimeRatio: number;
  };
  readonly quiet?: { readonly from: string; readonly to: string; readonly timeZone: string };
}

/** Signing in, and the settings of one worker. Changes go by a cookie that the sign-in set. */
export const signInApi = {
  text: (worker: string) => getJson<SignInText>(withQuery("/v1/sign-in", { address: worker })),
  enter: (message: string, signature: string) => change<Session>("POST", "/v1/sign-in", { message, signature }),
  session: () => getJson<Session>("/v1/session"),
  leave: (everywhere: boolean) =>
    change<Session>("DELETE", withQuery("/v1/session", { everywhere: String(everywhere) })),
} as const;

/** Alerts without signing in: whoever has the channel confirms there that it wants them. */
export const alertsApi = {
  channels: () => getJson<{ readonly channels: readonly AlertChannel[] }>("/v1/alerts"),
  subscribe: (worker: string, channel: AlertChannel, target: string, heard: Heard) =>
    change<Subscribed>("POST", "/v1/alerts", { worker, channel, target, ...heard }),
} as const;

export const settingsApi = (worker: string) => {
  const at = `/v1/workers/${worker}/settings`;
  return {
    read: () => getJson<WorkerSettingsAnswer>(at),
    payToDocument: (wish: PayoutWish) => getJson<PayToDocument>(withQuery(`${at}/pay-to`, { ...wish })),
    setPayTo: (wish: PayoutWish, nonce: string, signature: string) =>
      change("PUT", `${at}/pay-to`, { ...wish, nonce, signature }),
    cancelPayTo: () => change("DELETE", `${at}/pay-to`),
    setLabel: (rig: string, label: string | null) => change("PUT", `${at}/rigs/${encodeURIComponent(rig)}`, { label }),
    setLock: (locked: boolean) => change("PUT", `${at}/lock`, { locked }),
    issue: (rig: string) => change<NewCredential>("POST", `${at}/credentials`, { rig }),
    revoke: (id: string) => change("DELETE", `${at}/credentials/${id}`),
    subscribe: (channel: AlertChannel, target: string, heard: Heard) =>
      change<Subscribed>("POST", `${at}/alerts`, { channel, target, ...heard }),
    changeAlerts: (id: string, heard: Heard) => change("PUT", `${at}/alerts/${id}`, heard),
    endAlerts: (id: string) => change("DELETE", `${at}/alerts/${id}`),
  } as const;
};
export type SettingsApi = ReturnType<typeof settingsApi>;
