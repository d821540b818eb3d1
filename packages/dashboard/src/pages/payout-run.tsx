import type { PayoutRunAnswer } from "@openpool/protocol";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { ApiProblem, getJson, paths } from "../api/client.ts";
import { formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { TxLink } from "../ui/address.tsx";
import { Eth } from "../ui/amount.tsx";
import { Figure, FigureEth, Figures } from "../ui/figures.tsx";
import { Empty, Loaded, More, Section } from "../ui/parts.tsx";
import { LineTable, PayoutState } from "../ui/payout-columns.tsx";
import { Coded } from "../ui/said.tsx";
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
      <More of={answer} />
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
  const { run } = answer;
  return (
    <>
      <p className="mb-6 text-soft">
        <PayoutState state={run.state} /> {text.payoutsPage.created} <When at={run.createdAt} />
        {run.finishedAt !== null && (
          <>
            , {text.payoutsPage.finished} <When at={run.finishedAt} />
          </>
        )}
        {run.waitsFor !== null && (
          <>
            {" "}
            · <Coded said={run.waitsFor} coded={run.waitsForCoded} />
          </>
        )}
      </p>
      <Figures>
        <Figure
          title={text.payoutsPage.total}
          value={<FigureEth wei={run.totalWei} />}
          note={text.payoutsPage.toWorkers(run.workers)}
        />
        <Figure
          title={text.payoutsPage.paid}
          value={<FigureEth wei={run.paidWei} />}
          note={text.payoutsPage.paidNote}
        />
        <Figure title={text.payouts.gas} value={<Eth wei={run.gasWei} brief />} note={text.eth} />
        <Figure
          title={text.payoutsPage.transactions}
          value={formatCount(run.transactions.length)}
          note={run.asset.symbol}
        />
      </Figures>
      {run.transactions.length > 0 && (
        <Section title={text.payoutsPage.transactions}>
          <ul className="grid gap-1">
            {run.transactions.map((hash) => (
              <li key={hash}>
                <TxLink hash={hash} />
              </li>
            ))}
          </ul>
        </Section>
      )}
      <Section title={text.payoutsPage.lines}>
        <LineTable lines={lines} of="run" />
      </Section>
    </>
  );
}
