import { isAddressProblem, isRigName, parseAddress } from "@openpool/protocol";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";
import {
  admin,
  type AdminPayouts,
  type AdminRig,
  type AdminRun,
  type AdminStatus,
  type AdminWorker,
  adminToken,
  needsToken,
  type WorkerChange,
} from "../api/admin.ts";
import { ApiProblem } from "../api/client.ts";
import { type Exception, exceptionsOf } from "../exceptions.ts";
import { shortHex, shortRig } from "../format/address.ts";
import { formatBytes, formatCount } from "../format/number.ts";
import { text } from "../text.tsx";
import { CopyButton } from "../ui/address.tsx";
import { columnDigits, Eth } from "../ui/amount.tsx";
import { Command, Empty, Fence, Loaded, Section } from "../ui/parts.tsx";
import { Ago, When } from "../ui/time.tsx";

const words = text.admin;
/** Asks again and again, unless it was refused: what is not served here will not be served in five seconds. */
const live = {
  refetchInterval: ({ state }: { readonly state: { readonly error: Error | null } }) =>
    state.error instanceof ApiProblem ? (false as const) : 5_000,
  retry: false,
} as const;

/** What is wrong first; then what an operator does. It lives on the admin port, not where the public pages are. */
export function AdminPage(): ReactNode {
  useEffect(() => {
    document.title = words.title;
  }, []);
  const status = useQuery({ queryKey: ["admin", "status"], queryFn: admin.status, ...live });
  const absent = status.error instanceof ApiProblem && status.error.status === 404;
  return (
    <>
      <header className="top">
        <div className="wrap">
          <h1 className="font-semibold">{words.title}</h1>
        </div>
      </header>
      <main className="wrap">
        <Fence>
          {absent ? (
            <>
              <p className="line">{words.elsewhere}</p>
              <p className="mb-3 text-soft">{words.elsewhereHow}</p>
              <Command
                copy={
                  <CopyButton value={words.elsewhereCommand} label={text.join.command} className="button quiet tiny" />
                }
              >
                {words.elsewhereCommand}
              </Command>
            </>
          ) : (
            <Loaded of={status} lines={6}>
              {(answer) => <Desk status={answer} />}
            </Loaded>
          )}
        </Fence>
      </main>
    </>
  );
}

function Desk({ status }: { readonly status: AdminStatus }): ReactNode {
  const [refused, setRefused] = useState(false);
  const ledger = useQuery({ queryKey: ["admin", "ledger"], queryFn: admin.ledger, ...live });
  const payouts = useQuery({ queryKey: ["admin", "payouts"], queryFn: admin.payouts, ...live });
  const onRefused = (): void => setRefused(true);
  return (
    <>
      <Exceptions exceptions={exceptionsOf(status, ledger.data, payouts.data)} />
      <Token wrong={refused} onKept={() => setRefused(false)} />
      <Rigs rigs={status.rigs} onRefused={onRefused} />
      <Workers rigs={status.rigs} onRefused={onRefused} />
      <Payouts of={payouts} onRefused={onRefused} />
      <Credentials onRefused={onRefused} />
      <Deeds />
      <Machine pool={status} />
    </>
  );
}

