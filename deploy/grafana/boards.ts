/**
 * The Grafana boards, said briefly. After a change:
 *
 *   npx tsx deploy/grafana/boards.ts && npx prettier --write deploy/grafana
 *
 * Grafana reads the JSON files beside this one; a test says so when they are not what is written here.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

interface Panel {
  readonly kind: "stat" | "timeseries";
  readonly title: string;
  readonly description: string;
  /** Grafana's name of the unit; `none` where it is left out. */
  readonly unit?: string;
  readonly decimals?: number;
  /** PromQL by its legend. `POOL` stands for the pools that are chosen above the board. */
  readonly queries: Readonly<Record<string, string>>;
  /** From these values on the colour changes: to the first one's below all, to the others' from theirs on. */
  readonly colours?: readonly { readonly from: number | null; readonly colour: string }[];
  /** What a value is called. */
  readonly words?: Readonly<Record<string, string>>;
  readonly stacked?: boolean;
  /** Columns of 24; otherwise 4 of a stat, 12 of the others. */
  readonly width?: number;
}
type More = Partial<Omit<Panel, "kind" | "title" | "description" | "queries">>;

interface Board {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly panels: readonly Panel[];
}

/** One number. */
const stat = (title: string, description: string, expr: string, more: More = {}): Panel => ({
  kind: "stat",
  title,
  description,
  queries: { [title]: expr },
  ...more,
});
/** Lines over time, by their legends. */
const lines = (title: string, description: string, queries: Panel["queries"], more: More = {}): Panel => ({
  kind: "timeseries",
  title,
  description,
  queries,
  ...more,
});

const RATE = "$__rate_interval";
const ETH: More = { unit: "suffix:ETH", decimals: 6 };
const TIMES: More = { unit: "suffix:×", decimals: 1 };
const YES: More = { words: { "0": "no", "1": "yes" } };

/** Higher is worse. */
const below = (oddFrom: number, badFrom: number): More => ({
  colours: [
    { from: null, colour: "green" },
    { from: oddFrom, colour: "orange" },
    { from: badFrom, colour: "red" },
  ],
});
/** Lower is worse. */
const above = (oddBelow: number, badBelow: number): More => ({
  colours: [
    { from: null, colour: "red" },
    { from: badBelow, colour: "orange" },
    { from: oddBelow, colour: "green" },
  ],
});

