import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import type { Fact, FactsMessage, LiveMessage, PoolAnswer } from "@openpool/protocol";
import { useEffect, useEffectEvent } from "react";
import { paths, withQuery } from "./client.ts";

/** How often a page that is told the numbers of this moment asks for everything else about the pool. */
const REST_EVERY_MS = 5_000;

interface Listener {
  /** Also list this worker's segments. */
  readonly worker?: string | undefined;
  /** Called with what happened, oldest first; an empty list when segments were only counted. */
  readonly onFacts?: (facts: readonly Fact[], message: FactsMessage) => void;
}

/**
 * Follows the pool's events while the page is seen: the numbers of this moment go straight into what the pages have read
 * of the pool. The browser connects again by itself and misses nothing; while it cannot, the pages still ask. A page that
 * nobody sees gives its connection back, since a browser has six for all pages of a pool; one that is seen again asks for
 * everything by itself.
 */
export function useLive({ worker, onFacts }: Listener = {}): void {
  const client = useQueryClient();
  const tell = useEffectEvent((message: FactsMessage) => onFacts?.(message.facts, message));
  useEffect(() => {
    let stop: (() => void) | undefined;
    const follow = (): void => {
      stop?.();
      stop =
        document.visibilityState === "hidden" ? undefined : followEvents(client, worker, (message) => tell(message));
    };
    follow();
    document.addEventListener("visibilitychange", follow);
    return () => {
      document.removeEventListener("visibilitychange", follow);
      stop?.();
    };
  }, [client, worker]);
}

/** Takes what the pool tells until it is stopped by calling what is given back. */
function followEvents(
  client: QueryClient,
  worker: string | undefined,
  tell: (message: FactsMessage) => void,
): () => void {
  const source = new EventSource(withQuery("/v1/events", { worker }));
  source.addEventListener("live", (event: MessageEvent<string>) => {
    // Our own pool wrote it, by the schema that this type comes from.
    const { live } = JSON.parse(event.data) as LiveMessage;
    client.setQueryData<PoolAnswer>([paths.pool()], (pool) => (pool === undefined ? pool : { ...pool, live }));
  });
  source.addEventListener("facts", (event: MessageEvent<string>) => tell(JSON.parse(event.data) as FactsMessage));
  source.addEventListener("reset", () => void client.invalidateQueries());
  // What comes every second puts off the next asking for good; the rest of the answer is asked for all the same.
  const rest = setInterval(() => {
    void client.invalidateQueries({ queryKey: [paths.pool()], exact: true }, { cancelRefetch: false });
  }, REST_EVERY_MS);
  return () => {
    clearInterval(rest);
    source.close();
  };
}
