import { type Clock, plainText } from "@openpool/base";
import { devicesByModel, formatRig, type RigDevice, type RigName, type RigReport } from "@openpool/protocol";
import type { RigReportRecord, RigReportSummary, Store } from "../store/types.ts";

/** Devices of one model in one rig. */
export interface DeviceCount extends Pick<RigDevice, "kind" | "model"> {
  readonly count: number;
}

/** What lists show of a machine, by its own account. */
export interface Machine {
  /** Version of the worker daemon. */
  readonly software: string;
  readonly devices: readonly DeviceCount[];
}

/** Anybody may come under any number of names: those that reported longest ago are forgotten. */
const KEPT = 20_000;

/**
 * What rigs told about their machines. The last report of each is kept, so that one that left is still known; summaries
 * are in memory, for lists of thousands.
 */
export class RigReports {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #kept: number;
  /** By `<address>.<name>`, longest ago first. */
  readonly #machines = new Map<string, { readonly name: RigName; readonly machine: Machine }>();

  private constructor(store: Store, clock: Clock, kept: number) {
    this.#store = store;
    this.#clock = clock;
    this.#kept = kept;
  }

  static async open(deps: { readonly store: Store; readonly clock: Clock }, kept = KEPT): Promise<RigReports> {
    const reports = new RigReports(deps.store, deps.clock, kept);
    for (const one of await deps.store.rigReports()) reports.#remember(one);
    return reports;
  }

  machineOf(name: RigName): Machine | undefined {
    return this.#machines.get(formatRig(name))?.machine;
  }

  /** The whole of a rig's last report. */
  async read(name: RigName): Promise<RigReportRecord | undefined> {
    return this.#machines.has(formatRig(name)) ? this.#store.rigReport(name) : undefined;
  }

  /** Keeps a report in place of the one before it. */
  async keep(name: RigName, told: RigReport): Promise<void> {
    const report = harmless(told);
    await this.#store.putRigReport({ name, reportedAt: new Date(this.#clock.now()).toISOString(), report });
    const { software, devices } = report;
    this.#remember({ name, software: software.worker, devices });
    if (this.#machines.size <= this.#kept) return;
    const [oldest] = this.#machines.values();
    if (!oldest) return;
    this.#machines.delete(formatRig(oldest.name));
    await this.#store.dropRigReport(oldest.name);
  }

  #remember({ name, software, devices }: RigReportSummary): void {
    const key = formatRig(name);
    this.#machines.delete(key);
    const counted = devicesByModel(devices).map(({ first: { kind, model }, count }) => ({ kind, model, count }));
    this.#machines.set(key, { name, machine: { software, devices: counted } });
  }
}

/** Sentences that a stranger may have written are made one line of plain text; all else was held against its schema. */
function harmless(report: RigReport): RigReport {
  const { worker, ffmpeg, system } = report.software;
  return {
    ...report,
    software: { worker: plainText(worker, 64), ffmpeg: plainText(ffmpeg, 64), system: plainText(system, 64) },
    devices: report.devices.map((device) => ({ ...device, model: plainText(device.model, 120) || device.kind })),
  };
}
