import type { Job } from "@openpool/protocol";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { formatCount, formatMs, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { columnDigits, Eth, Gwei } from "./amount.tsx";
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
  return (
    <table className="table">
      <thead>
        <tr>
          <th>{text.payouts.when}</th>
          {props.withRig === true && <th>{text.rigs.rig}</th>}
          <th className="hide-m">{text.jobs.renditions}</th>
          <th className="num hide-s">{text.jobs.pixels}</th>
          <th className="num hide-m">{text.jobs.took}</th>
          <th className="num hide-s">{text.rigs.realTime}</th>
          <th className="num">{inGwei ? text.jobs.gwei : text.jobs.eth}</th>
        </tr>
      </thead>
      <tbody>
        {props.jobs.map((job) => {
          const lied = job.renditions.some((one) => one.claimedPixels !== null && one.claimedPixels !== one.pixels);
          return (
            <tr key={job.job}>
              <td className="whitespace-nowrap">
                <When at={job.at} kind="clock" />
                {job.hedged && <span className="sub">{text.jobs.hedged}</span>}
              </td>
              {props.withRig === true && (
                <td>
                  <Link
                    to="/w/$address/$rig"
                    params={{ address: props.worker, rig: job.rig }}
                    className="plain wrap-anywhere hover:underline"
                  >
                    {job.rig}
                  </Link>
                </td>
              )}
              <td className="hide-m text-soft">
                {job.renditions.map(({ width, height }) => `${width}×${height}`).join(", ")}
                {lied && <span className="sub text-warn!">{text.jobs.differs}</span>}
              </td>
              <td className="num hide-s" title={job.pixels}>
                {formatCount(BigInt(job.pixels))}
              </td>
              <td className="num hide-m">{formatMs(job.workMs)}</td>
              <td className="num hide-s">{job.workMs > 0 ? formatTimes(job.sourceMs / job.workMs) : text.none}</td>
              <td className="num">
                {inGwei ? <Gwei wei={job.earnedWei} /> : <Eth wei={job.earnedWei} digits={digits} />}
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
