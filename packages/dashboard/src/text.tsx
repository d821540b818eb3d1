import { exceptionTexts, reasonTexts, shareGoesTo, type Texts, termsText } from "@openpool/protocol";
import type { ReactNode } from "react";

/*
 * The words that a reader sees: translating the pages is writing this file and text-settings.tsx once more, and the
 * templates of sentences with a code in @openpool/protocol, which the pool's own answers have in English. Sentences that
 * hold an amount, a time or a link take it as a part, so that another language can order them differently. What an
 * operator wrote, and what the pool says without a code, stays as it is.
 */

/** How numbers and dates are written. */
const LOCALE = "en-GB";

const count = (n: number, one: string, many: string): string =>
  `${n.toLocaleString(LOCALE).replaceAll(",", "\u00a0")} ${n === 1 ? one : many}`;

export const text = {
  /** By code: what it says, and what to do about it. The pool writes the same ones for whoever reads its API. */
  reasons: reasonTexts as Texts,
  /** The same of what needs the operator. */
  exceptions: exceptionTexts as Texts,
  locale: LOCALE,
  none: "–",
  now: "now",
  units: { second: "s", minute: "min", hour: "h", day: "d" },
  schedule: {
    days: ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"],
    everyHour: (minute: string) => `every hour at minute ${minute}`,
    everyHours: (hours: string, minute: string) => `every ${hours} hours at minute ${minute}`,
    at: (clock: string, zone: string | undefined) => `at ${clock}${zone === undefined ? "" : ` ${zone}`}`,
    everyDay: (at: string) => `every day ${at}`,
    everyWeek: (days: readonly string[], at: string) => `every ${days.join(" and ")} ${at}`,
    everyMonth: (date: string, at: string) => `on day ${date} of every month ${at}`,
  },
  eth: "ETH",
  json: "JSON",
  csv: "CSV",
  statement: "Statement (CSV)",
  copy: "Copy",
  copied: "Copied",
  copyFailed: "Not copied",
  copyOf: (what: string) => `Copy ${what}`,
  address: "the address",
  linkToPage: "the link to this page",
  share: "Share",
  explorer: "Explorer",
  inExplorer: (what: string) => `${what} at the explorer`,
  more: "Show more",
  loading: "Loading",
  skip: "Skip to the content",
  home: (name: string) => `${name}, first page`,
  notice: "Notice",
  moment: "less than a minute",
  ago: (span: string) => `${span} ago`,
  lastSeen: (ago: ReactNode) => <>last seen {ago}</>,
  streams: (n: number) => count(n, "stream", "streams"),
  pixels: (amount: string) => `${amount} pixels`,
  fiat: (amount: string, currency: string) =>
    new Intl.NumberFormat(LOCALE, { style: "currency", currency, currencyDisplay: "narrowSymbol" }).format(
      Number(amount),
    ),
  titleOf: (path: string): string => {
    const [, first = "", second = "", third = ""] = path.split("/");
    const short = second.length === 42 ? `${second.slice(0, 6)}…${second.slice(-4)}` : second;
    if (first === "settings") return `${short}: settings`;
    if (first === "w") {
      return third === "" ? short : `${short}.${decodeURIComponent(third)}`;
    }
    return first.charAt(0).toUpperCase() + first.slice(1);
  },
  window: { "1h": "1 h", "24h": "24 h", "7d": "7 d", "30d": "30 d" },
  nav: {
    label: "Pages",
    workers: "Workers",
    payouts: "Payouts",
    transparency: "Transparency",
    status: "Status",
    join: "Join",
  },
  theme: { label: "Colours", auto: "Auto", light: "Light", dark: "Dark" },
  footer: {
    api: "API",
    updated: (span: string) => `Updated ${span} ago`,
    version: (version: string) => `Version ${version}`,
  },
  failed: {
    title: "This could not be read.",
    unreachable: "The pool does not answer. The page keeps trying.",
    again: "Try now",
  },
  broken: { title: "This page broke.", again: "Load it again" },
  stale: {
    title: "The pool does not answer.",
    since: (clock: string) => `What you see is from ${clock}. The page keeps trying.`,
    ago: (span: string) => `That was ${span} ago.`,
    refusedTitle: "Asked too often.",
    refused: "The pool limits how often one address may ask. New numbers come in a moment.",
  },
  health: { ok: "Everything works", degraded: "Something does not work.", down: "No work is taken.", more: "Status" },
  lookup: {
    label: "Look up an address or a rig",
    small: "Address or rig",
    large: "Your payout address, or address.rig",
    go: "Look up",
    key: { apple: "⌘ K", other: "Ctrl K" },
    fix: "Type it into the box above: 0x and 40 letters or digits, as your wallet shows it, and .name behind it for one rig.",
    problems: {
      empty: "Type a payout address: 0x and 40 letters or digits.",
      "not-an-address": "That is no address: it needs 0x and 40 letters or digits from 0 to 9 and a to f.",
      "zero-address": "The zero address belongs to nobody: money sent there is lost.",
      "bad-checksum": "A letter of this address is wrong: its capitals do not fit. Copy it from your wallet again.",
      "bad-rig": "A rig's name has 1 to 32 letters, digits, - or _, and starts with a letter or digit.",
    },
  },
  notFound: { title: "There is no such page here. Are you looking for a worker?", home: "To the first page" },
  state: {
    online: "online",
    ready: "ready",
    draining: "draining",
    offline: "offline",
    probation: "on probation",
    barred: "barred",
  },
  standing: { new: "new", trusted: "trusted", probation: "on probation", barred: "barred" },

  homePage: {
    opening: ({
      streams,
      rigs,
      workers,
      keeps,
      share,
      scheme,
    }: {
      streams: number;
      rigs: number;
      workers: number;
      keeps: string;
      share: string;
      scheme: string;
    }) => (
      <>
        {rigs === 0 ? (
          <>No rig is connected right now. </>
        ) : streams === 0 ? (
          <>
            <em>{count(rigs, "rig", "rigs")}</em> of {count(workers, "worker", "workers")} {rigs === 1 ? "is" : "are"}{" "}
            ready and {rigs === 1 ? "waits" : "wait"} for streams.{" "}
          </>
        ) : (
          <>
            {count(streams, "stream is", "streams are")} being transcoded by <em>{count(rigs, "rig", "rigs")}</em> of{" "}
            {count(workers, "worker", "workers")} right now.{" "}
          </>
        )}
        Of every fee the pool keeps {keeps}, and <em>{share}</em> goes to {shareGoesTo(scheme)}.
      </>
    ),
    beFirst: "Join with yours.",
    now: "Segments in work",
    nowNote: (workers: number, streams: number) =>
      `right now · ${count(workers, "worker", "workers")} online · ${count(streams, "stream", "streams")}`,
    fees: "Fees, 24 h",
    segments: "Segments, 24 h",
    lost: (lost: number, rescued: number) => `${lost} lost · ${rescued} saved by failover`,
    latency: (p50: string, p99: string) => `${p50} each, p99 ${p99}`,
    money: "Where the money is",
    moneyNote: "every wei credited to workers",
    moneyBar: (paid: number, owed: number, held: number) => `${paid} % paid, ${owed} % owed, ${held} % held for checks`,
    noMoney: "Nothing was credited yet.",
    noMoneyWhy: "The first answered segment is the first credit, and shows here a moment later.",
    rigsNote: "the largest fee share of 24 h first",
    gpus: "GPUs by kind",
    processors: "Processors",
    devicesNote: "online, as their rigs say",
    noGpus: "No rig that is online says that it has one; unmodified software does not say what it runs on.",
    noGpusNoRigs: "None, since no rig is connected.",
    deviceCount: (n: number, rigs: number) => `${n} in ${count(rigs, "rig", "rigs")}`,
    moreDevices: (n: number) => `and ${count(n, "more kind", "more kinds")}`,
    payouts: "Last payouts",
    allPayouts: "All payouts",
  },
  money: {
    ethUnpaid: "ETH unpaid",
    owed: "owed",
    held: "held",
    heldForChecks: "held for checks",
    heldUntil: (span: ReactNode) => <>held, oldest released in {span}</>,
    paying: "on its way",
    paid: "paid",
    ofMinimum: (percent: string) => `${percent} of the minimum`,
    feeShareDay: (eth: ReactNode) => <>fee share {eth} in 24 h</>,
    earnedAll: (eth: ReactNode) => <>{eth} earned in all</>,
    luck: (percent: ReactNode) => <>Luck, 30 d: {percent} of expected income</>,
    noLuck: "Luck, 30 d: not known before work was charged",
    reserve: (eth: ReactNode) => <>Reserve: {eth}</>,
    noReserve: "Reserve: not known before the pool has seen what it holds",
    offchain: "Off-chain: gateways are billed, no tickets come in",
    unavailable: "The books are not available right now.",
    unavailableWhy: "Nothing is lost: every credit was written down before its segment was answered.",
    bar: (owed: number, held: number) => `${owed} % of this bar is owed, ${held} % is held`,
  },
  books: {
    balance: "books balance",
    differ: "books do not balance",
    checked: (ago: ReactNode) => <>checked {ago}</>,
    unchecked: "not checked yet",
  },
  terms: {
    title: "Terms",
    since: (version: number, date: ReactNode) => (
      <>
        version {version}, since {date}
      </>
    ),
    version: (version: number) => `version ${version}`,
    sentence: termsText,
    more: "History and formulas",
    paid: (schedule: string | undefined) =>
      schedule === undefined ? "The operator starts payouts by hand." : `Paid ${schedule}.`,
    gas: { pool: "on the pool", worker: "on the worker" },
    overrides: (n: number) => `${count(n, "worker or group has", "workers or groups have")} terms of their own.`,
    upcoming: "Announced",
    history: "Before",
    noHistory: "These are the first terms: they were never changed.",
    from: "From",
    commission: "Commission",
    scheme: "Scheme",
    hold: "Held",
    noHold: "owed at once",
    announcedAt: "Announced on",
    price: "Price",
    priceOf: (wei: ReactNode, pixels: string) => (
      <>
        {wei} for {pixels === "1" ? "a pixel" : `${pixels} pixels`}
      </>
    ),
    priceElse: "where the orchestrator that the work came from said no other price",
  },
  payouts: {
    title: "Payouts",
    next: "Next payout",
    nextAt: (when: ReactNode) => <>Next payout {when}</>,
    nextByHand: "Payouts are made by hand",
    nextStopped: "Payouts are stopped",
    inTime: (span: ReactNode) => <>in {span}</>,
    estimate: (eth: ReactNode) => <>about {eth} for you</>,
    byHand: "by hand",
    stopped: "stopped",
    notSet: "not set up",
    minimum: (eth: ReactNode) => <>minimum {eth}</>,
    none: "No payouts yet.",
    noneYet: "The first run shows here as soon as it is planned.",
    noneForYou: "The first one shows here as soon as it is planned, with its transaction.",
    inAll: (n: number) => `${n} in all`,
    when: "When",
    workers: "Workers",
    state: "State",
    transaction: "Transaction",
    gas: "Gas",
    thenWorth: "Worth then",
    paidAs: (amount: string) => `as ${amount}`,
    smallestUnits: (amount: string, symbol: string) => `${amount} of the smallest unit of ${symbol}`,
    worthThen: (fiat: ReactNode) => <>worth {fiat} then</>,
    to: "to",
    states: {
      planned: "planned",
      approved: "approved",
      sending: "sending",
      sent: "sent",
      confirmed: "confirmed",
      final: "final",
      abandoned: "abandoned",
      returned: "returned",
    },
  },
  payoutsPage: {
    opening: (part: { at: ReactNode; span: ReactNode; workers: number; total: ReactNode }) => (
      <>
        The next payout is in {part.span}, {part.at}.{" "}
        {part.workers === 0 ? (
          <>If it were now, nobody would be over the minimum.</>
        ) : (
          <>
            If it were now, {count(part.workers, "worker", "workers")} would get {part.total}.
          </>
        )}
      </>
    ),
    byHand: "The operator starts payouts by hand.",
    notConfigured: "This pool keeps the books, and does not pay on chain yet.",
    wouldBe: "If it were now",
    toWorkers: (n: number) => `to ${count(n, "worker", "workers")}`,
    minimum: "Minimum",
    minimumNote: "what is below waits for the next one",
    gasNote: "who bears the cost of transactions",
    runs: "Runs",
    run: "Payout run",
    unknownRun: "There is no such payout run.",
    unknownRunAction: "All of them are under Payouts.",
    payer: "Paid from",
    count: (n: string) => `${n} shown`,
    created: "Planned",
    finished: "finished",
    total: "In all",
    paid: "Paid for good",
    paidNote: "final: cannot be undone any more",
    transactions: "Transactions",
    lines: "Workers",
    worker: "Worker",
  },
  rigs: {
    title: "Rigs",
    rig: "Rig",
    state: "State",
    trust: "Trust",
    spark: "By hour",
    success: "Success",
    realTime: "Real time",
    jobs: "Jobs 24 h",
    feeShare24h: "Fee share 24\u00a0h, ETH",
    device: "Device",
    noDevice: "device not told",
    results: "Results",
    resultsOf: (accepted: string, failed: string) => `${accepted} accepted, ${failed} failed by its fault`,
    firstSeen: "First seen",
    lastJob: "Last job",
    none: "No rig has joined yet.",
    noneAction: "Join with yours: one command, no account.",
    add: "Add a rig",
    all: "All rigs",
    allOf: (total: number) => `All ${total}`,
  },
  workersPage: {
    title: "Rigs",
    total: (total: number, filtered: boolean) => `${count(total, "rig", "rigs")}${filtered ? " match" : ""}`,
    better:
      "More is better in every column. Real time is seconds of video per second of work. Of what counts as success newer results weigh more. Success and speed decide who gets the next stream.",
    search: "Part of an address or a name",
    anyState: "any state",
    anyTrust: "any trust",
    anyDevice: "any device",
    clear: "Clear filters",
    noMatch: "No rig matches.",
  },
  earnings: {
    // Of the work itself. What is credited for it is the same under the scheme `unit` alone; the books say what is.
    title: "Fee share",
    windows: "Time span",
    note: {
      minute: "per minute, the worker's share",
      hour: "per hour, the worker's share",
      day: "per day (UTC), the worker's share",
    },
    credited: (scheme: string, statement: ReactNode) => (
      <>
        This is the share of fees that its work brought. What the scheme {scheme} credited for it is in the {statement}.
      </>
    ),
    statement: "statement",
    none: (window: string) => `Nothing in the last ${window}.`,
    noneAction: "The reasons are under “Why this much work”; a longer time span may show more.",
    sentence: (part: {
      eth: ReactNode;
      window: string;
      jobs: string;
      success: string | undefined;
      speed: string | undefined;
    }) => (
      <>
        {part.eth} in {part.window} from {part.jobs} segments
        {part.success !== undefined && <>; {part.success} went well</>}
        {part.speed !== undefined && <>, at {part.speed} real time</>}.
      </>
    ),
    hint: (step: "minute" | "hour" | "day") => `The last ${step} is not over yet.`,
    point: (part: { when: string; eth: ReactNode; jobs: number; failed: number }) => (
      <>
        {part.when}: {part.eth}, {count(part.jobs, "segment", "segments")}
        {part.failed > 0 ? `, ${part.failed} failed` : ""}
      </>
    ),
  },
  worker: {
    unknown: "has not worked here yet",
    alerts: "Subscribe to alerts",
    settings: "Settings",
    rigs: (n: number) => count(n, "rig", "rigs"),
    inCondition: {
      working: (n: number) => `${n} working`,
      ready: (n: number) => `${n} ready`,
      draining: (n: number) => `${n} draining`,
      probation: (n: number) => `${n} on probation`,
      barred: (n: number) => `${n} barred`,
      offline: (n: number) => `${n} offline`,
    },
    banned: (why: string) => `The operator does not let this address work here: ${why}`,
    strangerLine: "Nobody has worked here with this address yet.",
    strangerAction:
      "Start a rig with it, and this page shows it within a second, with every segment it does and what that earned.",
    strangerJoin: "Get the command",
  },
  why: {
    title: "Why this much work",
    note: "last hour",
    streams: "Streams on the pool",
    free: "Free places, all rigs",
    ahead: "Free rigs ahead of yours",
    yours: "Streams you have",
    hour: (all: number, own: number, waiting: number) =>
      `${count(all, "segment", "segments")} in the last hour, ${own} of them yours${waiting > 0 ? `; ${waiting} wait for a place` : ""}.`,
    noDecisions: "No decision about these rigs in the last hour: no new stream came, or none of them was connected.",
  },
  jobs: {
    title: "Segments",
    note: "last 48 hours, newest first",
    none: "No segment in the last 48 hours.",
    noneAction: "Each one shows here as soon as it is credited; older ones are in the statement.",
    renditions: "Renditions",
    pixels: "Pixels",
    took: "Took",
    gwei: "Fee share, Gwei",
    eth: "Fee share, ETH",
    hedged: "stood in for a late one",
    differs: "claim differs from measure",
    shown: (n: string) => `${n} shown`,
    newest: (n: string, csv: ReactNode) => (
      <>
        The newest {n} are shown; all of them are in the {csv}.
      </>
    ),
  },
  rig: {
    name: "the rig's name",
    unknown: "This rig has not been here.",
    unknownAction: "Get the command that starts it",
    or: "or see",
    others: "the other rigs of this address",
    feeShare24h: "Fee share, 24 h",
    now: "Right now",
    streamsOf: (streams: number, capacity: number) => `${streams} of ${count(capacity, "stream", "streams")}`,
    streamsNow: (streams: number, capacity: number) => (
      <>
        {streams} of {capacity}
        <small>streams</small>
      </>
    ),
    inFlight: (n: number) => `${count(n, "segment", "segments")} in work`,
    success: "Success",
    successNote: (jobs: number, failed: number) => `24 h: ${jobs} done, ${failed} failed; more is better`,
    speed: "Speed, real time",
    speedNote: "measured, 24 h; more is better",
    about: "About",
    software: "Software",
    noSoftware: "not told",
    capacity: "Capacity",
    since: " since ",
    connection: (n: number) => `Connection ${n}, open since`,
    avoided: "left alone for the moment: busy or late",
    decisions: "Routing decisions",
    latency: "Time from task to result",
    latencyNote: "shorter is better",
    noLatency: "No result in this time.",
    over: (ms: string) => `over ${ms}`,
    upTo: (ms: string) => `up to ${ms}`,
    claims: "Claimed and measured",
    measured: "Measured by the pool",
    claimed: "Claimed by the rig",
    claimsSince: "Since it first came:",
    claimsSentence: (differed: number, lied: number) =>
      differed === 0
        ? "every claim fits what was measured. Only what is measured is paid."
        : `${count(differed, "result", "results")} differed${lied > 0 ? `, ${lied} grossly: that costs trust` : ""}. Only what is measured is paid.`,
    preflight: "Self-test",
    noPreflight: "This rig's software does not report one. Ours does, when it starts.",
    allPassed: (n: number) => `All ${count(n, "test", "tests")} passed.`,
    ffmpeg: "FFmpeg",
    system: "System",
    machine: "Devices",
    machineNote: (ago: ReactNode) => <>by its own account, {ago}</>,
    noMachine:
      "This rig's software does not say what it runs on. Of unmodified software this is what it registered with.",
    driver: (driver: string) => `driver ${driver}`,
    memory: (mib: number) => `${(mib / 1024).toLocaleString(LOCALE, { maximumFractionDigits: 1 })} GiB`,
    encoders: "Encoders",
    decoders: "Sources",
    measuredCapacity: "Measured",
    sessionsAt: (sessions: number, factor: string) => `${count(sessions, "stream", "streams")}, ${factor} real time`,
    notMeasured: "set by its operator",
    can: "It can",
    capability: {
      hevcEncode: "HEVC out",
      vp8Encode: "VP8 out",
      vp9Encode: "VP9 out",
      hevcDecode: "HEVC in",
      vp8Decode: "VP8 in",
      vp9Decode: "VP9 in",
      h264Decode444: "4:4:4 in",
      h264Decode422: "4:2:2 in",
      h264Decode420TenBit: "10 bit in",
      mpeg7Signature: "signatures",
      segmentSlicing: "slices",
    } as Readonly<Record<string, string>>,
    plainH264: "H.264",
    passed: "passed",
    notPassed: "failed",
    speeds: "Speed by kind of work",
    speedsNote: "as measured, more is faster",
    kind: "Source and renditions",
    measuredOn: "Results",
  },
  join: {
    opening:
      "Start one program with your payout address. No account, no key, no deposit: the pool credits what your rig does, segment by segment.",
    closed:
      "This pool takes only rigs with a credential that its operator issued. Ask the operator for one: it goes where the command says op_YOUR_CREDENTIAL, or into the file that the command names.",
    address: "Your payout address",
    addressHint: "What you earn is credited to this address. It is public; never type a private key anywhere.",
    rig: "Name of this machine",
    software: "Software",
    softwareNames: { worker: "Open Pool", livepeer: "go-livepeer", docker: "Docker", cloud: "Cloud" },
    device: "Device",
    deviceNames: { nvidia: "NVIDIA", cpu: "Processor" },
    needs: {
      worker: {
        nvidia:
          "In a copy of Open Pool: needs Node 20.19, an FFmpeg with NVENC and NVIDIA's driver. It measures how many streams your cards carry.",
        cpu: "In a copy of Open Pool: needs Node 20.19 and FFmpeg. It measures how many streams your processor carries.",
      },
      livepeer: {
        nvidia:
          "An unmodified go-livepeer with NVIDIA's driver. Set maxSessions to the streams that your cards carry at once.",
        cpu: "An unmodified go-livepeer. Two streams suit about eight cores; set maxSessions to yours.",
      },
      docker: {
        nvidia:
          "An unmodified go-livepeer in Docker with NVIDIA's container toolkit. Set maxSessions to the streams that your cards carry at once. For our own worker in Docker see Open Pool.",
        cpu: "An unmodified go-livepeer in Docker. Set maxSessions to the streams that your processor carries at once. For our own worker in Docker see Open Pool.",
      },
      cloud: {
        nvidia: "Paste it as user data of an image with Docker, NVIDIA's driver and its container toolkit.",
        cpu: "Paste it as user data of an image with Docker.",
      },
    },
    noSource:
      "The operator has not said here where to get one: ask, and run npm ci in it once. The other choices need none.",
    parts: {
      systemd: "As a service: /etc/systemd/system/openpool-worker.service",
      image: "In Docker, with the image that a copy builds",
      compose: "As compose.yaml",
    },
    command: "the command",
    waiting: "Your rig",
    waitingNote: "live",
    waitingFor: "Type your address above, run the command, and this line says when your rig is here.",
    notHere: (rig: string) => `Waiting for ${rig} …`,
    gone: (rig: string) => `${rig} was here and is offline,`,
    here: (rig: string) => `${rig} is here.`,
    credited: (eth: ReactNode) => <>Credited: a fee share of {eth} in 24 h</>,
    notCredited: "Waiting for its first segment …",
    yourPage: "Your page",
    check: "It does not appear?",
    checkNote: "check from the rig's side",
    checkNeeds: {
      worker: "Run it in the same copy of Open Pool.",
      livepeer:
        "It runs in a copy of Open Pool with Node 20.19, after npm ci there. Your rig itself needs neither: only this check does.",
      docker:
        "It runs in a copy of Open Pool with Node 20.19, after npm ci there, outside of the container. Your rig itself needs neither: only this check does.",
      cloud:
        "It runs on the machine, in a copy of Open Pool with Node 20.19, after npm ci there. Your rig itself needs neither: only this check does.",
    },
    checkHelp: (host: string) =>
      `It tries the address, TLS, HTTP/2 and the clock, and says what to do. A rig only needs a way out to ${host === "" ? "the pool" : host}; nothing has to be opened on your side.`,
    hardware: "What the operator asks for:",
    calculator: {
      title: "What it earns",
      note: (window: "24h" | "7d" | "30d" | undefined) =>
        window === undefined
          ? "at this pool's price and terms"
          : `at what was charged for a pixel in the last ${text.window[window]}, and this pool's terms`,
      streams: "Streams at once",
      hours: "Hours a day",
      fps: "Frames a second",
      ladder: "Renditions",
      perDay: "a day",
      month: (eth: ReactNode) => <>{eth} in 30 days.</>,
      honest: "Only if so many streams come: nobody can promise work.",
      priceMoves: "Orchestrators that the pool works for may say other prices.",
      none: (scheme: string) =>
        `Under the scheme ${scheme} what a stream earns does not follow from its pixels and the price alone, so there is nothing honest to compute here. The terms say how an amount comes about, and the pages of the workers what they earn.`,
    },
    never: "What a pool never asks for",
    neverLines: [
      "A private key or a seed phrase. Your address is all that is needed; whoever asks for more steals.",
      "A deposit, a fee in advance or a stake.",
      "A login to your machine, an open port, or a change of your firewall.",
      "Your name, your e-mail or a document.",
    ],
  },
  transparency: {
    unchecked: "The books have not been checked yet since the pool started.",
    balanced: (ago: ReactNode) => (
      <>
        Every wei is accounted for: credited is held plus owed plus paid, <em>checked {ago}</em>.
      </>
    ),
    differs: "The books do not balance. Payouts stop until the difference below is explained.",
    account: "Account",
    credited: "credited to workers",
    identity:
      "Every entry moves amounts between accounts and sums to zero. Nothing is ever edited: a correction is a new entry that names the old one. The pool checks this all the time and stops paying if it ever fails.",
    fees: "Fees charged to gateways",
    commission: "Commission",
    entries: "Entries in the ledger",
    income: "Is it covered?",
    incomeNote: "what really came in",
    luck: "Luck, 30 d",
    luckOf: (percent: string) => `${percent} of what was expected`,
    received: "Received, 30 d",
    ofExpected: (eth: ReactNode) => <>of {eth} expected</>,
    reserve: "Reserve",
    reserveDays: (days: string) => `${days} days of earnings`,
    maxShare: "Fundable share",
    maxShareOf: (percent: string) => `${percent} of each fee: the most that workers can be promised`,
    formulas: "How amounts are computed",
    byScheme: (scheme: string) => `Scheme ${scheme}`,
    formulaLines: [
      ["Fee share", "fee − commission"],
      ["Credited", "credited = held + owed + on its way + paid"],
      ["Real time", "seconds of video ÷ seconds of work"],
      ["Success", "segments ÷ (segments + failed attempts); in lists of rigs newer ones weigh more"],
    ] as readonly (readonly [string, string])[],
    rounding:
      "Amounts are whole wei. What cannot be divided goes to the worker. Pixels are counted by the pool from the bytes that came back; what a rig claims is shown beside it and never paid.",
    days: "Day by day",
    daysNote: "the last 30 days, UTC",
    noDays: "No day had work yet.",
    day: "Day",
    segments: "Segments",
    feeShare: "Workers' fee share",
    downloads: "Check it yourself",
    downloadLines: [
      ["/v1/solvency", "these totals"],
      ["/v1/terms", "terms and their history"],
      ["/v1/payouts", "payout runs with their transactions"],
      ["/v1/payouts.csv", "the same for spreadsheets"],
      ["/v1/leaderboard", "whose work brought what"],
      ["/v1/workers.csv", "every worker, for spreadsheets"],
      ["/v1/rigs.csv", "every rig, for spreadsheets"],
      ["/v1/earnings.csv?window=30d&step=day", "fees, commission and the workers’ share day by day, for spreadsheets"],
      ["/v1/openapi.json", "everything that can be asked"],
    ] as readonly (readonly [string, string])[],
    downloadMore: "Every credit and every payout of one worker is in the statement on its page.",
  },
  admin: {
    title: "Operator",
    elsewhere: "This page works on the pool’s admin port only.",
    elsewhereHow: "Open it on the machine of the pool, or through a tunnel to it:",
    elsewhereCommand: "ssh -L 7945:127.0.0.1:7945 YOUR.HOST   # then open http://127.0.0.1:7945/admin",
    fine: "All is well. Nothing needs you.",
    needs: (n: number) => `${count(n, "thing needs", "things need")} you.`,
    severity: { halt: "halted", warning: "warning", note: "note" },
    since: "since",
    token: "Admin token",
    tokenHint:
      "Changes need the token: the file admin-token in the data directory holds it. It is kept until this tab is closed.",
    tokenKeep: "Use it",
    tokenForget: "Forget the token",
    tokenWrong: "The pool does not accept this token. Copy the whole line of the file admin-token.",
    tokenThere: "Token set for this tab.",
    rigs: "Rigs",
    workers: "Workers",
    payouts: "Payouts",
    dryRun: "Dry run",
    plan: "Plan a run now",
    planTitle: "Plan a payout run",
    planHint:
      "What is owed to everybody over the minimum is set aside and paid, by the limits and approvals that are set.",
    pause: "Pause",
    pauseTitle: "Pause payouts",
    pauseHint: "Nothing new is signed until you resume. What was sent still lands.",
    reason: "Reason, for everybody to read",
    resume: "Resume",
    approve: "Approve",
    approveTitle: (id: string) => `Approve run ${id}`,
    approveHint: "It is paid then.",
    by: "Your name, for the log",
    cancelRun: "Take back",
    wouldPay: (workers: number, eth: ReactNode) => (
      <>
        It would pay {eth} to {count(workers, "worker", "workers")}.
      </>
    ),
    planned: (workers: number, eth: ReactNode) => (
      <>
        Planned: {eth} to {count(workers, "worker", "workers")}.
      </>
    ),
    paysNobody: (waiting: number) =>
      `Nobody would be paid${waiting > 0 ? `; ${count(waiting, "worker waits", "workers wait")}` : ""}.`,
    nextRun: (when: ReactNode) => <>next run {when}</>,
    nextByHand: "runs are started by hand",
    float: (eth: ReactNode) => <>the payer holds {eth}</>,
    pausedWhy: (why: string) => `Paused: ${why}`,
    haltedWhy: (why: string) => `Halted: ${why}`,
    noRuns: "No run was planned yet.",
    runStates: {
      planned: "planned",
      approved: "approved",
      sending: "sending",
      exported: "exported",
      done: "done",
      cancelled: "cancelled",
    } as Readonly<Record<string, string>>,
    workersPaid: "Workers",
    credentials: "Issued credentials",
    audit: "What was asked for",
    auditNote: "every change through the admin port, newest first",
    noAudit: "Nothing was changed through the admin port yet.",
    terms: "Terms",
    termsNote: "a version never changes; a change is announced before it takes effect",
    version: "Version",
    inForce: "in force",
    announced: "announced",
    hold: "Held",
    hours: (n: number) => `${n} h`,
    schedule: "Schedule (cron)",
    announce: "Announce a change",
    announceNote:
      "Begins with the newest terms. A new minimum takes effect in two days at the earliest. Schemes, groups of workers and who bears gas are changed with openpool terms set.",
    announceTitle: "Announce these terms",
    announceHint:
      "Everybody can read them from now on, and workers who subscribed are told. They cannot be taken back, only followed by others.",
    commissionPercent: "Commission, %",
    minimumEth: "Minimum payout, ETH",
    holdHours: "Held for checks, hours",
    effective: "In force from",
    upstreams: "Upstreams",
    upstreamsNote: "orchestrators that this pool works for",
    upstreamState: { registered: "registered", drained: "drained" } as Readonly<Record<string, string>>,
    drainUpstreamHint: "It gets no new work from there, until you take it back. What runs is finished.",
    answered: "Answered",
    upstreamLost: (failed: number, lost: number) => `${failed} failed, ${lost} did not get through`,
    gatewayLost: (lost: number, abandoned: number) => `${lost} lost, ${abandoned} abandoned`,
    gateways: "Gateways",
    gatewaysNote: (when: ReactNode) => <>counted since {when}</>,
    noGateways: "No segment came yet.",
    noGatewaysWhy: "Each sender shows here with its first one.",
    gateway: "Sender",
    video: "Video",
    minutes: (n: string) => `${n} min`,
    fees: "Fees, ETH",
    disk: "Disk",
    freeOf: (free: string, size: string) => `${free} of ${size}`,
    month: "Month of the event log",
    size: "Size",
    name: "Name",
    load: "Streams",
    standing: "Trust",
    from: "From",
    drain: "Drain",
    undrain: "Take back",
    ban: "Ban",
    unban: "Unban",
    lock: "Lock to credentials",
    unlock: "Unlock",
    note: "Note",
    edit: "Change",
    banTitle: (worker: string) => `Ban ${worker}`,
    banHint:
      "Its rigs are let go at once and get no more work. What it earned stays owed. The reason is shown on its page.",
    banReason: "Reason, for everybody to read",
    noteTitle: (worker: string) => `Note on ${worker}`,
    noteHint: "Only operators see it.",
    save: "Save",
    cancel: "Cancel",
    drainTitle: (rig: string) => `Drain ${rig}`,
    drainHint: "It finishes what it has and gets nothing new, until you take it back.",
    state: { connected: "online", draining: "draining", gone: "offline" },
    banned: "banned",
    locked: "locked",
    none: "nothing",
    noRigs: "No rig has connected since the pool started.",
    noWorkers: "No worker is banned, locked or noted.",
    worker: "Worker",
    laidDown: "Laid down",
    find: "Address of a worker",
    anyWorker: "Any address, also one that is not below, to ban, lock or note it",
    issue: "Issue a credential",
    issueHint: "For an address, with the name of one rig or for all of them. The secret is shown once.",
    issued: (name: string) => `The secret for ${name}, shown only now:`,
    revoke: "Revoke",
    revoked: "revoked",
    noCredentials: "None was issued.",
    when: "When",
    action: "Action",
    facts: {
      version: "Version",
      started: "Started",
      serviceUri: "Gateways and workers connect to",
      dataDir: "Data directory",
      free: "Free",
      log: "Event log, in all",
      database: "Database",
      sessions: "Streams",
      jobs: "Segments in work",
      bytes: "Memory held by segments",
    },
    machine: "This pool",
  },
  status: {
    components: "Parts",
    part: "Part",
    what: "What happened",
    names: {
      gateways: "Gateways’ door",
      workers: "Workers’ door",
      "event-log": "Event log",
      ledger: "Ledger",
      payouts: "Payouts",
      upstreams: "Upstreams",
    },
    health: { ok: "works", degraded: "impaired", down: "down", "not-configured": "not set up" },
    answered: "Answered segments",
    answeredNote: "by day, UTC",
    answeredSentence: (percent: string, all: string, lost: string) =>
      `${percent} of ${all} segments were answered; ${lost} were lost.`,
    noDays: "No segment yet.",
    noDaysWhy: "The first day shows here once a gateway sends a stream.",
    day: (day: string, percent: string, jobs: string, lost: string) =>
      `${day}: ${percent} answered, ${jobs} segments, ${lost} lost`,
    incidents: "Incidents",
    incidentsNote: "last 90 days",
    noIncidents: "None.",
    going: "and it is not over.",
    lasted: (span: string) => `It lasted ${span}.`,
  },
} as const;
