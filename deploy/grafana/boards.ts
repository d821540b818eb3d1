/**
 * The Grafana boards, said briefly. After a change:
 *
 *   npx tsx deploy/grafana/boards.ts && npx prettier --write deploy/grafana
 *
 * Grafana reads the JSON files beside this one; a test says so when they are not what is written here.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

interface Query {
  /** PromQL. `POOL` stands for the pools that are chosen above the board. */
  readonly expr: string;
  readonly legend?: string;
}

interface Panel {
  readonly kind: "stat" | "timeseries" | "text";
  readonly title: string;
  readonly description: string;
  /** Grafana's name of the unit. */
  readonly unit?: string;
  readonly decimals?: number;
  readonly queries?: readonly Query[];
  /** From these values on the colour changes: to the first one's below all, to the others' from theirs on. */
  readonly colours?: readonly { readonly from: number | null; readonly colour: string }[];
  /** What a value is called. */
  readonly words?: Readonly<Record<string, string>>;
  readonly text?: string;
  readonly stacked?: boolean;
  /** Columns of 24; otherwise 4 of a stat, 12 of the others. */
  readonly width?: number;
}

interface Board {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  readonly panels: readonly Panel[];
}

const RATE = "$__rate_interval";
const ETH = "suffix: ETH";
const good = "green";
const odd = "orange";
const bad = "red";

/** Higher is worse. */
const below = (oddFrom: number, badFrom: number) => [
  { from: null, colour: good },
  { from: oddFrom, colour: odd },
  { from: badFrom, colour: bad },
];
/** Lower is worse. */
const above = (oddBelow: number, badBelow: number) => [
  { from: null, colour: bad },
  { from: badBelow, colour: odd },
  { from: oddBelow, colour: good },
];

const taken = `sum(rate(livepeer_segment_source_emerged_unprocessed_total{POOL}[${RATE}]))`;
const answered = `sum(rate(livepeer_segment_transcoded_total{POOL}[${RATE}]))`;
const lost = `sum(rate(openpool_segments_lost_total{POOL}[${RATE}]))`;
const abandoned = `sum(rate(openpool_segments_abandoned_total{POOL}[${RATE}]))`;
/** Of segments whose gateway stayed; nothing where there were none. */
const success = `1 - ${lost} / ((${taken} - ${abandoned}) > 0)`;
const quantile = (q: number, histogram: string): string =>
  `histogram_quantile(${q}, sum by (le) (rate(${histogram}_bucket{POOL}[${RATE}])))`;
const account = (name: string): string => `sum(openpool_ledger_wei{POOL, account="${name}"}) / 1e18`;
const perDay = (name: string): string => `sum(delta(openpool_ledger_wei{POOL, account="${name}"}[1d])) / 1e18`;

const successPanel: Panel = {
  kind: "stat",
  title: "How many segments were answered?",
  description:
    "Answered with valid renditions, of those whose gateway waited for the answer. Empty while nothing is sent.",
  unit: "percentunit",
  decimals: 2,
  queries: [{ expr: success }],
  colours: above(0.995, 0.98),
};
const latencyPanel: Panel = {
  kind: "timeseries",
  title: "How long does a segment take?",
  description:
    "From its arrival to its valid result. A gateway gives up on a pool that takes longer than the segment plays.",
  unit: "s",
  queries: [0.5, 0.95, 0.99].map((q) => ({
    expr: quantile(q, "livepeer_transcode_time_seconds"),
    legend: `p${q * 100}`,
  })),
};
const outcomePanel: Panel = {
  kind: "timeseries",
  title: "What became of the segments?",
  description: "Lost: answered with an error. Abandoned: the gateway left before the answer.",
  unit: "ops",
  stacked: true,
  queries: [
    { expr: answered, legend: "answered" },
    { expr: lost, legend: "lost" },
    { expr: abandoned, legend: "abandoned" },
  ],
};
const haltPanel: Panel = {
  kind: "stat",
  title: "Reasons not to pay",
  description:
    "While this is not zero no payout is made. `openpool ledger show` and `openpool payouts list` name them.",
  unit: "none",
  queries: [{ expr: "sum(openpool_payout_halts{POOL})" }],
  colours: below(1, 1),
};

