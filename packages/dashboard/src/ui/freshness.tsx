import { useIsFetching, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { isRefusal } from "../api/client.ts";
import { formatLocal, formatSpan } from "../format/time.ts";
import { text } from "../text.tsx";
import { useNow } from "./now.ts";

/** Numbers that cannot be asked anew are said to be old when they are this old, in milliseconds. */
const STALE_AFTER_MS = 10_000;

/** When the page last heard from the pool; what it could not ask anew, and since when that is old. */
function useFreshness(): {
  readonly updatedAt: number;
  readonly failingSince: number | undefined;
  readonly refused: boolean;
} {
  const client = useQueryClient();
  useIsFetching(); // Draws again whenever a question was asked or answered.
  const states = client
    .getQueryCache()
    .findAll({ type: "active" })
    .map(({ state }) => state);
  const failing = states.filter(({ error, fetchFailureReason, dataUpdatedAt }) => {
    const failure = fetchFailureReason ?? error;
    return dataUpdatedAt > 0 && failure !== null && !isRefusal(failure);
  });
  return {
    updatedAt: Math.max(0, ...states.map(({ dataUpdatedAt }) => dataUpdatedAt)),
    failingSince: failing.length === 0 ? undefined : Math.min(...failing.map(({ dataUpdatedAt }) => dataUpdatedAt)),
    refused: states.some(({ error }) => isRefusal(error) && error.status === 429),
  };
}

/** What is on the page stays when the pool does not answer, and is said to be old. */
export function Stale(): ReactNode {
  const now = useNow();
  const { failingSince, refused } = useFreshness();
  if (failingSince !== undefined && now - failingSince > STALE_AFTER_MS)
    return (
      <Banner tone="text-warn" title={text.stale.title}>
        {text.stale.since(formatLocal(failingSince, "clock"))}{" "}
        {/* It changes every second, and is not to be read out each time. */}
        <span aria-hidden="true">{text.stale.ago(formatSpan(now - failingSince))}</span>
      </Banner>
    );
  if (!refused) return null;
  return (
    <Banner tone="text-warn" title={text.stale.refusedTitle}>
      {text.stale.refused}
    </Banner>
  );
}

/** "Updated 3 s ago", of all that the page reads. */
export function Updated(): ReactNode {
  const now = useNow();
  const { updatedAt } = useFreshness();
  return <span>{updatedAt === 0 ? text.loading : text.footer.updated(formatSpan(now - updatedAt))}</span>;
}

/** A line above or below the page, for all of it. */
export function Banner(props: {
  readonly tone: string;
  readonly title: string;
  readonly children: ReactNode;
}): ReactNode {
  return (
    <div className="banner">
      <div className="wrap">
        <b className={props.tone}>{props.title}</b>
        <span>{props.children}</span>
      </div>
    </div>
  );
}
