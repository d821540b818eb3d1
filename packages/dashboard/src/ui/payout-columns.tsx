import { formatUnits } from "@openpool/base";
import type { NextPayout, PayoutLine, PayoutRun } from "@openpool/protocol";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { Hex, TxLink, WorkerLink } from "./address.tsx";
import { columnDigits, Eth } from "./amount.tsx";
import { Coded } from "./said.tsx";
import { type Column, Table } from "./table.tsx";
import { Until, When } from "./time.tsx";

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
export function RunTable(props: { readonly runs: readonly PayoutRun[] }): ReactNode {
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
          {run.waitsFor !== null && (
            <span className="sub">
              <Coded said={run.waitsFor} coded={run.waitsForCoded} />
            </span>
          )}
          {/* The column of its own has no room on a phone. */}
          {run.transactions.length > 0 && (
            <span className="sub only-m">
              <Transactions hashes={run.transactions} />
            </span>
          )}
        </>
      ),
    },
    {
      head: text.payouts.transaction,
      className: "hide-m",
      cell: ({ transactions }) => <Transactions hashes={transactions} />,
    },
    {
      head: text.payouts.gas,
      className: "num text-soft hide-s",
      cell: (run) => <Eth wei={run.gasWei} digits={gasDigits} />,
    },
    {
      head: text.eth,
      className: "num",
      cell: (run) => (
        <>
          <Eth wei={run.totalWei} digits={digits} />
          <PaidAs of={run} />
        </>
      ),
    },
  ];
  return <Table rows={props.runs} columns={columns} rowKey={(run) => run.id} />;
}

/** The first of them, and how many more. */
function Transactions({ hashes }: { readonly hashes: readonly string[] }): ReactNode {
  return (
    <>
      <TxLink hash={hashes[0] ?? null} />
      {hashes.length > 1 && <span className="text-soft"> +{hashes.length - 1}</span>}
    </>
  );
}

/** What a payout was worth when it was made; a dash where no price was known. */
function ThenWorth({ line: { fiat } }: { readonly line: PayoutLine }): ReactNode {
  return fiat === null ? text.none : text.fiat(fiat.amount, fiat.currency);
}

/** What is transferred where that is no ETH: `12.5 USDC`, to the last digit; in its smallest unit where its digits are not known. */
function PaidAs({ of: { asset, assetAmount } }: { readonly of: Pick<PayoutRun, "asset" | "assetAmount"> }): ReactNode {
  if (asset.token === null || assetAmount === null) return null;
  const { symbol, decimals } = asset;
  const amount =
    decimals === null
      ? text.payouts.smallestUnits(assetAmount, symbol)
      : `${formatUnits(BigInt(assetAmount), decimals)}\u00a0${symbol}`;
  return <span className="sub">{text.payouts.paidAs(amount)}</span>;
}

/** Lines of payouts: `of` one worker, with the run of each, or of one run, with the worker of each. */
export function LineTable(props: { readonly lines: readonly PayoutLine[]; readonly of: "worker" | "run" }): ReactNode {
  const { lines, of } = props;
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
          {line.reason !== null && (
            <span className="sub">
              <Coded said={line.reason} coded={line.reasonCoded} />
            </span>
          )}
          {line.payTo !== line.worker && (
            <span className="sub">
              {text.payouts.to} <Hex value={line.payTo} kind="address" />
            </span>
          )}
          {line.transaction !== null && (
            <span className="sub only-s">
              <TxLink hash={line.transaction} />
            </span>
          )}
          {line.fiat !== null && (
            <span className="sub only-m">{text.payouts.worthThen(<ThenWorth line={line} />)}</span>
          )}
        </>
      ),
    },
    {
      head: text.payouts.transaction,
      className: "hide-s",
      cell: (line) => <TxLink hash={line.transaction} />,
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
      cell: (line) => <ThenWorth line={line} />,
    },
    {
      head: text.eth,
      className: "num",
      cell: (line) => (
        <>
          <Eth wei={line.amountWei} digits={digits} />
          <PaidAs of={line} />
        </>
      ),
    },
  ];
  return (
    <Table rows={lines} columns={columns} rowKey={(line) => line.id} mark={(line) => ({ "data-line": line.state })} />
  );
}

/** How long it is until workers are paid, or why nobody knows. */
export function NextPayoutIn({ next }: { readonly next: Pick<NextPayout, "at" | "paused"> }): ReactNode {
  if (next.paused !== null) return text.payouts.stopped;
  return next.at === null ? text.payouts.byHand : <Until at={next.at} />;
}
