import { formatEth as exactEth } from "@openpool/base";
import type { Alert, AlertKind } from "./types.ts";
import { isUrgent } from "./rules.ts";

/** What a person reads, and what a program gets. */
export interface Message {
  /** Stable over retries. */
  readonly id: string;
  readonly title: string;
  /** Plain text, several lines. */
  readonly text: string;
  readonly alerts: readonly Alert[];
  readonly tone: "good" | "bad" | "neutral";
  readonly urgent: boolean;
  /** A page with more. */
  readonly link: string | undefined;
  readonly unsubscribeUrl: string | undefined;
  /** Of a message that asks for it: where it is confirmed. */
  readonly confirmUrl: string | undefined;
}

export interface MessageContext {
  readonly poolName: string;
  /** Without a slash at its end; undefined: there are no pages. */
  readonly publicUrl: string | undefined;
}

/** Exact: no digit is rounded away. */
export function formatEth(wei: unknown): string {
  if (typeof wei !== "string" || !/^\d{1,78}$/.test(wei)) return "an amount";
  return `${exactEth(BigInt(wei))} ETH`;
}

/** What leaves for the worker: less than it is owed where it bears the gas, something else where it is paid in a token. */
function whatArrives({ amountWei, sendAmount, asset }: Alert["data"]): string {
  if (sendAmount === undefined || (asset === "eth" && sendAmount === amountWei)) return formatEth(amountWei);
  if (asset === "eth") return `${formatEth(sendAmount)} (${formatEth(amountWei)} less the gas)`;
  return `${say(sendAmount, "an amount")} of the smallest unit of the token ${say(asset)} (for ${formatEth(amountWei)})`;
}

const ownMinimum = ({ thresholdWei }: Alert["data"]): string =>
  thresholdWei === undefined || thresholdWei === "0" ? "" : ` once ${formatEth(thresholdWei)} are owed`;
const short = (address: unknown): string =>
  typeof address === "string" && address.length === 42 ? `${address.slice(0, 6)}…${address.slice(-4)}` : "an address";
const say = (value: unknown, fallback = ""): string =>
  (typeof value === "string" || typeof value === "number" ? String(value) : fallback).slice(0, 300);
const timeOf = (value: unknown): string => {
  const ms = typeof value === "number" ? value : Date.parse(say(value));
  return Number.isFinite(ms)
    ? new Date(ms)
        .toISOString()
        .replace("T", " ")
        .replace(/:\d\d\.\d{3}Z/, " UTC")
    : "soon";
};

interface Words {
  readonly title: string;
  readonly text: string;
}
type Say = (alert: Alert, name: string) => Words;

const often = (alert: Alert): string => {
  const times = alert.data["timesInADay"];
  return typeof times === "number"
    ? ` It is the ${times}. time within a day: from now on it must stay well for longer before that is told.`
    : "";
};

const BOOKS = { bad: "The books do not add up", good: "The books add up again" };
/** By what is wrong. */
const SOLVENCY: Readonly<Record<string, typeof BOOKS>> = {
  "reserve-negative": { bad: "What workers are owed is not covered", good: "What workers are owed is covered again" },
  "hook-holds": { bad: "Credits wait because their hook failed", good: "No credit waits for its hook any more" },
};