const pool: Board = {
  uid: "openpool-pool",
  title: "Open Pool: the pool",
  description: "Is the pool well, and what does it do?",
  panels: [
    {
      kind: "stat",
      title: "Does it answer?",
      description: "Whether Prometheus reaches the pool's admin port.",
      unit: "none",
      queries: [{ expr: "min(up{POOL})" }],
      colours: above(1, 1),
      words: { "0": "no", "1": "yes" },
    },
    {
      kind: "stat",
      title: "Can it write its log?",
      description: "Nothing is answered that cannot be recorded. No: look at the database and its disk.",
      unit: "none",
      queries: [{ expr: "min(openpool_event_log_writable{POOL})" }],
      colours: above(1, 1),
      words: { "0": "no", "1": "yes" },
    },
    {
      kind: "stat",
      title: "Registrations",
      description: "Rigs that are connected; a rig may hold several.",
      unit: "none",
      queries: [{ expr: "sum(livepeer_transcoders_number{POOL})" }],
      colours: above(1, 1),
    },
    {
      kind: "stat",
      title: "Streams now",
      description: "Sessions with gateways, and with orchestrators that the pool works for.",
      unit: "none",
      queries: [{ expr: "sum(livepeer_current_sessions_total{POOL})" }],
    },
    successPanel,
    haltPanel,
    outcomePanel,
    latencyPanel,
    {
      kind: "timeseries",
      title: "How full is it?",
      description: "Streams against the session limit. At the limit gateways are sent elsewhere.",
      unit: "none",
      queries: [
        { expr: "sum(livepeer_current_sessions_total{POOL})", legend: "streams" },
        { expr: "sum(livepeer_max_sessions_total{POOL})", legend: "limit" },
      ],
    },
    {
      kind: "timeseries",
      title: "Work in hand",
      description: "Segments being worked on, and open connections of the public port.",
      unit: "none",
      queries: [
        { expr: "sum(openpool_jobs_in_flight{POOL})", legend: "segments" },
        { expr: "sum(openpool_connections{POOL})", legend: "connections" },
      ],
    },
    {
      kind: "timeseries",
      title: "Memory",
      description:
        "Of the working process, and the part that holds sources and renditions (bounded by max-bytes-in-flight).",
      unit: "bytes",
      queries: [
        { expr: "process_resident_memory_bytes{POOL}", legend: "process {{instance}}" },
        { expr: "openpool_bytes_in_flight{POOL}", legend: "segments {{instance}}" },
      ],
    },
    {
      kind: "timeseries",
      title: "Processor",
      description: "Cores that the working process uses. It is one main thread: near 1 it is the limit.",
      unit: "none",
      decimals: 2,
      queries: [{ expr: `rate(process_cpu_seconds_total{POOL}[${RATE}])`, legend: "cores {{instance}}" }],
    },
    {
      kind: "timeseries",
      title: "Does the process keep up?",
      description:
        "How late its event loop is, 99th percentile. Tens of milliseconds are usual under load; seconds are not.",
      unit: "s",
      queries: [{ expr: "nodejs_eventloop_lag_p99_seconds{POOL}", legend: "{{instance}}" }],
    },
    {
      kind: "timeseries",
      title: "How long has it run?",
      description:
        "Since the working process started. A restart or a crash begins it anew; no connection is refused by either.",
      unit: "s",
      queries: [{ expr: "time() - process_start_time_seconds{POOL}", legend: "{{instance}}" }],
    },
  ],
};

