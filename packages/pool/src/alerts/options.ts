import { BadValue, option, type OptionProblem, type OptionValues, pathValue, type ValueKind } from "@openpool/base";
import { type AlertSettings, noAlertSettings, parseAlertSettings } from "./settings.ts";

/** `https://HOST`, without a slash at the end. */
const publicUrlValue: ValueKind<string> = {
  placeholder: "https://HOST",
  allowed: "`https://HOST[:PORT]`, without a path; `http://` for a pool that only you reach",
  parse(text) {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url || !/^https?:$/.test(url.protocol)) return new BadValue("is not a URL like https://pool.example.com");
    if (url.username !== "" || url.pathname !== "/" || url.search !== "" || url.hash !== "") {
      return new BadValue("has more than a host and a port");
    }
    return url.origin;
  },
  format: (value) => value,
};

export const alertOptionDefinitions = {
  publicUrl: option({
    name: "public-url",
    kind: publicUrlValue,
    defaultNote: "none: nobody can subscribe to alerts, nor sign in from another machine",
    help: "where people reach the pages of `api-listen`",
    details:
      "It is the site that sign-ins are for, and messages of alerts link to it; without it nobody can subscribe to them.",
    group: "Pages",
  }),
  alertsFile: option({
    name: "alerts-file",
    kind: pathValue("FILE"),
    defaultNote: "no channels of your own, no mail, no Telegram",
    help: "a YAML file with the mail server, the Telegram bot and your own alert channels",
    details: "See alerts.md. It holds passwords: let only the pool's user read it.",
    group: "Pages",
  }),
} as const;

export interface AlertPoolOptions {
  readonly settings: AlertSettings;
  readonly publicUrl: string | undefined;
}

/** `file`: what the alerts file holds, parsed from YAML; undefined without one. */
export function toAlertOptions(
  values: OptionValues<typeof alertOptionDefinitions>,
  file: unknown,
  problems: OptionProblem[],
): AlertPoolOptions {
  const parsed = parseAlertSettings(file);
  if (!("problems" in parsed)) return { settings: parsed, publicUrl: values.publicUrl };
  for (const { where, problem } of parsed.problems) problems.push({ where: `${where} in --alerts-file`, problem });
  return { settings: noAlertSettings, publicUrl: values.publicUrl };
}
