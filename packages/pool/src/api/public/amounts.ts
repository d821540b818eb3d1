import {
  type Coded,
  type ExceptionCode,
  type ExceptionFacts,
  exceptionTexts,
  type Facts,
  type FactsOf,
  piecesOf,
  type Reason,
  type ReasonCode,
  reasonTexts,
} from "@openpool/protocol";

const WEI_PER_ETH = 10n ** 18n;
const MINUTE_MS = 60_000;

/** Wei as people read it in a sentence: up to six decimals, never rounded up. `0.003111 ETH`; tiny amounts in wei. */
export function eth(wei: bigint): string {
  const sign = wei < 0n ? "-" : "";
  const abs = wei < 0n ? -wei : wei;
  if (abs > 0n && abs < 10n ** 12n) return `${sign}${abs} wei`;
  const micro = (abs % WEI_PER_ETH) / 10n ** 12n;
  const decimals = micro.toString().padStart(6, "0").replace(/0+$/, "");
  return `${sign}${abs / WEI_PER_ETH}${decimals === "" ? "" : `.${decimals}`} ETH`;
}

/** 250 000 parts per million: `25 %`. */
export function percent(ppm: number | bigint): string {
  return `${Number(ppm) / 10_000} %`;
}

/** `3 h 40 min`, for sentences. */
export function duration(ms: number): string {
  const minutes = Math.max(0, Math.round(ms / MINUTE_MS));
  if (minutes < 1) return "less than a minute";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

/** A sentence as plain text. Amounts are cut to six decimals: who needs them exactly has the facts. */
export function plainText(template: string, facts: Facts): string {
  return piecesOf(template, facts)
    .map((piece) => {
      switch (piece.kind) {
        case "text":
          return piece.text;
        case "amount":
          return eth(BigInt(piece.wei));
        case "span":
          return duration(piece.ms);
        case "moment":
          return piece.at;
        case "share":
          return percent(piece.ppm);
      }
    })
    .join("");
}

/** A reason with its facts, and with the words that they make. */
export function reasonOf<Code extends ReasonCode>(code: Code, given: FactsOf<Code>): Reason {
  return worded(code, given, reasonTexts[code]);
}

/** The same of facts that were read from somewhere, and have the names that its sentence has. */
export function reasonOfFacts(code: ReasonCode, facts: Facts): Reason {
  return worded(code, facts, reasonTexts[code]);
}

/** What needs the operator, in the same way. */
export function exceptionOf<Code extends ExceptionCode>(code: Code, given: ExceptionFacts<Code>): Reason {
  return worded(code, given, exceptionTexts[code]);
}

function worded(
  code: string,
  given: Readonly<Record<string, string | number | bigint | undefined>>,
  [sentence, action]: readonly [string, string?],
): Reason {
  const facts: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    // To the minute, as in words: an answer is another one when something happened, not with every moment that passes.
    if (name.endsWith("Ms")) facts[name] = Math.max(0, Math.round(Number(value) / MINUTE_MS)) * MINUTE_MS;
    else facts[name] = typeof value === "bigint" ? value.toString() : value;
  }
  return { code, sentence: plainText(sentence, facts), action: plainText(action ?? "", facts) || null, facts };
}

/** A reason as a fact of another one, by its name there: in words, and by its code with its own facts beside it. */
export function asFact<Name extends string>(
  name: Name,
  { code, sentence, facts }: Reason,
): Record<Name, string> & Facts {
  return { ...facts, ...asField(name, sentence), [`${name}Code`]: code };
}

// TypeScript forgets which name it is of a computed one.
function asField<Name extends string, Value>(name: Name, value: Value): Record<Name, Value> {
  return { [name]: value } as Record<Name, Value>;
}

/** A sentence in a field of an answer, and beside it what it is made of. */
export function inField<Name extends string, Given extends Reason | null>(
  name: Name,
  reason: Given,
): Record<Name, Given extends null ? null : string> & Record<`${Name}Coded`, Given extends null ? null : Coded>;
export function inField(name: string, reason: Reason | null): Record<string, unknown> {
  if (reason === null) return { [name]: null, [`${name}Coded`]: null };
  const { sentence, code, facts } = reason;
  return { [name]: sentence, [`${name}Coded`]: { code, facts } };
}
