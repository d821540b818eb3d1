import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { WorkerAddress } from "@openpool/protocol";
import { boardFiles } from "../../deploy/grafana/boards.ts";
import type { RigView } from "../../packages/pool/src/dispatch/types.ts";
import { createPoolMetrics } from "../../packages/pool/src/metrics.ts";
import type { UpstreamStatus } from "../../packages/pool/src/upstream/door.ts";
import { ADA, push, startTestPool } from "../e2e/pool.ts";
import { namesIn } from "./promql.ts";

const deploy = (path: string): string => fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url));
const read = (path: string): string => readFileSync(deploy(path), "utf8");

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource: Datasource;
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly datasource: Datasource }[];
}
interface Datasource {
  readonly type: string;
  readonly uid: string;
}
interface Variable {
  readonly name: string;
  readonly type: string;
  readonly query: string | { readonly query: string };
  readonly datasource?: Datasource;
}
interface Board {
  readonly uid: string;
  readonly title: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly Variable[] };
  readonly panels: readonly Panel[];
}
interface Rule {
  readonly alert: string;
  readonly expr: string;
}

const boards = readdirSync(deploy("grafana/boards")).map((name) => ({
  name,
  board: JSON.parse(read(`grafana/boards/${name}`)) as Board,
}));
const rules = (parse(read("prometheus/openpool.rules.yml")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const expressions = [
  ...boards.flatMap(({ name, board }) =>
    board.panels.flatMap((panel) =>
      (panel.targets ?? []).map(({ expr }) => ({ where: `${name}, "${panel.title}"`, expr: filledIn(expr) })),
    ),
  ),
  ...rules.map(({ alert, expr }) => ({ where: alert, expr })),
];

/** As Grafana sends it. */
function filledIn(expr: string): string {
  return expr.replaceAll("$__rate_interval", "1m").replaceAll("$pool", "127.0.0.1:7945");
}

/** Labels of each series that a pool shows, with those that Prometheus adds, and the values of `account`. */
let series: Map<string, Set<string>>;
let accounts: Set<string>;

/** What a pool shows that has everything: payouts, income, orchestrators that it works for, rigs that say what they are. */
async function metricsOfAll(): Promise<string> {
  const rig = { worker: ADA as WorkerAddress, rig: "rig1" };
  // Of a rig and an upstream, what the metrics look at.
  const view = {
    rig,
    state: "connected",
    standing: "trusted",
    capacity: 1,
    sessions: 1,
    inFlight: 1,
    success: 1,
  } as RigView;
  const upstream = {
    name: "main",
    state: "registered",
    sessions: 1,
    tasksInFlight: 1,
    answered: 1,
    failed: 1,
    lost: 1,
  };
  return createPoolMetrics("test").text({
    sessions: 1,
    maxSessions: 1,
    transcoders: 1,
    capacity: 1,
    load: 1,
    bytesInFlight: 1,
    jobsInFlight: 1,
    connections: 1,
    storeWritable: true,
    ledger: { eventsBehind: 0, lagMs: 0, halts: 0, violations: 0, wei: {} },
    solvency: {
      creditedWei: 1n,
      debtWei: 1n,
      luckPpm: 1n,
      reserveWei: 1n,
      reserveDays: 1,
      keptPpm: 1n,
      maxSharePpm: 1n,
      promisedPpm: 1n,
      wantedReserveWei: 1n,
      warnings: [{ code: "bad-luck", text: "" }],
    },
    floats: [{ asset: "eth", balance: 1n, due: 1n, state: "fine", text: undefined }],
    fleet: {
      rigs: [view],
      devicesOf: () => [{ kind: "nvidia", model: "NVIDIA L4", count: 1 }],
      upstreams: [upstream as UpstreamStatus],
    },
  });
}

beforeAll(async () => {
  await using pool = await startTestPool();
  await pool.transcoder({ secret: `${ADA}.rig1` });
  await pool.untilConnected(1);
  expect(await push(pool.gateway(), "stream", 0)).toMatchObject({ kind: "done" });
  const bare = await (await fetch(`${pool.running.adminUrl}/metrics`)).text();
  const text = `${bare}\n${await metricsOfAll()}`;
  series = new Map([["up", new Set(["job", "instance"])]]);
  accounts = new Set();
  for (const [, name = "", labels = ""] of text.matchAll(/^([a-z_]\w*)(?:\{(.*)\})? [^ ]+$/gm)) {
    const known = series.get(name) ?? new Set(["job", "instance"]);
    for (const [, label = "", value = ""] of labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      known.add(label);
      if (label === "account") accounts.add(value);
    }
    series.set(name, known);
  }
}, 240_000);

describe("the boards", () => {
  test("are those that their definitions make", () => {
    expect(Object.fromEntries(boards.map(({ name, board }) => [name, board]))).toEqual(boardFiles);
  });

  test("have names and panels of their own, each with a title, a description, a unit and a place", () => {
    expect(new Set(boards.map(({ board }) => board.uid)).size).toBe(boards.length);
    for (const { board } of boards) {
      expect(new Set(board.panels.map((panel) => panel.id)).size).toBe(board.panels.length);
      const taken = new Set<string>();
      for (const { type, title, description, gridPos, fieldConfig, targets } of board.panels) {
        expect([title, description].every((text) => text.length > 3)).toBe(true);
        expect(type === "stat" || type === "timeseries").toBe(true);
        expect(fieldConfig?.defaults.unit !== undefined && targets?.length).toBeTruthy();
        expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
            expect(taken.has(`${x},${y}`), `"${title}" lies on another panel`).toBe(false);
            taken.add(`${x},${y}`);
          }
        }
      }
    }
  });
});

