import { silentLogger, stoppedClock, type StoppedClock } from "@openpool/base";
import { onTestFinished } from "vitest";
import { isPrivateAddress } from "../../outbound/private-address.ts";
import { PgAlertStore } from "../../store/alert-store.ts";
import { ada } from "../../store/testing/sample-credit.ts";
import { openTestStore } from "../../store/testing/test-store.ts";
import type { NewEvent } from "../../store/types.ts";
import { Alerts, type SubscribeRequest } from "../alerts.ts";
import type { Watched } from "../reader.ts";
import { parseAlertSettings } from "../settings.ts";
import { type HttpSink, openHttpSink } from "./http-sink.ts";
import { type MailSink, openMailSink } from "./mail-sink.ts";

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const publicUrl = "https://pool.example.com";
/** Of the operator's own webhook. */
export const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

/** Alerts of a pool at a moment that the test chooses: a real database, a mail server, a server for everything else. */
export interface World {
  readonly clock: StoppedClock;
  readonly hook: HttpSink;
  readonly mail: MailSink;
  readonly store: Awaited<ReturnType<typeof openTestStore>>;
  readonly alertStore: PgAlertStore;
  alerts: Alerts;
  watched: Watched | undefined;
  /** Of the next process. */
  publicUrl: string | undefined;
  online: (rig: string) => boolean;
  append(...events: NewEvent[]): Promise<void>;
  /** Lets time pass; then reads what happened and sends what is due. */
  pass(ms?: number): Promise<void>;
  /** As a process that was killed and started again. */
  restart(): Promise<void>;
  /** The titles that the operator's webhook got. */
  titles(): string[];
}

/** It ends with the test. */
export async function openWorld(): Promise<World> {
  const closers: (() => Promise<void>)[] = [];
  onTestFinished(async () => {
    for (const close of closers.toReversed()) await close();
  });
  const keep = <T extends AsyncDisposable>(one: T): T => {
    closers.push(async () => one[Symbol.asyncDispose]());
    return one;
  };
  // The day on which the database's own clock is, so that its partitions are there.
  const clock = stoppedClock(Date.now());
  const hook = keep(await openHttpSink());
  const mail = keep(await openMailSink());
  const store = keep(await openTestStore({ clock }));
  const alertStore = keep(new PgAlertStore(store.database.connection, { clock }));
  const settings = parseAlertSettings({
    mail: { url: mail.url, from: "Pool <alerts@pool.example.com>" },
    telegram: { token: "12345:abcdefghijklmnopqrstuvwxyz", api: hook.url },
    operator: [{ webhook: `${hook.url}/operator`, secret: SECRET }],
  });
  if ("problems" in settings) throw new Error(JSON.stringify(settings.problems));
  const open = async (): Promise<Alerts> =>
    Alerts.open(
      {
        settings,
        publicUrl: world.publicUrl,
        poolName: "",
        refuse: (address) => isPrivateAddress(address),
        // Whoever is silent is cut off by the test, never by a machine that stands still.
        mailLimits: { timeoutMs: 10 * MINUTE, turnMs: 10 * MINUTE, mailMs: 10 * MINUTE },
      },
      {
        store: alertStore,
        logger: silentLogger,
        clock,
        watch: async () => world.watched,
        isOnline: (_worker, rig) => world.online(rig),
      },
    );
  const world: World = {
    clock,
    hook,
    mail,
    store,
    alertStore,
    // Set at once below.
    alerts: undefined as unknown as Alerts,
    watched: { problems: [], unknown: [] },
    publicUrl,
    online: () => false,
    append: (...events) => store.append(events),
    async pass(ms = 0) {
      clock.advance(ms);
      // Twice: the first may be one that a timer began on the way.
      for (let i = 0; i < 2; i++) {
        await world.alerts.reader.look();
        await world.alerts.sender.send();
      }
    },
    async restart() {
      await world.alerts[Symbol.asyncDispose]();
      world.alerts = await open();
    },
    titles: () =>
      hook.taken
        .filter((one) => one.path === "/operator")
        .map((one) => (JSON.parse(one.body) as { data: { title: string } }).data.title),
  };
  world.alerts = await open();
  closers.push(async () => world.alerts[Symbol.asyncDispose]());
  return world;
}

export const joined = (rig: string, connection = "c1", worker = ada): NewEvent => ({
  type: "rig.joined",
  worker,
  rig,
  data: { connection, capacity: 1 },
});
export const left = (rig: string, connection = "c1", worker = ada): NewEvent => ({
  type: "rig.left",
  worker,
  rig,
  data: { connection, why: "closed" },
});

/** Subscribes by mail and follows the link that comes. */
export async function subscribeByMail(world: World, request: Partial<SubscribeRequest> = {}): Promise<void> {
  await world.alerts.subscribe({
    worker: ada,
    channel: "email",
    target: "ada@example.com",
    kinds: ["rig-offline", "payout-paid", "no-work", "success-low", "speed-low", "address-change", "terms-changed"],
    owned: false,
    ...request,
  });
  await world.alerts.sender.send();
  await world.alerts.follow("confirm", linkIn(world.mail.taken.at(-1)!.raw, "confirm"));
}

/** The token of a link in a mail, whose long lines are folded. */
export function linkIn(raw: string, action: "confirm" | "unsubscribe"): string {
  const text = raw.replaceAll("=\r\n", "").replaceAll("=3D", "=");
  return new RegExp(`${publicUrl}/v1/alerts/${action}\\?token=([\\w.-]+)`).exec(text)?.[1] ?? "";
}
const subjectOf = (raw: string): string =>
  /^Subject: (.*(?:\r\n[ \t].*)*)/m
    .exec(raw)?.[1]
    ?.replaceAll(/\r\n[ \t]/g, " ")
    .replaceAll(/=\?UTF-8\?Q\?(.*?)\?= ?/gi, (_all, text: string) =>
      Buffer.from(
        text
          .replaceAll("_", " ")
          .replaceAll(/=([0-9A-F]{2})/g, (_x, hex: string) => String.fromCharCode(parseInt(hex, 16))),
        "latin1",
      ).toString("utf8"),
    ) ?? "";
/** Of all mails, oldest first. */
export const subjects = (world: World): string[] => world.mail.taken.map((one) => subjectOf(one.raw));
/** How messages call {@link ada}. */
export const name = `${ada.slice(0, 6)}…${ada.slice(-4)}`;
