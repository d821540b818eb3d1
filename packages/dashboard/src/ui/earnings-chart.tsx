import type { EarningsAnswer } from "@openpool/protocol";
import { type ReactNode, useEffect, useEffectEvent, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { formatEth } from "../format/amount.ts";
import { formatLocal } from "../format/time.ts";
import { text } from "../text.tsx";
import { Eth } from "./amount.tsx";
import { CHART_HEIGHT } from "./chart-height.ts";

const STEP_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;

/** Bars of what was earned in each minute, hour or day; the one that is not over yet is pale. */
export default function EarningsChart({ earnings }: { readonly earnings: EarningsAnswer }): ReactNode {
  const holder = useRef<HTMLDivElement>(null);
  const [hovered, setHovered] = useState<number>();
  const { points, step } = earnings;
  // The pool's days begin at midnight UTC; hours and minutes are told in the reader's own time.
  const zone = step === "day" ? "UTC" : undefined;
  const current = useEffectEvent(() => points);

  useEffect(() => {
    const parent = holder.current;
    if (parent === null) return;
    const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const font = `12px ${getComputedStyle(parent).fontFamily}`;
    const seconds = current().map((point) => Date.parse(point.at) / 1000);
    // Heights of bars are pixels in the end: a float will do here. What is written beside them is exact.
    const amounts = current().map((point) => Number(point.earnedWei));
    const labels = (ticks: readonly number[]): string[] => ticks.map((wei) => formatEth(BigInt(Math.round(wei))));
    const chart = new uPlot(
      {
        width: parent.clientWidth,
        height: CHART_HEIGHT,
        padding: [10, 0, 0, 0],
        legend: { show: false },
        ...(zone === undefined ? {} : { tzDate: (seconds: number) => uPlot.tzDate(new Date(seconds * 1000), zone) }),
        cursor: {
          y: false,
          points: { show: false },
          drag: { x: false, y: false },
        },
        hooks: { setCursor: [(self) => setHovered(self.cursor.idx ?? undefined)] },
        scales: {
          // Half a step on both sides, or the first and last bars are cut.
          x: { range: (_, min, max) => [min - STEP_MS[step] / 2000, max + STEP_MS[step] / 2000] },
          y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] },
        },
        axes: [
          {
            stroke: () => colour("--faint"),
            font,
            grid: { show: false },
            ticks: { show: false },
            space: 90,
            size: 30,
            values: ({ scales: { x: { min = 0, max = 0 } = {} } }, ticks) =>
              ticks.map((at) =>
                // There is no room for the second half of it.
                at > max - (max - min) / 40
                  ? ""
                  : step === "day"
                    ? formatLocal(at * 1000, "date", zone).replace(/ \d{4}$/, "")
                    : formatLocal(at * 1000, "time"),
              ),
          },
          {
            stroke: () => colour("--faint"),
            font,
            grid: { stroke: () => colour("--line-2"), width: 1 },
            ticks: { show: false },
            space: 34,
            gap: 8,
            size: (_, values) => Math.max(24, ...(values ?? []).map((one) => one.length * 6.6)) + 12,
            values: (_, ticks) => labels(ticks),
          },
        ],
        series: [
          {},
          {
            fill: () => colour("--water"),
            stroke: () => colour("--water"),
            width: 0,
            points: { show: false },
            paths: uPlot.paths.bars!({ size: [0.86, 60], radius: 0.06 }), // Part of every build of uPlot but the smallest.
          },
          {
            fill: () => colour("--held"),
            stroke: () => colour("--held"),
            width: 0,
            points: { show: false },
            paths: uPlot.paths.bars!({ size: [0.86, 60], radius: 0.06 }),
          },
        ],
      },
      [
        seconds,
        amounts.map((amount, i) => (i === amounts.length - 1 ? null : amount)),
        amounts.map((amount, i) => (i === amounts.length - 1 ? amount : null)),
      ],
      parent,
    );
    const sized = new ResizeObserver(() => chart.setSize({ width: parent.clientWidth, height: CHART_HEIGHT }));
    sized.observe(parent);
    const themed = new MutationObserver(() => chart.redraw());
    themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const system = matchMedia("(prefers-color-scheme: dark)");
    const redraw = (): void => chart.redraw();
    system.addEventListener("change", redraw);
    return () => {
      sized.disconnect();
      themed.disconnect();
      system.removeEventListener("change", redraw);
      chart.destroy();
    };
    // Drawn anew when the answer changed; answers that say the same are the same object.
  }, [earnings, step, zone]);

  const shown = hovered === undefined ? undefined : points[hovered];
  return (
    <>
      <div ref={holder} aria-hidden="true" style={{ height: CHART_HEIGHT }} />
      <p className="mt-1 h-5 small text-soft" aria-hidden="true">
        {shown === undefined
          ? text.earnings.hint(step)
          : text.earnings.point({
              when: formatLocal(Date.parse(shown.at), step === "day" ? "date" : "day", zone),
              eth: <Eth wei={shown.earnedWei} unit />,
              jobs: shown.jobs,
              failed: shown.failedAttempts,
            })}
      </p>
    </>
  );
}
