import type { PoolAnswer, RigSummary, SolvencyAnswer } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { paths, queries } from "../api/client.ts";
import { useLive } from "../api/live.ts";
import { formatCount, formatMeasured, formatMs, formatPpm } from "../format/number.ts";
import { text } from "../text.tsx";
import { columnDigits, Eth } from "../ui/amount.tsx";
import { BooksBar } from "../ui/books-bar.tsx";
import { Lookup } from "../ui/lookup.tsx";
import { Figure, FigureEth, Figures as Shown } from "../ui/figures.tsx";
import { Empty, Loaded, Raw, Section, Skeleton } from "../ui/parts.tsx";
import { NextPayoutIn, RunTable } from "../ui/payout-columns.tsx";
import { rigColumns, withDevice } from "../ui/rig-columns.tsx";
import { Coded } from "../ui/said.tsx";
import { Table } from "../ui/table.tsx";
import { Terms } from "../ui/terms.tsx";
import { Ago, When } from "../ui/time.tsx";

const TONES = { ok: "", degraded: "warn", down: "bad" } as const;
const RIGS_SHOWN = 6;
const DEVICES_SHOWN = 8;

/** What this pool is, does and pays, for somebody who has never been here. */
export function HomePage(): ReactNode {
  useLive();
  const pool = useQuery(queries.pool());
  const solvency = useQuery(queries.solvency());
  const rigs = useQuery(queries.rigs({ limit: RIGS_SHOWN }));
  // All at once: what comes later would push away what somebody reads already.
  if ([pool, solvency, rigs].some(({ data, error }) => data === undefined && error === null)) {
    return (
      <div className="mt-11 grid gap-9">
        <Skeleton lines={2} height={34} />
        <Skeleton lines={8} height={38} />
      </div>
    );
  }
  return (
    <>
      <Loaded of={pool}>{(answer) => <Opening pool={answer} />}</Loaded>
      <div className="mb-9">
        <Lookup large />
      </div>
      {pool.data !== undefined && <Figures pool={pool.data} />}
      <Section
        title={text.homePage.money}
        note={text.homePage.moneyNote}
        end={solvency.data !== undefined && <Balanced solvency={solvency.data} />}
      >
        <Loaded of={solvency}>{(answer) => <Money solvency={answer} pool={pool.data} />}</Loaded>
      </Section>
      <section className="section two">
        <Section
          bare
          title={text.rigs.title}
          note={text.homePage.rigsNote}
          end={<Link to="/workers">{rigs.data === undefined ? text.rigs.all : text.rigs.allOf(rigs.data.total)}</Link>}
        >
          <Loaded of={rigs}>{({ items }) => <TopRigs rigs={items} />}</Loaded>
          {pool.data !== undefined && <Devices live={pool.data.live} />}
        </Section>
        <Section
          bare
          title={text.terms.title}
          note={
            pool.data !== undefined &&
            text.terms.since(pool.data.terms.version, <When at={pool.data.terms.effectiveAt} kind="date" />)
          }
        >
          <Loaded of={pool}>
            {({ terms }) => (
              <Terms terms={terms}>
                <Link to="/transparency">{text.terms.more}</Link>
              </Terms>
            )}
          </Loaded>
        </Section>
      </section>
      <Section title={text.homePage.payouts} end={<Link to="/payouts">{text.homePage.allPayouts}</Link>}>
        <Loaded of={pool}>
          {({ lastPayouts, nextPayout }) =>
            lastPayouts.length > 0 ? (
              <RunTable runs={lastPayouts} />
            ) : (
              <Empty title={text.payouts.none}>
                {nextPayout.configured ? (
                  text.payouts.noneYet
                ) : (
                  <Coded said={nextPayout.why} coded={nextPayout.whyCoded} />
                )}
              </Empty>
            )
          }
        </Loaded>
      </Section>
    </>
  );
}

