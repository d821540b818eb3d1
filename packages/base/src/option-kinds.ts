import { BadValue, type ValueKind } from "./option.ts";
import { nearest } from "./nearest.ts";

export function textValue(placeholder: string, allowed = "any text"): ValueKind<string> {
  return {
    placeholder,
    allowed,
    parse: (text) => (text === "" ? new BadValue("is empty") : text),
    format: (value) => value,
  };
}

/** A file or directory. `~/` at the start is the home directory; the caller resolves it. */
export function pathValue(placeholder: string): ValueKind<string> {
  return { ...textValue(placeholder, "a path"), isPath: true };
}

/** On or off. As a flag it takes no value; elsewhere `true` or `false`. */
export const switchValue: ValueKind<boolean> = {
  placeholder: undefined,
  allowed: "`true` or `false`",
  parse(text) {
    if (text === "true" || text === "yes" || text === "on" || text === "1") return true;
    if (text === "false" || text === "no" || text === "off" || text === "0") return false;
    return new BadValue("is neither true nor false");
  },
  format: String,
};

/** A whole number that a `number` holds exactly. */
export function integerValue(
  placeholder: string,
  limits: { readonly min: number; readonly max?: number },
): ValueKind<number> {
  const max = limits.max ?? Number.MAX_SAFE_INTEGER;
  const range = limits.max === undefined ? `${limits.min} or more` : `${limits.min} to ${limits.max}`;
  return {
    placeholder,
    allowed: `a whole number, ${range}`,
    parse(text) {
      if (!/^-?\d{1,16}$/.test(text)) return new BadValue(`is not a whole number (${range})`);
      const value = Number(text);
      return value < limits.min || value > max ? new BadValue(`is out of range: ${range}`) : value;
    },
    format: String,
  };
}

/** A whole number of any size, exact: wei, pixels. */
export function bigintValue(
  placeholder: string,
  limits: { readonly min: bigint; readonly max: bigint },
): ValueKind<bigint> {
  const range = `${limits.min} or more`;
  return {
    placeholder,
    allowed: `a whole number, ${range}`,
    parse(text) {
      if (!/^\d{1,100}$/.test(text))
        return new BadValue(`is not a whole number (${range}; no fractions, no exponents)`);
      const value = BigInt(text);
      if (value < limits.min) return new BadValue(`is out of range: ${range}`);
      return value > limits.max ? new BadValue(`is too large: at most ${limits.max}`) : value;
    },
    format: String,
  };
}

/** A share between 0 % and 100 %, exact in parts per million: `25%`, `2.5 %`, `250000ppm`. */
export const percentValue: ValueKind<bigint> = {
  placeholder: "PERCENT",
  allowed: "0% to 100%, with up to four decimals (`25%`, `2.5%`), or parts per million (`250000ppm`)",
  parse(text) {
    const ppm = /^(\d{1,7}) ?ppm$/.exec(text);
    const percent = /^(\d{1,3})(?:\.(\d{1,4}))? ?%$/.exec(text);
    let value: bigint;
    if (ppm) value = BigInt(ppm[1]!);
    else if (percent) value = BigInt(percent[1]!) * 10_000n + BigInt((percent[2] ?? "").padEnd(4, "0"));
    // Without a unit, 0.25 and 25 could mean the same or not: a commission is no place to guess.
    else if (/^\d+(\.\d+)?$/.test(text)) return new BadValue(`has no unit: write ${text}% if you mean per cent`);
    else return new BadValue("is not a percentage like 25% or 2.5% (at most four decimals)");
    return value > 1_000_000n ? new BadValue("is more than 100%") : value;
  },
  format(ppm) {
    const whole = ppm / 10_000n;
    const rest = String(ppm % 10_000n)
      .padStart(4, "0")
      .replace(/0+$/, "");
    return `${whole}${rest === "" ? "" : `.${rest}`}%`;
  },
};

export function choiceValue<const T extends string>(choices: readonly T[]): ValueKind<T> {
  return {
    placeholder: choices.join("|"),
    allowed: choices.map((one) => `\`${one}\``).join(", "),
    parse(text) {
      const found = choices.find((one) => one === text);
      return found ?? notOneOf(text, choices);
    },
    format: (value) => value,
  };
}

