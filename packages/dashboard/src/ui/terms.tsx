import type { Terms as TermsAnswer } from "@openpool/protocol";
import type { ReactNode } from "react";
import { scheduleWords } from "../format/schedule.ts";
import { text } from "../text.tsx";

/** What is promised to workers, in words and as a formula. */
export function Terms({ terms, children }: { readonly terms: TermsAnswer; readonly children?: ReactNode }): ReactNode {
  return (
    <div className="prose">
      <p>{terms.sentence}</p>
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
