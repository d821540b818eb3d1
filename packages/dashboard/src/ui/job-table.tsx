import type { Job } from "@openpool/protocol";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { formatCount, formatMs, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { columnDigits, Eth, Gwei } from "./amount.tsx";
import { type Column, Table } from "./table.tsx";
import { When } from "./time.tsx";

/** Below a ten-thousandth of an ETH, amounts of single segments are told in gwei. */
const GWEI_UNTIL = 10n ** 14n;

/** Credited segments, newest first: what was measured, what was claimed, what it earned. */
export function JobTable(props: {
  readonly jobs: readonly Job[];
  readonly worker: string;
  readonly withRig?: boolean;
}): ReactNode {
  const largest = props.jobs.reduce((most, job) => (BigInt(job.earnedWei) > most ? BigInt(job.earnedWei) : most), 0n);
  const inGwei = largest < GWEI_UNTIL;
  const digits = columnDigits(props.jobs.map((job) => job.earnedWei));
  const columns: readonly Column<Job>[] = [
    {
      head: text.payouts.when,
      className: "whitespace-nowrap",
      cell: (job) => (
        <>
          <When at={job.at} kind="clock" />
          {job.hedged && <span className="sub">{text.jobs.hedged}</span>}
        </>
      ),
    },
    ...(props.withRig === true
      ? [
          {
            head: text.rigs.rig,
            cell: ({ rig }: Job) => (
              <Link
                to="/w/$address/$rig"
                params={{ address: props.worker, rig }}
                className="plain wrap-anywhere hover:underline"
              >
                {rig}
              </Link>
            ),
          },
        ]
      : []),
    {
      head: text.jobs.renditions,
      className: "hide-m text-soft",
      cell: ({ renditions }) => (
        <>
          {renditions.map(({ width, height }) => `${width}×${height}`).join(", ")}
          {renditions.some((one) => one.claimedPixels !== null && one.claimedPixels !== one.pixels) && (
            <span className="sub text-warn!">{text.jobs.differs}</span>
          )}
        </>
      ),
    },
    {
      head: text.jobs.pixels,
      className: "num hide-s",
      cell: ({ pixels }) => <span title={pixels}>{formatCount(BigInt(pixels))}</span>,
    },
    { head: text.jobs.took, className: "num hide-m", cell: ({ workMs }) => formatMs(workMs) },
    {
      head: text.rigs.realTime,
      className: "num hide-s",
      cell: ({ sourceMs, workMs }) => (workMs > 0 ? formatTimes(sourceMs / workMs) : text.none),
    },
    {
      head: inGwei ? text.jobs.gwei : text.jobs.eth,
      className: "num",
      cell: ({ earnedWei }) => (inGwei ? <Gwei wei={earnedWei} /> : <Eth wei={earnedWei} digits={digits} />),
    },
  ];
  return (
    <Table rows={props.jobs} columns={columns} rowKey={({ job }) => job} mark={({ job }) => ({ "data-job": job })} />
  );
}