/** One or more of the choices, separated by commas. */
export function choicesValue<const T extends string>(choices: readonly T[]): ValueKind<readonly T[]> {
  return {
    placeholder: choices.join("|"),
    allowed: `one or more of ${choices.map((one) => `\`${one}\``).join(", ")}, separated by commas`,
    parse(text) {
      const values: T[] = [];
      for (const part of text.split(",").map((one) => one.trim())) {
        const found = choices.find((one) => one === part);
        if (found === undefined) return notOneOf(part, choices);
        if (!values.includes(found)) values.push(found);
      }
      return values;
    },
    format: (value) => value.join(","),
  };
}

function notOneOf(text: string, choices: readonly string[]): BadValue {
  const close = nearest(text, choices);
  return new BadValue(`is not one of ${choices.join(", ")}${close === undefined ? "" : `; did you mean ${close}?`}`);
}

/** Where a server listens or is reached. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const HOST = /^(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]{0,251}[A-Za-z0-9])$/;
const IPV6 = /^[0-9a-fA-F:.]{2,45}(?:%[A-Za-z0-9]+)?$/;

/** `HOST:PORT`, `[IPV6]:PORT`; where `anyHost` is given, also `:PORT`. */
export function hostPortValue(limits: { readonly anyHost?: string; readonly minPort: number }): ValueKind<HostPort> {
  return {
    placeholder: "HOST:PORT",
    allowed: `\`HOST:PORT\` or \`[IPV6]:PORT\`${limits.anyHost === undefined ? "" : "; without a host, all addresses"}${
      limits.minPort === 0 ? "; port 0 takes a free one" : ""
    }`,
    parse(text) {
      const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
      if (!match) return new BadValue("is not HOST:PORT (an IPv6 host needs brackets: [::1]:8935)");
      const [, v6, name, portText] = match;
      const port = Number(portText);
      if (port < limits.minPort || port > 65_535) return new BadValue(`has a port outside ${limits.minPort} to 65535`);
      if (v6 !== undefined) {
        return IPV6.test(v6) && v6.includes(":")
          ? { host: v6, port }
          : new BadValue("has no IPv6 address in its brackets");
      }
      const host = name === "" ? limits.anyHost : name;
      if (host === undefined) return new BadValue("has no host");
      return HOST.test(host) || host === limits.anyHost
        ? { host, port }
        : new BadValue("has a host that no network knows");
    },
    format: formatHostPort,
  };
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

const byteUnits: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** A number of bytes: `512MiB`, `2GiB`, `1.5GB`. */
export function bytesValue(limits: { readonly min: number }): ValueKind<number> {
  const format = (value: number): string => {
    for (const [unit, size] of [
      ["GiB", 2 ** 30],
      ["MiB", 2 ** 20],
      ["KiB", 2 ** 10],
    ] as const) {
      if (value >= size && value % size === 0) return `${value / size}${unit}`;
    }
    return String(value);
  };
  return {
    placeholder: "BYTES",
    allowed: `bytes, with \`KiB\`, \`MiB\`, \`GiB\`, \`kB\`, \`MB\` or \`GB\` if wanted; at least ${format(limits.min)}`,
    parse(text) {
      const match = /^(\d{1,16}(?:\.\d{1,6})?) ?([A-Za-z]*)$/.exec(text);
      const unit = match ? byteUnits[match[2]!.toLowerCase()] : undefined;
      if (!match || unit === undefined) return new BadValue("is not a number of bytes like 512MiB");
      const value = Math.floor(Number(match[1]) * unit);
      if (!Number.isSafeInteger(value)) return new BadValue("is too large");
      return value < limits.min ? new BadValue(`is too small: at least ${format(limits.min)}`) : value;
    },
    format,
  };
}

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A span of time in milliseconds: `500ms`, `30s`, `5m`, `2h`, `1d`. */
export function durationValue(limits: { readonly minMs: number }): ValueKind<number> {
  const format = (ms: number): string => {
    if (ms === 0) return "0s";
    for (const unit of ["d", "h", "m", "s"]) {
      const size = durationUnits[unit]!;
      if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
    }
    return `${ms}ms`;
  };
  return {
    placeholder: "TIME",
    allowed: `a time such as \`500ms\`, \`30s\`, \`5m\`, \`2h\`, \`1d\`; at least ${format(limits.minMs)}`,
    parse(text) {
      const match = /^(\d{1,12}(?:\.\d{1,3})?) ?(ms|s|m|h|d)$/.exec(text);
      if (!match) return new BadValue("is not a time like 500ms, 30s or 5m");
      const value = Math.round(Number(match[1]) * durationUnits[match[2]!]!);
      return value < limits.minMs ? new BadValue(`is too short: at least ${format(limits.minMs)}`) : value;
    },
    format,
  };
}

/** A URL of one of the given schemes (`https:`). */
export function urlValue(placeholder: string, schemes: readonly string[]): ValueKind<string> {
  const starts = schemes.map((one) => `${one}//`).join(" or ");
  return {
    placeholder,
    allowed: `a URL that starts with ${starts}`,
    parse(text) {
      const url = URL.canParse(text) ? new URL(text) : undefined;
      return url && schemes.includes(url.protocol) ? text : new BadValue(`is not a URL that starts with ${starts}`);
    },
    format: (value) => value,
  };
}

/** For `show`: a URL with its password covered, also one that is no URL at all. */
export function hideUrlPassword(text: string): string {
  return text
    .replace(/^([a-z][a-z0-9+.-]*:\/\/)?(.*)@/is, (_all, scheme: string | undefined, login: string) => {
      const colon = login.indexOf(":");
      return `${scheme ?? ""}${colon < 0 ? login : `${login.slice(0, colon)}:***`}@`;
    })
    .replace(/([?&]password=)[^&]*/gi, "$1***");
}
