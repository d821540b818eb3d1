import type { EarningsAnswer, WindowName } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense } from "react";
import { paths, queries } from "../api/client.ts";
import { formatCount, formatMeasured, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { Eth } from "./amount.tsx";
import { CHART_HEIGHT } from "./chart-height.ts";
import { Empty, Loaded, Raw, Section, WindowTabs } from "./parts.tsx";

const EarningsChart = lazy(() => import("./earnings-chart.tsx"));

/**
 * The fee share of a window: a sentence first, the chart below it. Only the scheme `unit` credits just that; under others,
 * where work may even be paid without any, it is said where the credits are.
 */
export function Earnings(props: {
  readonly window: WindowName;
  readonly of: {
    readonly data: EarningsAnswer | undefined;
    readonly error: Error | null;
    readonly refetch: () => unknown;
  };
  readonly json: string;
  readonly csv: string;
  readonly worker: string;
}): ReactNode {
  const scheme = useQuery(queries.pool()).data?.terms.scheme ?? "unit";
  return (
    <Section
      title={text.earnings.title}
      note={text.earnings.note[props.of.data?.step ?? "hour"]}
      end={
        <span className="inline-flex flex-wrap items-center gap-x-4 gap-y-1">
          <span>
            <Raw json={props.json} csv={props.csv} />
          </span>
          <WindowTabs value={props.window} />
        </span>
      }
    >
      <div style={{ minHeight: CHART_HEIGHT + 58 }}>
        <Loaded of={props.of} lines={1} height={CHART_HEIGHT}>
          {(answer) => <Drawn earnings={answer} />}
        </Loaded>
      </div>
      {scheme !== "unit" && (
        <p className="mt-3 small text-soft">
          {text.earnings.credited(
            scheme,
            <a href={paths.statement(props.worker)} download>
              {text.earnings.statement}
            </a>,
          )}
        </p>
      )}
    </Section>
  );
}

function Drawn({ earnings }: { readonly earnings: EarningsAnswer }): ReactNode {
  const { sums, window, points } = earnings;
  if (sums.jobs === 0 && sums.failedAttempts === 0)
    return <Empty title={text.earnings.none(text.window[window])}>{text.earnings.noneAction}</Empty>;
  return (
    <>
      <p className="mb-3 text-soft">
        {text.earnings.sentence({
          eth: (
            <b className="font-semibold text-ink">
              <Eth wei={sums.earnedWei} unit />
            </b>
          ),
          window: text.window[window],
          jobs: formatCount(sums.jobs),
          success: sums.successPpm === null ? undefined : formatMeasured(sums.successPpm),
          speed: sums.realTimeRatio === null ? undefined : formatTimes(sums.realTimeRatio),
        })}
      </p>
      {points.length > 1 && (
        <Suspense fallback={<div style={{ height: CHART_HEIGHT + 24 }} />}>
          <EarningsChart earnings={earnings} />
        </Suspense>
      )}
    </>
  );
}
