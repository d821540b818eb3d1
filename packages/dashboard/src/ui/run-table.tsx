import type { PayoutLine, PayoutRun } from "@openpool/protocol";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { TxLink } from "./address.tsx";
import { columnDigits, Eth } from "./amount.tsx";
import { When } from "./time.tsx";

const TONES = {
  planned: "",
  approved: "",
  sending: "warn",
  sent: "warn",
  confirmed: "good",
  final: "good",
  abandoned: "bad",
  returned: "bad",
} as const;

export function PayoutState({ state }: { readonly state: PayoutRun["state"] | PayoutLine["state"] }): ReactNode {
  return <span className={`tag ${TONES[state]}`}>{text.payouts.states[state]}</span>;
}

/** Payout runs, newest first. */
export function RunTable(props: { readonly runs: readonly PayoutRun[]; readonly explorer?: string | null }): ReactNode {
  const digits = columnDigits(props.runs.map((run) => run.totalWei));
  const gasDigits = columnDigits(props.runs.map((run) => run.gasWei));
  return (
    <table className="table">
      <thead>
        <tr>
          <th>{text.payouts.when}</th>
          <th className="hide-s">{text.payouts.workers}</th>
          <th>{text.payouts.state}</th>
          <th className="hide-m">{text.payouts.transaction}</th>
          <th className="num hide-s">{text.payouts.gas}</th>
          <th className="num">{text.eth}</th>
        </tr>
      </thead>
      <tbody>
        {props.runs.map((run) => (
          <tr key={run.id}>
            <td>
              <Link to="/payouts/$id" params={{ id: run.id }}>
                <When at={run.createdAt} />
              </Link>
            </td>
            <td className="hide-s">{formatCount(run.workers)}</td>
            <td>
              <PayoutState state={run.state} />
              {run.waitsFor !== null && <span className="sub">{run.waitsFor}</span>}
            </td>
            <td className="hide-m">
              <TxLink hash={run.transactions[0] ?? null} explorer={props.explorer ?? null} />
              {run.transactions.length > 1 && <span className="text-soft"> +{run.transactions.length - 1}</span>}
            </td>
            <td className="num text-soft hide-s">
              <Eth wei={run.gasWei} digits={gasDigits} />
            </td>
            <td className="num">
              <Eth wei={run.totalWei} digits={digits} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
