import type { Decision, Reason, WhyAnswer } from "@openpool/protocol";
import type { ReactNode } from "react";
import { formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { reasonWords } from "./said.tsx";
import { When } from "./time.tsx";

/** Reasons in words, each with what to do about it; `shown` was said already. */
export function Reasons({
  reasons,
  shown,
}: {
  readonly reasons: readonly Reason[];
  readonly shown?: string;
}): ReactNode {
  const rest = reasons.filter(({ sentence, action }) => sentence !== shown || action !== null);
  if (rest.length === 0) return null;
  return (
    <ul className="mb-4 grid max-w-[58ch] gap-1.5 small">
      {rest.map((reason) => {
        const { sentence, action } = reasonWords(reason);
        return (
          <li key={`${reason.code} ${reason.sentence}`} data-reason={reason.code}>
            {reason.sentence !== shown && <>{sentence} </>}
            {action !== null && <span className="text-soft">{action}</span>}
          </li>
        );
      })}
    </ul>
  );
}

/** From what the pool has to do down to what this worker got of it. */
export function Funnel({ why }: { readonly why: WhyAnswer }): ReactNode {
  const rows = [
    { word: text.why.streams, count: why.demand.streams, you: false },
    { word: text.why.free, count: why.supply.free, you: false },
    { word: text.why.ahead, count: why.supply.freeAhead, you: false },
    { word: text.why.yours, count: why.own.streams, you: true },
  ];
  const most = Math.max(1, ...rows.map(({ count }) => count));
  return (
    <>
      <dl className="funnel">
        {rows.map(({ word, count, you }) => (
          <div key={word} className={you ? "you" : ""}>
            <dt>{word}</dt>
            <dd aria-hidden="true">{count > 0 && <u style={{ width: `${(count / most) * 100}%` }} />}</dd>
            <dd className="text-right">{formatCount(count)}</dd>
          </div>
        ))}
      </dl>
      <p className="mt-3 small text-soft">
        {text.why.hour(why.demand.jobsLastHour, why.own.jobsLastHour, why.demand.waiting)}
      </p>
    </>
  );
}

/** The last routing decisions, newest first. */
export function Decisions({
  decisions,
  withRig = false,
}: {
  readonly decisions: readonly Decision[];
  readonly withRig?: boolean;
}): ReactNode {
  if (decisions.length === 0) return <p className="mt-4 small text-soft">{text.why.noDecisions}</p>;
  return (
    <ul className="log mt-4">
      {decisions.map((one, i) => (
        <li key={`${one.at} ${one.rig} ${i}`}>
          <When at={one.at} kind="clock" />
          <span className="wrap-anywhere">
            {withRig && <>{one.rig} </>}
            {reasonWords({ ...one, sentence: one.reason }).sentence}
            {one.times > 1 && <span className="text-faint"> ×{one.times}</span>}
          </span>
        </li>
      ))}
    </ul>
  );
}
