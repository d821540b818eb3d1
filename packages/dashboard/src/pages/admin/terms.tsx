import { formatUnits } from "@openpool/base";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { admin, type AdminTerms } from "../../api/admin.ts";
import { parseUnits, PERCENT_DIGITS, WEI_DIGITS } from "../../format/amount.ts";
import { formatPpm } from "../../format/number.ts";
import { text } from "../../text.tsx";
import { Eth } from "../../ui/amount.tsx";
import { Loaded, Section } from "../../ui/parts.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { When } from "../../ui/time.tsx";
import { Act, Ask, Failure, live, type Refusable, useChange } from "./pieces.tsx";

const words = text.admin;
const HOUR_MS = 3_600_000;
/** The pool wants two days of notice for some changes; an hour more is for typing them. */
const NOTICE_MS = 49 * HOUR_MS;

/** What is promised to workers: in force, announced, before; and the way to announce a change. */
export function AdminTermsSection({ onRefused }: Refusable): ReactNode {
  const terms = useQuery({ queryKey: ["admin", "terms"], queryFn: admin.terms, ...live });
  const [editing, setEditing] = useState(false);
  return (
    <Section title={words.terms} note={words.termsNote}>
      <Loaded of={terms}>
        {({ current, versions }) => {
          const inForce = versions.find(({ version }) => version === current);
          const columns: readonly Column<AdminTerms>[] = [
            {
              head: words.version,
              cell: ({ version, effectiveAt }) => (
                <>
                  {version}{" "}
                  {version === current ? (
                    <span className="tag good">{words.inForce}</span>
                  ) : (
                    version > current && <span className="tag warn">{words.announced}</span>
                  )}
                  <span className="sub">
                    {words.from} <When at={effectiveAt} />
                  </span>
                </>
              ),
            },
            {
              head: text.terms.commission,
              className: "num",
              cell: ({ commissionPpm }) => formatPpm(Number(commissionPpm)),
            },
            { head: text.terms.scheme, className: "hide-s", cell: ({ scheme }) => scheme },
            {
              head: words.hold,
              className: "num hide-s",
              cell: ({ holdMs }) => words.hours(Number((holdMs / HOUR_MS).toFixed(2))),
            },
            {
              head: text.payoutsPage.minimum,
              className: "num",
              cell: ({ minimumPayoutWei }) => <Eth wei={minimumPayoutWei} />,
            },
            { head: words.schedule, className: "hide-m mono", cell: ({ schedule }) => schedule.cron },
          ];
          return (
            <>
              <Table
                rows={versions.toReversed()}
                columns={columns}
                rowKey={({ version }) => String(version)}
                mark={({ version }) => ({ "data-terms": String(version) })}
              />
              {editing && inForce !== undefined ? (
                <Announce from={versions.at(-1) ?? inForce} onRefused={onRefused} onDone={() => setEditing(false)} />
              ) : (
                <p className="mt-4">
                  <Act className="" onClick={() => setEditing(true)}>
                    {words.announce}
                  </Act>
                </p>
              )}
            </>
          );
        }}
      </Loaded>
    </Section>
  );
}

interface Draft {
  readonly commission: string;
  readonly minimum: string;
  readonly hold: string;
  readonly cron: string;
  readonly effective: string;
}

/** `2026-11-22T18:00`, the reader's own time, as the browser's field wants it. */
function localTime(ms: number): string {
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** What was typed, as the admin port takes it; undefined while something is not valid. */
function documentOf(
  from: AdminTerms,
  draft: Draft,
): { readonly terms: object; readonly effectiveAt: string } | undefined {
  const { version: _v, announcedAt: _a, effectiveAt: _e, ...document } = from;
  const commissionPpm = parseUnits(draft.commission, PERCENT_DIGITS);
  const minimumWei = parseUnits(draft.minimum, WEI_DIGITS);
  const holdMs = /^\d{1,6}(?:\.\d{1,4})?$/.test(draft.hold) ? Math.round(Number(draft.hold) * HOUR_MS) : Number.NaN;
  const atMs = Date.parse(draft.effective);
  if (commissionPpm === undefined || commissionPpm > 1_000_000n) return undefined;
  if (minimumWei === undefined || Number.isNaN(holdMs) || Number.isNaN(atMs)) return undefined;
  return {
    terms: {
      ...document,
      commissionPpm: commissionPpm.toString(),
      minimumPayoutWei: minimumWei.toString(),
      holdMs,
      schedule: { ...document.schedule, cron: draft.cron.trim() },
    },
    effectiveAt: new Date(atMs).toISOString(),
  };
}

/** The newest terms, to be changed: what is not asked for here stays, and has its command. */
function Announce({
  from,
  onRefused,
  onDone,
}: Refusable & { readonly from: AdminTerms; readonly onDone: () => void }): ReactNode {
  const [draft, setDraft] = useState<Draft>(() => ({
    commission: formatUnits(BigInt(from.commissionPpm), PERCENT_DIGITS),
    minimum: formatUnits(BigInt(from.minimumPayoutWei), WEI_DIGITS),
    hold: String(from.holdMs / HOUR_MS),
    cron: from.schedule.cron,
    effective: localTime(Math.max(Date.now(), Date.parse(from.effectiveAt)) + NOTICE_MS),
  }));
  const [asking, setAsking] = useState(false);
  const announce = useChange(admin.announce, { onRefused });
  const wanted = documentOf(from, draft);
  const field = (name: keyof Draft, label: string, type = "text"): ReactNode => (
    <label className="grid gap-1.5">
      <span className="small text-soft">{label}</span>
      <input
        className="field"
        type={type}
        value={draft[name]}
        onChange={(event) => setDraft({ ...draft, [name]: event.target.value })}
        autoComplete="off"
      />
    </label>
  );
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    if (wanted) setAsking(true);
  };
  return (
    // A dialog has a form of its own, and forms do not stand in forms.
    <>
      <form className="mt-5 grid max-w-3xl gap-4 sm:grid-cols-3" onSubmit={onSubmit} aria-label={words.announce}>
        {field("commission", words.commissionPercent)}
        {field("minimum", words.minimumEth)}
        {field("hold", words.holdHours)}
        {field("cron", words.schedule)}
        {field("effective", words.effective, "datetime-local")}
        <div className="flex items-end gap-2">
          <button type="submit" className="button" disabled={!wanted || announce.isPending}>
            {words.announce}
          </button>
          <Act className="" onClick={onDone}>
            {words.cancel}
          </Act>
        </div>
        <p className="small text-soft sm:col-span-3">{words.announceNote}</p>
        <Failure error={announce.error} />
      </form>
      {asking && wanted && (
        <Ask
          title={words.announceTitle}
          hint={words.announceHint}
          action={words.announce}
          onDone={() => setAsking(false)}
          onAgree={() => announce.mutate(wanted, { onSuccess: onDone })}
        />
      )}
    </>
  );
}