function Exceptions({ exceptions }: { readonly exceptions: readonly Exception[] }): ReactNode {
  if (exceptions.length === 0) return <p className="line">{words.fine}</p>;
  return (
    <>
      <p className="line">{words.needs(exceptions.length)}</p>
      <ul className="mb-8 border-t border-line">
        {exceptions.map((one) => (
          <li
            key={`${one.code} ${one.sentence}`}
            data-exception={one.code}
            className="grid gap-x-5 gap-y-1 border-b border-line py-3 sm:grid-cols-[6rem_1fr_max-content]"
          >
            <span>
              <span className={`tag ${{ halt: "bad", warning: "warn", note: "" }[one.severity]}`}>
                {words.severity[one.severity]}
              </span>
            </span>
            <span className="wrap-anywhere">
              {one.sentence} {one.action !== undefined && <span className="text-soft">{one.action}</span>}
            </span>
            <span className="small text-soft">
              {one.sinceMs !== undefined && (
                <>
                  {words.since} <When at={new Date(one.sinceMs).toISOString()} />
                </>
              )}
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}

function Token({ wrong, onKept }: { readonly wrong: boolean; readonly onKept: () => void }): ReactNode {
  const client = useQueryClient();
  const [kept, setKept] = useState(adminToken.read() !== undefined);
  const [typed, setTyped] = useState("");
  const id = useId();
  if (kept && !wrong)
    return (
      <p className="pb-6 small text-soft">
        {words.tokenThere}{" "}
        <button
          type="button"
          className="link"
          onClick={() => {
            adminToken.forget();
            setKept(false);
          }}
        >
          {words.tokenForget}
        </button>
      </p>
    );
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    if (typed.trim() === "") return;
    adminToken.keep(typed.trim());
    setKept(true);
    setTyped("");
    onKept();
    void client.invalidateQueries({ queryKey: ["admin"] });
  };
  return (
    <form className="max-w-xl pb-6" onSubmit={onSubmit}>
      <label className="grid gap-1.5" htmlFor={id}>
        <span className="small text-soft">{words.token}</span>
      </label>
      <div className="mt-1.5 flex gap-2">
        <input
          id={id}
          className="field mono min-w-0 flex-1"
          type="password"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          autoComplete="off"
          aria-describedby={`${id}-hint`}
        />
        <button type="submit" className="button">
          {words.tokenKeep}
        </button>
      </div>
      <p
        id={`${id}-hint`}
        className={`mt-2 small ${wrong ? "text-bad" : "text-soft"}`}
        role={wrong ? "alert" : undefined}
      >
        {wrong ? words.tokenWrong : words.tokenHint}
      </p>
    </form>
  );
}

interface Refusable {
  /** The token was refused. */
  readonly onRefused: () => void;
}

/** Changes something, then reads everything of the operator's page anew. */
function useChange<Input, Answer>(change: (input: Input) => Promise<Answer>, { onRefused }: Refusable) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => client.invalidateQueries({ queryKey: ["admin"] }),
    onError: (error) => {
      if (needsToken(error)) onRefused();
    },
  });
}

function Failure({ error }: { readonly error: Error | null }): ReactNode {
  if (error === null || needsToken(error)) return null;
  return (
    <p role="alert" className="mt-3 small text-bad">
      {error.message}
    </p>
  );
}

