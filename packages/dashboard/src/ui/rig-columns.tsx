import type { RigSummary } from "@openpool/protocol";
import { formatCount, formatMeasured, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { RigLabel, RigLink } from "./address.tsx";
import { columnDigits, Eth } from "./amount.tsx";
import { Spark, StateBadge } from "./parts.tsx";
import type { Column } from "./table.tsx";
import { Ago } from "./time.tsx";

type RigColumn = "name" | "device" | "state" | "trust" | "spark" | "jobs" | "success" | "speed" | "earned";

/** What lists of rigs are made of; each page takes what it has room for. */
export function rigColumns(rigs: readonly RigSummary[]): Readonly<Record<RigColumn, Column<RigSummary>>> {
  const digits = columnDigits(rigs.map((rig) => rig.earned24hWei));
  return {
    name: {
      head: text.rigs.rig,
      cell: (rig) => (
        <>
          <RigLink worker={rig.worker} rig={rig.rig} />
          <RigLabel rig={rig} />
        </>
      ),
    },
    device: {
      head: text.rigs.device,
      className: "hide-m wrap-anywhere",
      cell: (rig) => rig.device ?? <span className="text-soft">{text.none}</span>,
    },
    state: {
      head: text.rigs.state,
      cell: (rig) => (
        <>
          <StateBadge rig={rig} />
          {rig.state === "offline" && <span className="sub">{text.lastSeen(<Ago at={rig.lastSeenAt} />)}</span>}
        </>
      ),
    },
    trust: {
      head: text.rigs.trust,
      className: "hide-m",
      cell: (rig) => (
        <span className="text-soft">{rig.standing === null ? text.none : text.standing[rig.standing]}</span>
      ),
    },
    spark: { head: text.rigs.spark, className: "hide-s", cell: (rig) => <Spark counts={rig.spark} /> },
    jobs: { head: text.rigs.jobs, className: "num hide-m", cell: (rig) => formatCount(rig.jobs24h) },
    success: {
      head: text.rigs.success,
      className: "num hide-s",
      // Who has done nothing has not done all of it well.
      cell: ({ successPpm, lastJobAt }) =>
        successPpm === null || lastJobAt === null ? text.none : formatMeasured(successPpm),
    },
    speed: {
      head: text.rigs.realTime,
      className: "num hide-s",
      cell: ({ realTimeRatio }) => (realTimeRatio === null ? text.none : formatTimes(realTimeRatio)),
    },
    earned: {
      head: text.rigs.feeShare24h,
      className: "num",
      cell: (rig) => <Eth wei={rig.earned24hWei} digits={digits} />,
    },
  };
}

/** The device below the name, where a list has no column for it. */
export function withDevice(column: Column<RigSummary>): Column<RigSummary> {
  return {
    ...column,
    cell: (rig) => (
      <>
        {column.cell(rig)}
        {rig.device !== null && <span className="sub">{rig.device}</span>}
      </>
    ),
  };
}
