import type { JobsAnswer } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { paths, queries } from "../api/client.ts";
import { formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { JobTable } from "./job-table.tsx";
import { Empty, Loaded, Raw, Section } from "./parts.tsx";

/** The most that the API gives at once, and what a page begins with. */
const MOST = 200;
const FIRST = 10;

/** What a worker, or one rig of it, did lately: more where asked for, and where the page ends the way to all of it. */
export function Jobs({ worker, rig }: { readonly worker: string; readonly rig?: string }): ReactNode {
  const [limit, setLimit] = useState(FIRST);
  const jobs = useQuery({
    ...queries.jobs(worker, rig, limit),
    placeholderData: (before: JobsAnswer | undefined) => before,
  });
  const csv = paths.jobsCsv(worker, rig);
  return (
    <Section
      title={text.jobs.title}
      note={text.jobs.note}
      end={<Raw json={paths.jobs(worker, rig, limit)} csv={csv} />}
    >
      <Loaded of={jobs}>
        {({ items, next }) =>
          items.length === 0 ? (
            <Empty title={text.jobs.none}>{text.jobs.noneAction}</Empty>
          ) : (
            <>
              <JobTable jobs={items} worker={worker} withRig={rig === undefined} />
              {next !== null &&
                (limit < MOST ? (
                  <button
                    type="button"
                    className="button quiet mt-4"
                    onClick={() => setLimit(Math.min(MOST, limit * 4))}
                  >
                    {text.more} <span className="text-soft">{text.jobs.shown(formatCount(items.length))}</span>
                  </button>
                ) : (
                  <p className="mt-4 small text-soft">
                    {text.jobs.newest(
                      formatCount(items.length),
                      <a href={csv} download>
                        {text.csv}
                      </a>,
                    )}
                  </p>
                ))}
            </>
          )
        }
      </Loaded>
    </Section>
  );
}