/** Those of Grafana 11 that the boards use; it takes any other word for a unit of that name and does no scaling. */
const UNITS = ["none", "s", "d", "ops", "bytes", "percentunit"];
/** What Grafana 11.0 writes itself; older boards it brings up to date, newer ones it may read wrong. */
const GRAFANA_SCHEMA = 39;

test("the boards are what Grafana 11 loads: its schema, its units, and variables that are there", () => {
  for (const { name, board } of boards) {
    expect(board.schemaVersion, name).toBe(GRAFANA_SCHEMA);
    expect(board.uid, name).toMatch(/^[\w-]{1,40}$/);
    const [source, ...others] = board.templating.list;
    expect(source, name).toMatchObject({ name: "datasource", type: "datasource", query: "prometheus" });
    const chosen = { type: "prometheus", uid: `\${${source?.name}}` };
    expect(others.map((one) => one.name)).toEqual(["pool"]);
    const [pool] = others;
    const listed = /^label_values\((\w+), instance\)$/.exec(typeof pool?.query === "object" ? pool.query.query : "");
    expect(series.has(listed?.[1] ?? ""), name).toBe(true);
    expect(pool?.datasource).toEqual(chosen);
    for (const { title, datasource, fieldConfig, targets = [] } of board.panels) {
      const unit = fieldConfig?.defaults.unit ?? "";
      // A space is put between number and suffix without being asked for.
      expect(UNITS.includes(unit) || /^suffix:[^\s]+$/.test(unit), `${name}, "${title}": ${unit}`).toBe(true);
      for (const { datasource: own, expr } of targets) {
        expect([datasource, own]).toEqual([chosen, chosen]);
        const variables = [...expr.matchAll(/\$(\w+)/g)].map(([, variable]) => variable);
        expect(variables.filter((one) => one !== "pool" && one !== "__rate_interval")).toEqual([]);
      }
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
    }
  }
});

test("every expression of boards and rules uses metrics and labels that a pool has", () => {
  expect(expressions.length).toBeGreaterThan(50);
  const wrong = expressions.flatMap(({ where, expr }) => {
    const { selectors, grouped, accounts: asked } = namesIn(expr);
    const missing = selectors.flatMap(({ metric, labels }) => {
      const known = series.get(metric);
      return known ? labels.filter((label) => !known.has(label)).map((label) => `${metric}{${label}}`) : [metric];
    });
    const all = selectors.map(({ metric }) => series.get(metric));
    return [
      ...(selectors.length === 0 ? ["no metric"] : missing),
      ...grouped.filter((label) => !all.some((known) => known?.has(label))),
      ...asked.filter((account) => !accounts.has(account)),
    ].map((name) => `${where}: ${name}`);
  });
  expect(wrong).toEqual([]);
});

