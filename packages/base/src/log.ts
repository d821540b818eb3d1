export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Structured logging as the rooms see it: a message plus fields, never a secret. `debug` is one line a segment, `info`
 * one line a change of state, `warn` something an operator may want to act on, `error` something that they must.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
}

export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