const WORDS: Record<AlertKind, Say> = {
  "rig-offline": (alert, rig) =>
    alert.phase === "cleared"
      ? { title: `${rig} is online again`, text: `The rig is connected since ${timeOf(alert.atMs)} and stays.` }
      : {
          title: `${rig} is offline`,
          text: `The rig is not connected since ${timeOf(alert.atMs)}. Check its power, its network and its log.${often(alert)}`,
        },
  "no-work": (alert, worker) =>
    alert.phase === "cleared"
      ? { title: `${worker} works again`, text: "A segment was credited." }
      : {
          title: `${worker} got no work for ${say(alert.threshold)} hours`,
          text: `The last credited segment was ${alert.data["lastJobAt"] === null ? "before anything that is known" : `at ${timeOf(alert.data["lastJobAt"])}`}. Its page says why, if the rigs are connected.`,
        },
  "success-low": (alert, rig) =>
    alert.phase === "cleared"
      ? {
          title: `${rig} succeeds again`,
          text: `${say(alert.data["successPercent"])} % of its attempts in the last hour gave a valid result.`,
        }
      : {
          title: `${rig} fails too often`,
          text: `Only ${say(alert.data["successPercent"])} % of its attempts in the last hour gave a valid result; you asked to hear below ${say(alert.threshold)} %. Failing rigs get less work.${often(alert)}`,
        },
  "speed-low": (alert, rig) =>
    alert.phase === "cleared"
      ? {
          title: `${rig} is fast enough again`,
          text: `It did ${say(alert.data["realTimeRatio"])} seconds of video per second in the last hour.`,
        }
      : {
          title: `${rig} is slow`,
          text: `It did ${say(alert.data["realTimeRatio"])} seconds of video per second in the last hour; you asked to hear below ${say(alert.threshold)}. Slow rigs get less work.${often(alert)}`,
        },
  standing: (alert, rig) => {
    switch (alert.data["standing"]) {
      case "trusted":
        return { title: `${rig} is trusted`, text: "It did its work well; it now takes its full share." };
      case "barred":
        return {
          title: `${rig} is barred`,
          text: "It gets no work until it is let in again. Its page says what happened.",
        };
      default:
        return {
          title: `${rig} is on probation`,
          text: "It gets little work until it has shown that it does it well.",
        };
    }
  },
  "payout-planned": (alert, worker) =>
    alert.worker === null
      ? {
          title: "A payout is planned",
          text: `${formatEth(alert.data["totalWei"])} for ${say(alert.data["lines"], "some")} workers; ${say(alert.data["waiting"], "0")} wait. ${alert.data["approvalReason"] ? `It needs your approval: ${say(alert.data["approvalReason"])}.` : "It needs no approval."}`,
        }
      : {
          title: `A payout for ${worker} is planned`,
          text: `${whatArrives(alert.data)} goes to ${say(alert.data["payTo"], "its address")} with the next transaction.`,
        },
  "payout-sent": (alert, worker) => ({
    title: `A payout for ${worker} is on its way`,
    text: `${whatArrives(alert.data)} to ${say(alert.data["payTo"], "its address")}${alert.data["hash"] ? `, transaction ${say(alert.data["hash"])}` : ""}. It counts as paid once the chain has confirmed it for good.`,
  }),
  "payout-paid": (alert, worker) => ({
    title: `${worker} was paid`,
    text: `${whatArrives(alert.data)} arrived at ${say(alert.data["payTo"], "its address")}, transaction ${say(alert.data["hash"])}.`,
  }),
  "payout-failed": (alert, worker) => ({
    title: `A payout for ${worker} did not go through`,
    text: `${formatEth(alert.data["amountWei"])} could not be paid to ${say(alert.data["payTo"], "its address")}. The money is owed again and safe; the operator was told too.`,
  }),
  "credit-held": (alert, worker) => {
    switch (alert.data["event"]) {
      case "payout.released":
        return { title: `Payouts of ${worker} go on`, text: "What it is owed is paid with the next payout again." };
      case "worker.changed":
        return {
          title: `${worker} may not work here any more`,
          text: `The operator says why: ${say(alert.data["banned"])}. What is owed stays owed, and is held until the operator releases it.`,
        };
      case "payout.held":
        return {
          title: `Payouts of ${worker} are held back`,
          text: "The pool's operator holds them until it has looked at something. What is owed stays owed; ask the operator what it is about.",
        };
      default:
        return alert.phase === "cleared"
          ? { title: `No credit of ${worker} waits any more`, text: "Everything that waited was shared." }
          : {
              title: `Credits of ${worker} wait`,
              text: `The pool's own rule for sharing fees failed for ${say(alert.data["segments"], "some")} of its segments, with fees of ${formatEth(alert.data["feeWei"])}. Nothing is lost: they are shared once the operator, who was told too, has mended the rule.`,
            };
    }
  },
  "terms-changed": (alert) => ({
    title: "The pool's terms change",
    text: `Version ${say(alert.data["version"])} counts from ${timeOf(alert.data["effectiveAt"])}. Credits of before keep the terms they were made under.`,
  }),
  "address-change": (alert, worker) => {
    switch (alert.data["event"]) {
      case "payto.cancelled":
        return { title: `The new payout address of ${worker} was cancelled`, text: "Payouts go where they went." };
      case "payto.changed":
        return {
          title: `How ${worker} is paid has changed`,
          text: `Payouts go to ${say(alert.data["payTo"])}${ownMinimum(alert.data)}, as its key signed.`,
        };
      default: {
        const { payTo, paidTo } = alert.data;
        const from = `from ${timeOf(alert.data["effectiveAtMs"])} on. It was signed with the worker's key. If it was not you, cancel it before then, and move that key's money.`;
        return paidTo === payTo
          ? {
              title: `Somebody asked to change how ${worker} is paid`,
              text: `Payouts go to ${say(payTo)} as before${ownMinimum(alert.data)}, ${from}`,
            }
          : {
              title: `Somebody asked to change the payout address of ${worker}`,
              text: `To ${say(payTo)}${ownMinimum(alert.data)}, ${from}`,
            };
      }
    }
  },
  halt: (alert) =>
    alert.phase === "cleared"
      ? { title: "Payouts are no longer halted", text: `${say(alert.data["code"], "The halt")} was lifted.` }
      : {
          title: "The pool stopped its payouts",
          text: `${say(alert.data["message"], "See `openpool payouts status`")} (${say(alert.data["code"])})`,
        },
  solvency: (alert) => {
    const { bad, good } = SOLVENCY[say(alert.data["code"])] ?? BOOKS;
    return { title: alert.phase === "cleared" ? good : bad, text: say(alert.data["message"]) };
  },
  "low-float": (alert) =>
    alert.phase === "cleared"
      ? { title: "The paying account holds enough again", text: say(alert.data["message"]) }
      : { title: "The paying account runs low", text: say(alert.data["message"]) },
  "no-workers": (alert) =>
    alert.phase === "cleared"
      ? { title: "Rigs are connected again", text: "Gateways are served." }
      : {
          title: "No rig is connected",
          text: `Since ${timeOf(alert.atMs)}: gateways that come now are refused.${often(alert)}`,
        },
  "upstream-lost": (alert) => {
    const name = say(alert.data["upstream"], "an orchestrator");
    return alert.phase === "cleared"
      ? { title: `Registered with ${name} again`, text: `Since ${timeOf(alert.atMs)}.` }
      : {
          title: `No longer registered with ${name}`,
          text: `Since ${timeOf(alert.atMs)}: it sends no work.${often(alert)}`,
        };
  },
  "log-stuck": (alert) => ({
    title: "The event log could not be written for a while",
    text: `From ${timeOf(alert.data["since"])} to ${timeOf(alert.atMs)} (${say(alert.data["reason"])}). No segment was answered meanwhile. Check the database's disk.`,
  }),
  test: () => ({ title: "A test of the alerts", text: "If you read this, the channel works." }),
  confirm: (alert) => ({
    title: `Do you want to hear about ${short(alert.worker)}?`,
    text: "Somebody asked this pool to send alerts about that worker here. Follow the link to agree. If it was not you, do nothing: no other message will come.",
  }),
};

