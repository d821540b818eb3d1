import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { admin, type AdminRun } from "../../api/admin.ts";
import { formatCount } from "../../format/number.ts";
import { text } from "../../text.tsx";
import { columnDigits, Eth } from "../../ui/amount.tsx";
import { Loaded, Section } from "../../ui/parts.tsx";
import { Worded } from "../../ui/said.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { When } from "../../ui/time.tsx";
import { Act, Acts, Ask, Failure, live, type Refusable, useChange } from "./pieces.tsx";

const words = text.admin;

/** Payout runs: tried out, planned, approved, taken back; paused and resumed. */
export function Payouts({ onRefused }: Refusable): ReactNode {
  const payouts = useQuery({ queryKey: ["admin", "payouts"], queryFn: admin.payouts, ...live });
  const [asking, setAsking] = useState<"plan" | "pause" | AdminRun>();
  const plan = useChange(admin.plan, { onRefused });
  const pause = useChange(admin.pause, { onRefused });
  const resume = useChange(admin.resume, { onRefused });
  const approve = useChange(
    (given: { readonly id: string; readonly by: string }) => admin.approve(given.id, given.by),
    {
      onRefused,
    },
  );
  const cancel = useChange(admin.cancel, { onRefused });
  const done = (): void => setAsking(undefined);
  return (
    <Section title={words.payouts}>
      <Loaded of={payouts}>
        {({ status, next, runs }) => {
          const stopped = status.paused !== undefined || status.halted !== undefined;
          return (
            <>
              <p className="text-soft">
                {next.atMs === undefined
                  ? words.nextByHand
                  : words.nextRun(<When at={new Date(next.atMs).toISOString()} />)}
                {status.balanceWei !== undefined && <> · {words.float(<Eth wei={status.balanceWei} unit />)}</>}
              </p>
              {status.halted !== undefined && (
                <p className="mt-1 text-bad">
                  <Worded>{words.haltedWhy(status.halted.message)}</Worded>
                </p>
              )}
              {status.paused !== undefined && <p className="mt-1 text-warn">{words.pausedWhy(status.paused)}</p>}
              {[status.waitingFor, ...status.warnings].map(
                (line) =>
                  line !== undefined && (
                    <p key={line} className="mt-1 small text-warn">
                      <Worded>{line}</Worded>
                    </p>
                  ),
              )}
              <div className="mt-4 mb-4 flex flex-wrap gap-2">
                <Act className="" onClick={() => plan.mutate(true)}>
                  {words.dryRun}
                </Act>
                <Act className="" onClick={() => setAsking("plan")}>
                  {words.plan}
                </Act>
                {stopped ? (
                  <Act className="" onClick={() => resume.mutate(undefined)}>
                    {words.resume}
                  </Act>
                ) : (
                  <Act className="" onClick={() => setAsking("pause")}>
                    {words.pause}
                  </Act>
                )}
              </div>
              {plan.data !== undefined && (
                <p role="status" className="mb-4">
                  {plan.data.refused !== undefined ? <Worded>{plan.data.refused}</Worded> : null}
                  {plan.data.refused === undefined &&
                    (plan.data.run === undefined
                      ? words.paysNobody(plan.data.waiting.length)
                      : words[plan.variables ? "wouldPay" : "planned"](
                          plan.data.lines.length,
                          <Eth wei={plan.data.run.totalWei} unit />,
                        ))}
                </p>
              )}
              <Runs runs={runs} onApprove={setAsking} onCancel={(run) => cancel.mutate(run.id)} />
            </>
          );
        }}
      </Loaded>
      <Failure error={plan.error ?? pause.error ?? resume.error ?? approve.error ?? cancel.error} />
      {asking === "plan" && (
        <Ask
          title={words.planTitle}
          hint={words.planHint}
          action={words.plan}
          onDone={done}
          onAgree={() => plan.mutate(false)}
        />
      )}
      {asking === "pause" && (
        <Ask
          grave
          title={words.pauseTitle}
          hint={words.pauseHint}
          action={words.pause}
          field={{ label: words.reason, value: "", required: true }}
          onDone={done}
          onAgree={(reason) => pause.mutate(reason)}
        />
      )}
      {typeof asking === "object" && (
        <Ask
          title={words.approveTitle(asking.id)}
          hint={
            <>
              {asking.approvalReason !== undefined && <Worded>{`${asking.approvalReason}. `}</Worded>}
              {words.approveHint}
            </>
          }
          action={words.approve}
          field={{ label: words.by, value: "", required: true }}
          onDone={done}
          onAgree={(by) => approve.mutate({ id: asking.id, by })}
        />
      )}
    </Section>
  );
}

function Runs(props: {
  readonly runs: readonly AdminRun[];
  readonly onApprove: (run: AdminRun) => void;
  readonly onCancel: (run: AdminRun) => void;
}): ReactNode {
  if (props.runs.length === 0) return <p className="small text-soft">{words.noRuns}</p>;
  const digits = columnDigits(props.runs.map((run) => run.totalWei));
  const columns: readonly Column<AdminRun>[] = [
    { head: words.when, cell: (run) => <When at={new Date(run.createdAtMs).toISOString()} /> },
    {
      head: text.payouts.state,
      cell: (run) => (
        <>
          <span className="tag">{words.runStates[run.state] ?? run.state}</span>
          {run.approvalReason !== undefined && run.approvedBy === undefined && (
            <span className="sub">
              <Worded>{run.approvalReason}</Worded>
            </span>
          )}
        </>
      ),
    },
    { head: words.workersPaid, className: "num hide-s", cell: (run) => formatCount(run.lines) },
    { head: text.eth, className: "num", cell: (run) => <Eth wei={run.totalWei} digits={digits} /> },
    {
      head: words.edit,
      quiet: true,
      className: "num",
      cell: (run) =>
        run.state === "planned" && (
          <Acts>
            <Act onClick={() => props.onApprove(run)}>{words.approve}</Act>
            <Act onClick={() => props.onCancel(run)}>{words.cancelRun}</Act>
          </Acts>
        ),
    },
  ];
  return (
    <Table rows={props.runs} columns={columns} rowKey={(run) => run.id} mark={(run) => ({ "data-run": run.id })} />
  );
}
