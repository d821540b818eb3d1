import type { PoolAnswer, RigSummary, WhyAnswer, WorkerAnswer, WorkerPayoutsAnswer } from "@openpool/protocol";
import { isAddressProblem, parseAddress } from "@openpool/protocol";
import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Fragment, type ReactNode } from "react";
import { getJson, paths, queries } from "../api/client.ts";
import { useLive } from "../api/live.ts";
import { shortHex } from "../format/address.ts";
import { parseWei, percentOf } from "../format/amount.ts";
import { formatPpm } from "../format/number.ts";
import { freeRigName } from "../join/commands.ts";
import { text } from "../text.tsx";
import { CopyButton, RigLabel } from "../ui/address.tsx";
import { columnDigits, Eth } from "../ui/amount.tsx";
import { Earnings } from "../ui/earnings.tsx";
import { Jobs } from "../ui/jobs.tsx";
import { useExplorer } from "../ui/explorer.ts";
import { type Condition, conditionOf, Empty, Loaded, MoneyBar, More, Raw, Section } from "../ui/parts.tsx";
import { LineTable } from "../ui/payout-columns.tsx";
import { rigColumns, withDevice } from "../ui/rig-columns.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { Coded, reasonWords } from "../ui/said.tsx";
import { TermsSentence } from "../ui/terms.tsx";
import { Until, When } from "../ui/time.tsx";
import { Decisions, Funnel, Reasons } from "../ui/why.tsx";
import { DEFAULT_WINDOW } from "../windows.ts";

const route = getRouteApi("/public/w/$address");

const CONDITIONS = ["working", "ready", "draining", "probation", "barred", "offline"] as const;
const TONES: Readonly<Partial<Record<Condition, string>>> = {
  working: "text-good",
  draining: "text-warn",
  probation: "text-warn",
  barred: "text-bad",
};

/** What a worker came for: is my rig working, what did I earn, when am I paid, why do I get this much work. */
export function WorkerPage(): ReactNode {
  const { address } = route.useParams();
  const worker = parseAddress(address);
  if (isAddressProblem(worker))
    return (
      <>
        <div className="who">
          <h1>{shortHex(address)}</h1>
        </div>
        <Empty title={text.lookup.problems[worker]}>{text.lookup.fix}</Empty>
      </>
    );
  return <Known worker={worker} />;
}

function Known({ worker }: { readonly worker: string }): ReactNode {
  const window = route.useSearch().window ?? DEFAULT_WINDOW;
  const client = useQueryClient();
  const answer = useQuery(queries.worker(worker));
  const why = useQuery(queries.why(worker));
  const earnings = useQuery(queries.earnings(worker, window));
  const pool = useQuery(queries.pool());
  useLive({
    worker,
    onFacts: (facts) => {
      // Something of this worker happened: its numbers are asked for now, not in a few seconds.
      if (facts.some((fact) => fact.worker === worker)) {
        void client.invalidateQueries({ queryKey: [paths.worker(worker)] });
        void client.invalidateQueries({ queryKey: [paths.earnings(worker, window)] });
      }
    },
  });
  const data = answer.data;
  const explorer = useExplorer();
  return (
    <>
      <div className="who">
        <h1 title={worker}>{shortHex(worker)}</h1>
        {data !== undefined && <RigCount worker={data} />}
        <span className="actions">
          <CopyButton value={worker} label={text.address} />
          {explorer !== null && (
            <a href={`${explorer}/address/${worker}`} rel="noreferrer">
              {text.explorer}
            </a>
          )}
          <CopyButton value={`${location.origin}/w/${worker}`} label={text.linkToPage}>
            {text.share}
          </CopyButton>
          <Link to="/settings/$address" params={{ address: worker }} hash="alerts">
            {text.worker.alerts}
          </Link>
          <Link to="/settings/$address" params={{ address: worker }}>
            {text.worker.settings}
          </Link>
          <a href={paths.statement(worker)}>{text.csv}</a>
          <a href={paths.worker(worker)}>{text.json}</a>
        </span>
      </div>
      <Loaded of={answer} lines={3} height={44}>
        {(one) =>
          one.known || one.rigs.length > 0 ? (
            <>
              {one.banned !== null && <p className="mt-2 text-bad">{text.worker.banned(one.banned)}</p>}
              <Money worker={one} />
              <Earnings
                window={window}
                of={earnings}
                json={paths.earnings(worker, window)}
                csv={paths.earningsCsv(worker, window)}
                worker={worker}
              />
              <section className="section two">
                <Rigs worker={one} />
                <Why of={why} />
              </section>
              <Payouts of={one} />
              <Jobs worker={worker} />
            </>
          ) : (
            <Stranger worker={one} pool={pool.data} />
          )
        }
      </Loaded>
    </>
  );
}

