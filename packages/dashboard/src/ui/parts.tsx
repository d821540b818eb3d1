import type { RigSummary, WindowName } from "@openpool/protocol";
import { Link } from "@tanstack/react-router";
import { Component, type ReactNode } from "react";
import { ApiProblem } from "../api/client.ts";
import { text } from "../text.tsx";
import { WINDOWS } from "../windows.ts";

/** A part of a page: a heading, a note beside it, something at its end. */
export function Section(props: {
  readonly title: string;
  readonly note?: ReactNode;
  readonly end?: ReactNode;
  readonly children: ReactNode;
  readonly bare?: boolean;
  readonly id?: string;
}): ReactNode {
  const body = (
    <>
      <div className="head">
        <h2>{props.title}</h2>
        {props.note !== undefined && <span className="note">{props.note}</span>}
        {props.end !== undefined && <div className="end small">{props.end}</div>}
      </div>
      {props.children}
    </>
  );
  return props.bare ? (
    <div id={props.id}>{body}</div>
  ) : (
    <section className="section" id={props.id}>
      {body}
    </section>
  );
}

/** The same as what is shown, for programs and for spreadsheets. */
export function Raw({ json, csv }: { readonly json: string; readonly csv?: string | undefined }): ReactNode {
  return (
    <>
      {csv !== undefined && (
        <>
          <a href={csv} download>
            {text.csv}
          </a>{" "}
          ·{" "}
        </>
      )}
      <a href={json}>{text.json}</a>
    </>
  );
}

/** Nothing is there, and what to do about it. */
export function Empty({ title, children }: { readonly title: ReactNode; readonly children?: ReactNode }): ReactNode {
  return (
    <p className="empty">
      <b>{title}</b> {children}
    </p>
  );
}

/** Takes the place of what is not there yet, in its size, so that nothing jumps. */
export function Skeleton({ lines = 4, height = 20 }: { readonly lines?: number; readonly height?: number }): ReactNode {
  return (
    <div role="status" aria-label={text.loading} className="grid gap-3 py-1">
      {Array.from({ length: lines }, (_, i) => (
        <div key={i} className="skeleton" style={{ height, width: `${100 - ((i * 17) % 34)}%` }} />
      ))}
    </div>
  );
}

interface Read<Answer> {
  readonly data: Answer | undefined;
  readonly error: Error | null;
  readonly refetch: () => unknown;
}

/** What was read, a skeleton before that, and what went wrong if there is nothing to show. Old answers stay. */
export function Loaded<Answer>(props: {
  readonly of: Read<Answer>;
  readonly lines?: number;
  readonly height?: number;
  readonly children: (answer: Answer) => ReactNode;
}): ReactNode {
  const { data, error, refetch } = props.of;
  if (data !== undefined) return props.children(data);
  if (error === null) return <Skeleton lines={props.lines ?? 4} height={props.height ?? 20} />;
  // Trying again would not help.
  if (error instanceof ApiProblem && error.code.endsWith("/not-configured")) {
    return <p className="text-soft">{error.message}</p>;
  }
  return (
    <Empty title={text.failed.title}>
      {error instanceof ApiProblem ? error.message : text.failed.unreachable}{" "}
      <button type="button" className="link" onClick={() => void refetch()}>
        {text.failed.again}
      </button>
    </Empty>
  );
}

/** Goes on where a list ended. */
export function More(props: {
  readonly of: {
    readonly hasNextPage: boolean;
    readonly isFetchingNextPage: boolean;
    readonly fetchNextPage: () => unknown;
  };
}): ReactNode {
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = props.of;
  if (!hasNextPage) return null;
  return (
    <button
      type="button"
      className="button quiet mt-4"
      disabled={isFetchingNextPage}
      onClick={() => void fetchNextPage()}
    >
      {text.more}
    </button>
  );
}

/** A page that broke says so and offers the way out, instead of a white screen. */
export class Fence extends Component<{ readonly children: ReactNode }, { readonly broken: boolean }> {
  override state = { broken: false };
  static getDerivedStateFromError(): { broken: boolean } {
    return { broken: true };
  }
  override render(): ReactNode {
    if (!this.state.broken) return this.props.children;
    return (
      <Empty title={text.broken.title}>
        <a href={location.pathname}>{text.broken.again}</a>
      </Empty>
    );
  }
}

