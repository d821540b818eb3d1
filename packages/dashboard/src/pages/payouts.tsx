import type { PayoutsAnswer } from "@openpool/protocol";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { getJson, paths, queries } from "../api/client.ts";
import { formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { Hex } from "../ui/address.tsx";
import { Eth } from "../ui/amount.tsx";
import { Figure, FigureEth, Figures } from "../ui/figures.tsx";
import { Empty, Loaded, More, Raw, Section } from "../ui/parts.tsx";
import { NextPayoutIn, RunTable } from "../ui/payout-columns.tsx";
import { Coded } from "../ui/said.tsx";
import { Terms } from "../ui/terms.tsx";
import { Until, When } from "../ui/time.tsx";

/** When workers are paid, and when they were. */
export function PayoutsPage(): ReactNode {
  const pool = useQuery(queries.pool());
  const runs = useInfiniteQuery({
    queryKey: ["payouts"],
    queryFn: ({ pageParam, signal }) => getJson<PayoutsAnswer>(paths.payouts(pageParam), { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => (last.configured ? (last.next ?? undefined) : undefined),
    refetchInterval: 10_000,
  });
  const next = pool.data?.nextPayout;
  return (
    <>
      <Loaded of={pool} lines={2} height={34}>
        {({ nextPayout }) => (
          <h1 className="line">
            {nextPayout.configured ? (
              nextPayout.paused !== null ? (
                <Coded said={nextPayout.paused} coded={nextPayout.pausedCoded} />
              ) : nextPayout.at === null ? (
                text.payoutsPage.byHand
              ) : (
                text.payoutsPage.opening({
                  at: <When at={nextPayout.at} />,
                  span: (
                    <em>
                      <Until at={nextPayout.at} />
                    </em>
                  ),
                  workers: nextPayout.workers,
                  total: <Eth wei={nextPayout.totalWei} unit />,
                })
              )
            ) : (
              text.payoutsPage.notConfigured
            )}
          </h1>
        )}
      </Loaded>
      {next !== undefined && !next.configured && (
        <p className="mb-8 text-soft">
          <Coded said={next.why} coded={next.whyCoded} />
        </p>
      )}
      {next?.configured === true && (
        <Figures>
          <Figure
            title={text.payouts.next}
            value={<NextPayoutIn next={next} />}
            note={next.at !== null && <When at={next.at} />}
          />
          <Figure
            title={text.payoutsPage.wouldBe}
            value={<FigureEth wei={next.totalWei} />}
            note={text.payoutsPage.toWorkers(next.workers)}
          />
          <Figure
            title={text.payoutsPage.minimum}
            value={<FigureEth wei={next.minimumWei} />}
            note={text.payoutsPage.minimumNote}
          />
          <Figure
            title={text.payouts.gas}
            value={pool.data === undefined ? text.none : text.terms.gas[pool.data.terms.gasBorneBy]}
            note={text.payoutsPage.gasNote}
          />
        </Figures>
      )}
      <Section
        title={text.payoutsPage.runs}
        end={
          // A pool that pays nobody has no payouts to list.
          <Raw json={paths.payouts()} csv={next?.configured === true ? paths.payoutsCsv() : undefined} />
        }
      >
        <Loaded of={runs}>
          {({ pages }) => {
            const configured = pages.flatMap((page) => (page.configured ? [page] : []));
            const [first] = pages;
            const payer = first?.configured === true ? first.payer : null;
            // Why stands at the head of the page.
            if (first !== undefined && !first.configured) return <Empty title={text.payouts.none} />;
            const items = configured.flatMap((page) => page.items);
            if (items.length === 0) return <Empty title={text.payouts.none}>{text.payouts.noneYet}</Empty>;
            return (
              <>
                <RunTable runs={items} />
                {payer !== null && (
                  <p className="mt-4 small text-soft">
                    {text.payoutsPage.payer} <Hex value={payer} kind="address" />
                  </p>
                )}
                <p className="mt-1 small text-soft">{text.payoutsPage.count(formatCount(items.length))}</p>
              </>
            );
          }}
        </Loaded>
        <More of={runs} />
      </Section>
      <Section title={text.terms.title}>
        <Loaded of={pool}>
          {({ terms }) => (
            <Terms terms={terms}>
              <Link to="/transparency">{text.terms.more}</Link>
            </Terms>
          )}
        </Loaded>
      </Section>
    </>
  );
}
