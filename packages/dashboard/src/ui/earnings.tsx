import type { EarningsAnswer, WindowName } from "@openpool/protocol";
import { lazy, type ReactNode, Suspense } from "react";
import { formatCount, formatMeasured, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { Eth } from "./amount.tsx";
import { CHART_HEIGHT } from "./chart-height.ts";
import { Empty, Loaded, Raw, Section, WindowTabs } from "./parts.tsx";

const EarningsChart = lazy(() => import("./earnings-chart.tsx"));

/** What was earned in a window: a sentence first, the chart below it. */
export function Earnings(props: {
  readonly window: WindowName;
  readonly of: {
    readonly data: EarningsAnswer | undefined;
    readonly error: Error | null;
    readonly refetch: () => unknown;
  };
  readonly json: string;
  readonly csv: string;
}): ReactNode {
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
