import type { Histogram, RigAnswer } from "@openpool/protocol";
import { isAddressProblem, isRigName, parseAddress } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { ApiProblem, paths, queries } from "../api/client.ts";
import { shortHex } from "../format/address.ts";
import { formatCount, formatMs, formatMeasured, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { CopyButton, RigLabel } from "../ui/address.tsx";
import { Eth } from "../ui/amount.tsx";
import { Earnings } from "../ui/earnings.tsx";
import { useExplorer } from "../ui/explorer.ts";
import { Jobs } from "../ui/jobs.tsx";
import { Figure, FigureEth, Figures as Shown } from "../ui/figures.tsx";
import { Empty, Facts, Loaded, Section, StateBadge } from "../ui/parts.tsx";
import { Coded, reasonWords } from "../ui/said.tsx";
import { type Column, Table } from "../ui/table.tsx";
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
  const missing = answer.error instanceof ApiProblem && answer.error.status === 404;
  const explorer = useExplorer();
  return (
    <>
      <div className="who">
        <h1 title={`${worker}.${rig}`}>
          <Link to="/w/$address" params={{ address: worker }} className="plain text-soft hover:underline">
            {shortHex(worker)}
          </Link>
          .{rig}
        </h1>
        {answer.data !== undefined && (
          <>
            <RigLabel rig={answer.data} />
            <StateBadge rig={answer.data} />
          </>
        )}
        <span className="actions">
          <CopyButton value={`${worker}.${rig}`} label={text.rig.name} />
          {explorer !== null && (
            <a href={`${explorer}/address/${worker}`} rel="noreferrer">
              {text.explorer}
            </a>
          )}
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
                {one.state === "offline" ? (
                  text.lastSeen(<Ago at={one.lastSeenAt} />)
                ) : (
                  <Coded said={one.stateReason} coded={one.stateReasonCoded} />
                )}
                {(one.standing === "probation" || one.standing === "barred") && (
                  <>
                    {" "}
                    · <Coded said={one.standingReason} coded={one.standingReasonCoded} />
                  </>
                )}
              </p>
              <Figures rig={one} />
              <Earnings
                window={window}
                of={earnings}
                json={paths.earnings(worker, window, rig)}
                csv={paths.earningsCsv(worker, window, rig)}
                worker={worker}
              />
              <section className="section two">
                <About rig={one} />
                <Section bare title={text.rig.decisions} note={text.why.note}>
                  <Decisions decisions={one.decisions} />
                </Section>
              </section>
              <Machine rig={one} />
              <section className="section two">
                <Latency rig={one} />
                <div className="grid content-start gap-9">
                  <Claims rig={one} />
                  <Preflight rig={one} />
                </div>
              </section>
              <Speeds rig={one} />
              <Jobs worker={worker} rig={rig} />
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
    <div className="mt-5">
      <Shown>
        <Figure
          title={text.rig.feeShare24h}
          value={<FigureEth wei={rig.earned24hWei} />}
          note={
            <>
              {text.window["30d"]} <Eth wei={rig.windows["30d"].earnedWei} brief />
            </>
          }
        />
        <Figure
          title={text.rig.now}
          value={rig.state === "offline" ? text.none : text.rig.streamsNow(rig.streams, rig.capacity)}
          note={rig.state === "offline" ? text.state.offline : text.rig.inFlight(rig.jobsInFlight)}
        />
        <Figure
          title={text.rig.success}
          value={day.successPpm === null ? text.none : formatMeasured(day.successPpm)}
          note={text.rig.successNote(day.jobs, day.failedAttempts)}
        />
        <Figure
          title={text.rig.speed}
          value={rig.realTimeRatio === null ? text.none : formatTimes(rig.realTimeRatio)}
          note={text.rig.speedNote}
        />
      </Shown>
    </div>
  );
}

function About({ rig }: { readonly rig: RigAnswer }): ReactNode {
  const facts: (readonly [string, ReactNode])[] = [
    [text.rig.software, rig.software ?? text.rig.noSoftware],
    ...(rig.machine === null
      ? []
      : ([
          [text.rig.ffmpeg, rig.machine.software.ffmpeg],
          [text.rig.system, rig.machine.software.system],
        ] as const)),
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
            <span className="block text-soft">
              <Coded said={rig.standingReason} coded={rig.standingReasonCoded} />
            </span>
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
      <Facts facts={facts} />
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
      {/* Of a rig that is not remembered any more nobody knows it. */}
      {rig.standing !== null && (
        <p className={`mt-3 small ${lied > 0 ? "text-bad" : differed > 0 ? "text-warn" : "text-soft"}`}>
          {text.rig.claimsSince} {text.rig.claimsSentence(differed, lied)}
        </p>
      )}
    </Section>
  );
}