/** One alert in words. */
export function describeAlert(alert: Alert): Words {
  const name =
    alert.rig !== null && alert.worker !== null
      ? `${short(alert.worker)}.${alert.rig}`
      : alert.worker !== null
        ? short(alert.worker)
        : "The pool";
  return WORDS[alert.kind](alert, name);
}

/** One of several in a message. */
export function describeTimed(alert: Alert): string {
  const { title, text } = describeAlert(alert);
  return `${timeOf(alert.atMs)}: ${title}\n${text}`;
}

const BAD: readonly AlertKind[] = [
  "rig-offline",
  "no-work",
  "success-low",
  "speed-low",
  "payout-failed",
  "credit-held",
  "halt",
  "solvency",
  "low-float",
  "no-workers",
  "upstream-lost",
  "log-stuck",
];

function toneOf(alert: Alert): Message["tone"] {
  if (alert.phase === "cleared") return "good";
  if (alert.kind === "payout-paid" || alert.data["event"] === "payout.released") return "good";
  if (alert.kind === "standing") return alert.data["standing"] === "trusted" ? "good" : "bad";
  return BAD.includes(alert.kind) ? "bad" : "neutral";
}

function linkOf(alert: Alert, publicUrl: string | undefined): string | undefined {
  if (publicUrl === undefined) return undefined;
  if (alert.worker === null) return `${publicUrl}/status`;
  const page = `${publicUrl}/w/${alert.worker}`;
  return alert.rig === null ? page : `${page}/${encodeURIComponent(alert.rig)}`;
}

const MAYBE_AGAIN = "You may have this already: the pool was cut off while it was sending it.";

/** One message of one or several alerts for the same reader. */
export function composeMessage(
  id: string,
  alerts: readonly [Alert, ...Alert[]],
  links: { readonly unsubscribeUrl?: string | undefined; readonly confirmUrl?: string | undefined },
  { poolName, publicUrl }: MessageContext,
  /** It was under way when the pool was cut off: who has read it already should know that it is the same. */
  { maybeAgain = false }: { readonly maybeAgain?: boolean } = {},
): Message {
  const [first] = alerts;
  const all = alerts.map(describeAlert);
  const title = all.length === 1 ? all[0]!.title : `${all.length} alerts: ${all[0]!.title}, …`;
  const text = all.length === 1 ? all[0]!.text : alerts.map(describeTimed).join("\n\n");
  const workers = new Set(alerts.map((alert) => alert.worker));
  const link =
    all.length === 1
      ? linkOf(first, publicUrl)
      : linkOf({ ...first, rig: null, worker: workers.size === 1 ? first.worker : null }, publicUrl);
  const tones = new Set(alerts.map(toneOf));
  return {
    id,
    title: poolName === "" ? title : `${title} (${poolName})`,
    text: maybeAgain ? `${text}\n\n${MAYBE_AGAIN}` : text,
    alerts,
    tone: tones.has("bad") ? "bad" : tones.has("good") ? "good" : "neutral",
    urgent: alerts.some(isUrgent),
    link,
    unsubscribeUrl: links.unsubscribeUrl,
    confirmUrl: links.confirmUrl,
  };
}
