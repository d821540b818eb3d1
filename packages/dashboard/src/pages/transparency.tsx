import type { SolvencyAnswer, Terms as TermsAnswer } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { paths, queries } from "../api/client.ts";
import { formatCount, formatMeasured, threeDigits } from "../format/number.ts";
import { text } from "../text.tsx";
import { columnDigits, Eth } from "../ui/amount.tsx";
import { BooksBar } from "../ui/books-bar.tsx";
import { Empty, Facts, Loaded, Section } from "../ui/parts.tsx";
import { Coded } from "../ui/said.tsx";
import { Table } from "../ui/table.tsx";
import { Formula, TermsFacts, TermsSentence } from "../ui/terms.tsx";
import { Ago, When } from "../ui/time.tsx";

/** Whether this pool can be trusted: what it promises, where every wei is, and how to check that. */
export function TransparencyPage(): ReactNode {
  const solvency = useQuery(queries.solvency());
  const terms = useQuery(queries.terms());
  const pool = useQuery(queries.pool());
  // A pool that pays nobody has no payouts to list.
  const paysOut = pool.data?.nextPayout.configured === true;
  const downloads = text.transparency.downloadLines.filter(([path]) => path !== paths.payoutsCsv() || paysOut);
  return (
    <>
      <Loaded of={solvency} lines={2} height={34}>
        {({ check }) => (
          <h1 className="line">
            {check.balanced === null
              ? text.transparency.unchecked
              : check.balanced
                ? text.transparency.balanced(<Ago at={check.checkedAt} />)
                : text.transparency.differs}
          </h1>
        )}
      </Loaded>
      <Loaded of={solvency} lines={8}>
        {(answer) => (
          <>
            <Books solvency={answer} />
            <Income solvency={answer} />
          </>
        )}
      </Loaded>
      {/* What stands below comes when it is known how much stands above: nothing moves under a reader's eyes. */}
      {(solvency.data !== undefined || solvency.error !== null) && (
        <>
          <Section
            title={text.terms.title}
            note={
              terms.data !== undefined &&
              text.terms.since(terms.data.current.version, <When at={terms.data.current.effectiveAt} kind="date" />)
            }
          >
            <Loaded of={terms}>
              {({ current, upcoming, history }) => (
                <>
                  <p className="prose mb-4">
                    <TermsSentence terms={current} />
                  </p>
                  <TermsFacts terms={current} price={pool.data?.price} />
                  {current.overrides > 0 && (
                    <p className="mt-3 small text-soft">{text.terms.overrides(current.overrides)}</p>
                  )}
                  {upcoming.length > 0 && (
                    <>
                      <h3 className="mt-7 mb-2 font-semibold">{text.terms.upcoming}</h3>
                      <Versions of={upcoming} open />
                    </>
                  )}
                  <h3 className="mt-7 mb-2 font-semibold">{text.terms.history}</h3>
                  {history.length === 0 ? (
                    <p className="small text-soft">{text.terms.noHistory}</p>
                  ) : (
                    <Versions of={history} />
                  )}
                </>
              )}
            </Loaded>
          </Section>
          <Section title={text.transparency.formulas}>
            <Loaded of={terms} lines={7}>
              {({ current }) => (
                <Facts
                  facts={[
                    [text.transparency.byScheme(current.scheme), <Formula key="scheme" of={current} />],
                    ...text.transparency.formulaLines.map(
                      ([word, formula]) => [word, <code key={word}>{formula}</code>] as const,
                    ),
                  ]}
                />
              )}
            </Loaded>
            <p className="prose mt-4 text-soft">{text.transparency.rounding}</p>
          </Section>
          <Loaded of={solvency}>{(answer) => <Days solvency={answer} />}</Loaded>
          <Section title={text.transparency.downloads}>
            <ul className="grid gap-1.5">
              {downloads.map(([path, word]) => (
                <li key={path}>
                  <a className="mono wrap-anywhere" href={path}>
                    {path}
                  </a>{" "}
                  <span className="text-soft">{word}</span>
                </li>
              ))}
            </ul>
            <p className="mt-3 small text-soft">{text.transparency.downloadMore}</p>
          </Section>
        </>
      )}
    </>
  );
}