function Opening({ pool }: { readonly pool: PoolAnswer }): ReactNode {
  const { streams, rigsOnline, workersOnline } = pool.live;
  const { commissionPpm, scheme } = pool.terms;
  const { health } = pool.status;
  return (
    <>
      <h1 className="line">
        {text.homePage.opening({
          streams,
          rigs: rigsOnline,
          workers: workersOnline,
          keeps: formatPpm(commissionPpm),
          share: formatPpm(1_000_000 - commissionPpm),
          scheme,
        })}
        {rigsOnline === 0 && (
          <>
            {" "}
            <Link to="/join">{text.homePage.beFirst}</Link>
          </>
        )}
      </h1>
      <p className="mb-6 flex flex-wrap justify-between gap-x-6 gap-y-1 small" data-health={health}>
        <Link to="/status" className={`state plain hover:underline ${TONES[health]}`}>
          {text.health[health]}
        </Link>
        <span>
          <Raw json={paths.pool()} />
        </span>
      </p>
    </>
  );
}

function Figures({ pool }: { readonly pool: PoolAnswer }): ReactNode {
  const { windows, live, nextPayout } = pool;
  const day = windows["24h"];
  const { latencyMs } = live;
  const minimumWei = nextPayout.configured ? nextPayout.minimumWei : pool.terms.minimumPayoutWei;
  const minimum = text.payouts.minimum(<Eth wei={minimumWei} unit />);
  return (
    <Shown>
      <Figure
        title={text.homePage.now}
        value={<span data-now="jobs">{formatCount(live.jobsInFlight)}</span>}
        note={<span data-now="workers">{text.homePage.nowNote(live.workersOnline, live.streams)}</span>}
      />
      <Figure
        title={text.homePage.fees}
        value={<FigureEth wei={day.feeWei} />}
        note={
          <>
            <span className="whitespace-nowrap">
              {text.window["7d"]} <Eth wei={windows["7d"].feeWei} brief />
            </span>{" "}
            ·{" "}
            <span className="whitespace-nowrap">
              {text.window["30d"]} <Eth wei={windows["30d"].feeWei} brief />
            </span>
          </>
        }
      />
      <Figure
        title={text.homePage.segments}
        value={formatCount(day.jobs)}
        note={
          <>
            {text.homePage.lost(day.lostJobs, day.rescuedJobs)}
            {latencyMs !== null && (
              <span className="block">{text.homePage.latency(formatMs(latencyMs.p50), formatMs(latencyMs.p99))}</span>
            )}
          </>
        }
      />
      {nextPayout.configured ? (
        <Figure
          title={text.payouts.next}
          value={<NextPayoutIn next={nextPayout} />}
          note={
            <>
              {nextPayout.paused === null ? (
                nextPayout.at !== null && <When at={nextPayout.at} />
              ) : (
                <Coded said={nextPayout.paused} coded={nextPayout.pausedCoded} />
              )}{" "}
              · {minimum}
            </>
          }
        />
      ) : (
        <Figure title={text.payouts.next} value={text.payouts.notSet} note={minimum} />
      )}
    </Shown>
  );
}

function Balanced({ solvency }: { readonly solvency: SolvencyAnswer }): ReactNode {
  const { balanced, checkedAt } = solvency.check;
  if (balanced === null) return <span className="text-soft">{text.books.unchecked}</span>;
  return (
    <span className={balanced ? "text-good" : "text-bad"}>
      {balanced ? text.books.balance : text.books.differ} · {text.books.checked(<Ago at={checkedAt} />)}
    </span>
  );
}

function Money({
  solvency,
  pool,
}: {
  readonly solvency: SolvencyAnswer;
  readonly pool: PoolAnswer | undefined;
}): ReactNode {
  const { books } = solvency;
  const digits = columnDigits([books.paidWei, books.owedWei, books.heldWei]);
  return (
    <>
      {books.creditedWei === "0" ? (
        <Empty title={text.homePage.noMoney}>{text.homePage.noMoneyWhy}</Empty>
      ) : (
        <BooksBar books={books} />
      )}
      <div className="legend mt-3">
        {books.creditedWei !== "0" && (
          <>
            <span>
              <i className="paid" />
              <b>
                <Eth wei={books.paidWei} digits={digits} />
              </b>{" "}
              {text.money.paid}
            </span>
            {books.payingWei !== "0" && (
              <span>
                <i className="owed" style={{ opacity: 0.55 }} />
                <b>
                  <Eth wei={books.payingWei} digits={digits} />
                </b>{" "}
                {text.money.paying}
              </span>
            )}
            <span>
              <i className="owed" />
              <b>
                <Eth wei={books.owedWei} digits={digits} />
              </b>{" "}
              {text.money.owed}
            </span>
            <span>
              <i className="held" />
              <b>
                <Eth wei={books.heldWei} digits={digits} />
              </b>{" "}
              {text.money.heldForChecks}
            </span>
          </>
        )}
        <Covered income={solvency.income} offchain={pool?.network === "offchain"} />
      </div>
    </>
  );
}

