import {
  type Coded as CodedFacts,
  type Facts,
  piecesOf,
  type Piece,
  type Reason,
  type Texts,
} from "@openpool/protocol";
import { Fragment, type ReactNode } from "react";
import { parseUnits, WEI_DIGITS } from "../format/amount.ts";
import { formatPpm } from "../format/number.ts";
import { formatSpan } from "../format/time.ts";
import { text } from "../text.tsx";
import { Hex } from "./address.tsx";
import { Eth } from "./amount.tsx";
import { When } from "./time.tsx";

/**
 * A sentence of the catalogue with its facts: amounts carry their exact wei, moments are the reader's own. `whole`: names
 * are not made short, as in a command that is to be copied.
 */
export function Said(props: { readonly template: string; readonly facts: Facts; readonly whole?: boolean }): ReactNode {
  const { template, facts, whole = false } = props;
  return piecesOf(template, facts, text.reasons).map((piece, i) => <Fragment key={i}>{draw(piece, whole)}</Fragment>);
}

function draw(piece: Piece, whole: boolean): ReactNode {
  switch (piece.kind) {
    case "text":
      return whole ? piece.text : <Worded>{piece.text}</Worded>;
    case "amount":
      return <Eth wei={piece.wei} unit />;
    case "span":
      return piece.ms === 0 ? text.moment : formatSpan(piece.ms);
    case "moment":
      return <When at={piece.at} />;
    case "share":
      return formatPpm(piece.ppm);
  }
}

interface InWords {
  readonly sentence: ReactNode;
  readonly action: ReactNode;
}

/** A reason in the words of the catalogue; one that it does not know in the pool's own. */
export function reasonWords(
  { code, sentence, action = null, facts }: Omit<Reason, "action"> & Partial<Reason>,
  texts: Texts = text.reasons,
): InWords {
  const known = Object.hasOwn(texts, code) ? texts[code] : undefined;
  if (known === undefined) return { sentence: <Worded>{sentence}</Worded>, action };
  const [said, advice = ""] = known;
  // An advice may be for some of its cases alone, and say nothing in the others.
  const advised = piecesOf(advice, facts, text.reasons).length > 0;
  return {
    sentence: <Said template={said} facts={facts} />,
    action: advised ? <Said template={advice} facts={facts} whole /> : null,
  };
}

/** A sentence of a field of an answer, by what stands beside it as `…Coded`. */
export function Coded({ said, coded }: { readonly said: string | null; readonly coded: CodedFacts | null }): ReactNode {
  if (said === null) return null;
  return coded === null ? <Worded>{said}</Worded> : reasonWords({ ...coded, sentence: said }).sentence;
}

const NAMES = /(\b0x[0-9a-fA-F]{64}\b|\b0x[0-9a-fA-F]{40}\b(?:\.[0-9A-Za-z][\w-]{0,31})?|\b\d+(?:\.\d{1,18})? ETH\b)/;

const HASH_LENGTH = 66;

/** A sentence as the pool wrote it: addresses and hashes are short, and amounts, which it writes to the last digit, carry their wei. */
export function Worded({ children }: { readonly children: string }): ReactNode {
  return children.split(NAMES).map((part, i) => {
    if (i % 2 === 0) return part;
    const [name = "", rig] = part.split(".");
    if (part.endsWith(" ETH")) {
      const wei = parseUnits(part.slice(0, -" ETH".length), WEI_DIGITS);
      return wei === undefined ? part : <Eth key={i} wei={wei.toString()} unit />;
    }
    if (name.length === HASH_LENGTH) return <Hex key={i} value={name} kind="tx" />;
    return <Hex key={i} value={name} kind="address" behind={rig === undefined ? "" : `.${rig}`} />;
  });
}
