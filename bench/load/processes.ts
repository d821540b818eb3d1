import { readdirSync, readFileSync } from "node:fs";

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
  /** User and system time, waited-for children included, in ms. */
  readonly cpuMs: number;
  readonly residentBytes: number;
}

const TICK_MS = 10;
const PAGE_BYTES = 4096;

function readProcess(pid: string): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return {
      pid: Number(pid),
      parent: Number(fields[1]),
      command: stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")")),
      cpuMs: fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * TICK_MS,
      residentBytes: Number(fields[21]) * PAGE_BYTES,
    };
  } catch {
    return undefined; // it has ended
  }
}

/** A process and everything below it, as /proc shows them now. */
function familyOf(root: number): readonly Process[] {
  const all = readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [readProcess(name)] : []));
  const family = new Map<number, Process>();
  for (let grown = true; grown;) {
    grown = false;
    for (const one of all) {
      if (!one || family.has(one.pid) || (one.pid !== root && !family.has(one.parent))) continue;
      family.set(one.pid, one);
      grown = true;
    }
  }
  return [...family.values()];
}

export interface Usage {
  readonly cpuMs: number;
  /** The share of Postgres in it. */
  readonly postgresCpuMs: number;
  /** Resident memory of all but Postgres. */
  readonly residentBytes: number;
}

export function usageOf(root: number): Usage {
  const family = familyOf(root);
  const postgres = family.filter(({ command }) => command.startsWith("postgres"));
  const sum = (list: readonly Process[], of: (one: Process) => number): number =>
    list.reduce((n, one) => n + of(one), 0);
  return {
    cpuMs: sum(family, ({ cpuMs }) => cpuMs),
    postgresCpuMs: sum(postgres, ({ cpuMs }) => cpuMs),
    residentBytes: sum(
      family.filter((one) => !postgres.includes(one)),
      ({ residentBytes }) => residentBytes,
    ),
  };
}
