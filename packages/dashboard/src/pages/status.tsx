import type { Component, Incident, StatusAnswer } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { paths, queries } from "../api/client.ts";
import { formatCount, formatMeasured } from "../format/number.ts";
import { formatSpan } from "../format/time.ts";
import { text } from "../text.tsx";
import { Empty, Loaded, Section } from "../ui/parts.tsx";
import { reasonWords } from "../ui/said.tsx";
import { Table } from "../ui/table.tsx";
import { When } from "../ui/time.tsx";

const TONES = { ok: "", degraded: "warn", down: "bad", "not-configured": "off" } as const;

/** Whether everything works, what did not, and how many segments were answered day by day. */
export function StatusPage(): ReactNode {
  const status = useQuery(queries.status());
  return (
    <Loaded of={status} lines={6}>
      {(answer) => (
        <>
          <h1 className="line">{reasonWords(answer).sentence}</h1>
          <Section title={text.status.components} end={<a href={paths.status()}>{text.json}</a>}>
            <Table
              rows={answer.components}
              rowKey={({ name }) => name}
              columns={[
                {
                  head: text.status.part,
                  className: "w-44 font-medium",
                  cell: ({ name }) => text.status.names[name],
                },
                {
                  head: text.rigs.state,
                  cell: (one) => (
                    <>
                      <Health component={one} />
                      <span className="sub">{reasonWords({ ...one, sentence: one.detail }).sentence}</span>
                    </>
                  ),
                },
              ]}
            />
          </Section>
          <Days status={answer} />
          <Section title={text.status.incidents} note={text.status.incidentsNote}>
            {answer.incidents.length === 0 ? (
              <Empty title={text.status.noIncidents} />
            ) : (
              <Table
                rows={answer.incidents}
                rowKey={({ id }) => id}
                columns={[
                  { head: text.payouts.when, className: "w-40", cell: ({ startedAt }) => <When at={startedAt} /> },
                  { head: text.status.what, cell: (one) => <What incident={one} /> },
                ]}
              />
            )}
          </Section>
        </>
      )}
    </Loaded>
  );
}

function What({ incident }: { readonly incident: Incident }): ReactNode {
  const { startedAt, endedAt } = incident;
  return (
    <>
      {reasonWords(incident).sentence}{" "}
      <span className="text-soft">
        {endedAt === null
          ? text.status.going
          : text.status.lasted(formatSpan(Date.parse(endedAt) - Date.parse(startedAt)))}
      </span>
    </>
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
          formatMeasured((jobs / (jobs + lost)) * 1_000_000),
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
            formatMeasured(ppm),
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