const sum = (metric: string): string => `sum(${metric}{POOL})`;
const rate = (metric: string): string => `sum(rate(${metric}{POOL}[${RATE}]))`;
const by = (label: string, expr: string): string => expr.replace(/^sum\(/, `sum by (${label}) (`);
const quantile = (q: number, histogram: string): string =>
  `histogram_quantile(${q}, ${by("le", rate(`${histogram}_bucket`))})`;
const quantiles = (histogram: string, legends: Readonly<Record<string, number>>): Panel["queries"] =>
  Object.fromEntries(Object.entries(legends).map(([legend, q]) => [legend, quantile(q, histogram)]));
const having = (label: string, value: string, expr: string): string =>
  expr.replace("{POOL}", `{POOL, ${label}="${value}"}`);
const ofAccount = (account: string, expr: string): string => `${having("account", account, expr)} / 1e18`;
const account = (name: string): string => ofAccount(name, sum("openpool_ledger_wei"));
const accounts = (...names: readonly string[]): Panel["queries"] =>
  Object.fromEntries(names.map((name) => [name, account(name)]));
const perDay = (name: string): string => ofAccount(name, "sum(delta(openpool_ledger_wei{POOL}[1d]))");

const taken = rate("livepeer_segment_source_emerged_unprocessed_total");
const answered = rate("livepeer_segment_transcoded_total");
const lost = rate("openpool_segments_lost_total");
const abandoned = rate("openpool_segments_abandoned_total");
const pixels = rate("livepeer_mil_pixels_processed");
const registrations = sum("livepeer_transcoders_number");
const places = sum("livepeer_transcoders_capacity");
const load = sum("livepeer_transcoders_load");
const streams = sum("livepeer_current_sessions_total");
const floats = sum("openpool_float_units");
const perAsset = by("asset", floats);
const mostStreams = sum("livepeer_max_sessions_total");

const successPanel = stat(
  "How many segments were answered?",
  "Answered with valid renditions, of those whose gateway waited for the answer. Empty while nothing is sent.",
  // Of segments whose gateway stayed; nothing where there were none.
  `1 - ${lost} / ((${taken} - ${abandoned}) > 0)`,
  { unit: "percentunit", decimals: 2, ...above(0.995, 0.98) },
);
const latencyPanel = lines(
  "How long does a segment take?",
  "From its arrival to its valid result. A gateway gives up on a pool that takes longer than the segment plays.",
  quantiles("livepeer_transcode_time_seconds", { p50: 0.5, p95: 0.95, p99: 0.99 }),
  { unit: "s" },
);
const outcomePanel = lines(
  "What became of the segments?",
  "Lost: answered with an error. Abandoned: the gateway left before the answer.",
  { answered, lost, abandoned },
  { unit: "ops", stacked: true },
);
const haltPanel = stat(
  "Reasons not to pay",
  "While this is not zero no payout is made. `openpool ledger show` and `openpool payouts list` name them.",
  sum("openpool_payout_halts"),
  below(1, 1),
);
const registrationsPanel = stat(
  "Registrations",
  "Rigs that are connected; a rig may hold several.",
  registrations,
  above(1, 1),
);
const streamsPanel = stat(
  "Streams now",
  "Sessions with gateways, and with orchestrators that the pool works for.",
  streams,
);

const pool: Board = {
  uid: "openpool-pool",
  title: "Open Pool: the pool",
  description: "Is the pool well, and what does it do?",
  panels: [
    stat("Does it answer?", "Whether Prometheus reaches the pool's admin port.", "min(up{POOL})", {
      ...above(1, 1),
      ...YES,
    }),
    stat(
      "Can it write its log?",
      "Nothing is answered that cannot be recorded. No: look at the database and its disk.",
      "min(openpool_event_log_writable{POOL})",
      { ...above(1, 1), ...YES },
    ),
    registrationsPanel,
    streamsPanel,
    successPanel,
    haltPanel,
    outcomePanel,
    latencyPanel,
    lines(
      "How long does the record take?",
      "Between the valid result and its answer: the credit becomes durable. Much more than a disk's sync: look at the database.",
      quantiles("openpool_credit_seconds", { p50: 0.5, p99: 0.99 }),
      { unit: "s" },
    ),
    lines("How full is it?", "Streams against the session limit. At the limit gateways are sent elsewhere.", {
      streams,
      limit: mostStreams,
    }),
    lines("Work in hand", "Segments being worked on, and open connections of the public port.", {
      segments: sum("openpool_jobs_in_flight"),
      connections: sum("openpool_connections"),
    }),
    lines(
      "Memory",
      "Of the working process, and the part that holds sources and renditions (bounded by max-memory).",
      {
        "process {{instance}}": "process_resident_memory_bytes{POOL}",
        "segments {{instance}}": "openpool_bytes_in_flight{POOL}",
      },
      { unit: "bytes" },
    ),
    lines(
      "Processor",
      "Cores that the working process uses. It is one main thread: near 1 it is the limit.",
      { "cores {{instance}}": `rate(process_cpu_seconds_total{POOL}[${RATE}])` },
      { decimals: 2 },
    ),
    lines(
      "Does the process keep up?",
      "How late its event loop is, 99th percentile. Tens of milliseconds are usual under load; seconds are not.",
      { "{{instance}}": "nodejs_eventloop_lag_p99_seconds{POOL}" },
      { unit: "s" },
    ),
    lines(
      "How long has it run?",
      "Since the working process started. A restart or a crash begins it anew; no connection is refused by either.",
      { "{{instance}}": "time() - process_start_time_seconds{POOL}" },
      { unit: "s" },
    ),
    lines(
      "Which orchestrators have us?",
      "1 while the pool is registered with the orchestrator. Empty where it works for none.",
      { "{{upstream}}": by("upstream", sum("openpool_upstream_registered")) },
    ),
    lines(
      "What do orchestrators send?",
      "Tasks by what became of them. Failed: answered with an error. Lost: the answer did not get through.",
      { "{{upstream}} {{outcome}}": by("upstream, outcome", rate("openpool_upstream_tasks_total")) },
      { unit: "ops" },
    ),
  ],
};

const fleet: Board = {
  uid: "openpool-fleet",
  title: "Open Pool: the rig fleet",
  description: "Are there enough rigs, and are they fast enough?",
  panels: [
    { ...registrationsPanel, width: 6 },
    stat("Free places", "Sessions that the rigs take in all, less those bound to them.", `${places} - ${load}`, {
      ...above(2, 1),
      width: 6,
    }),
    stat(
      "How busy are they?",
      "Sessions bound to rigs, of those that they take. Below a fifth or so most rigs wait for work.",
      `${load} / (${places} > 0)`,
      { unit: "percentunit", ...below(0.8, 0.95), width: 6 },
    ),
    stat(
      "How fast is the slowest tenth?",
      "Seconds of video a second, 10th percentile. Below 1 these segments came later than they play.",
      quantile(0.1, "livepeer_transcode_score"),
      { ...TIMES, ...above(1.5, 1), width: 6 },
    ),
    lines(
      "Who is connected?",
      "Registrations open. A sudden step down is a network or a version; a slow one is workers leaving.",
      { registrations },
    ),
    lines("Is there room?", "Sessions that the rigs take, and those bound to them.", { places, taken: load }),
    lines(
      "Who is trusted?",
      "Connected rigs by standing. Those on probation or barred get little work or none.",
      { "{{standing}}": by("standing", sum("openpool_rigs")) },
      { stacked: true },
    ),
    lines(
      "What do they work with?",
      "Devices of connected rigs by kind, as their software says; unmodified transcoders do not.",
      { "{{kind}}": by("kind", sum("openpool_devices")) },
      { stacked: true },
    ),
    lines(
      "Work done",
      "Encoded pixels, counted by the pool and not by those who are paid for them.",
      { pixels },
      { unit: "suffix:Mpx/s" },
    ),
    lines(
      "Work for each registration",
      "The same, shared out evenly: what a new rig may expect at the most.",
      { pixels: `${pixels} / (${registrations} > 0)` },
      { unit: "suffix:Mpx/s" },
    ),
    lines(
      "How fast are they?",
      "Duration of a segment divided by the time it took, over all rigs. 1 is real time.",
      quantiles("livepeer_transcode_score", {
        "nine of ten are faster than": 0.1,
        "half are faster than": 0.5,
        "one of ten is faster than": 0.9,
      }),
      TIMES,
    ),
    lines(
      "What could not be saved?",
      "Segments for which no rig had a valid answer in time. `openpool events --type job.failed` says why.",
      { lost },
      { unit: "ops" },
    ),
    lines(
      "Which rigs do the work?",
      "Answered segments by rig, the ten busiest. 100 rigs have a line of their own, all others together are `other`.",
      { "{{rig}}": `topk(10, ${by("rig", rate("openpool_rig_segments_total"))})` },
      { unit: "ops" },
    ),
    lines(
      "Which rigs do worst?",
      "Recent share of attempts that went well, the ten lowest. The pool's pages and `openpool rigs why RIG` say more.",
      { "{{rig}}": "bottomk(10, min by (rig) (openpool_rig_success_ratio{POOL}))" },
      { unit: "percentunit" },
    ),
    lines(
      "Which rigs are full?",
      "Streams of the ten busiest rigs, of the places that they have.",
      {
        "{{rig}}": `topk(10, ${by("rig", sum("openpool_rig_streams"))} / (${by("rig", sum("openpool_rig_places"))} > 0))`,
      },
      { unit: "percentunit" },
    ),
    lines("Segments in work by rig", "The ten that have most in hand at this moment.", {
      "{{rig}}": `topk(10, ${by("rig", sum("openpool_rig_jobs_in_flight"))})`,
    }),
  ],
};

const money: Board = {
  uid: "openpool-money",
  title: "Open Pool: money",
  description: "What was earned, what is owed, what was paid. As precise as a metric can be: the books are exact.",
  panels: [
    stat("Fees", "Of all segments that were answered, since the first.", account("fees"), ETH),
    stat("Owed", "Payable to workers; those below the minimum are in it.", account("owed"), ETH),
    stat("Held", "Earned, and not payable before the hold time is over.", account("held"), ETH),
    stat("Paid", "To workers, in payments that are final.", account("paid"), ETH),
    haltPanel,
    stat(
      "Do the books add up?",
      "What the last check of the books found wrong. Not zero: `openpool ledger check`, then docs/money.md.",
      sum("openpool_ledger_violations"),
      below(1, 1),
    ),
    lines(
      "What belongs to workers?",
      "Held until it is payable, owed, and being paid at this moment.",
      accounts("held", "owed", "paying"),
      { ...ETH, stacked: true },
    ),
    lines("What was paid?", "In all, since the first payout. A payout is a step.", accounts("paid"), ETH),
    lines(
      "What does a day bring?",
      "Fees and commission of the last 24 hours, at every moment. Empty in a pool's first minutes.",
      { fees: perDay("fees"), commission: perDay("commission") },
      ETH,
    ),
    lines(
      "The pool's own accounts",
      "Commission, gas and reserve as the books have them.",
      accounts("commission", "gas", "reserve"),
      ETH,
    ),
    lines(
      "Is there enough ETH to pay from?",
      "On the account that pays, and what is owed from it in ETH. Balance below due: fill it up.",
      { "{{what}}": `${having("asset", "eth", by("what", floats))} / 1e18` },
      ETH,
    ),
    lines(
      "How much of what is owed is there?",
      "Of each asset, what is on the account that pays as a share of what is owed in it. Empty where nothing is owed.",
      { "{{asset}}": `${having("what", "balance", perAsset)} / (${having("what", "due", perAsset)} > 0)` },
      { unit: "percentunit" },
    ),
    lines(
      "Can it pay what it promised?",
      "Debt to workers, and the reserve behind it where income is read from the chain.",
      { "{{what}}": `${by("what", sum("openpool_solvency_wei"))} / 1e18` },
      ETH,
    ),
    lines(
      "How lucky was it?",
      "Redeemed of what was expected in the recent days. Empty where income is not read.",
      { luck: "openpool_luck_ratio{POOL}" },
      { unit: "percentunit" },
    ),
    lines(
      "How long does the reserve last?",
      "Days of recent earnings that it covers without a single winning ticket.",
      { days: "openpool_reserve_days{POOL}" },
      { unit: "d", decimals: 1 },
    ),
    lines(
      "Are the books behind?",
      "Events of the log that are not booked yet. Credits are safe in the log; growing for long, look at the database.",
      {
        events: sum("openpool_ledger_events_behind"),
      },
    ),
    lines(
      "How soon is a job booked?",
      "From the job to its line in the books, of the last one that was booked.",
      { seconds: "max(openpool_ledger_lag_seconds{POOL})" },
      { unit: "s" },
    ),
  ],
};

const sourceSeconds = "livepeer_source_segment_duration_seconds";
const gateway: Board = {
  uid: "openpool-gateway",
  title: "Open Pool: as gateways see it",
  description: "Would you send your streams here?",
  panels: [
    { ...successPanel, width: 6 },
    stat(
      "Within the segment's own time?",
      "The time of nineteen out of twenty segments, as a part of the usual segment's duration. Above 100 % players wait.",
      `${quantile(0.95, "livepeer_transcode_time_seconds")} / (${rate(`${sourceSeconds}_sum`)} / ${rate(`${sourceSeconds}_count`)})`,
      { unit: "percentunit", ...below(0.7, 1), width: 6 },
    ),
    { ...streamsPanel, width: 6 },
    stat(
      "Room for more streams",
      "What is left below the session limit. At zero new streams are refused.",
      `${mostStreams} - ${streams}`,
      { ...above(2, 1), width: 6 },
    ),
    outcomePanel,
    latencyPanel,
    lines(
      "How much video comes in?",
      "Seconds of video a second: as many live streams would bring as much.",
      { video: rate(`${sourceSeconds}_sum`) },
      { unit: "suffix:s/s", decimals: 1 },
    ),
    lines(
      "How long are the segments?",
      "As gateways say. Short ones leave less time to answer and cost more for each second of video.",
      quantiles(sourceSeconds, { p50: 0.5, p95: 0.95 }),
      { unit: "s", decimals: 1 },
    ),
    lines(
      "What is asked for?",
      "Answered segments by the names of their renditions, the ten most frequent.",
      { "{{profiles}}": `topk(10, ${by("profiles", answered)})` },
      { unit: "ops" },
    ),
    lines("Open connections", "Of the public port: gateways and workers.", {
      connections: sum("openpool_connections"),
    }),
  ],
};

const datasource = { type: "prometheus", uid: "${datasource}" };

function panelJson(panel: Panel, id: number, gridPos: object): object {
  const { kind, title, description } = panel;
  const custom = panel.stacked
    ? { fillOpacity: 30, lineWidth: 1, showPoints: "never", stacking: { mode: "normal", group: "A" } }
    : { fillOpacity: 8, lineWidth: 1, showPoints: "never" };
  return {
    id,
    type: kind,
    title,
    description,
    gridPos,
    datasource,
    fieldConfig: {
      defaults: {
        unit: panel.unit ?? "none",
        ...(panel.decimals === undefined ? {} : { decimals: panel.decimals }),
        ...(kind === "timeseries" ? { min: 0, custom } : {}),
        color:
          kind === "stat"
            ? { mode: panel.colours ? "thresholds" : "fixed", fixedColor: "text" }
            : { mode: "palette-classic" },
        ...(panel.colours
          ? {
              thresholds: {
                mode: "absolute",
                steps: panel.colours.map(({ from, colour }) => ({ color: colour, value: from })),
              },
            }
          : {}),
        mappings: panel.words
          ? [
              {
                type: "value",
                options: Object.fromEntries(Object.entries(panel.words).map(([value, text]) => [value, { text }])),
              },
            ]
          : [],
      },
      overrides: [],
    },
    options:
      kind === "stat"
        ? {
            reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
            colorMode: "value",
            graphMode: "none",
          }
        : {
            legend: { displayMode: "list", placement: "bottom", showLegend: true },
            tooltip: { mode: "multi", sort: "desc" },
          },
    targets: Object.entries(panel.queries).map(([legend, expr], i) => ({
      refId: String.fromCodePoint(65 + i),
      datasource,
      expr: expr.replaceAll("POOL", 'instance=~"$pool"'),
      legendFormat: legend,
      ...(kind === "stat" ? { instant: true } : { range: true }),
    })),
  };
}

function boardJson(board: Board): object {
  let x = 0;
  let y = 0;
  let rowHeight = 0;
  const panels = board.panels.map((panel, i) => {
    const w = panel.width ?? (panel.kind === "stat" ? 4 : 12);
    const h = panel.kind === "timeseries" ? 8 : 4;
    if (x + w > 24) {
      y += rowHeight;
      x = rowHeight = 0;
    }
    const at = { x, y, w, h };
    x += w;
    rowHeight = Math.max(rowHeight, h);
    return panelJson(panel, i + 1, at);
  });
  return {
    uid: board.uid,
    title: board.title,
    description: board.description,
    tags: ["openpool"],
    schemaVersion: 39,
    editable: true,
    refresh: "30s",
    time: { from: "now-6h", to: "now" },
    timezone: "browser",
    templating: {
      list: [
        { name: "datasource", type: "datasource", query: "prometheus", label: "Prometheus" },
        {
          name: "pool",
          type: "query",
          label: "Pool",
          datasource,
          query: { query: "label_values(openpool_connections, instance)", refId: "pool" },
          refresh: 2,
          includeAll: false,
          multi: false,
        },
      ],
    },
    links: [
      {
        title: "Boards of the pool",
        type: "dashboards",
        tags: ["openpool"],
        asDropdown: true,
        keepTime: true,
        includeVars: true,
      },
    ],
    panels,
  };
}

/** What each file in `boards/` holds. */
export const boardFiles: Readonly<Record<string, object>> = {
  "pool.json": boardJson(pool),
  "fleet.json": boardJson(fleet),
  "money.json": boardJson(money),
  "gateway.json": boardJson(gateway),
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = new URL("boards/", import.meta.url);
  for (const [name, board] of Object.entries(boardFiles)) {
    writeFileSync(new URL(name, folder), JSON.stringify(board, null, 2) + "\n");
  }
  const stray = readdirSync(folder).filter((name) => !(name in boardFiles));
  if (stray.length > 0) throw new Error(`deploy/grafana/boards holds files that nothing makes: ${stray.join(", ")}`);
}