function Rigs({ rigs: all, onRefused }: Refusable & { readonly rigs: readonly AdminRig[] }): ReactNode {
  const [draining, setDraining] = useState<AdminRig>();
  const drain = useChange(admin.drain, { onRefused });
  const undrain = useChange(admin.undrain, { onRefused });
  const name = (rig: AdminRig): string => `${rig.worker}.${rig.rig}`;
  return (
    <Section title={words.rigs}>
      {all.length === 0 ? (
        <Empty title={words.noRigs} />
      ) : (
        <table className="table">
          <thead>
            <tr>
              <th>{words.name}</th>
              <th>{text.rigs.state}</th>
              <th className="num">{words.load}</th>
              <th className="hide-m pl-5!">{words.standing}</th>
              <th className="hide-m">{words.from}</th>
              <th className="num">
                <span className="sr-only">{words.edit}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {all.map((rig) => (
              <tr key={name(rig)} data-rig={name(rig)}>
                <td>
                  <span className="rig-name mono" title={name(rig)}>
                    {shortRig(rig.worker, rig.rig)}
                  </span>
                </td>
                <td>
                  <span className={`state ${{ connected: "", draining: "warn", gone: "off" }[rig.state]}`}>
                    {words.state[rig.state]}
                  </span>
                  {rig.state === "gone" && <span className="sub">{text.lastSeen(<Ago at={rig.lastSeen} />)}</span>}
                </td>
                <td className="num">
                  {rig.sessions} / {rig.capacity}
                </td>
                <td className="hide-m pl-5!">
                  {text.standing[rig.standing]}
                  <span className="sub">{rig.reason}</span>
                </td>
                <td className="hide-m mono">{rig.remoteAddress ?? text.none}</td>
                <td className="num">
                  {rig.state === "draining" ? (
                    <button type="button" className="button quiet tiny" onClick={() => undrain.mutate(name(rig))}>
                      {words.undrain}
                    </button>
                  ) : (
                    <button type="button" className="button quiet tiny" onClick={() => setDraining(rig)}>
                      {words.drain}
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Failure error={drain.error ?? undrain.error} />
      {draining !== undefined && (
        <Ask
          title={words.drainTitle(shortRig(draining.worker, draining.rig))}
          hint={words.drainHint}
          action={words.drain}
          onDone={() => setDraining(undefined)}
          onAgree={() => drain.mutate(name(draining))}
        />
      )}
    </Section>
  );
}

/** Asks before something is done; with `field`, for a text too. */
function Ask(props: {
  readonly title: string;
  readonly hint: string;
  readonly action: string;
  readonly field?: { readonly label: string; readonly value: string; readonly required: boolean };
  readonly grave?: boolean;
  readonly onDone: () => void;
  readonly onAgree: (value: string) => void;
}): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const [value, setValue] = useState(props.field?.value ?? "");
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  const missing = props.field?.required === true && value.trim() === "";
  return (
    <dialog
      ref={dialog}
      onClose={props.onDone}
      aria-labelledby={id}
      className="m-auto w-[min(30rem,92vw)] rounded-xl border border-line bg-raised p-6 text-ink backdrop:bg-black/40"
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (missing) return;
          props.onAgree(value.trim());
          dialog.current?.close();
        }}
      >
        <h2 id={id} className="mb-2 font-semibold">
          {props.title}
        </h2>
        <p className="text-soft">{props.hint}</p>
        {props.field !== undefined && (
          <label className="mt-4 grid gap-1.5">
            <span className="small text-soft">{props.field.label}</span>
            <textarea
              className="field"
              rows={3}
              maxLength={500}
              value={value}
              onChange={(event) => setValue(event.target.value)}
            />
          </label>
        )}
        <div className="mt-5 flex justify-end gap-2">
          <button type="button" className="button quiet" onClick={() => dialog.current?.close()}>
            {words.cancel}
          </button>
          <button type="submit" className={`button ${props.grave === true ? "bad" : ""}`} disabled={missing}>
            {props.action}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function Workers({ rigs, onRefused }: Refusable & { readonly rigs: readonly AdminRig[] }): ReactNode {
  const workers = useQuery({ queryKey: ["admin", "workers"], queryFn: admin.workers, ...live });
  const change = useChange(
    ({ worker, ...what }: WorkerChange & { readonly worker: string }) => admin.change(worker, what),
    { onRefused },
  );
  const [asking, setAsking] = useState<{ readonly kind: "ban" | "note"; readonly worker: AdminWorker }>();
  return (
    <Section title={words.workers}>
      <Loaded of={workers}>
        {({ workers: known }) => {
          const all = everyWorker(known, rigs);
          if (all.length === 0) return <Empty title={words.noWorkers} />;
          return (
            <table className="table">
              <thead>
                <tr>
                  <th>{words.worker}</th>
                  <th>{words.laidDown}</th>
                  <th className="num">
                    <span className="sr-only">{words.edit}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {all.map((worker) => (
                  <tr key={worker.worker} data-worker={worker.worker}>
                    <td>
                      <span className="mono" title={worker.worker}>
                        {shortHex(worker.worker)}
                      </span>{" "}
                      <CopyButton value={worker.worker} label={text.address} className="link small text-soft" />
                    </td>
                    <td>
                      <LaidDown worker={worker} />
                    </td>
                    <td className="num">
                      <span className="inline-flex flex-wrap justify-end gap-1.5">
                        {(worker.banned ?? null) === null ? (
                          <button
                            type="button"
                            className="button quiet tiny"
                            onClick={() => setAsking({ kind: "ban", worker })}
                          >
                            {words.ban}
                          </button>
                        ) : (
                          <button
                            type="button"
                            className="button quiet tiny"
                            onClick={() => change.mutate({ worker: worker.worker, banned: null })}
                          >
                            {words.unban}
                          </button>
                        )}
                        <button
                          type="button"
                          className="button quiet tiny hide-s"
                          onClick={() => change.mutate({ worker: worker.worker, locked: !worker.locked })}
                        >
                          {worker.locked ? words.unlock : words.lock}
                        </button>
                        <button
                          type="button"
                          className="button quiet tiny"
                          onClick={() => setAsking({ kind: "note", worker })}
                        >
                          {words.note}
                        </button>
                      </span>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          );
        }}
      </Loaded>
      <Failure error={change.error} />
      {asking?.kind === "ban" && (
        <Ask
          grave
          title={words.banTitle(shortHex(asking.worker.worker))}
          hint={words.banHint}
          action={words.ban}
          field={{ label: words.banReason, value: "", required: true }}
          onDone={() => setAsking(undefined)}
          onAgree={(banned) => change.mutate({ worker: asking.worker.worker, banned })}
        />
      )}
      {asking?.kind === "note" && (
        <Ask
          title={words.noteTitle(shortHex(asking.worker.worker))}
          hint={words.noteHint}
          action={words.save}
          field={{ label: words.note, value: asking.worker.note ?? "", required: false }}
          onDone={() => setAsking(undefined)}
          onAgree={(note) => change.mutate({ worker: asking.worker.worker, note: note === "" ? null : note })}
        />
      )}
    </Section>
  );
}

/** Those that something was laid down about, and those that have a rig here. */
function everyWorker(known: readonly AdminWorker[], rigs: readonly AdminRig[]): readonly AdminWorker[] {
  const all = new Map(known.map((worker) => [worker.worker, worker]));
  for (const { worker } of rigs) if (!all.has(worker)) all.set(worker, { worker, locked: false });
  return [...all.values()];
}

function LaidDown({ worker }: { readonly worker: AdminWorker }): ReactNode {
  const { banned, locked, note } = worker;
  const plain = (banned ?? null) === null && !locked && (note ?? null) === null;
  if (plain) return <span className="text-soft">{words.none}</span>;
  return (
    <>
      {(banned ?? null) !== null && (
        <span className="block">
          <span className="tag bad">{words.banned}</span> <span className="wrap-anywhere">{banned}</span>
        </span>
      )}
      {locked && <span className="tag">{words.locked}</span>}
      {(note ?? null) !== null && <span className="sub wrap-anywhere">{note}</span>}
    </>
  );
}

function Payouts(props: Refusable & { readonly of: Parameters<typeof Loaded<AdminPayouts>>[0]["of"] }): ReactNode {
  const { onRefused } = props;
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
      <Loaded of={props.of}>
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
              {status.halted !== undefined && <p className="mt-1 text-bad">{words.haltedWhy(status.halted.message)}</p>}
              {status.paused !== undefined && <p className="mt-1 text-warn">{words.pausedWhy(status.paused)}</p>}
              {[status.waitingFor, ...status.warnings].map(
                (line) =>
                  line !== undefined && (
                    <p key={line} className="mt-1 small text-warn">
                      {line}
                    </p>
                  ),
              )}
              <div className="mt-4 mb-4 flex flex-wrap gap-2">
                <button type="button" className="button quiet" onClick={() => plan.mutate(true)}>
                  {words.dryRun}
                </button>
                <button type="button" className="button quiet" onClick={() => setAsking("plan")}>
                  {words.plan}
                </button>
                {stopped ? (
                  <button type="button" className="button quiet" onClick={() => resume.mutate(undefined)}>
                    {words.resume}
                  </button>
                ) : (
                  <button type="button" className="button quiet" onClick={() => setAsking("pause")}>
                    {words.pause}
                  </button>
                )}
              </div>
              {plan.data !== undefined && (
                <p role="status" className="mb-4">
                  {plan.data.refused ??
                    (plan.data.run === undefined
                      ? words.paysNobody(plan.data.waiting.length)
                      : words.wouldPay(plan.data.lines.length, <Eth wei={plan.data.run.totalWei} unit />))}
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
          hint={`${asking.approvalReason ?? ""} ${words.approveHint}`.trim()}
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
  return (
    <table className="table">
      <thead>
        <tr>
          <th>{words.when}</th>
          <th>{text.payouts.state}</th>
          <th className="num hide-s">{words.workersPaid}</th>
          <th className="num">{text.eth}</th>
          <th className="num">
            <span className="sr-only">{words.edit}</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {props.runs.map((run) => (
          <tr key={run.id} data-run={run.id}>
            <td>
              <When at={new Date(run.createdAtMs).toISOString()} />
            </td>
            <td>
              <span className="tag">{run.state}</span>
              {run.approvalReason !== undefined && run.approvedBy === undefined && (
                <span className="sub">{run.approvalReason}</span>
              )}
            </td>
            <td className="num hide-s">{formatCount(run.lines)}</td>
            <td className="num">
              <Eth wei={run.totalWei} digits={digits} />
            </td>
            <td className="num">
              {run.state === "planned" && (
                <span className="inline-flex flex-wrap justify-end gap-1.5">
                  <button type="button" className="button quiet tiny" onClick={() => props.onApprove(run)}>
                    {words.approve}
                  </button>
                  <button type="button" className="button quiet tiny" onClick={() => props.onCancel(run)}>
                    {words.cancelRun}
                  </button>
                </span>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Credentials({ onRefused }: Refusable): ReactNode {
  const workers = useQuery({ queryKey: ["admin", "workers"], queryFn: admin.workers, ...live });
  const [address, setAddress] = useState("");
  const [rig, setRig] = useState("");
  const issue = useChange(
    (given: { readonly address: string; readonly rig: string | undefined }) => admin.issue(given.address, given.rig),
    { onRefused },
  );
  const revoke = useChange(admin.revoke, { onRefused });
  const read = parseAddress(address.trim());
  const fits = !isAddressProblem(read) && (rig === "" || isRigName(rig));
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    if (!fits) return;
    issue.mutate({ address: read, rig: rig === "" ? undefined : rig });
  };
  return (
    <Section title={words.credentials}>
      <form className="flex flex-wrap items-end gap-3" onSubmit={onSubmit}>
        <label className="grid w-full min-w-0 gap-1.5 sm:w-auto sm:flex-1">
          <span className="small text-soft">{words.find}</span>
          <input
            className="field mono"
            value={address}
            onChange={(event) => setAddress(event.target.value)}
            aria-invalid={address !== "" && isAddressProblem(read)}
            spellCheck={false}
            autoComplete="off"
          />
        </label>
        <label className="grid w-32 gap-1.5">
          <span className="small text-soft">{text.rigs.rig}</span>
          <input
            className="field mono"
            value={rig}
            onChange={(event) => setRig(event.target.value)}
            spellCheck={false}
            autoComplete="off"
          />
        </label>
        <button type="submit" className="button quiet h-[38px]!" disabled={!fits || issue.isPending}>
          {words.issue}
        </button>
      </form>
      <p className="mt-2 small text-soft">{words.issueHint}</p>
      <Failure error={issue.error ?? revoke.error} />
      {issue.data !== undefined && (
        <div className="mt-4" role="status">
          <p className="mb-1.5 small">{words.issued(issue.data.name)}</p>
          <Command copy={<CopyButton value={issue.data.secret} label={words.token} className="button quiet tiny" />}>
            {issue.data.secret}
          </Command>
        </div>
      )}
      <Loaded of={workers}>
        {({ credentials }) =>
          credentials.length === 0 ? (
            <Empty title={words.noCredentials} />
          ) : (
            <table className="table mt-5">
              <thead>
                <tr>
                  <th>{words.name}</th>
                  <th>{words.when}</th>
                  <th className="num">
                    <span className="sr-only">{words.edit}</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {credentials.map((one) => (
                  <tr key={one.id}>
                    <td className="mono">
                      <span className="rig-name">{shortRig(one.name.worker, one.name.rig)}</span>
                    </td>
                    <td>
                      <When at={one.createdAt} />
                    </td>
                    <td className="num">
                      {(one.revokedAt ?? null) === null ? (
                        <button type="button" className="button quiet tiny" onClick={() => revoke.mutate(one.id)}>
                          {words.revoke}
                        </button>
                      ) : (
                        <span className="text-soft">{words.revoked}</span>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )
        }
      </Loaded>
    </Section>
  );
}

/** What was done here, from the event log. */
function Deeds(): ReactNode {
  const events = useQuery({ queryKey: ["admin", "deeds"], queryFn: admin.deeds, ...live });
  return (
    <Section title={words.deeds} note={words.deedsNote}>
      <Loaded of={events}>
        {(all) =>
          all.length === 0 ? (
            <Empty title={words.noDeeds} />
          ) : (
            <table className="table">
              <thead>
                <tr>
                  <th>{words.when}</th>
                  <th>{words.action}</th>
                  <th>{words.what}</th>
                </tr>
              </thead>
              <tbody>
                {all.slice(0, 100).map((event) => (
                  <tr key={event.position}>
                    <td className="whitespace-nowrap">
                      <When at={event.time} />
                    </td>
                    <td className="mono">
                      {event.type}
                      {event.worker !== undefined && (
                        <span className="sub">
                          {event.rig === undefined ? shortHex(event.worker) : shortRig(event.worker, event.rig)}
                        </span>
                      )}
                    </td>
                    <td className="mono wrap-anywhere text-soft">{JSON.stringify(event.data)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )
        }
      </Loaded>
    </Section>
  );
}

function Machine({ pool }: { readonly pool: AdminStatus }): ReactNode {
  const facts: readonly (readonly [string, ReactNode])[] = [
    [words.facts.version, pool.version],
    [words.facts.started, <When key="started" at={pool.startedAt} />],
    [words.facts.serviceUri, pool.serviceUri],
    [words.facts.dataDir, pool.dataDir],
    [words.facts.database, `${pool.database.kind}, ${pool.database.where}`],
    [words.facts.sessions, formatCount(pool.sessions)],
    [words.facts.jobs, formatCount(pool.jobsInFlight)],
    [words.facts.bytes, formatBytes(pool.bytesInFlight)],
  ];
  return (
    <Section title={words.machine}>
      <dl className="facts">
        {facts.map(([word, fact]) => (
          <div key={word} className="contents">
            <dt>{word}</dt>
            <dd>{fact}</dd>
          </div>
        ))}
      </dl>
    </Section>
  );
}