function Books({ solvency }: { readonly solvency: SolvencyAnswer }): ReactNode {
  const { books, check } = solvency;
  const lines: readonly (readonly [string, string, string])[] = [
    [text.transparency.credited, books.creditedWei, ""],
    [text.money.held, books.heldWei, "="],
    [text.money.owed, books.owedWei, "+"],
    [text.money.paying, books.payingWei, "+"],
    [text.money.paid, books.paidWei, "+"],
  ];
  const digits = columnDigits([books.creditedWei]);
  return (
    <Section
      title={text.homePage.money}
      note={<Ago at={books.asOf} />}
      end={<a href={paths.solvency()}>{text.json}</a>}
    >
      <BooksBar books={books} />
      <div className="two mt-6">
        <Table
          caption={text.homePage.money}
          rows={lines}
          rowKey={([word]) => word}
          columns={[
            {
              head: text.transparency.account,
              cell: ([word, , sign]) => (
                <>
                  <span className="inline-block w-5 text-faint">{sign}</span>
                  {word}
                </>
              ),
            },
            { head: text.eth, className: "num", cell: ([, wei]) => <Eth wei={wei} digits={digits} /> },
          ]}
        />
        <div className="prose small">
          <p>{text.transparency.identity}</p>
          <dl className="facts mt-4">
            <dt>{text.transparency.fees}</dt>
            <dd>
              <Eth wei={books.feesWei} unit />
            </dd>
            <dt>{text.transparency.commission}</dt>
            <dd>
              <Eth wei={books.commissionWei} unit />
            </dd>
            {books.entries !== null && (
              <>
                <dt>{text.transparency.entries}</dt>
                <dd>{formatCount(books.entries)}</dd>
              </>
            )}
          </dl>
          {check.differences.length > 0 && (
            <ul className="mt-4 text-bad">
              {check.differences.map((one) => (
                <li key={one}>{one}</li>
              ))}
            </ul>
          )}
        </div>
      </div>
    </Section>
  );
}

function Income({ solvency }: { readonly solvency: SolvencyAnswer }): ReactNode {
  const { income } = solvency;
  return (
    <Section title={text.transparency.income} note={text.transparency.incomeNote}>
      {income.configured ? (
        <dl className="facts">
          <dt>{text.transparency.luck}</dt>
          <dd>{income.luckPpm === null ? text.none : text.transparency.luckOf(formatMeasured(income.luckPpm))}</dd>
          <dt>{text.transparency.received}</dt>
          <dd>
            <Eth wei={income.received30dWei} unit />{" "}
            {text.transparency.ofExpected(<Eth wei={income.expected30dWei} unit />)}
          </dd>
          <dt>{text.transparency.reserve}</dt>
          <dd className={income.reserveWei?.startsWith("-") ? "text-bad" : ""}>
            {income.reserveWei === null ? text.none : <Eth wei={income.reserveWei} unit />}
            {income.reserveDays !== null && <> · {text.transparency.reserveDays(threeDigits(income.reserveDays))}</>}
          </dd>
          {income.maxSharePpm !== null && (
            <>
              <dt>{text.transparency.maxShare}</dt>
              <dd>{text.transparency.maxShareOf(formatMeasured(income.maxSharePpm))}</dd>
            </>
          )}
        </dl>
      ) : (
        <p className="text-soft">
          <Coded said={income.why} coded={income.whyCoded} />
        </p>
      )}
    </Section>
  );
}

/** Each with all that it says, as what it changes is what a reader looks for. */
function Versions({ of, open = false }: { readonly of: readonly TermsAnswer[]; readonly open?: boolean }): ReactNode {
  return of.map((terms) => (
    <details key={terms.version} open={open} className="mb-3" data-terms={terms.version}>
      <summary className="cursor-pointer">
        {text.terms.since(terms.version, <When at={terms.effectiveAt} kind="date" />)}
      </summary>
      <div className="mt-3 mb-6">
        <p className="prose mb-4">
          <TermsSentence terms={terms} />
        </p>
        <TermsFacts terms={terms} />
        <div className="prose mt-4">
          <Formula of={terms} />
        </div>
      </div>
    </details>
  ));
}

function Days({ solvency }: { readonly solvency: SolvencyAnswer }): ReactNode {
  const days = solvency.days.toReversed();
  const digits = columnDigits(days.map((day) => day.earnedWei));
  return (
    <Section title={text.transparency.days} note={text.transparency.daysNote}>
      {days.length === 0 ? (
        <Empty title={text.transparency.noDays} />
      ) : (
        <Table
          rows={days}
          rowKey={({ day }) => day}
          columns={[
            { head: text.transparency.day, cell: ({ day }) => day.slice(0, 10) },
            { head: text.transparency.segments, className: "num", cell: ({ jobs }) => formatCount(jobs) },
            {
              head: text.transparency.commission,
              className: "num hide-s text-soft",
              cell: ({ commissionWei }) => <Eth wei={commissionWei} digits={digits} />,
            },
            {
              head: text.transparency.feeShare,
              className: "num",
              cell: ({ earnedWei }) => <Eth wei={earnedWei} digits={digits} />,
            },
          ]}
        />
      )}
    </Section>
  );
}
