import {
  BadValue,
  bigintValue,
  bytesValue,
  choicesValue,
  choiceValue,
  formatHostPort,
  type HostPort,
  hideUrlPassword,
  hostPortValue,
  integerValue,
  option,
  type OptionProblem,
  type OptionValues,
  pathValue,
  type Price,
  switchValue,
  urlValue,
  type ValueKind,
} from "@openpool/base";
import type { PoolIdentity } from "@openpool/protocol";
import { alertOptionDefinitions, type AlertPoolOptions, toAlertOptions } from "./alerts/options.ts";
import { termsOptionDefinitions, toFirstTerms } from "./ledger/options.ts";
import type { TermsDocument } from "./ledger/terms.ts";
import { incomeOptionDefinitions, type IncomeOptions, toIncomeOptions } from "./income/options.ts";
import { payoutOptionDefinitions, type PayoutOptions, toPayoutOptions } from "./payouts/options.ts";

/** One orchestrator that the pool works for as a transcoder. */
export interface UpstreamOptions {
  /** Names it in events, in the books and to the operator. */
  readonly name: string;
  readonly address: HostPort;
  /** Its CLI port, which says what it charges; undefined: it is not asked. */
  readonly cli: HostPort | undefined;
}

/** How the pool is attached to orchestrators. */
export interface AttachedOptions {
  /** Gateways are served at `listen` besides. */
  readonly gateways: boolean;
  readonly upstreams: readonly UpstreamOptions[];
  /** The file with their secrets. */
  readonly secretFile: string;
  /** Hosts besides their own that their sources may be fetched from. */
  readonly allowedHosts: readonly string[];
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** What everybody may read of the pool, and where. */
export interface PublicApiSettings {
  readonly listen: ListenAddress;
  /** The address was asked for by name: a taken port is then an error instead of a reason to take another one. */
  readonly named: boolean;
  /** A proxy of the operator's own stands in front: it does TLS, and says who asks. */
  readonly trustProxy: boolean;
  /** What the operator says of the pool; plain text. */
  readonly identity: PoolIdentity;
}

/** Everything a pool node is told; parsed once, at the edge. */
export interface PoolOptions {
  /** Where the pool keeps what must survive: database, keys, certificate, spool. */
  readonly dataDir: string;
  /** Months of the event log that stay in the database, the one that goes on included; undefined: all. */
  readonly eventsKeepMonths?: number | undefined;
  /** Where months go that are exported; undefined: `exports` in the data directory. */
  readonly eventsDir?: string | undefined;
  /** Only `offchain` today. */
  readonly network: "offchain";
  /** What gateways are told to send segments to: `https://HOST:PORT`, no trailing slash. */
  readonly serviceUri: string;
  /** Where gateways and workers connect. */
  readonly listen: ListenAddress;
  /** Where the operator's tools connect. */
  readonly adminListen: ListenAddress;
  /** The admin address was asked for by name: a taken port is then an error instead of a reason to take another one. */
  readonly adminListenNamed: boolean;
  /** The public API and pages; without it the pool serves none. */
  readonly api?: PublicApiSettings | undefined;
  readonly joinOpen: boolean;
  readonly joinRegistered: boolean;
  /** Workers append `:password` to their secret when set. */
  readonly joinPassword: string | undefined;
  /** A PostgreSQL server to use; without one the pool runs its own. */
  readonly databaseUrl: string | undefined;
  readonly price: Price;
  /** What the pool keeps of each fee, in parts per million; the first version of the terms says so. */
  readonly commissionPpm: bigint;
  /** What else the first version of the terms says, where it is not the default. */
  readonly firstTerms?: Partial<Omit<TermsDocument, "commissionPpm">> | undefined;
  /** Which of the first terms the operator wrote down: that others are in force then comes as a surprise. */
  readonly namedTerms?: readonly (keyof TermsDocument)[] | undefined;
  /** Undefined: nobody is paid, the books are kept. */
  readonly payouts?: PayoutOptions | undefined;
  /** Where income is read from; undefined: it is not. */
  readonly income?: IncomeOptions | undefined;
  readonly tlsCertFile: string | undefined;
  readonly tlsKeyFile: string | undefined;
  /** Bodies held in memory at once, in bytes; beyond it running sessions wait and new ones are refused. */
  readonly maxBytesInFlight: number;
  /** Sessions in all; undefined: as many as the workers have room for. */
  readonly maxSessions: number | undefined;
  /** Private hosts, as `host` or `host:port`, that gateways may have segments fetched from. */
  readonly allowedSourceHosts?: readonly string[] | undefined;
  /** The pool works for orchestrators; without it, it stands alone and serves gateways. */
  readonly attached?: AttachedOptions | undefined;
  /** Where alerts go out; undefined: none do. */
  readonly alerts?: AlertPoolOptions | undefined;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly logFormat: "json" | "pretty";
}

const networkValue: ValueKind<"offchain"> = {
  placeholder: "offchain",
  allowed: "`offchain`",
  parse: (text) =>
    text === "offchain"
      ? text
      : new BadValue(
          "is not possible yet: this version serves without tickets and payments only. Start with --network offchain",
        ),
  format: (value) => value,
};

/** `https://HOST[:PORT]` or `HOST:PORT`, as an origin without a trailing slash. */
const serviceUriValue: ValueKind<string> = {
  placeholder: "https://HOST:PORT",
  allowed: "`https://HOST:PORT`, without a path",
  parse(text) {
    const full = text.includes("://") ? text : `https://${text}`;
    const url = URL.canParse(full) ? new URL(full) : undefined;
    if (!url || url.protocol !== "https:") return new BadValue("is not a URL like https://pool.example.com:8935");
    if (url.username !== "" || url.pathname !== "/" || url.search !== "" || url.hash !== "") {
      return new BadValue("has more than a host and a port: gateways add the path themselves");
    }
    // The port is always named: stock gateways do not fill it in. A host that no network knows passes for a URL's.
    const address = hostPortValue({ minPort: 0 }).parse(`${url.hostname}:${url.port === "" ? "443" : url.port}`);
    return address instanceof BadValue ? address : `https://${formatHostPort(address)}`;
  },
  format: (value) => value,
};

const MAX_WEI = 2n ** 128n;

/** An address, with the name of the orchestrator that it belongs to. */
export interface NamedAddress {
  /** Undefined: made from the address. */
  readonly name: string | undefined;
  readonly address: HostPort;
}

const UPSTREAM_NAME = /^[a-z0-9](?:[a-z0-9._-]{0,30}[a-z0-9])?$/;
const address = hostPortValue({ minPort: 1 });

/** `[NAME=]HOST:PORT`, one or more; each port is 8935 when it is left out. */
function namedAddresses(defaultPort: number): ValueKind<readonly NamedAddress[]> {
  return {
    placeholder: "[NAME=]HOST:PORT",
    allowed:
      "one or more of `HOST:PORT` or `NAME=HOST:PORT`, separated by commas; names are lower-case letters, digits, `.`, `_`, `-`",
    isList: true,
    parse(text) {
      const found: NamedAddress[] = [];
      for (const part of text.split(",").map((one) => one.trim())) {
        const [, name, where = ""] = /^(?:([^=]*)=)?(.*)$/s.exec(part) ?? [];
        if (name !== undefined && !UPSTREAM_NAME.test(name)) {
          return new BadValue(`has the name "${name}": names are up to 32 lower-case letters, digits, dots, _ and -`);
        }
        const plain = where.replace(/^https?:\/\//, "").replace(/\/$/, "");
        const full = /:\d+$/.test(plain) ? plain : `${plain}:${defaultPort}`;
        const parsed = address.parse(full);
        if (parsed instanceof BadValue) return parsed;
        found.push({ name, address: parsed });
      }
      return found;
    },
    format: (value) =>
      value.map((one) => `${one.name === undefined ? "" : `${one.name}=`}${formatHostPort(one.address)}`).join(","),
  };
}

/** Host names, separated by commas. */
const hostsValue: ValueKind<readonly string[]> = {
  placeholder: "HOST",
  allowed: "one or more host names or `HOST:PORT`, separated by commas",
  isList: true,
  parse(text) {
    const hosts = text.split(",").map((one) => one.trim().toLowerCase());
    const bad = hosts.find((host) => !/^[a-z0-9.[\]:_-]{1,253}$/.test(host));
    return bad === undefined ? hosts : new BadValue(`has "${bad}" in it, which is no host name`);
  },
  format: (value) => value.join(","),
};

/** Text for pages: one line, without control characters. */
function shownText(placeholder: string, most: number): ValueKind<string> {
  return {
    placeholder,
    allowed: `text of up to ${most} characters`,
    parse(text) {
      if (text.length === 0 || text.length > most) return new BadValue(`must have 1 to ${most} characters`);
      return /\p{Cc}/u.test(text) ? new BadValue("must be one line of plain text") : text;
    },
    format: (value) => value,
  };
}

type Contact = PoolIdentity["contacts"][number];

/** `LABEL=URL`, several with commas. */
const contactsValue: ValueKind<readonly Contact[]> = {
  placeholder: "LABEL=URL,…",
  allowed: "`LABEL=https://…` or `LABEL=mailto:…`, several with commas",
  parse(text) {
    const contacts: Contact[] = [];
    for (const part of text.split(",")) {
      const [, label, url] = /^\s*([^=,]{1,40})=(\S{1,300})\s*$/.exec(part) ?? [];
      const parsed = url !== undefined && URL.canParse(url) ? new URL(url) : undefined;
      if (label === undefined || !parsed || (parsed.protocol !== "https:" && parsed.protocol !== "mailto:")) {
        return new BadValue(`has "${part.trim()}", which is not LABEL=https://… or LABEL=mailto:…`);
      }
      contacts.push({ label: label.trim(), url: parsed.href });
    }
    return contacts;
  },
  format: (contacts) => contacts.map(({ label, url }) => `${label}=${url}`).join(","),
};

/** Every setting of `openpool pool`. */
export const poolOptions = {
  dataDir: option({
    name: "data-dir",
    kind: pathValue("DIR"),
    default: "~/.openpool",
    help: "where the pool keeps what must survive",
    details: "Database, keys, certificate, admin token. Commands that need a running pool find it by this directory.",
    group: "Pool",
  }),
  eventsKeep: option({
    name: "events-keep",
    kind: integerValue("MONTHS", { min: 2, max: 1200 }),
    defaultNote: "all of them",
    help: "how many months of the event log stay in the database, this one included",
    details:
      "Older ones are written into `events-dir` once their books are closed, and taken out of the log. Statements and balances keep what followed from them.",
    group: "Pool",
  }),
  eventsDir: option({
    name: "events-dir",
    kind: pathValue("DIR"),
    defaultNote: "`exports` in `data-dir`",
    help: "where months of the event log go when they are exported",
    group: "Pool",
  }),
  network: option({
    name: "network",
    kind: networkValue,
    default: "offchain",
    help: "which chain pays",
    details:
      "Only `offchain` in this version: gateways pay nothing and no ticket is taken. Work is counted and credited all the same, and paid out where `rpc-url` is given.",
    group: "Pool",
  }),
  serviceUri: option({
    name: "service-uri",
    kind: serviceUriValue,
    defaultNote: "`https://` and the address of `listen`, where that names one host",
    help: "the address that gateways are given",
    details:
      "Gateways send every segment of a session here, so it must be reachable from outside and stay the same for the life of the pool.",
    group: "Pool",
  }),
  listen: option({
    name: "listen",
    kind: hostPortValue({ anyHost: "0.0.0.0", minPort: 0 }),
    default: "0.0.0.0:8935",
    help: "where gateways and workers connect",
    group: "Pool",
  }),
  adminListen: option({
    name: "admin-listen",
    kind: hostPortValue({ anyHost: "0.0.0.0", minPort: 0 }),
    default: "127.0.0.1:7945",
    help: "where health checks, metrics and the other commands connect",
    details:
      "Reading needs no password, so keep it away from strangers. When the default port is taken a free one is used and logged; a port that you name and that is taken is an error.",
    group: "Pool",
  }),
  apiListen: option({
    name: "api-listen",
    kind: hostPortValue({ anyHost: "0.0.0.0", minPort: 0 }),
    default: "127.0.0.1:8936",
    help: "where everybody may read: the pages and the HTTP API",
    details:
      "Signed in, a worker changes its own settings there; nothing else can be changed. On an address of this machine alone, and behind `trust-proxy`, it speaks plain HTTP; elsewhere HTTPS with the certificate of `tls-cert` or the pool's own. When the default port is taken a free one is used and logged; a port that you name and that is taken is an error.",
    group: "Pages",
  }),
  trustProxy: option({
    name: "trust-proxy",
    kind: switchValue,
    default: "false",
    help: "a reverse proxy of yours stands in front of `api-listen` and says who asks",
    details:
      "The last address of `X-Forwarded-For`, and `X-Forwarded-Proto`, are believed then: those that the one proxy adds. Without a proxy that sets them, anybody could pass for anybody.",
    group: "Pages",
  }),
  poolName: option({
    name: "pool-name",
    kind: shownText("TEXT", 60),
    default: "Open Pool",
    help: "the name of the pool on its pages",
    group: "Pages",
  }),
  poolLogo: option({
    name: "pool-logo",
    kind: urlValue("https://…", ["https:"]),
    defaultNote: "no logo",
    help: "a picture beside the name",
    group: "Pages",
  }),
  poolContact: option({
    name: "pool-contact",
    kind: contactsValue,
    defaultNote: "none",
    help: "how to reach you: LABEL=https://… or LABEL=mailto:…, several with commas",
    group: "Pages",
  }),
  poolHardware: option({
    name: "pool-hardware",
    kind: shownText("TEXT", 500),
    defaultNote: "nothing is said",
    help: "what a rig must have to be of use here",
    group: "Pages",
  }),
  poolNotice: option({
    name: "pool-notice",
    kind: shownText("TEXT", 1_000),
    defaultNote: "no notice",
    help: "what every page says on top",
    group: "Pages",
  }),
  poolSource: option({
    name: "pool-source",
    kind: urlValue("https://…", ["https:"]),
    defaultNote: "workers are told to ask you",
    help: "where workers clone Open Pool from, for the page that tells them how to join",
    group: "Pages",
  }),
  tlsCert: option({
    name: "tls-cert",
    kind: pathValue("FILE"),
    defaultNote: "a certificate that the pool makes for itself",
    help: "TLS certificate (PEM); gateways of today accept a self-signed one",
    details: "Give `tls-key` too. Without both, a P-256 certificate is made and kept in the data directory.",
    group: "Pool",
  }),
  tlsKey: option({
    name: "tls-key",
    kind: pathValue("FILE"),
    defaultNote: "the key of the pool's own certificate",
    help: "private key of the certificate (PEM)",
    group: "Pool",
  }),
  databaseUrl: option({
    name: "database-url",
    kind: urlValue("postgres://…", ["postgres:", "postgresql:"]),
    defaultNote: "a PostgreSQL that the pool runs by itself in the data directory",
    help: "a PostgreSQL server (15 or newer) to keep the books in",
    details:
      "A password in it is visible to other users of this machine as a flag; put it into the settings file or the environment.",
    group: "Pool",
    show: hideUrlPassword,
  }),
  gateways: option({
    name: "gateways",
    kind: switchValue,
    defaultNote: "yes, unless `upstream` is given",
    help: "serve gateways on `listen`, as an orchestrator of our own",
    details:
      "With `upstream` the pool works for other orchestrators. Say `--gateways` to do both: gateways that find the pool's address are then served too, without payment in this version.",
    group: "Pool",
  }),
  upstream: option({
    name: "upstream",
    kind: namedAddresses(8935),
    help: "work for a go-livepeer orchestrator as one large transcoder; again for each more",
    details:
      "Where it serves gateways (its `-serviceAddr` or `-httpAddr`), as this machine reaches it. The name stands in events and in the books; without one it is made from the address. Its certificate cannot be verified, so the way to it must be one that you trust.",
    group: "Attached to an orchestrator",
  }),
  upstreamSecretFile: option({
    name: "upstream-secret-file",
    kind: pathValue("FILE"),
    help: "a file with the orchestrator's `-orchSecret`",
    details:
      "One line: the secret of all of them. Or a line `NAME=SECRET` for each. Read again whenever the pool registers, so a changed secret needs no restart.",
    group: "Attached to an orchestrator",
  }),
  upstreamCli: option({
    name: "upstream-cli",
    kind: namedAddresses(7935),
    defaultNote: "`127.0.0.1:7935` for an orchestrator on this machine, where there is only one",
    help: "the orchestrator's `-cliAddr`, which says what it charges",
    details:
      "Where it answers, work is credited at the orchestrator's price, otherwise at `price-per-unit`. With several orchestrators write `NAME=HOST:PORT`.",
    group: "Attached to an orchestrator",
  }),
  upstreamAllow: option({
    name: "upstream-allow",
    kind: hostsValue,
    defaultNote: "none",
    help: "hosts besides the orchestrator's own that sources may be fetched from",
    details: "Needed only where the orchestrator keeps segments in an object store of its own (`-objectStore`).",
    group: "Attached to an orchestrator",
  }),
  join: option({
    name: "join",
    kind: choicesValue(["open", "registered"]),
    default: "open",
    help: "who may work: anyone with a payout address, holders of an issued credential, or both (open,registered)",
    details:
      "`open`: the worker's secret is its payout address, `0xADDRESS` or `0xADDRESS.rig1`. `registered`: credentials from `openpool workers add`.",
    group: "Workers",
  }),
  joinPasswordFile: option({
    name: "join-password-file",
    kind: pathValue("FILE"),
    defaultNote: "no password",
    help: "a file with a password that every worker appends to its secret (0xADDRESS.rig1:PASSWORD)",
    group: "Workers",
  }),
  pricePerUnit: option({
    name: "price-per-unit",
    kind: bigintValue("WEI", { min: 0n, max: MAX_WEI }),
    default: "1000",
    help: "price of `pixels-per-unit` output pixels, in wei",
    details: "The fee of a segment is pixels × price-per-unit / pixels-per-unit, rounded down to whole wei.",
    group: "Price",
  }),
  pixelsPerUnit: option({
    name: "pixels-per-unit",
    kind: bigintValue("N", { min: 1n, max: MAX_WEI }),
    default: "1",
    help: "how many output pixels `price-per-unit` pays for",
    group: "Price",
  }),
  ...termsOptionDefinitions,
  ...payoutOptionDefinitions,
  ...incomeOptionDefinitions,
  maxMemory: option({
    name: "max-memory",
    kind: bytesValue({ min: 64 * 2 ** 20 }),
    default: "1GiB",
    help: "bytes of segments and renditions held at once",
    details:
      "Beyond it running sessions wait and new ones are refused. One segment and its renditions can take 1.2 GB at worst.",
    group: "Limits",
  }),
  maxSessions: option({
    name: "max-sessions",
    kind: integerValue("N", { min: 1, max: 1_000_000 }),
    defaultNote: "as many as the workers have room for",
    help: "sessions served at once",
    group: "Limits",
  }),
  sourceAllow: option({
    name: "source-allow",
    kind: hostsValue,
    defaultNote: "none",
    help: "private hosts that gateways may have segments fetched from",
    details:
      "A gateway may send the address of a segment instead of its bytes. The pool fetches from the internet only, so that no stranger reaches what is private; name the object store here if yours has a private address.",
    group: "Limits",
  }),
  ...alertOptionDefinitions,
  logLevel: option({
    name: "log-level",
    kind: choiceValue(["debug", "info", "warn", "error"]),
    default: "info",
    help: "how much is logged: debug (a line a segment), info (a line a change of state), warn, error",
    group: "Logs",
  }),
  logFormat: option({
    name: "log-format",
    kind: choiceValue(["auto", "json", "pretty"]),
    default: "auto",
    help: "auto: pretty lines in a terminal, JSON lines elsewhere",
    group: "Logs",
  }),
} as const;

export interface PoolSurroundings {
  /** Whether the setting came from the user and not from its default. */
  readonly isNamed: (key: keyof typeof poolOptions) => boolean;
  /** What the file of `joinPasswordFile` holds. */
  readonly joinPassword: string | undefined;
  /** What the files of `termsFile` and `alertsFile` hold, parsed from YAML. */
  readonly termsFile?: unknown;
  readonly alertsFile?: unknown;
  /** Logs go to a terminal. */
  readonly terminal: boolean;
}

/** What a pool node is told, from its settings; all settings that do not fit together are found at once. */
export function toPoolOptions(
  values: OptionValues<typeof poolOptions>,
  surroundings: PoolSurroundings,
): PoolOptions | { readonly problems: readonly OptionProblem[] } {
  const problems: OptionProblem[] = [];
  const { isNamed } = surroundings;
  const { listen } = values;
  let serviceUri = values.serviceUri;
  if (serviceUri === undefined) {
    const anyHost = listen.host === "0.0.0.0" || /^[0:]*$/.test(listen.host);
    if (anyHost || listen.port === 0) {
      problems.push({
        where: "--service-uri",
        problem: `is missing: gateways cannot be sent to ${formatHostPort(listen)}. Name the address that they reach, for instance --service-uri https://pool.example.com:${listen.port === 0 ? 8935 : listen.port}`,
      });
    }
    serviceUri = `https://${formatHostPort(listen)}`;
  }
  if ((values.tlsCert === undefined) !== (values.tlsKey === undefined)) {
    const [given, missing] = values.tlsCert === undefined ? ["tls-key", "tls-cert"] : ["tls-cert", "tls-key"];
    problems.push({ where: `--${missing}`, problem: `is missing: --${given} was given, and neither works alone` });
  }
  if (surroundings.joinPassword !== undefined && !/^[\x21-\x7e]{1,128}$/.test(surroundings.joinPassword)) {
    problems.push({
      where: "--join-password-file",
      problem: "must hold 1 to 128 visible ASCII characters without spaces: workers write it on a command line",
    });
  }
  const upstreams = toUpstreams(values, problems);
  if (upstreams.length > 0 && values.upstreamSecretFile === undefined) {
    problems.push({
      where: "--upstream-secret-file",
      problem: "is missing: orchestrators take a transcoder only with their -orchSecret. Write it into a file",
    });
  }
  if (upstreams.length === 0 && values.gateways === false) {
    problems.push({ where: "--no-gateways", problem: "leaves nothing to serve: name an orchestrator with --upstream" });
  }
  const payouts = toPayoutOptions(values, problems);
  const terms = toFirstTerms(values, { isNamed, file: surroundings.termsFile }, problems);
  const alerts = toAlertOptions(values, surroundings.alertsFile, problems);
  const income = toIncomeOptions(values, payouts, problems);
  if (problems.length > 0) return { problems };
  return {
    dataDir: values.dataDir,
    eventsKeepMonths: values.eventsKeep,
    eventsDir: values.eventsDir,
    network: values.network,
    serviceUri,
    listen,
    adminListen: values.adminListen,
    adminListenNamed: isNamed("adminListen"),
    api: {
      listen: values.apiListen,
      named: isNamed("apiListen"),
      trustProxy: values.trustProxy,
      identity: {
        name: values.poolName,
        logoUrl: values.poolLogo ?? null,
        contacts: [...(values.poolContact ?? [])],
        hardware: values.poolHardware ?? null,
        notice: values.poolNotice ?? null,
        sourceUrl: values.poolSource ?? null,
      },
    },
    joinOpen: values.join.includes("open"),
    joinRegistered: values.join.includes("registered"),
    joinPassword: surroundings.joinPassword,
    databaseUrl: values.databaseUrl,
    price: { pricePerUnitWei: values.pricePerUnit, pixelsPerUnit: values.pixelsPerUnit },
    commissionPpm: terms.first.commissionPpm,
    firstTerms: terms.first,
    namedTerms: terms.named,
    payouts,
    income,
    tlsCertFile: values.tlsCert,
    tlsKeyFile: values.tlsKey,
    maxBytesInFlight: values.maxMemory,
    maxSessions: values.maxSessions,
    allowedSourceHosts: values.sourceAllow,
    attached:
      upstreams.length === 0
        ? undefined
        : {
            gateways: values.gateways ?? false,
            upstreams,
            secretFile: values.upstreamSecretFile ?? "",
            allowedHosts: values.upstreamAllow ?? [],
          },
    alerts,
    logLevel: values.logLevel,
    logFormat: values.logFormat === "auto" ? (surroundings.terminal ? "pretty" : "json") : values.logFormat,
  };
}

/** Orchestrators with their names, and the CLI port that belongs to each; adds to `problems` what does not fit together. */
export function toUpstreams(
  values: {
    readonly upstream?: readonly NamedAddress[] | undefined;
    readonly upstreamCli?: readonly NamedAddress[] | undefined;
  },
  problems: OptionProblem[],
): UpstreamOptions[] {
  const clis = values.upstreamCli ?? [];
  const given = values.upstream ?? [];
  const upstreams = given.map(({ name, address: where }): UpstreamOptions => {
    const called =
      name ??
      formatHostPort(where)
        .toLowerCase()
        .replaceAll(/[^a-z0-9.]+/g, "-")
        .replaceAll(/^-|-$/g, "");
    const own =
      clis.find((one) => one.name === called) ?? (given.length === 1 ? clis.find((one) => !one.name) : undefined);
    const local = given.length === 1 && /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(where.host);
    return {
      name: called,
      address: where,
      cli: own?.address ?? (local ? { host: "127.0.0.1", port: 7935 } : undefined),
    };
  });
  const names = upstreams.map((one) => one.name);
  const double = names.find((name, at) => names.indexOf(name) !== at);
  if (double !== undefined) {
    problems.push({ where: "--upstream", problem: `names "${double}" twice: give each its own name, NAME=HOST:PORT` });
  }
  for (const { name } of clis) {
    if (name === undefined && given.length === 1) continue;
    if (name !== undefined && names.includes(name)) continue;
    const problem =
      name === undefined
        ? "needs a name where there is not exactly one orchestrator: NAME=HOST:PORT"
        : `names "${name}", which is no --upstream (${names.join(", ") || "none is given"})`;
    problems.push({ where: "--upstream-cli", problem });
  }
  return upstreams;
}
