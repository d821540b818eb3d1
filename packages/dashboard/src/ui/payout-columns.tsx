import type { PayoutLine, PayoutRun } from "@openpool/protocol";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { TxLink, WorkerLink } from "./address.tsx";
import { columnDigits, Eth } from "./amount.tsx";
import { type Column, Table } from "./table.tsx";
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

function RunLink({ id, at }: { readonly id: string; readonly at: string }): ReactNode {
  return (
    <Link to="/payouts/$id" params={{ id }}>
      <When at={at} />
    </Link>
  );
}

/** Payout runs, newest first. */
export function RunTable(props: { readonly runs: readonly PayoutRun[]; readonly explorer?: string | null }): ReactNode {
  const digits = columnDigits(props.runs.map((run) => run.totalWei));
  const gasDigits = columnDigits(props.runs.map((run) => run.gasWei));
  const columns: readonly Column<PayoutRun>[] = [
    { head: text.payouts.when, cell: (run) => <RunLink id={run.id} at={run.createdAt} /> },
    { head: text.payouts.workers, className: "hide-s", cell: (run) => formatCount(run.workers) },
    {
      head: text.payouts.state,
      cell: (run) => (
        <>
          <PayoutState state={run.state} />
          {run.waitsFor !== null && <span className="sub">{run.waitsFor}</span>}
        </>
      ),
    },
    {
      head: text.payouts.transaction,
      className: "hide-m",
      cell: ({ transactions }) => (
        <>
          <TxLink hash={transactions[0] ?? null} explorer={props.explorer ?? null} />
          {transactions.length > 1 && <span className="text-soft"> +{transactions.length - 1}</span>}
        </>
      ),
    },
    {
      head: text.payouts.gas,
      className: "num text-soft hide-s",
      cell: (run) => <Eth wei={run.gasWei} digits={gasDigits} />,
    },
    { head: text.eth, className: "num", cell: (run) => <Eth wei={run.totalWei} digits={digits} /> },
  ];
  return <Table rows={props.runs} columns={columns} rowKey={(run) => run.id} />;
}

/** Lines of payouts: `of` one worker, with the run of each, or of one run, with the worker of each. */
export function LineTable(props: {
  readonly lines: readonly PayoutLine[];
  readonly of: "worker" | "run";
  readonly explorer: string | null;
}): ReactNode {
  const { lines, of, explorer } = props;
  const digits = columnDigits(lines.map((line) => line.amountWei));
  const columns: readonly Column<PayoutLine>[] = [
    of === "worker"
      ? { head: text.payouts.when, cell: (line) => <RunLink id={line.run} at={line.sentAt ?? line.plannedAt} /> }
      : { head: text.payoutsPage.worker, cell: (line) => <WorkerLink worker={line.worker} /> },
    {
      head: text.payouts.state,
      cell: (line) => (
        <>
          <PayoutState state={line.state} />
          {line.reason !== null && <span className="sub">{line.reason}</span>}
          {line.payTo !== line.worker && (
            <span className="sub">
              {text.payouts.to} <WorkerLink worker={line.payTo} />
            </span>
          )}
        </>
      ),
    },
    {
      head: text.payouts.transaction,
      className: "hide-s",
      cell: (line) => <TxLink hash={line.transaction} explorer={explorer} />,
    },
    ...(of === "run"
      ? [
          {
            head: text.payouts.gas,
            className: "num hide-m text-soft",
            cell: (line: PayoutLine) => <Eth wei={line.gasWei} />,
          },
        ]
      : []),
    {
      head: text.payouts.thenWorth,
      className: "num hide-m text-soft",
      cell: ({ fiat }) => (fiat === null ? text.none : text.fiat(fiat.amount, fiat.currency)),
    },
    { head: text.eth, className: "num", cell: (line) => <Eth wei={line.amountWei} digits={digits} /> },
  ];
  return (
    <Table rows={lines} columns={columns} rowKey={(line) => line.id} mark={(line) => ({ "data-line": line.state })} />
  );
}
