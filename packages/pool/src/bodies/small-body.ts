import type { Readable } from "node:stream";

/**
 * Reads a body of at most a few kilobytes, outside the account of bodies in flight. `whole` is false, and the text its
 * beginning, when there is more of it; undefined when it broke off or was not here before `signal`.
 */
export function readSmallBody(
  source: Readable,
  options: { readonly maxBytes: number; readonly signal: AbortSignal },
): Promise<{ readonly text: string; readonly whole: boolean } | undefined> {
  const { maxBytes, signal } = options;
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const finish = (whole: boolean | undefined): void => {
      source.off("data", onData);
      source.off("end", onEnd);
      source.off("close", onGone);
      source.off("error", onGone);
      signal.removeEventListener("abort", onGone);
      const text = (): string => Buffer.concat(chunks).subarray(0, maxBytes).toString();
      resolve(whole === undefined ? undefined : { text: text(), whole });
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > maxBytes) finish(false);
    };
    const onEnd = (): void => finish(true);
    const onGone = (): void => finish(undefined);
    source.on("data", onData);
    source.once("end", onEnd);
    source.once("close", onGone);
    source.once("error", onGone);
    if (signal.aborted || source.destroyed) onGone();
    else signal.addEventListener("abort", onGone, { once: true });
  });
}
