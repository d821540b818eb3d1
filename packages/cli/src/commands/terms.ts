import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { BadValue, bigintValue, durationValue, errorText, percentValue } from "@openpool/base";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import type { Io } from "../io.ts";
import { collect } from "../collect.ts";
import { addPoolGroup } from "../pool-group.ts";
import type { Registry } from "../registry.ts";
import { settingsError } from "../settings/settle.ts";
import { formatTable } from "../text/table.ts";

const termsSchema = z.looseObject({ version: z.number(), effectiveAt: z.string(), announcedAt: z.string() });
const answerSchema = z.object({ current: z.number(), versions: z.array(termsSchema) });
type Version = z.infer<typeof termsSchema>;

interface SetFlags {
  readonly effective?: string;
  readonly commission?: string;
  readonly scheme?: string;
  readonly schemeOption?: readonly string[];
  readonly holdTime?: string;
  readonly minimumPayout?: string;
  readonly schedule?: string;
  readonly timeZone?: string;
  readonly gas?: string;
  readonly priceSource?: string;
  readonly file?: string;
  readonly dryRun?: boolean;
}

export function addTermsCommand(registry: Registry): void {
  const { add, act } = addPoolGroup(
    registry,
    "terms",
    "what the pool promises its workers: show, compare, announce a change",
    "Terms are versioned. A change is announced before it counts and never reaches back; every credit names its version.",
  );

  const show = add("show", "print the terms in force, or a version");
  show
    .argument("[VERSION]", "a version; without it the one in force")
    .option("--all", "list all versions")
    .option("--json", "print JSON")
    .action((version: string | undefined) =>
      act(show, version === undefined ? 0 : 1, async (pool) => {
        const answer = answerSchema.parse(await pool.get("/terms"));
        if (show.opts<{ all?: boolean }>().all) return { text: listText(answer), json: answer };
        const found = pick(answer, version ?? String(answer.current));
        return { text: versionText(found, answer), json: found };
      }),
    );

  const diff = add("diff", "print what differs between two versions");
  diff
    .argument("[FROM]", "a version; without it the one in force")
    .argument("[TO]", "another one; without it the last that was announced")
    .action((from: string | undefined, to: string | undefined) =>
      act(diff, [from, to].filter((one) => one !== undefined).length, async (pool) => {
        const answer = answerSchema.parse(await pool.get("/terms"));
        const a = pick(answer, from ?? String(answer.current));
        const b = pick(answer, to ?? String(answer.versions.at(-1)?.version));
        return diffText(a, b);
      }),
    );

  const set = add("set", "announce new terms: what is not named stays as in the last version");
  set
    .requiredOption(
      "--effective <TIME>",
      "from when they count: 2026-12-01T00:00:00Z, or 24h from now; a minute at least, two days for the smallest payout and who bears the gas",
    )
    .option("--commission <PERCENT>", "what the pool keeps of each fee")
    .option("--scheme <NAME>", "how workers earn")
    .option("--scheme-option <KEY=VALUE>", "a parameter of the scheme; may be given several times", collect)
    .option("--hold-time <DURATION>", "how long what was earned is held before it is payable")
    .option("--minimum-payout <WEI>", "a worker is paid once it is owed so much")
    .option("--schedule <CRON>", "when payouts are made")
    .option("--time-zone <ZONE>", "the time zone of the schedule")
    .option("--gas <pool|worker>", "who bears the gas of payouts")
    .option(
      "--price-source <upstream|configured>",
      "where the price of a job comes from: the orchestrator that the pool works for, where one says it, or always the settings",
    )
    .option(
      "--file <FILE>",
      "a YAML or JSON file with the document, or with parts of it; the only way to name overrides",
    )
    .option("--dry-run", "only print what would change, or why it would be refused")
    .addHelpText(
      "after",
      `
Examples:
  openpool terms set --effective 24h --commission 20%
  openpool terms set --effective 2026-12-01T00:00:00Z --file terms.yaml --dry-run`,
    );
  set.action(() =>
    act(set, 0, async (pool, io) => {
      const flags = set.opts<SetFlags>();
      const answer = answerSchema.parse(await pool.get("/terms"));
      const last = answer.versions.at(-1);
      const { version: _v, effectiveAt: _e, announcedAt: _a, ...document } = last ?? pick(answer, "1");
      const { change, effectiveAt } = await readChange(flags, document, io);
      const next = { ...document, ...change };
      const told = diffText(
        { ...document, version: last?.version ?? 0, effectiveAt: "", announcedAt: "" },
        { ...next, version: (last?.version ?? 0) + 1, effectiveAt: "", announcedAt: "" },
      );
      const { dryRun = false } = flags;
      const made = termsSchema.parse(await pool.change("POST", "/terms", { terms: next, effectiveAt, dryRun }));
      const fate = dryRun ? "would count from" : "counts from";
      return `${told}version ${made.version} ${fate} ${made.effectiveAt}\n`;
    }),
  );
}