function RigCount({ worker }: { readonly worker: WorkerAnswer }): ReactNode {
  if (!worker.known) return <span className="text-soft">{text.worker.unknown}</span>;
  return (
    <span className="text-soft">
      {text.worker.rigs(worker.rigs.length)}
      {CONDITIONS.map((condition) => {
        const rigs = worker.rigs.filter((rig) => conditionOf(rig) === condition).length;
        if (rigs === 0) return null;
        return (
          <Fragment key={condition}>
            {" · "}
            <span className={TONES[condition]}>{text.worker.inCondition[condition](rigs)}</span>
          </Fragment>
        );
      })}
    </span>
  );
}

/** What to do next, with why; what is said where there is nothing to do. */
function NextAction({ of, children }: { readonly of: WorkerAnswer; readonly children?: ReactNode }): ReactNode {
  const { nextAction, nextActionCoded } = of;
  if (nextAction === null || nextActionCoded === null) return nextAction ?? children;
  const { sentence, action } = reasonWords({ ...nextActionCoded, sentence: nextAction });
  return (
    <>
      {sentence} {action}
    </>
  );
}

/** An address that never worked here: not an error, but the next thing to do. */
function Stranger({
  worker,
  pool,
}: {
  readonly worker: WorkerAnswer;
  readonly pool: PoolAnswer | undefined;
}): ReactNode {
  return (
    <div className="section">
      <p className="line mt-4!">{text.worker.strangerLine}</p>
      <div className="prose">
        <p>
          <NextAction of={worker}>{text.worker.strangerAction}</NextAction>
        </p>
      </div>
      <p className="mt-5">
        <Link to="/join" search={{ address: worker.worker }} className="button">
          {text.worker.strangerJoin}
        </Link>
      </p>
      {pool !== undefined && (
        <p className="mt-6 small text-soft">
          <TermsSentence terms={pool.terms} />
        </p>
      )}
    </div>
  );
}

function Money({ worker }: { readonly worker: WorkerAnswer }): ReactNode {
  const { balance, nextPayout, unpaidReasons, windows } = worker;
  if (balance === null) return <Empty title={text.money.unavailable}>{text.money.unavailableWhy}</Empty>;
  const unpaid = parseWei(balance.unpaidWei) ?? 0n;
  const minimum = nextPayout.configured ? (parseWei(nextPayout.minimumWei) ?? 0n) : 0n;
  // The bar ends a little beyond what is on it, so that there is always a way to go.
  const whole = ((unpaid > minimum ? unpaid : minimum) * 115n) / 100n;
  const share = (wei: string): number => percentOf(parseWei(wei) ?? 0n, whole);
  const digits = columnDigits([balance.owedWei, balance.heldWei, balance.paidWei]);
  return (
    <div className="money">
      <div>
        <div className="amount-large">
          <Eth wei={balance.unpaidWei} />
          <small>{text.money.ethUnpaid}</small>
        </div>
        <div className="mt-1.5 small text-soft">
          {text.money.feeShareDay(<Eth wei={windows["24h"].earnedWei} unit />)}
          {" · "}
          {text.money.earnedAll(<Eth wei={balance.earnedWei} unit />)}
        </div>
      </div>
      <div className="next">
        {nextPayout.configured ? (
          <>
            <b>
              {nextPayout.paused !== null
                ? text.payouts.nextStopped
                : nextPayout.at === null
                  ? text.payouts.nextByHand
                  : text.payouts.nextAt(<When at={nextPayout.at} />)}
            </b>
            <div className="small text-soft">
              <Coded said={nextPayout.paused} coded={nextPayout.pausedCoded} />
              {nextPayout.paused === null && nextPayout.at !== null && (
                <>
                  {text.payouts.inTime(<Until at={nextPayout.at} />)}
                  {nextPayout.estimateWei !== "0" && (
                    <> · {text.payouts.estimate(<Eth wei={nextPayout.estimateWei} unit />)}</>
                  )}
                </>
              )}
            </div>
          </>
        ) : (
          <>
            <b>{text.payouts.none}</b>
            <div className="small text-soft">
              <Coded said={nextPayout.why} coded={nextPayout.whyCoded} />
            </div>
          </>
        )}
        {unpaidReasons.map((reason) => {
          const { sentence, action } = reasonWords(reason);
          return (
            <div key={reason.code} className="mt-1 small" data-why-unpaid={reason.code}>
              {sentence} {action !== null && <span className="text-soft">{action}</span>}
            </div>
          );
        })}
      </div>
      <MoneyBar
        label={text.money.bar(share(balance.owedWei), share(balance.heldWei))}
        parts={[
          { kind: "paying", percent: share(balance.payingWei) },
          { kind: "owed", percent: share(balance.owedWei) },
          { kind: "held", percent: share(balance.heldWei) },
        ]}
        tick={
          minimum > 0n && nextPayout.configured
            ? { percent: percentOf(minimum, whole), word: text.payouts.minimum(<Eth wei={nextPayout.minimumWei} />) }
            : undefined
        }
      />
      <div className="legend">
        <span>
          <i className="owed" />
          <b>
            <Eth wei={balance.owedWei} digits={digits} />
          </b>{" "}
          {text.money.owed}
          {nextPayout.configured && (
            <>, {text.money.ofMinimum(formatPpm(Math.floor(nextPayout.progressPpm / 10_000) * 10_000))}</>
          )}
        </span>
        <span>
          <i className="held" />
          <b>
            <Eth wei={balance.heldWei} digits={digits} />
          </b>{" "}
          {balance.oldestHeldReleaseAt === null
            ? text.money.held
            : text.money.heldUntil(<Until at={balance.oldestHeldReleaseAt} />)}
        </span>
        {balance.payingWei !== "0" && (
          <span>
            <i className="owed" style={{ opacity: 0.55 }} />
            <b>
              <Eth wei={balance.payingWei} digits={digits} />
            </b>{" "}
            {text.money.paying}
          </span>
        )}
        <span>
          <i className="paid" />
          <b>
            <Eth wei={balance.paidWei} digits={digits} />
          </b>{" "}
          {text.money.paid}
        </span>
      </div>
    </div>
  );
}

