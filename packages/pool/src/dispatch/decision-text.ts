import { type DecisionCode, type Facts, type FactsOf, reasonTexts, wordsOf } from "@openpool/protocol";

/** Why a decision was made: what it is called, and what it is made of, for whoever says it. */
export interface DecisionReason {
  readonly code: DecisionCode;
  readonly facts: Facts;
}

export function decided<Code extends DecisionCode>(code: Code, facts: FactsOf<Code> & Facts): DecisionReason {
  return { code, facts };
}

/** In English. Facts of decisions are words and numbers, nothing that has to be written in a form of its own. */
export function decisionText({ code, facts }: DecisionReason): string {
  return wordsOf(reasonTexts[code][0], facts);
}

/** Seconds as they stand in a reason. */
export function secondsFact(ms: number): string {
  return (ms / 1000).toFixed(2);
}
