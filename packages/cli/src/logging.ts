import type { LogFields, Logger } from "@openpool/base";
import { type Logger as PinoLogger, pino, stdTimeFunctions } from "pino";

export interface LoggingOptions {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly format: "json" | "pretty";
  /** Colours and bold in pretty lines. */
  readonly colour: boolean;
}

/** A logger that writes one line an entry: JSON for machines, or short ones for people. */
export function createLogger(
  options: LoggingOptions,
  write: (line: string) => void,
  now = (): Date => new Date(),
): Logger {
  return options.format === "json" ? jsonLogger(options, write) : prettyLogger(options, write, now, {});
}

function jsonLogger(options: LoggingOptions, write: (line: string) => void): Logger {
  const root = pino(
    {
      level: options.level,
      base: null,
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: (fields) => jsonFields(fields) },
    },
    { write },
  );
  return wrap(root);
}

function wrap(logger: PinoLogger): Logger {
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, fields) => logger.error(fields ?? {}, message),
    child: (fields) => wrap(logger.child(jsonFields(fields))),
  };
}

function jsonFields(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, jsonField(value)]));
}

function jsonField(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (!(value instanceof Error)) return value;
  return {
    message: value.message,
    stack: value.stack,
    ...(value.cause === undefined ? {} : { cause: String(value.cause) }),
  };
}

const rank = { debug: 0, info: 1, warn: 2, error: 3 } as const;
const colours = { debug: "\u001b[2m", info: "", warn: "\u001b[33m", error: "\u001b[31m" } as const;
const dim = "\u001b[2m";
const reset = "\u001b[0m";

function prettyLogger(
  options: LoggingOptions,
  write: (line: string) => void,
  now: () => Date,
  bound: LogFields,
): Logger {
  const log = (level: keyof typeof rank, message: string, fields: LogFields = {}): void => {
    if (rank[level] < rank[options.level]) return;
    const time = now().toTimeString().slice(0, 8);
    const all = Object.entries({ ...bound, ...fields });
    const details = all.map(([key, value]) => prettyField(key, value, options.level === "debug")).join("");
    const mark = level === "info" ? "" : `${level}: `;
    write(
      options.colour
        ? `${dim}${time}${reset} ${colours[level]}${mark}${message}${reset}${dim}${details}${reset}\n`
        : `${time} ${mark}${message}${details}\n`,
    );
  };
  return {
    debug: (message, fields) => log("debug", message, fields),
    info: (message, fields) => log("info", message, fields),
    warn: (message, fields) => log("warn", message, fields),
    error: (message, fields) => log("error", message, fields),
    child: (fields) => prettyLogger(options, write, now, { ...bound, ...fields }),
  };
}

function prettyField(key: string, value: unknown, stacks: boolean): string {
  if (value === undefined) return "";
  if (value instanceof Error)
    return `  ${key}=${oneLine(value.message)}${stacks && value.stack ? `\n${value.stack}` : ""}`;
  return `  ${key}=${typeof value === "object" && value !== null ? oneLine(stringify(value)) : oneLine(String(value))}`;
}

function stringify(value: object): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? inner.toString() : inner));
}

/** Nothing that a peer sent may break out of its line or steer the terminal. */
function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are exactly what is replaced
  const safe = text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (char) => {
    return char === "\n" ? "\\n" : `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return safe === "" || /[ "]/.test(safe) ? `"${safe.replaceAll('"', '\\"')}"` : safe;
}
