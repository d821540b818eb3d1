import type { Histogram, RigAnswer } from "@openpool/protocol";
import { isAddressProblem, isRigName, parseAddress } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { ApiProblem, paths, queries } from "../api/client.ts";
import { shortHex } from "../format/address.ts";
import { formatCount, formatMs, formatPpm, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { CopyButton } from "../ui/address.tsx";
import { Eth } from "../ui/amount.tsx";
import { Earnings } from "../ui/earnings.tsx";
import { JobTable } from "../ui/job-table.tsx";
import { Empty, Loaded, Section, StateBadge } from "../ui/parts.tsx";
import { Ago, When } from "../ui/time.tsx";
import { Decisions } from "../ui/why.tsx";
import { DEFAULT_WINDOW } from "../windows.ts";

const route = getRouteApi("/public/w/$address/$rig");

/** One machine: what it is, how well it works, what it was offered and what it found out about itself. */
export function RigPage(): ReactNode {
  const { address, rig } = route.useParams();
  const worker = parseAddress(address);
  if (isAddressProblem(worker) || !isRigName(rig))
    return (
      <>
        <div className="who">
          <h1>
            {shortHex(address)}.{rig}
          </h1>
        </div>
        <Empty title={isAddressProblem(worker) ? text.lookup.problems[worker] : text.lookup.problems["bad-rig"]}>
          {text.lookup.fix}
        </Empty>
      </>
    );
  return <Known worker={worker} rig={rig} />;
}

function Known({ worker, rig }: { readonly worker: string; readonly rig: string }): ReactNode {
  const window = route.useSearch().window ?? DEFAULT_WINDOW;
  const answer = useQuery(queries.rig(worker, rig));
  const earnings = useQuery(queries.earnings(worker, window, rig));
  const jobs = useQuery(queries.jobs(worker, rig, 10));
  const missing = answer.error instanceof ApiProblem && answer.error.status === 404;
  return (
    <>
      <div className="who">
        <h1 title={`${worker}.${rig}`}>
          <Link to="/w/$address" params={{ address: worker }} className="plain text-soft hover:underline">
            {shortHex(worker)}
          </Link>
          .{rig}
        </h1>
        {answer.data !== undefined && <StateBadge rig={answer.data} />}
        <span className="actions">
          <CopyButton value={`${worker}.${rig}`} label={text.rig.name} />
          <CopyButton value={`${location.origin}/w/${worker}/${rig}`} label={text.linkToPage}>
            {text.share}
          </CopyButton>
          <a href={paths.rig(worker, rig)}>{text.json}</a>
        </span>
      </div>
      {missing ? (
        <Empty title={text.rig.unknown}>
          <Link to="/join" search={{ address: worker, rig }}>
            {text.rig.unknownAction}
          </Link>{" "}
          {text.rig.or}{" "}
          <Link to="/w/$address" params={{ address: worker }}>
            {text.rig.others}
          </Link>
        </Empty>
      ) : (
        <Loaded of={answer} lines={6}>
          {(one) => (
            <>
              <p className="mt-1 text-soft">
                {one.state === "offline" ? text.lastSeen(<Ago at={one.lastSeenAt} />) : one.stateReason}
                {(one.standing === "probation" || one.standing === "barred") && <> · {one.standingReason}</>}
              </p>
              <Figures rig={one} />
              <Earnings window={window} of={earnings} note={text.earnings.note[earnings.data?.step ?? "hour"]} />
              <section className="section two">
                <About rig={one} />
                <Section bare title={text.rig.decisions} note={text.why.note}>
                  <Decisions decisions={one.decisions.slice(0, 14)} />
                </Section>
              </section>
              <section className="section two">
                <Latency rig={one} />
                <div className="grid content-start gap-9">
                  <Claims rig={one} />
                  <Preflight rig={one} />
                </div>
              </section>
              <Speeds rig={one} />
              <Section title={text.jobs.title} note={text.jobs.note}>
                <Loaded of={jobs}>
                  {({ items }) =>
                    items.length === 0 ? (
                      <Empty title={text.jobs.none}>{text.jobs.noneAction}</Empty>
                    ) : (
                      <JobTable jobs={items} worker={worker} />
                    )
                  }
                </Loaded>
              </Section>
            </>
          )}
        </Loaded>
      )}
    </>
  );
}

function Figures({ rig }: { readonly rig: RigAnswer }): ReactNode {
  const day = rig.windows["24h"];
  return (
    <dl className="figures mt-5">
      <div>
        <dt>{text.rig.earned24h}</dt>
        <dd>
          <div className="v">
            <Eth wei={rig.earned24hWei} brief />
            <small>{text.eth}</small>
          </div>
          <div className="d">
            {text.window["30d"]} <Eth wei={rig.windows["30d"].earnedWei} brief />
          </div>
        </dd>
      </div>
      <div>
        <dt>{text.rig.now}</dt>
        <dd>
          <div className="v">{text.rig.streamsNow(rig.streams, rig.capacity)}</div>
          <div className="d">{text.rig.inFlight(rig.jobsInFlight)}</div>
        </dd>
      </div>
      <div>
        <dt>{text.rig.success}</dt>
        <dd>
          <div className="v">
            {rig.successPpm === null ? text.none : formatPpm(Math.floor(rig.successPpm / 100) * 100)}
          </div>
          <div className="d">{text.rig.successNote(day.jobs, day.failedAttempts)}</div>
        </dd>
      </div>
      <div>
        <dt>{text.rig.speed}</dt>
        <dd>
          <div className="v">{rig.realTimeRatio === null ? text.none : formatTimes(rig.realTimeRatio)}</div>
          <div className="d">{text.rig.speedNote}</div>
        </dd>
      </div>
    </dl>
  );
}

function About({ rig }: { readonly rig: RigAnswer }): ReactNode {
  const facts: (readonly [string, ReactNode])[] = [
    [text.rigs.device, rig.device ?? text.rigs.noDevice],
    [text.rig.software, rig.software ?? text.rig.noSoftware],
    [text.rig.capacity, rig.capacity > 0 ? text.streams(rig.capacity) : text.none],
    [
      text.rigs.trust,
      rig.standing === null ? (
        text.none
      ) : (
        <>
          {text.standing[rig.standing]}
          {rig.standingSince !== null && (
            <>
              {text.rig.since} <When at={rig.standingSince} />
            </>
          )}
          {(rig.standing === "probation" || rig.standing === "barred") && (
            <span className="block text-soft">{rig.standingReason}</span>
          )}
        </>
      ),
    ],
    [text.rigs.results, text.rigs.resultsOf(formatCount(rig.accepted), formatCount(rig.failed))],
    [text.rigs.firstSeen, <When key="first" at={rig.firstSeenAt} />],
    [text.rigs.lastJob, <Ago key="job" at={rig.lastJobAt} />],
  ];
  return (
    <Section bare title={text.rig.about}>
      <dl className="facts">
        {facts.map(([word, fact]) => (
          <div key={word} className="contents">
            <dt>{word}</dt>
            <dd>{fact}</dd>
          </div>
        ))}
      </dl>
      {rig.connections.length > 0 && (
        <ul className="mt-4 grid gap-1 small text-soft">
          {rig.connections.map((one, i) => (
            <li key={`${one.since} ${i}`}>
              {text.rig.connection(i + 1)} <Ago at={one.since} />, {text.rig.streamsOf(one.streams, one.capacity)}
              {one.draining && <span className="text-warn"> · {text.state.draining}</span>}
              {one.avoided && <span className="text-warn"> · {text.rig.avoided}</span>}
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Latency({ rig }: { readonly rig: RigAnswer }): ReactNode {
  const [window, setWindow] = useState<"24h" | "7d">("24h");
  return (
    <Section
      bare
      title={text.rig.latency}
      note={text.rig.latencyNote}
      end={
        <div className="tabs" role="group" aria-label={text.earnings.windows}>
          {(["24h", "7d"] as const).map((one) => (
            <button key={one} type="button" aria-pressed={one === window} onClick={() => setWindow(one)}>
              {text.window[one]}
            </button>
          ))}
        </div>
      }
    >
      <Bars histogram={rig.latency[window]} />
    </Section>
  );
}

function Bars({ histogram }: { readonly histogram: Histogram }): ReactNode {
  const { boundsMs, counts } = histogram;
  const used = counts.flatMap((count, i) => (count > 0 ? [i] : []));
  const [first] = used;
  const last = used.at(-1);
  if (first === undefined || last === undefined)
    return <Empty title={text.rig.noLatency}>{text.jobs.noneAction}</Empty>;
  const most = Math.max(...counts);
  const label = (i: number): string => {
    const bound = boundsMs[i];
    return bound === undefined ? text.rig.over(formatMs(boundsMs.at(-1) ?? 0)) : text.rig.upTo(formatMs(bound));
  };
  return (
    <dl className="bars">
      {counts.slice(first, last + 1).map((count, i) => (
        <div key={label(first + i)}>
          <dt>{label(first + i)}</dt>
          <dd aria-hidden="true">{count > 0 && <u style={{ width: `${(count / most) * 100}%` }} />}</dd>
          <dd className="text-right">{formatCount(count)}</dd>
        </div>
      ))}
    </dl>
  );
}

function Claims({ rig }: { readonly rig: RigAnswer }): ReactNode {
  const { measuredPixels24h, claimedPixels24h, differed, lied } = rig.claims;
  return (
    <Section bare title={text.rig.claims} note={text.window["24h"]}>
      <dl className="facts">
        <dt>{text.rig.measured}</dt>
        <dd title={measuredPixels24h}>{text.pixels(formatCount(BigInt(measuredPixels24h)))}</dd>
        <dt>{text.rig.claimed}</dt>
        <dd title={claimedPixels24h}>{text.pixels(formatCount(BigInt(claimedPixels24h)))}</dd>
      </dl>
      <p className={`mt-3 small ${lied > 0 ? "text-bad" : differed > 0 ? "text-warn" : "text-soft"}`}>
        {text.rig.claimsSentence(differed, lied)}
      </p>
    </Section>
  );
}

function Preflight({ rig }: { readonly rig: RigAnswer }): ReactNode {
  const { preflight } = rig;
  return (
    <Section bare title={text.rig.preflight} note={preflight !== null && <Ago at={preflight.at} />}>
      {preflight === null ? (
        <p className="small text-soft">{text.rig.noPreflight}</p>
      ) : (
        <ul className="grid gap-1.5 small">
          {preflight.checks.map((check) => (
            <li key={check.name}>
              <span className={`state ${check.passed ? "" : "bad"}`}>
                {check.name} {check.passed ? text.rig.passed : text.rig.notPassed}
              </span>
              <span className="sub text-soft">{check.detail}</span>
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Speeds({ rig }: { readonly rig: RigAnswer }): ReactNode {
  if (rig.speeds.length === 0) return null;
  const most = Math.max(...rig.speeds.map((one) => one.realTimeRatio));
  return (
    <Section title={text.rig.speeds} note={text.rig.speedsNote}>
      <table className="table">
        <thead>
          <tr>
            <th>{text.rig.kind}</th>
            <th className="num hide-s">{text.rig.measuredOn}</th>
            <th className="num">{text.rigs.realTime}</th>
            <th className="w-1/3 pl-4! hide-s">
              <span className="sr-only">{text.rigs.realTime}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rig.speeds.toReversed().map((one) => (
            <tr key={one.kind}>
              <td className="wrap-anywhere">{one.kind}</td>
              <td className="num hide-s">{formatCount(one.results)}</td>
              <td className="num">{formatTimes(one.realTimeRatio)}</td>
              <td className="pl-4! hide-s" aria-hidden="true">
                <div className="h-2.5 rounded-xs bg-water" style={{ width: `${(one.realTimeRatio / most) * 100}%` }} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Section>
  );
}
