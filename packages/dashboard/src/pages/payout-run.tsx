import type { PayoutRunAnswer } from "@openpool/protocol";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { ApiProblem, getJson, paths } from "../api/client.ts";
import { formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { TxLink, WorkerLink } from "../ui/address.tsx";
import { columnDigits, Eth } from "../ui/amount.tsx";
import { Empty, Loaded, Section } from "../ui/parts.tsx";
import { PayoutState } from "../ui/run-table.tsx";
import { When } from "../ui/time.tsx";

const route = getRouteApi("/public/payouts/$id");

/** One payout run: its transactions and every line. */
export function PayoutRunPage(): ReactNode {
  const { id } = route.useParams();
  const answer = useInfiniteQuery({
    queryKey: ["payout", id],
    queryFn: ({ pageParam, signal }) => getJson<PayoutRunAnswer>(paths.payoutRun(id, pageParam), { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.lines.next ?? undefined,
    refetchInterval: 5_000,
  });
  const missing = answer.error instanceof ApiProblem && answer.error.status === 404;
  return (
    <>
      <div className="who">
        <h1 className="words">{text.payoutsPage.run}</h1>
        <span className="actions">
          <a href={paths.payoutRun(id)}>{text.json}</a>
        </span>
      </div>
      {missing ? (
        <Empty title={text.payoutsPage.unknownRun}>{text.payoutsPage.unknownRunAction}</Empty>
      ) : (
        <Loaded of={answer} lines={6}>
          {({ pages }) => {
            const [first] = pages;
            if (first === undefined) return null;
            return <Run answer={first} lines={pages.flatMap((page) => page.lines.items)} />;
          }}
        </Loaded>
      )}
      {answer.hasNextPage && (
        <button type="button" className="button quiet mt-4" onClick={() => void answer.fetchNextPage()}>
          {text.more}
        </button>
      )}
    </>
  );
}

function Run({
  answer,
  lines,
}: {
  readonly answer: PayoutRunAnswer;
  readonly lines: PayoutRunAnswer["lines"]["items"];
}): ReactNode {
  const { run, explorer } = answer;
  const digits = columnDigits(lines.map((line) => line.amountWei));
  return (
    <>
      <p className="mb-6 text-soft">
        <PayoutState state={run.state} /> {text.payoutsPage.created} <When at={run.createdAt} />
        {run.finishedAt !== null && (
          <>
            , {text.payoutsPage.finished} <When at={run.finishedAt} />
          </>
        )}
        {run.waitsFor !== null && <> · {run.waitsFor}</>}
      </p>
      <dl className="figures">
        <div>
          <dt>{text.payoutsPage.total}</dt>
          <dd>
            <div className="v">
              <Eth wei={run.totalWei} brief />
              <small>{text.eth}</small>
            </div>
            <div className="d">{text.payoutsPage.toWorkers(run.workers)}</div>
          </dd>
        </div>
        <div>
          <dt>{text.payoutsPage.paid}</dt>
          <dd>
            <div className="v">
              <Eth wei={run.paidWei} brief />
              <small>{text.eth}</small>
            </div>
            <div className="d">{text.payoutsPage.paidNote}</div>
          </dd>
        </div>
        <div>
          <dt>{text.payouts.gas}</dt>
          <dd>
            <div className="v">
              <Eth wei={run.gasWei} brief />
            </div>
            <div className="d">{text.eth}</div>
          </dd>
        </div>
        <div>
          <dt>{text.payoutsPage.transactions}</dt>
          <dd>
            <div className="v">{formatCount(run.transactions.length)}</div>
            <div className="d">{run.asset.symbol}</div>
          </dd>
        </div>
      </dl>
      {run.transactions.length > 0 && (
        <Section title={text.payoutsPage.transactions}>
          <ul className="grid gap-1">
            {run.transactions.map((hash) => (
              <li key={hash}>
                <TxLink hash={hash} explorer={explorer} />
              </li>
            ))}
          </ul>
        </Section>
      )}
      <Section title={text.payoutsPage.lines}>
        <table className="table">
          <thead>
            <tr>
              <th>{text.payoutsPage.worker}</th>
              <th>{text.payouts.state}</th>
              <th className="hide-s">{text.payouts.transaction}</th>
              <th className="num hide-m">{text.payouts.gas}</th>
              <th className="num hide-m">{text.payouts.thenWorth}</th>
              <th className="num">{text.eth}</th>
            </tr>
          </thead>
          <tbody>
            {lines.map((line) => (
              <tr key={line.id}>
                <td>
                  <WorkerLink worker={line.worker} />
                </td>
                <td>
                  <PayoutState state={line.state} />
                  {line.reason !== null && <span className="sub">{line.reason}</span>}
                </td>
                <td className="hide-s">
                  <TxLink hash={line.transaction} explorer={explorer} />
                </td>
                <td className="num hide-m text-soft">
                  <Eth wei={line.gasWei} />
                </td>
                <td className="num hide-m text-soft">
                  {line.fiat === null ? text.none : text.fiat(line.fiat.amount, line.fiat.currency)}
                </td>
                <td className="num">
                  <Eth wei={line.amountWei} digits={digits} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Section>
    </>
  );
}