const fleet: Board = {
  uid: "openpool-fleet",
  title: "Open Pool: the rig fleet",
  description: "Are there enough rigs, and are they fast enough?",
  panels: [
    {
      kind: "stat",
      title: "Registrations",
      description: "Rigs that are connected; a rig may hold several.",
      unit: "none",
      queries: [{ expr: "sum(livepeer_transcoders_number{POOL})" }],
      colours: above(1, 1),
      width: 6,
    },
    {
      kind: "stat",
      title: "Free places",
      description: "Sessions that the rigs take in all, less those bound to them.",
      unit: "none",
      queries: [{ expr: "sum(livepeer_transcoders_capacity{POOL}) - sum(livepeer_transcoders_load{POOL})" }],
      colours: above(2, 1),
      width: 6,
    },
    {
      kind: "stat",
      title: "How busy are they?",
      description: "Sessions bound to rigs, of those that they take. Below a fifth or so most rigs wait for work.",
      unit: "percentunit",
      queries: [{ expr: "sum(livepeer_transcoders_load{POOL}) / (sum(livepeer_transcoders_capacity{POOL}) > 0)" }],
      colours: below(0.8, 0.95),
      width: 6,
    },
    {
      kind: "stat",
      title: "How fast is the slowest tenth?",
      description: "Seconds of video a second, 10th percentile. Below 1 these segments came later than they play.",
      unit: "suffix: ×",
      decimals: 1,
      queries: [{ expr: quantile(0.1, "livepeer_transcode_score") }],
      colours: above(1.5, 1),
      width: 6,
    },
    {
      kind: "timeseries",
      title: "Who is connected?",
      description: "Registrations open. A sudden step down is a network or a version; a slow one is workers leaving.",
      unit: "none",
      queries: [{ expr: "sum(livepeer_transcoders_number{POOL})", legend: "registrations" }],
    },
    {
      kind: "timeseries",
      title: "Is there room?",
      description: "Sessions that the rigs take, and those bound to them.",
      unit: "none",
      queries: [
        { expr: "sum(livepeer_transcoders_capacity{POOL})", legend: "places" },
        { expr: "sum(livepeer_transcoders_load{POOL})", legend: "taken" },
      ],
    },
    {
      kind: "timeseries",
      title: "Work done",
      description: "Encoded pixels, counted by the pool and not by those who are paid for them.",
      unit: "suffix: Mpx/s",
      queries: [{ expr: `sum(rate(livepeer_mil_pixels_processed{POOL}[${RATE}]))`, legend: "pixels" }],
    },
    {
      kind: "timeseries",
      title: "Work for each registration",
      description: "The same, shared out evenly: what a new rig may expect at the most.",
      unit: "suffix: Mpx/s",
      queries: [
        {
          expr: `sum(rate(livepeer_mil_pixels_processed{POOL}[${RATE}])) / (sum(livepeer_transcoders_number{POOL}) > 0)`,
          legend: "pixels",
        },
      ],
    },
    {
      kind: "timeseries",
      title: "How fast are they?",
      description: "Duration of a segment divided by the time it took, over all rigs. 1 is real time.",
      unit: "suffix: ×",
      decimals: 1,
      queries: [0.1, 0.5, 0.9].map((q) => ({
        expr: quantile(q, "livepeer_transcode_score"),
        legend:
          q === 0.5 ? "half are faster than" : q < 0.5 ? "nine of ten are faster than" : "one of ten is faster than",
      })),
    },
    {
      kind: "timeseries",
      title: "What could not be saved?",
      description:
        "Segments for which no rig had a valid answer in time. `openpool events --type job.failed` says why.",
      unit: "ops",
      queries: [{ expr: lost, legend: "lost" }],
    },
    {
      kind: "text",
      title: "Single rigs",
      description: "Where they are.",
      text: "A fleet of thousands is too many for one metric each. Single rigs, with what they did, why they get work and why not, are on the pool's own pages (`/workers`), in `openpool rigs list` and `openpool rigs why RIG`.",
      width: 24,
    },
  ],
};

const money: Board = {
  uid: "openpool-money",
  title: "Open Pool: money",
  description: "What was earned, what is owed, what was paid. As precise as a metric can be: the books are exact.",
  panels: [
    ...(
      [
        ["Fees", "fees", "Of all segments that were answered, since the first."],
        ["Owed", "owed", "Payable to workers; those below the minimum are in it."],
        ["Held", "held", "Earned, and not payable before the hold time is over."],
        ["Paid", "paid", "To workers, in payments that are final."],
      ] as const
    ).map(([title, name, description]): Panel => ({
      kind: "stat",
      title,
      description,
      unit: ETH,
      decimals: 6,
      queries: [{ expr: account(name) }],
    })),
    haltPanel,
    {
      kind: "stat",
      title: "Do the books add up?",
      description:
        "What the last check of the books found wrong. Not zero: `openpool ledger check`, then docs/money.md.",
      unit: "none",
      queries: [{ expr: "sum(openpool_ledger_violations{POOL})" }],
      colours: below(1, 1),
    },
    {
      kind: "timeseries",
      title: "What belongs to workers?",
      description: "Held until it is payable, owed, and being paid at this moment.",
      unit: ETH,
      decimals: 6,
      stacked: true,
      queries: ["held", "owed", "paying"].map((name) => ({ expr: account(name), legend: name })),
    },
    {
      kind: "timeseries",
      title: "What was paid?",
      description: "In all, since the first payout. A payout is a step.",
      unit: ETH,
      decimals: 6,
      queries: [{ expr: account("paid"), legend: "paid" }],
    },
    {
      kind: "timeseries",
      title: "What does a day bring?",
      description: "Fees and commission of the last 24 hours, at every moment. Empty in a pool's first minutes.",
      unit: ETH,
      decimals: 6,
      queries: ["fees", "commission"].map((name) => ({ expr: perDay(name), legend: name })),
    },
    {
      kind: "timeseries",
      title: "The pool's own accounts",
      description: "Commission, gas and reserve as the books have them.",
      unit: ETH,
      decimals: 6,
      queries: ["commission", "gas", "reserve"].map((name) => ({ expr: account(name), legend: name })),
    },
    {
      kind: "timeseries",
      title: "Are the books behind?",
      description:
        "Events of the log that are not booked yet. Credits are safe in the log; growing for long, look at the database.",
      unit: "none",
      queries: [{ expr: "sum(openpool_ledger_events_behind{POOL})", legend: "events" }],
    },
    {
      kind: "timeseries",
      title: "How soon is a job booked?",
      description: "From the job to its line in the books, of the last one that was booked.",
      unit: "s",
      queries: [{ expr: "max(openpool_ledger_lag_seconds{POOL})", legend: "seconds" }],
    },
  ],
};