function Rigs({ worker }: { readonly worker: WorkerAnswer }): ReactNode {
  const { name, state, spark, success, earned } = rigColumns(worker.rigs);
  const columns: readonly Column<RigSummary>[] = [
    withDevice({
      ...name,
      cell: (rig) => (
        <>
          <Link
            to="/w/$address/$rig"
            params={{ address: rig.worker, rig: rig.rig }}
            className="plain font-semibold wrap-anywhere hover:underline"
          >
            {rig.rig}
          </Link>
          <RigLabel rig={rig} />
        </>
      ),
    }),
    {
      ...state,
      cell: (rig) => (
        <>
          {state.cell(rig)}
          {rig.state !== "offline" && (
            <span className="sub">
              {rig.standing === "probation" || rig.standing === "barred" ? (
                <Coded said={rig.standingReason} coded={rig.standingReasonCoded} />
              ) : (
                <Coded said={rig.stateReason} coded={rig.stateReasonCoded} />
              )}
            </span>
          )}
        </>
      ),
    },
    spark,
    success,
    earned,
  ];
  return (
    <Section
      bare
      title={text.rigs.title}
      end={
        <Link to="/join" search={{ address: worker.worker, rig: freeRigName(worker.rigs.map(({ rig }) => rig)) }}>
          {text.rigs.add}
        </Link>
      }
    >
      {worker.rigs.length === 0 ? (
        <Empty title={text.rigs.none}>
          <NextAction of={worker} />
        </Empty>
      ) : (
        <Table rows={worker.rigs} columns={columns} rowKey={(rig) => rig.rig} />
      )}
    </Section>
  );
}

function Why({
  of,
}: {
  readonly of: { readonly data: WhyAnswer | undefined; readonly error: Error | null; readonly refetch: () => unknown };
}): ReactNode {
  return (
    <Section bare title={text.why.title} note={text.why.note} id="why">
      <Loaded of={of}>
        {(why) => (
          <>
            <p className="mb-3 max-w-[52ch]">
              <Coded said={why.sentence} coded={why.sentenceCoded} />
            </p>
            <Reasons reasons={why.reasons} shown={why.sentence} />
            <Funnel why={why} />
            <Decisions decisions={why.decisions.slice(0, 6)} withRig />
          </>
        )}
      </Loaded>
    </Section>
  );
}

function Payouts({ of }: { readonly of: WorkerAnswer }): ReactNode {
  const { worker, nextPayout } = of;
  const payouts = useInfiniteQuery({
    queryKey: [paths.workerPayouts(worker)],
    queryFn: ({ pageParam, signal }) =>
      getJson<WorkerPayoutsAnswer>(paths.workerPayouts(worker, pageParam), { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => (last.configured ? (last.next ?? undefined) : undefined),
    refetchInterval: 10_000,
  });
  const [first] = payouts.data?.pages ?? [];
  return (
    <Section
      title={text.payouts.title}
      note={first?.configured === true && first.count > 0 ? text.payouts.inAll(first.count) : undefined}
      end={
        <>
          <a href={paths.statement(worker)} download>
            {text.statement}
          </a>{" "}
          ·{" "}
          <Raw
            json={paths.workerPayouts(worker)}
            // Where nobody is paid there are no payouts for a spreadsheet; credits are in the statement.
            csv={nextPayout.configured ? paths.workerPayoutsCsv(worker) : undefined}
          />
        </>
      }
    >
      <Loaded of={payouts}>
        {({ pages }) => {
          const lines = pages.flatMap((page) => (page.configured ? page.items : []));
          if (lines.length > 0) return <LineTable lines={lines} of="worker" />;
          return (
            <Empty title={text.payouts.none}>
              {first?.configured === false ? (
                <Coded said={first.why} coded={first.whyCoded} />
              ) : (
                text.payouts.noneForYou
              )}
            </Empty>
          );
        }}
      </Loaded>
      <More of={payouts} />
    </Section>
  );
}