/** Luck and reserve, or why nobody knows them. */
function Covered({
  income,
  offchain,
}: {
  readonly income: SolvencyAnswer["income"];
  readonly offchain: boolean;
}): ReactNode {
  if (!income.configured)
    return (
      <span className="md:ml-auto">
        {offchain ? text.money.offchain : <Coded said={income.why} coded={income.whyCoded} />}
      </span>
    );
  const { luckPpm, reserveWei } = income;
  return (
    <>
      <span className="md:ml-auto">
        {luckPpm === null ? text.money.noLuck : text.money.luck(<b>{formatMeasured(luckPpm)}</b>)}
      </span>
      <span>
        {reserveWei === null
          ? text.money.noReserve
          : text.money.reserve(
              <b>
                <Eth wei={reserveWei} unit />
              </b>,
            )}
      </span>
    </>
  );
}

function TopRigs({ rigs }: { readonly rigs: readonly RigSummary[] }): ReactNode {
  if (rigs.length === 0) {
    return (
      <Empty title={text.rigs.none}>
        <Link to="/join">{text.rigs.noneAction}</Link>
      </Empty>
    );
  }
  const { name, state, spark, speed, earned } = rigColumns(rigs);
  const columns = [withDevice(name), state, { ...spark, quiet: true }, speed, earned];
  return <Table rows={rigs} columns={columns} rowKey={(rig) => rig.name} />;
}

/** What the rigs that are online work with: graphics cards by model, and processors; most rigs first. */
function Devices({ live }: { readonly live: PoolAnswer["live"] }): ReactNode {
  const gpus = live.devices.filter(({ kind }) => kind !== "cpu");
  const processors = live.devices.filter(({ kind }) => kind === "cpu");
  return (
    <div className="mt-6 grid gap-5" data-devices="">
      <DeviceList
        title={text.homePage.gpus}
        note={text.homePage.devicesNote}
        devices={gpus}
        none={live.rigsOnline === 0 ? text.homePage.noGpusNoRigs : text.homePage.noGpus}
      />
      {processors.length > 0 && <DeviceList title={text.homePage.processors} devices={processors} />}
    </div>
  );
}

function DeviceList(props: {
  readonly title: string;
  readonly note?: string;
  readonly devices: PoolAnswer["live"]["devices"];
  readonly none?: string;
}): ReactNode {
  const rest = props.devices.slice(DEVICES_SHOWN);
  return (
    <div>
      <h3 className="mb-2 small font-semibold">
        {props.title} <span className="font-normal text-soft">{props.note}</span>
      </h3>
      {props.devices.length === 0 && <p className="small text-soft">{props.none}</p>}
      <DeviceLines devices={props.devices.slice(0, DEVICES_SHOWN)} />
      {rest.length > 0 && (
        <details className="mt-1 small">
          <summary className="mb-1 cursor-pointer text-soft">{text.homePage.moreDevices(rest.length)}</summary>
          <DeviceLines devices={rest} />
        </details>
      )}
    </div>
  );
}

function DeviceLines({ devices }: { readonly devices: PoolAnswer["live"]["devices"] }): ReactNode {
  return (
    <ul className="grid gap-1 small">
      {devices.map(({ device, rigs, count }) => (
        <li key={device} className="flex justify-between gap-4" data-device={device}>
          <Link to="/workers" search={{ device }} className="plain wrap-anywhere hover:underline">
            {device}
          </Link>
          <span className="whitespace-nowrap text-soft">{text.homePage.deviceCount(count, rigs)}</span>
        </li>
      ))}
    </ul>
  );
}
