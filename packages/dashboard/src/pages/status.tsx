import type { Component, StatusAnswer } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { paths, queries } from "../api/client.ts";
import { formatCount, formatPpm } from "../format/number.ts";
import { formatSpan } from "../format/time.ts";
import { text } from "../text.tsx";
import { Empty, Loaded, Section } from "../ui/parts.tsx";
import { When } from "../ui/time.tsx";

const TONES = { ok: "", degraded: "warn", down: "bad", "not-configured": "off" } as const;

/** Whether everything works, what did not, and how many segments were answered day by day. */
export function StatusPage(): ReactNode {
  const status = useQuery(queries.status());
  return (
    <Loaded of={status} lines={6}>
      {(answer) => (
        <>
          <h1 className="line">{answer.sentence}</h1>
          <Section title={text.status.components} end={<a href={paths.status()}>{text.json}</a>}>
            <ul>
              {answer.components.map((one) => (
                <li
                  key={one.name}
                  className="grid grid-cols-[minmax(0,11rem)_1fr] gap-x-4 border-t border-line-2 py-2.5 first:border-0 sm:grid-cols-[11rem_9rem_1fr]"
                >
                  <span className="font-medium">{text.status.names[one.name]}</span>
                  <span>
                    <Health component={one} />
                  </span>
                  <span className="col-span-2 text-soft sm:col-span-1">{one.detail}</span>
                </li>
              ))}
            </ul>
          </Section>
          <Days status={answer} />
          <Section title={text.status.incidents} note={text.status.incidentsNote}>
            {answer.incidents.length === 0 ? (
              <Empty title={text.status.noIncidents} />
            ) : (
              <ul className="log text-[14px]!">
                {answer.incidents.map((incident) => (
                  <li key={incident.id} className="grid-cols-[minmax(0,7.5rem)_1fr]! sm:grid-cols-[10rem_1fr]!">
                    <When at={incident.startedAt} />
                    <span>
                      {incident.sentence}{" "}
                      <span className="text-soft">
                        {incident.endedAt === null
                          ? text.status.going
                          : text.status.lasted(
                              formatSpan(Date.parse(incident.endedAt) - Date.parse(incident.startedAt)),
                            )}
                      </span>
                    </span>
                  </li>
                ))}
              </ul>
            )}
          </Section>
        </>
      )}
    </Loaded>
  );
}

function Health({ component }: { readonly component: Component }): ReactNode {
  return <span className={`state ${TONES[component.health]}`}>{text.status.health[component.health]}</span>;
}

function Days({ status }: { readonly status: StatusAnswer }): ReactNode {
  const { days } = status;
  const jobs = days.reduce((sum, day) => sum + day.jobs, 0);
  const lost = days.reduce((sum, day) => sum + day.lostJobs, 0);
  if (jobs + lost === 0)
    return (
      <Section title={text.status.answered}>
        <Empty title={text.status.noDays}>{text.status.noDaysWhy}</Empty>
      </Section>
    );
  return (
    <Section title={text.status.answered} note={text.status.answeredNote}>
      <p className="mb-4 text-soft">
        {text.status.answeredSentence(
          formatPpm(Math.floor((jobs / (jobs + lost)) * 1_000_000)),
          formatCount(jobs + lost),
          formatCount(lost),
        )}
      </p>
      <ul className="flex h-10 items-stretch gap-[3px]" aria-label={text.status.answered}>
        {days.map((day) => {
          const ppm = day.answeredPpm ?? 1_000_000;
          const tone = ppm >= 999_000 ? "bg-good" : ppm >= 990_000 ? "bg-warn" : "bg-bad";
          const words = text.status.day(
            day.day.slice(0, 10),
            formatPpm(ppm),
            formatCount(day.jobs),
            formatCount(day.lostJobs),
          );
          return (
            <li key={day.day} className={`max-w-6 min-w-px flex-1 rounded-xs ${tone}`} title={words}>
              <span className="sr-only">{words}</span>
            </li>
          );
        })}
      </ul>
    </Section>
  );
}
