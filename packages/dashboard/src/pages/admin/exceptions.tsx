import type { AdminException } from "@openpool/protocol";
import type { ReactNode } from "react";
import { text } from "../../text.tsx";
import { reasonWords, Worded } from "../../ui/said.tsx";
import { When } from "../../ui/time.tsx";

const words = text.admin;
const TONES = { halt: "bad", warning: "warn", note: "" } as const;

/** What needs the operator, worst first. */
export function Exceptions({ exceptions }: { readonly exceptions: readonly AdminException[] }): ReactNode {
  if (exceptions.length === 0) return <p className="line">{words.fine}</p>;
  return (
    <>
      <p className="line">{words.needs(exceptions.length)}</p>
      <ul className="mb-8 border-t border-line">
        {exceptions.map((exception) => {
          const { severity, code, subject, since } = exception;
          const { sentence, action } = reasonWords(exception, text.exceptions);
          return (
            <li
              key={`${code} ${subject ?? ""} ${exception.sentence}`}
              data-exception={code}
              className="grid gap-x-5 gap-y-1 border-b border-line py-3 sm:grid-cols-[6rem_1fr_max-content]"
            >
              <span>
                <span className={`tag ${TONES[severity]}`}>{words.severity[severity]}</span>
              </span>
              <span className="wrap-anywhere">
                {sentence} {action !== null && <span className="text-soft">{action}</span>}
                {subject !== null && (
                  <span className="mono block small text-soft">
                    <Worded>{subject}</Worded>
                  </span>
                )}
              </span>
              <span className="small text-soft">
                {since !== null && (
                  <>
                    {words.since} <When at={since} />
                  </>
                )}
              </span>
            </li>
          );
        })}
      </ul>
    </>
  );
}
