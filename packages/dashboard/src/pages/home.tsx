import type { PoolAnswer, SolvencyAnswer } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { queries } from "../api/client.ts";
import { useLive } from "../api/live.ts";
import { parseWei, percentOf } from "../format/amount.ts";
import { formatCount, formatMs, formatPpm, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { RigLink } from "../ui/address.tsx";
import { columnDigits, Eth } from "../ui/amount.tsx";
import { Lookup } from "../ui/lookup.tsx";
import { Empty, Loaded, MoneyBar, Section, Skeleton, Spark, StateBadge } from "../ui/parts.tsx";
import { RunTable } from "../ui/run-table.tsx";
import { Terms } from "../ui/terms.tsx";
import { Ago, Until, When } from "../ui/time.tsx";

const RIGS_SHOWN = 6;

/** What this pool is, does and pays, for somebody who has never been here. */
export function HomePage(): ReactNode {
  useLive();
  const pool = useQuery(queries.pool());
  const solvency = useQuery(queries.solvency());
  return (
    <>
      <Loaded of={pool} lines={2} height={34}>
        {(answer) => <Opening pool={answer} />}
      </Loaded>
      <div className="mb-9">
        <Lookup large />
      </div>
      {pool.data === undefined ? <Skeleton lines={3} height={38} /> : <Figures pool={pool.data} />}
      <Section
        title={text.homePage.money}
        note={text.homePage.moneyNote}
        end={solvency.data !== undefined && <Balanced solvency={solvency.data} />}
      >
        <Loaded of={solvency} lines={2}>
          {(answer) => <Money solvency={answer} pool={pool.data} />}
        </Loaded>
      </Section>
      <section className="section two">
        <TopRigs pool={pool.data} />
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
              <Empty title={text.payouts.none}>{nextPayout.configured ? text.payouts.noneYet : nextPayout.why}</Empty>
            )
          }
        </Loaded>
      </Section>
    </>
  );
}

function Opening({ pool }: { readonly pool: PoolAnswer }): ReactNode {
  const { streams, rigsOnline } = pool.live;
  const { commissionPpm } = pool.terms;
  return (
    <h1 className="line">
      {text.homePage.opening({
        streams,
        rigs: rigsOnline,
        keeps: formatPpm(commissionPpm),
        gets: formatPpm(1_000_000 - commissionPpm),
      })}
      {rigsOnline === 0 && (
        <>
          {" "}
          <Link to="/join">{text.homePage.beFirst}</Link>
        </>
      )}
    </h1>
  );
}

