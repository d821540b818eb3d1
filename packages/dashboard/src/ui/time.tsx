import type { ReactNode } from "react";
import { formatLocal, formatSpan, formatUtc, parseTime } from "../format/time.ts";
import { text } from "../text.tsx";
import { useNow } from "./now.ts";

interface TimeProps {
  /** ISO time; null is drawn as a dash. */
  readonly at: string | null | undefined;
}

function Time({ at, children }: { readonly at: number; readonly children: ReactNode }): ReactNode {
  return (
    <time dateTime={new Date(at).toISOString()} title={formatUtc(at)}>
      {children}
    </time>
  );
}

/** A moment in the reader's own time; UTC when hovered over. */
export function When({
  at,
  kind = "day",
}: TimeProps & { readonly kind?: "day" | "date" | "time" | "clock" }): ReactNode {
  const ms = parseTime(at);
  return ms === undefined ? text.none : <Time at={ms}>{formatLocal(ms, kind)}</Time>;
}

/** `12 s ago`. */
export function Ago({ at }: TimeProps): ReactNode {
  const now = useNow();
  const ms = parseTime(at);
  if (ms === undefined) return text.none;
  return <Time at={ms}>{text.ago(formatSpan(now - ms))}</Time>;
}

/** `2 d 6 h`, until a moment to come. */
export function Until({ at }: TimeProps): ReactNode {
  const now = useNow();
  const ms = parseTime(at);
  if (ms === undefined) return text.none;
  return <Time at={ms}>{ms <= now ? text.now : formatSpan(ms - now)}</Time>;
}
