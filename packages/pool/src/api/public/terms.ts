import { type Terms as TermsJson, type TermsAnswer, termsFacts, termsText } from "@openpool/protocol";
import type { Terms } from "../../ledger/terms.ts";
import { plainText } from "./amounts.ts";
import { time } from "./sums.ts";

/** The terms as everybody reads them. Who has terms of its own is that worker's business: only how many is told. */
export function termsJson(terms: Terms): TermsJson {
  const schedule = terms.schedule.cron === "" ? null : `${terms.schedule.cron} (${terms.schedule.timeZone})`;
  const said = {
    commissionPpm: Number(terms.commissionPpm),
    scheme: terms.scheme,
    holdMs: terms.holdMs,
    minimumPayoutWei: terms.minimumPayoutWei.toString(),
    gasBorneBy: terms.gasBorneBy,
  };
  return {
    version: terms.version,
    announcedAt: time(terms.announcedAtMs),
    effectiveAt: time(terms.effectiveAtMs),
    ...said,
    schemeOptions: { ...terms.schemeOptions },
    schedule,
    priceSource: terms.priceSource,
    overrides: terms.overrides.length,
    sentence: plainText(termsText(terms.scheme), termsFacts(said)),
    formula: formulaOf(terms),
  };
}

/** As the scheme computes it, by the names that its parameters have in `schemeOptions`. */
function formulaOf({ scheme, schemeOptions: options }: Pick<Terms, "scheme" | "schemeOptions">): string[] {
  const lines = [
    "fee = floor(pixels × pricePerUnitWei / pixelsPerUnit)",
    "commission = floor(fee × commissionPpm / 1000000)",
    earnedOf(scheme, options),
  ];
  if (options["uptime"] === undefined) return lines;
  const slot = "bonus of a slot = budgetWeiPerDay × slotMs / 86400000, shared equally by the workers that had it";
  return [...lines, `${slot}; slotMs is 600000 where it is not named`];
}

function earnedOf(scheme: string, options: Terms["schemeOptions"]): string {
  switch (scheme) {
    case "unit":
      return "earned = fee - commission";
    case "segment":
      return options["per"] === "rendition-second"
        ? "earned = floor(amountWei × milliseconds × renditions / 1000)"
        : "earned = amountWei for each segment";
    case "proportional":
      return `earned = income of the period, less commission, × own work / all work; ${PERIOD}`;
    case "blend":
      return `earned = lambda × unit + (1 - lambda) × proportional, lambda = lambdaPpm / 1000000; ${PERIOD}`;
    default:
      return "earned = what the operator's function says; hook is the hash of its program";
  }
}

const PERIOD = "a period is periodMs, or a day where it is not named";

/** Which of all versions is in force, which come, which were. */
export function termsAnswer(versions: readonly Terms[], nowMs: number): TermsAnswer {
  const current = currentTerms(versions, nowMs);
  const upcoming = versions.filter((one) => one.version > current.version && one.effectiveAtMs > nowMs);
  const gone = versions.filter((one) => one !== current && !upcoming.includes(one));
  return {
    current: termsJson(current),
    upcoming: upcoming.toSorted((a, b) => a.effectiveAtMs - b.effectiveAtMs).map(termsJson),
    history: gone.toSorted((a, b) => b.version - a.version).map(termsJson),
  };
}

/** @throws when there are no versions, which the port rules out. */
export function currentTerms(versions: readonly Terms[], nowMs: number): Terms {
  const sorted = versions.toSorted((a, b) => a.version - b.version);
  const found = sorted.findLast((one) => one.effectiveAtMs <= nowMs) ?? sorted[0];
  if (!found) throw new Error("a pool has terms");
  return found;
}