const gateway: Board = {
  uid: "openpool-gateway",
  title: "Open Pool: as gateways see it",
  description: "Would you send your streams here?",
  panels: [
    { ...successPanel, width: 6 },
    {
      kind: "stat",
      title: "Within the segment's own time?",
      description:
        "The time of nineteen out of twenty segments, as a part of the usual segment's duration. Above 100 % players wait.",
      unit: "percentunit",
      queries: [
        {
          expr: `${quantile(0.95, "livepeer_transcode_time_seconds")} / (sum(rate(livepeer_source_segment_duration_seconds_sum{POOL}[${RATE}])) / sum(rate(livepeer_source_segment_duration_seconds_count{POOL}[${RATE}])))`,
        },
      ],
      colours: below(0.7, 1),
      width: 6,
    },
    {
      kind: "stat",
      title: "Streams now",
      description: "Sessions with gateways, and with orchestrators that the pool works for.",
      unit: "none",
      queries: [{ expr: "sum(livepeer_current_sessions_total{POOL})" }],
      width: 6,
    },
    {
      kind: "stat",
      title: "Room for more streams",
      description: "What is left below the session limit. At zero new streams are refused.",
      unit: "none",
      queries: [{ expr: "sum(livepeer_max_sessions_total{POOL}) - sum(livepeer_current_sessions_total{POOL})" }],
      colours: above(2, 1),
      width: 6,
    },
    outcomePanel,
    latencyPanel,
    {
      kind: "timeseries",
      title: "How much video comes in?",
      description: "Seconds of video a second: as many live streams would bring as much.",
      unit: "suffix: s/s",
      decimals: 1,
      queries: [{ expr: `sum(rate(livepeer_source_segment_duration_seconds_sum{POOL}[${RATE}]))`, legend: "video" }],
    },
    {
      kind: "timeseries",
      title: "How long are the segments?",
      description: "As gateways say. Short ones leave less time to answer and cost more for each second of video.",
      unit: "s",
      decimals: 1,
      queries: [0.5, 0.95].map((q) => ({
        expr: quantile(q, "livepeer_source_segment_duration_seconds"),
        legend: `p${q * 100}`,
      })),
    },
    {
      kind: "timeseries",
      title: "What is asked for?",
      description: "Answered segments by the names of their renditions, the ten most frequent.",
      unit: "ops",
      queries: [
        {
          expr: `topk(10, sum by (profiles) (rate(livepeer_segment_transcoded_total{POOL}[${RATE}])))`,
          legend: "{{profiles}}",
        },
      ],
    },
    {
      kind: "timeseries",
      title: "Open connections",
      description: "Of the public port: gateways and workers.",
      unit: "none",
      queries: [{ expr: "sum(openpool_connections{POOL})", legend: "connections" }],
    },
  ],
};

const datasource = { type: "prometheus", uid: "${datasource}" };

function panelJson(panel: Panel, id: number, gridPos: object): object {
  const { kind, title, description } = panel;
  const common = { id, type: kind, title, description, gridPos };
  if (kind === "text") return { ...common, options: { mode: "markdown", content: panel.text ?? "" } };
  const custom = panel.stacked
    ? { fillOpacity: 30, lineWidth: 1, showPoints: "never", stacking: { mode: "normal", group: "A" } }
    : { fillOpacity: 8, lineWidth: 1, showPoints: "never" };
  return {
    ...common,
    datasource,
    fieldConfig: {
      defaults: {
        unit: panel.unit,
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
    targets: (panel.queries ?? []).map(({ expr, legend }, i) => ({
      refId: String.fromCodePoint(65 + i),
      datasource,
      expr: expr.replaceAll("POOL", 'instance=~"$pool"'),
      legendFormat: legend ?? title,
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