type Device = NonNullable<RigAnswer["machine"]>["devices"][number];

/** What it works with, as it says; of software that says nothing, what it registered with. */
function Machine({ rig: { machine, capabilities } }: { readonly rig: RigAnswer }): ReactNode {
  const words = capabilities.flatMap((name) => text.rig.capability[name] ?? []);
  const can = capabilities.length > 0 && (
    <p className="mt-3 small text-soft">
      {text.rig.can}: {[text.rig.plainH264, ...words].join(", ")}
    </p>
  );
  if (machine === null)
    return (
      <Section title={text.rig.machine}>
        <p className="small text-soft">{text.rig.noMachine}</p>
        {can}
      </Section>
    );
  const columns: readonly Column<Device>[] = [
    {
      head: text.rigs.device,
      cell: ({ model, count, driver, memoryMib, encoders }) => (
        <>
          <span className="wrap-anywhere">{count > 1 ? `${count} × ${model}` : model}</span>
          <span className="sub">
            {[driver && text.rig.driver(driver), memoryMib && text.rig.memory(memoryMib)].filter(Boolean).join(", ")}
          </span>
          {/* The column of its own has no room on a phone. */}
          <span className="sub wrap-anywhere sm:hidden">{encoders.join(", ")}</span>
        </>
      ),
    },
    { head: text.rig.encoders, className: "hide-s wrap-anywhere", cell: ({ encoders }) => encoders.join(", ") },
    { head: text.rig.decoders, className: "hide-m wrap-anywhere", cell: ({ decoders }) => decoders.join(", ") },
    {
      head: text.rig.measuredCapacity,
      className: "num",
      cell: ({ sessions, realTimeFactor }) =>
        sessions === null ? text.rig.notMeasured : text.rig.sessionsAt(sessions, formatTimes(realTimeFactor ?? 0)),
    },
  ];
  return (
    <Section title={text.rig.machine} note={text.rig.machineNote(<Ago at={machine.reportedAt} />)}>
      <Table
        rows={machine.devices}
        columns={columns}
        rowKey={({ kind, model }) => `${kind} ${model}`}
        mark={({ kind }) => ({ "data-device": kind })}
      />
      {can}
    </Section>
  );
}

const failedFirst = (a: { readonly passed: boolean }, b: { readonly passed: boolean }): number =>
  Number(a.passed) - Number(b.passed);

function Preflight({ rig }: { readonly rig: RigAnswer }): ReactNode {
  const { preflight } = rig;
  return (
    <Section bare title={text.rig.preflight} note={preflight !== null && <Ago at={preflight.at} />}>
      {preflight === null ? (
        <p className="small text-soft">{text.rig.noPreflight}</p>
      ) : (
        <>
          {preflight.passed && <p className="mb-2 small">{text.rig.allPassed(preflight.checks.length)}</p>}
          <ul className="grid gap-1.5 small">
            {preflight.checks.toSorted(failedFirst).map((check) => {
              const { sentence, action } = reasonWords({ ...check.detailCoded, sentence: check.detail });
              return (
                <li key={check.name} data-check={check.passed ? "passed" : "failed"}>
                  <span className={`state ${check.passed ? "" : "bad"}`}>
                    <Coded said={check.name} coded={check.nameCoded} />{" "}
                    {check.passed ? text.rig.passed : text.rig.notPassed}
                  </span>
                  {!check.passed && (
                    <span className="block pl-[15px] wrap-anywhere text-soft">
                      {sentence} {action}
                    </span>
                  )}
                </li>
              );
            })}
          </ul>
        </>
      )}
    </Section>
  );
}

function Speeds({ rig }: { readonly rig: RigAnswer }): ReactNode {
  if (rig.speeds.length === 0) return null;
  const most = Math.max(...rig.speeds.map((one) => one.realTimeRatio));
  return (
    <Section title={text.rig.speeds} note={text.rig.speedsNote}>
      <Table
        rows={rig.speeds.toReversed()}
        rowKey={(one) => one.kind}
        columns={[
          { head: text.rig.kind, className: "wrap-anywhere", cell: (one) => one.kind },
          { head: text.rig.measuredOn, className: "num hide-s", cell: (one) => formatCount(one.results) },
          { head: text.rigs.realTime, className: "num", cell: (one) => formatTimes(one.realTimeRatio) },
          {
            head: text.rigs.realTime,
            quiet: true,
            className: "w-1/3 pl-4! hide-s",
            cell: (one) => (
              <div
                aria-hidden="true"
                className="h-2.5 rounded-xs bg-water"
                style={{ width: `${(one.realTimeRatio / most) * 100}%` }}
              />
            ),
          },
        ]}
      />
    </Section>
  );
}