function pick(answer: z.infer<typeof answerSchema>, version: string): Version {
  const found = answer.versions.find((one) => String(one.version) === version);
  if (found) return found;
  throw settingsError([{ where: "VERSION", problem: `${JSON.stringify(version)} is no version of the terms` }]);
}

async function readChange(
  flags: SetFlags,
  document: Readonly<Record<string, unknown>>,
  io: Io,
): Promise<{ readonly change: Record<string, unknown>; readonly effectiveAt: string }> {
  const problems: { where: string; problem: string }[] = [];
  const value = <T>(where: string, parsed: T | BadValue): T | undefined => {
    if (!(parsed instanceof BadValue)) return parsed;
    problems.push({ where, problem: parsed.problem });
    return undefined;
  };
  const change: Record<string, unknown> = {};
  if (flags.file !== undefined) {
    try {
      Object.assign(
        change,
        z.record(z.string(), z.unknown()).parse(parseYaml(await readFile(resolve(io.cwd, flags.file), "utf8"))),
      );
    } catch (error) {
      problems.push({ where: "--file", problem: `cannot be read as a document of terms (${errorText(error)})` });
    }
  }
  if (flags.commission !== undefined) {
    change["commissionPpm"] = value("--commission", percentValue.parse(flags.commission))?.toString();
  }
  if (flags.scheme !== undefined) {
    change["scheme"] = flags.scheme;
    change["schemeOptions"] ??= {};
  }
  for (const text of flags.schemeOption ?? []) {
    const [, key, given] = /^([A-Za-z]+)=(.*)$/s.exec(text) ?? [];
    if (key === undefined)
      problems.push({ where: "--scheme-option", problem: `${JSON.stringify(text)} is no KEY=VALUE` });
    else {
      const before = (change["schemeOptions"] ?? document["schemeOptions"] ?? {}) as Record<string, unknown>;
      change["schemeOptions"] = { ...before, [key]: given };
    }
  }
  if (flags.holdTime !== undefined) {
    change["holdMs"] = value("--hold-time", durationValue({ minMs: 0 }).parse(flags.holdTime));
  }
  if (flags.minimumPayout !== undefined) {
    const wei = bigintValue("WEI", { min: 0n, max: 2n ** 128n }).parse(flags.minimumPayout);
    change["minimumPayoutWei"] = value("--minimum-payout", wei)?.toString();
  }
  if (flags.schedule !== undefined || flags.timeZone !== undefined) {
    const before = document["schedule"] as Record<string, unknown>;
    change["schedule"] = {
      ...before,
      ...(flags.schedule === undefined ? {} : { cron: flags.schedule }),
      ...(flags.timeZone === undefined ? {} : { timeZone: flags.timeZone }),
    };
  }
  if (flags.gas !== undefined) change["gasBorneBy"] = flags.gas;
  if (flags.priceSource !== undefined) change["priceSource"] = flags.priceSource;
  const effectiveAt = parseEffective(flags.effective ?? "");
  if (effectiveAt === undefined) {
    problems.push({
      where: "--effective",
      problem: `${JSON.stringify(flags.effective)} is no time like 2026-12-01T00:00:00Z or 24h`,
    });
  }
  if (problems.length > 0 || effectiveAt === undefined) throw settingsError(problems);
  return { change, effectiveAt };
}

/** A moment as RFC 3339, or a span from now. */
function parseEffective(text: string): string | undefined {
  const ahead = durationValue({ minMs: 0 }).parse(text);
  if (!(ahead instanceof BadValue)) return new Date(Date.now() + ahead).toISOString();
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text)) return undefined;
  const parsed = Date.parse(text);
  return Number.isNaN(parsed) ? undefined : new Date(parsed).toISOString();
}

function cellText(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

function versionText(version: Version, answer: z.infer<typeof answerSchema>): string {
  const { version: number, effectiveAt, announcedAt, ...document } = version;
  const state = number === answer.current ? "in force" : Date.parse(effectiveAt) > Date.now() ? "announced" : "past";
  const rows = Object.entries(document).map(([field, value]) => [field, cellText(value)]);
  return `version ${number}, ${state}; announced ${announcedAt}, counts from ${effectiveAt}\n${formatTable(["TERM", "VALUE"], rows)}`;
}

function listText({ current, versions }: z.infer<typeof answerSchema>): string {
  const rows = versions.map((one) => [
    String(one.version),
    one.announcedAt,
    one.effectiveAt,
    one.version === current ? "in force" : "",
  ]);
  return formatTable(["VERSION", "ANNOUNCED", "COUNTS FROM", ""], rows, new Set([0]));
}

function diffText(from: Version, to: Version): string {
  const dates = new Set(["version", "effectiveAt", "announcedAt"]);
  const fields = [...new Set([...Object.keys(from), ...Object.keys(to)])].filter((field) => !dates.has(field));
  const rows = fields.map((field) => [field, cellText(from[field]), cellText(to[field])]).filter(([, a, b]) => a !== b);
  if (rows.length === 0) return "nothing differs\n";
  return formatTable(["TERM", `VERSION ${from.version}`, `VERSION ${to.version}`], rows);
}