test("rules have names of their own, choose the pool's job, and each is in the manual", () => {
  const manual = readFileSync(fileURLToPath(new URL("../../docs/monitoring.md", import.meta.url)), "utf8");
  expect(new Set(rules.map((rule) => rule.alert)).size).toBe(rules.length);
  for (const { alert, expr } of rules) {
    expect(manual).toContain(`\`${alert}\``);
    for (const { labels } of namesIn(expr).selectors) expect(labels).toContain("job");
  }
  const inManual = [...manual.matchAll(/`(OpenPool\w+)`/g)].map(([, name]) => name);
  expect([...new Set(inManual)].sort()).toEqual(rules.map((rule) => rule.alert).sort());
});

test("the scrape example and the provisioning file are YAML and name the rules and a folder", () => {
  expect(parse(read("prometheus/prometheus.yml"))).toMatchObject({
    rule_files: ["openpool.rules.yml"],
    scrape_configs: [{ job_name: "openpool" }],
  });
  expect(parse(read("grafana/provisioning/openpool.yaml"))).toMatchObject({
    apiVersion: 1,
    providers: [{ type: "file", options: { path: expect.stringContaining("openpool") } }],
  });
});

describe("where promtool is installed", () => {
  const promtool = (...args: string[]) => spawnSync("promtool", args, { encoding: "utf8" });
  const installed = promtool("--version").status === 0;
  if (!installed)
    process.stderr.write(
      "\npromtool is not here: nobody checks the alert rules and boards by Prometheus' own rules\n\n",
    );
  const dir = mkdtempSync(join(tmpdir(), "openpool-promtool-"));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test("it is, where whoever runs the tests has made sure of it", () => {
    expect(installed || process.env["TEST_PROMTOOL"] !== "needed").toBe(true);
  });

  test("it takes the rules, the scrape example and every expression of the boards", () => {
    if (!installed) return;
    const asRules = join(dir, "boards.yml");
    const recorded = expressions.map(({ expr }, i) => ({ record: `expression_${i}`, expr }));
    writeFileSync(asRules, JSON.stringify({ groups: [{ name: "boards", rules: recorded }] }));
    for (const args of [
      ["check", "rules", deploy("prometheus/openpool.rules.yml")],
      ["check", "config", deploy("prometheus/prometheus.yml")],
      ["check", "rules", asRules],
    ]) {
      const { status, stdout, stderr } = promtool(...args);
      expect(status, stdout + stderr).toBe(0);
    }
  });

  test("an orchestrator that was lost alerts, and one that was taken out on purpose does not", () => {
    if (!installed) return;
    const tests = join(dir, "upstream.yml");
    const of = (name: string, upstream: string) =>
      `openpool_upstream_${name}{job="openpool", instance="pool", upstream="${upstream}"}`;
    const constant = (series: string, value: number) => ({ series, values: `${value}x20` });
    const rule = rules.find((one) => one.alert === "OpenPoolUpstreamLost");
    writeFileSync(
      tests,
      JSON.stringify({
        rule_files: [deploy("prometheus/openpool.rules.yml")],
        evaluation_interval: "1m",
        tests: [
          {
            interval: "1m",
            input_series: ["lost", "out"].flatMap((upstream) => [
              constant(of("registered", upstream), 0),
              constant(of("drained", upstream), upstream === "out" ? 1 : 0),
            ]),
            promql_expr_test: [
              { expr: rule?.expr, eval_time: "15m", exp_samples: [{ labels: of("registered", "lost"), value: 0 }] },
            ],
          },
        ],
      }),
    );
    const { status, stdout, stderr } = promtool("test", "rules", tests);
    expect(status, stdout + stderr).toBe(0);
  });
});
