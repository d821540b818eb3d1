/**
 * The base of every error of ours: a stable public code, the facts, the cause. The message says what to do.
 * `docs/errors.md` lists every code.
 */
export class PoolError<Info extends { readonly code: string } = { readonly code: string }> extends Error {
  readonly info: Info;
  constructor(info: Info, message: string, options?: ErrorOptions) {
    super(`[${info.code}] ${message}`, options);
    this.name = new.target.name;
    this.info = info;
  }
}

/** The text of anything that was thrown, without its stack. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The system's own code of an error (`ECONNRESET`, `EADDRINUSE`, `40001`), if it has one. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