/** The state of a rig: a word and a mark, never a colour alone. */
export function StateBadge({ rig }: { readonly rig: Pick<RigSummary, "state" | "standing" | "streams"> }): ReactNode {
  const condition = conditionOf(rig);
  const word = condition === "working" ? text.streams(rig.streams) : text.state[condition];
  return <span className={`state ${MARKS[condition]}`}>{word}</span>;
}

const MARKS = {
  working: "",
  ready: "idle",
  draining: "warn",
  probation: "warn",
  barred: "bad",
  offline: "off",
} as const;

/** How a rig is, in one word: what keeps work from it comes before what it does. */
export type Condition = keyof typeof MARKS;

export function conditionOf(rig: Pick<RigSummary, "state" | "standing" | "streams">): Condition {
  if (rig.state === "offline") return "offline";
  if (rig.standing === "barred") return "barred";
  if (rig.state === "draining") return "draining";
  if (rig.standing === "probation") return "probation";
  return rig.streams > 0 ? "working" : "ready";
}

/** A line of the last 24 hours. Decoration: the numbers beside it say the same. */
export function Spark({ counts }: { readonly counts: readonly number[] }): ReactNode {
  const most = Math.max(1, ...counts);
  const step = counts.length > 1 ? 78 / (counts.length - 1) : 78;
  const points = counts.map((count, i) => `${(1 + i * step).toFixed(1)},${(17 - (count / most) * 14).toFixed(1)}`);
  return (
    <svg width="80" height="20" viewBox="0 0 80 20" aria-hidden="true" className="block">
      <polyline
        points={points.join(" ")}
        fill="none"
        stroke={counts.some((count) => count > 0) ? "var(--water)" : "var(--edge)"}
        strokeWidth="1.5"
        strokeLinejoin="round"
        strokeLinecap="round"
      />
    </svg>
  );
}

/** The time spans, one in force; each is a link, so that a page can be shared as it is seen. */
export function WindowTabs({ value }: { readonly value: WindowName }): ReactNode {
  return (
    <nav className="tabs" aria-label={text.earnings.windows}>
      {WINDOWS.map((window) => (
        <Link
          key={window}
          to="."
          search={(search) => ({ ...search, window })}
          replace
          resetScroll={false}
          aria-current={window === value ? "true" : undefined}
        >
          {text.window[window]}
        </Link>
      ))}
    </nav>
  );
}

/** A command to copy. */
export function Command({ children, copy }: { readonly children: string; readonly copy: ReactNode }): ReactNode {
  return (
    <div className="command">
      <pre tabIndex={0}>{children}</pre>
      {copy}
    </div>
  );
}

/** Where money is, everywhere the same: solid is owed, hatched is held, pale green is paid; a tick marks the minimum. */
export function MoneyBar(props: {
  readonly label: string;
  readonly parts: readonly { readonly kind: "owed" | "paying" | "held" | "paid"; readonly percent: number }[];
  readonly tick?: { readonly percent: number; readonly word: ReactNode } | undefined;
}): ReactNode {
  const parts = props.parts.filter(({ percent }) => percent > 0);
  const full = parts.reduce((sum, { percent }) => sum + percent, 0) > 99;
  return (
    <div className={`bar ${full ? "full" : ""}`} role="img" aria-label={props.label}>
      {parts.map(({ kind, percent }) => (
        <i
          key={kind}
          className={kind === "paying" ? "owed" : kind}
          // Even the smallest part is seen: "nothing" and "little" are not the same.
          style={{ width: `${percent}%`, minWidth: 3, ...(kind === "paying" ? { opacity: 0.55 } : {}) }}
        />
      ))}
      {props.tick !== undefined && (
        <span className={`tick ${props.tick.percent > 80 ? "right" : ""}`} style={{ left: `${props.tick.percent}%` }}>
          <span>{props.tick.word}</span>
        </span>
      )}
    </div>
  );
}

/** What something is, a word and a fact a line. */
export function Facts({ facts }: { readonly facts: readonly (readonly [word: string, fact: ReactNode])[] }): ReactNode {
  return (
    <dl className="facts">
      {facts.map(([word, fact]) => (
        <div key={word} className="contents">
          <dt>{word}</dt>
          <dd className="wrap-anywhere">{fact}</dd>
        </div>
      ))}
    </dl>
  );
}