function Figures({ pool }: { readonly pool: PoolAnswer }): ReactNode {
  const { windows, live, nextPayout } = pool;
  const day = windows["24h"];
  return (
    <dl className="figures">
      <div>
        <dt>{text.homePage.fees}</dt>
        <dd>
          <div className="v">
            <Eth wei={day.feeWei} brief />
            <small>{text.eth}</small>
          </div>
          <div className="d">
            {text.window["7d"]} <Eth wei={windows["7d"].feeWei} brief /> · {text.window["30d"]}{" "}
            <Eth wei={windows["30d"].feeWei} brief />
          </div>
        </dd>
      </div>
      <div>
        <dt>{text.homePage.segments}</dt>
        <dd>
          <div className="v">{formatCount(day.jobs)}</div>
          <div className="d">{text.homePage.lost(day.lostJobs, day.rescuedJobs)}</div>
        </dd>
      </div>
      <div>
        <dt>{text.homePage.latency}</dt>
        <dd>
          <div className="v">{live.latencyMs === null ? text.none : formatMs(live.latencyMs.p50)}</div>
          <div className="d">
            {live.latencyMs === null
              ? text.homePage.latencyNone
              : text.homePage.latencyNote(formatMs(live.latencyMs.p99))}
          </div>
        </dd>
      </div>
      <div>
        <dt>{text.payouts.next}</dt>
        <dd>
          {nextPayout.configured ? (
            <>
              <div className="v">{nextPayout.at === null ? text.payouts.byHand : <Until at={nextPayout.at} />}</div>
              <div className="d">
                {nextPayout.paused ?? (nextPayout.at !== null && <When at={nextPayout.at} />)} ·{" "}
                {text.payouts.minimum(<Eth wei={nextPayout.minimumWei} unit />)}
              </div>
            </>
          ) : (
            <>
              <div className="v">{text.payouts.notSet}</div>
              <div className="d">{text.payouts.minimum(<Eth wei={pool.terms.minimumPayoutWei} unit />)}</div>
            </>
          )}
        </dd>
      </div>
    </dl>
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
  const { books, income } = solvency;
  const whole = parseWei(books.creditedWei) ?? 0n;
  if (whole === 0n) return <Empty title={text.homePage.noMoney}>{text.homePage.noMoneyWhy}</Empty>;
  const share = (wei: string): number => percentOf(parseWei(wei) ?? 0n, whole);
  const digits = columnDigits([books.paidWei, books.owedWei, books.heldWei]);
  return (
    <>
      <MoneyBar
        label={text.homePage.moneyBar(
          share(books.paidWei),
          share(books.owedWei) + share(books.payingWei),
          share(books.heldWei),
        )}
        parts={[
          { kind: "paid", percent: share(books.paidWei) },
          { kind: "paying", percent: share(books.payingWei) },
          { kind: "owed", percent: share(books.owedWei) },
          { kind: "held", percent: share(books.heldWei) },
        ]}
      />
      <div className="legend mt-3">
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
        <span className="md:ml-auto">
          {income.configured ? (
            <>
              {income.luckPpm !== null && text.money.luck(<b>{formatPpm(income.luckPpm)}</b>)}{" "}
              {text.money.reserve(
                <b>
                  <Eth wei={income.reserveWei} unit />
                </b>,
              )}
            </>
          ) : (
            pool?.network === "offchain" && text.money.offchain
          )}
        </span>
      </div>
    </>
  );
}

function TopRigs({ pool }: { readonly pool: PoolAnswer | undefined }): ReactNode {
  const rigs = useQuery(queries.rigs({ limit: RIGS_SHOWN }));
  return (
    <Section
      bare
      title={text.rigs.title}
      note={text.homePage.rigsNote}
      end={<Link to="/workers">{rigs.data === undefined ? text.rigs.all : text.rigs.allOf(rigs.data.total)}</Link>}
    >
      <Loaded of={rigs}>
        {({ items }) => {
          if (items.length === 0)
            return (
              <Empty title={text.rigs.none}>
                <Link to="/join">{text.rigs.noneAction}</Link>
              </Empty>
            );
          const digits = columnDigits(items.map((one) => one.earned24hWei));
          return (
            <table className="table">
              <thead>
                <tr>
                  <th>{text.rigs.rig}</th>
                  <th>{text.rigs.state}</th>
                  <th className="hide-s">
                    <span className="sr-only">{text.rigs.spark}</span>
                  </th>
                  <th className="num hide-s">{text.rigs.realTime}</th>
                  <th className="num">{text.eth}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((rig) => (
                  <tr key={rig.name}>
                    <td>
                      <RigLink worker={rig.worker} rig={rig.rig} />
                      {rig.device !== null && <span className="sub">{rig.device}</span>}
                    </td>
                    <td>
                      <StateBadge rig={rig} />
                    </td>
                    <td className="hide-s">
                      <Spark counts={rig.spark} />
                    </td>
                    <td className="num hide-s">
                      {rig.realTimeRatio === null ? text.none : formatTimes(rig.realTimeRatio)}
                    </td>
                    <td className="num">
                      <Eth wei={rig.earned24hWei} digits={digits} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          );
        }}
      </Loaded>
      {pool !== undefined && pool.live.devices.length > 0 && (
        <p className="mt-4 small text-soft">{text.homePage.devices(pool.live.devices)}</p>
      )}
    </Section>
  );
}
