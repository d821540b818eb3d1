import { termsFacts, type Terms as TermsAnswer } from "@openpool/protocol";
import type { ReactNode } from "react";
import { scheduleWords } from "../format/schedule.ts";
import { text } from "../text.tsx";
import { Said } from "./said.tsx";

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
      {terms.formula.length > 0 && (
        <p>
          {terms.formula.map((line) => (
            <span key={line} className="block py-0.5">
              <code>{line}</code>
            </span>
          ))}
        </p>
      )}
      <p className="text-soft">
        {text.terms.paid(terms.schedule === null ? undefined : scheduleWords(terms.schedule))} {children}
      </p>
    </div>
  );
}
