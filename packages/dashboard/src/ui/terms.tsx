import { type PoolAnswer, termsFacts, type Terms as TermsAnswer } from "@openpool/protocol";
import type { ReactNode } from "react";
import { formatWei, groupInteger, parseWei } from "../format/amount.ts";
import { formatPpm } from "../format/number.ts";
import { scheduleWords } from "../format/schedule.ts";
import { formatSpan } from "../format/time.ts";
import { text } from "../text.tsx";
import { Amount, Eth } from "./amount.tsx";
import { Facts } from "./parts.tsx";
import { Said } from "./said.tsx";
import { When } from "./time.tsx";

/** The terms in one sentence. */
export function TermsSentence({ terms }: { readonly terms: TermsAnswer }): ReactNode {
  return <Said template={text.terms.sentence(terms.scheme)} facts={termsFacts(terms)} />;
}

/** What is promised to workers, in words and as a formula. */
export function Terms({ terms, children }: { readonly terms: TermsAnswer; readonly children?: ReactNode }): ReactNode {
  return (
    <div className="prose">
      <p>
        <TermsSentence terms={terms} />
      </p>
      <Formula of={terms} />
      <p className="text-soft">
        {text.terms.paid(terms.schedule === null ? undefined : scheduleWords(terms.schedule))} {children}
      </p>
    </div>
  );
}

/** How an amount comes about under terms, line by line. */
export function Formula({ of }: { readonly of: TermsAnswer }): ReactNode {
  if (of.formula.length === 0) return null;
  return (
    <p>
      {of.formula.map((line) => (
        <span key={line} className="block py-0.5">
          <code className="formula">{line}</code>
        </span>
      ))}
    </p>
  );
}

/** All that terms say, with what the formula of their scheme names; `price` is what a job costs now. */
export function TermsFacts({
  terms,
  price,
}: {
  readonly terms: TermsAnswer;
  readonly price?: PoolAnswer["price"] | undefined;
}): ReactNode {
  const words = text.terms;
  return (
    <Facts
      facts={[
        ...(price === undefined ? [] : [[words.price, <Price key="price" price={price} of={terms} />] as const]),
        [words.commission, formatPpm(terms.commissionPpm)],
        [words.scheme, terms.scheme],
        ...optionsOf(terms.schemeOptions),
        [words.hold, terms.holdMs === 0 ? words.noHold : formatSpan(terms.holdMs)],
        [text.payoutsPage.minimum, <Eth key="minimum" wei={terms.minimumPayoutWei} unit />],
        [text.payouts.gas, words.gas[terms.gasBorneBy]],
        [text.payouts.title, words.paid(terms.schedule === null ? undefined : scheduleWords(terms.schedule))],
        [words.announcedAt, <When key="announced" at={terms.announcedAt} />],
        [words.from, <When key="from" at={terms.effectiveAt} />],
      ]}
    />
  );
}

function Price({ price, of }: { readonly price: PoolAnswer["price"]; readonly of: TermsAnswer }): ReactNode {
  const wei = parseWei(price.pricePerUnitWei) ?? 0n;
  return (
    <>
      {text.terms.priceOf(<Amount wei={wei}>{formatWei(wei)}</Amount>, groupInteger(price.pixelsPerUnit))}
      {of.priceSource === "upstream" && ` ${text.terms.priceElse}`}
    </>
  );
}

/** The parameters of a scheme by the names that its formula has for them; those of a part of it as `uptime.slotMs`. */
function optionsOf(options: Readonly<Record<string, unknown>>, part = ""): (readonly [string, ReactNode])[] {
  return Object.entries(options).flatMap(([name, value]) => {
    // An object of JSON, which is what every answer is made of.
    if (typeof value === "object" && value !== null) return optionsOf(value as Record<string, unknown>, `${name}.`);
    const kind = name.replace(/PerDay$/, "");
    return [[`${part}${name}`, <Said key={name} template={`{${kind}}`} facts={{ [kind]: String(value) }} />]];
  });
}
