import {
  bigintValue,
  choiceValue,
  durationValue,
  option,
  type OptionProblem,
  type OptionValues,
  pathValue,
  percentValue,
  textValue,
} from "@openpool/base";
import { z } from "zod";
import { termsProblems } from "./check-terms.ts";
import { readTermsDocument, type TermsDocument, termsDocumentJson } from "./terms.ts";

/** The settings of the first terms. */
export const termsOptionDefinitions = {
  commission: option({
    name: "commission",
    kind: percentValue,
    default: "25%",
    help: "what the pool keeps of each fee; the rest is the worker's",
    details:
      "Rounded down to whole wei, so the dust goes to the worker. This and the settings below make the first version of the terms, when the pool starts for the first time; later versions are announced with `openpool terms set`.",
    group: "Terms",
  }),
  scheme: option({
    name: "scheme",
    kind: textValue("NAME", "the name of a payout scheme"),
    default: "unit",
    help: "how workers earn: `unit` is each worker's part of the fee of its own jobs",
    details: "docs/money.md explains every scheme. Its parameters stand in `terms-file`.",
    group: "Terms",
  }),
  holdTime: option({
    name: "hold-time",
    kind: durationValue({ minMs: 0 }),
    default: "1h",
    help: "how long what was earned is held before it is payable",
    details: "The time in which a cheat can be found out before it is paid. 0s: at once.",
    group: "Terms",
  }),
  minimumPayout: option({
    name: "minimum-payout",
    kind: bigintValue("WEI", { min: 0n, max: 2n ** 128n }),
    default: "1000000000000000",
    help: "a worker is paid once it is owed so much, in wei",
    details: "A lower value spends more of each payout on gas.",
    group: "Terms",
  }),
  payoutSchedule: option({
    name: "payout-schedule",
    kind: textValue("CRON", "a cron expression: minute, hour, day of month, month, day of week"),
    default: "0 6 * * *",
    help: "when payouts are made",
    group: "Terms",
  }),
  payoutTimeZone: option({
    name: "payout-time-zone",
    kind: textValue("ZONE", "the name of a time zone, as `UTC` or `Europe/Berlin`"),
    default: "UTC",
    help: "the time zone of `payout-schedule`",
    group: "Terms",
  }),
  payoutGas: option({
    name: "payout-gas",
    kind: choiceValue(["pool", "worker"]),
    default: "pool",
    help: "who bears the gas of payouts: the pool, or each worker for its own",
    group: "Terms",
  }),
  priceSource: option({
    name: "price-source",
    kind: choiceValue(["upstream", "configured"]),
    default: "upstream",
    help: "where the price of a job comes from: `upstream` is the orchestrator whose job it is, where one says what it charges; `configured` is always `price-per-unit`",
    details: "Gateways of the pool's own pay `price-per-unit` either way.",
    group: "Terms",
  }),
  termsFile: option({
    name: "terms-file",
    kind: pathValue("FILE"),
    defaultNote: "what the settings above say, without overrides",
    help: "a YAML or JSON file with what else the first terms say: the parameters of the scheme, an uptime bonus, overrides",
    details:
      "The document that `openpool terms set --file` takes, or parts of it. What it says none of the settings above may say too. See money.md, Terms.",
    group: "Terms",
  }),
} as const;

/** The settings that fill each field of the first terms; none for what only `termsFile` says. */
const SETTINGS_OF_TERMS = {
  commissionPpm: ["commission"],
  scheme: ["scheme"],
  schemeOptions: [],
  priceSource: ["priceSource"],
  holdMs: ["holdTime"],
  minimumPayoutWei: ["minimumPayout"],
  schedule: ["payoutSchedule", "payoutTimeZone"],
  gasBorneBy: ["payoutGas"],
  overrides: [],
} as const satisfies Readonly<Record<keyof TermsDocument, readonly (keyof typeof termsOptionDefinitions)[]>>;
const termsFields = Object.keys(SETTINGS_OF_TERMS) as (keyof TermsDocument)[]; // just written

/** The first version of the terms, and which of its fields the operator wrote down. */
export interface FirstTerms {
  readonly first: TermsDocument;
  readonly named: readonly (keyof TermsDocument)[];
}

/** `file`: what the file of `termsFile` holds, undefined without one. Adds everything that is wrong to `problems`. */
export function toFirstTerms(
  values: OptionValues<typeof termsOptionDefinitions>,
  from: { readonly isNamed: (key: keyof typeof termsOptionDefinitions) => boolean; readonly file: unknown },
  problems: OptionProblem[],
): FirstTerms {
  const settings: TermsDocument = {
    commissionPpm: values.commission,
    scheme: values.scheme,
    schemeOptions: {},
    priceSource: values.priceSource,
    holdMs: values.holdTime,
    minimumPayoutWei: values.minimumPayout,
    schedule: { cron: values.payoutSchedule, timeZone: values.payoutTimeZone },
    gasBorneBy: values.payoutGas,
    overrides: [],
  };
  // A mistake of the file is told as one of the file; without a file only the scheme's name can be wrong.
  const where = from.file === undefined ? "--scheme" : "--terms-file";
  const wrong = (problem: string): void => void problems.push({ where, problem });
  const file = z.record(z.string(), z.unknown()).safeParse(from.file ?? {});
  if (from.file !== undefined && !file.success) wrong("does not hold fields of terms, as `commissionPpm: 250000`");
  const written = file.data ?? {};
  for (const field of termsFields) {
    const double = field in written ? SETTINGS_OF_TERMS[field].find(from.isNamed) : undefined;
    if (double === undefined) continue;
    wrong(`says ${field}, and so does the setting ${termsOptionDefinitions[double].name}: keep one of them`);
  }
  const read = readTermsDocument({ ...termsDocumentJson(settings), ...written });
  if ("problems" in read) read.problems.forEach(wrong);
  else if (from.file !== undefined) termsProblems(read).forEach(wrong);
  // Whoever names a scheme that needs parameters has not met the file that holds them.
  else
    for (const problem of termsProblems(read))
      wrong(`${problem} A scheme's parameters go into the file of --terms-file.`);
  return {
    first: "problems" in read ? settings : read,
    named: termsFields.filter((field) => field in written || SETTINGS_OF_TERMS[field].some(from.isNamed)),
  };
}
