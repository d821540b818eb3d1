import { latencySummary } from "../text/latency.ts";
import { count, formatEth, grouped } from "../text/words.ts";
import type { DemoPayoutState } from "./payouts.ts";

export interface DemoWorker {
  /** `0xADDRESS.rig`. */
  readonly name: string;
  readonly state: "starting" | "working" | "killed" | "gone";
  readonly sessions: number;
  readonly capacity: number;
  readonly jobsInFlight: number;
  readonly segments: number;
  readonly creditedWei: bigint;
}

interface RenditionTally {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly made: number;
}

/** Everything that the demo shows. */
export interface DemoState {
  readonly upMs: number;
  /** What is being done now, while segments do not flow. */
  readonly phase: string | undefined;
  readonly streams: number;
  readonly done: number;
  readonly lost: number;
  /** Those that came back wrong. */
  readonly wrong: number;
  /** Of the last segments, in milliseconds from the upload's start to the last byte of the last rendition. */
  readonly latenciesMs: readonly number[];
  readonly renditions: readonly RenditionTally[];
  readonly workers: readonly DemoWorker[];
  /** Undefined: there is no chain to pay on. */
  readonly payouts?: DemoPayoutState | undefined;
  readonly serviceUri: string;
  /** Of the pages, for a browser. */
  readonly pagesUrl: string | undefined;
  readonly adminUrl: string | undefined;
  readonly dataDir: string;
  readonly keepsData: boolean;
  /** What happened, oldest first. */
  readonly notes: readonly { readonly time: string; readonly text: string }[];
}

const bold = "\u001b[1m";
const dim = "\u001b[2m";
const green = "\u001b[32m";
const red = "\u001b[31m";
const yellow = "\u001b[33m";
const off = "\u001b[0m";

/** Fewer say too little of what just happened; more say nothing new. */
const LEAST_NOTES = 3;
const MOST_NOTES = 8;

/** Lines of the live view, coloured, none longer than the terminal is wide. */
export function viewLines(state: DemoState, size: { readonly columns: number; readonly rows: number }): string[] {
  const latency = latencySummary(state.latenciesMs);
  const lost = state.lost + state.wrong;
  const head = [
    `${bold}Open Pool demo${off}   ${dim}a pool, ${count(state.workers.length, "worker")} and a gateway on this machine, up ${upTime(state.upMs)}${off}`,
    "",
    state.phase === undefined
      ? `  segments    ${bold}${green}${grouped(state.done)} done${off}, ${lost === 0 ? `${bold}0 lost${off}` : `${bold}${red}${lost} lost${off}`}   ${dim}${count(state.streams, "stream")} in real time${off}`
      : `  ${yellow}${state.phase}${off}`,
    `  latency     ${state.latenciesMs.length === 0 ? `${dim}nothing measured yet${off}` : `p50 ${bold}${latency.p50} ms${off}   p99 ${bold}${latency.p99} ms${off}`}`,
    `  renditions  ${renditionText(state.renditions)}`,
    "",
    `  ${dim}${workerRow("WORKER", "SESSIONS", "SEGMENTS", "EARNED (ETH)", "")}${off}`,
    ...state.workers.map(workerLine),
    "",
  ];
  const payouts = state.payouts ? [...payoutLines(state.payouts).map((line) => `  ${line}`), ""] : [];
  const places = [
    `  pages, in a browser    ${state.pagesUrl ?? "-"}`,
    `  gateways and workers   ${state.serviceUri}`,
    `  health and metrics     ${state.adminUrl ?? "-"}   ${dim}/healthz /metrics /status /events${off}`,
    `  data and logs          ${state.dataDir}${state.keepsData ? "" : `   ${dim}removed at the end${off}`}`,
    `  ${dim}look around:${off}           openpool balances --data-dir ${state.dataDir}`,
    "",
  ];
  const keys = `  ${bold}k${off} kill a worker mid-segment   ${bold}a${off} add a worker   ${state.payouts ? `${bold}p${off} pay now   ` : ""}${bold}q${off} end`;
  // Where not everything finds room, what was paid and where things lie go first: keys and what just happened stay.
  const bare = { paid: [], where: [], notes: 1 };
  const { paid, where, notes } =
    [
      { paid: payouts, where: places },
      { paid: payouts.slice(0, 1), where: places },
      { paid: [], where: places },
      { paid: [], where: [] },
    ]
      .map((one) => ({ ...one, notes: size.rows - 3 - head.length - one.paid.length - one.where.length }))
      .find((one) => one.notes >= LEAST_NOTES) ?? bare;
  const news = state.notes
    .slice(-Math.min(notes, MOST_NOTES))
    .map(({ time, text }) => `  ${dim}${time}${off}  ${text}`);
  const body = [...head, ...paid, ...news, "", ...where];
  return [...body.slice(0, Math.max(0, size.rows - 2)), keys]
    .slice(0, size.rows - 1)
    .map((line) => cropped(line, size.columns - 1));
}

/** The chain, the last payout with its transactions, and what it changed for whom. */
export function payoutLines({ chainUrl, payer, payerWei, waitingFor, last }: DemoPayoutState): string[] {
  const lines = [`payouts     by ${shortAddress(payer)} (${formatEth(payerWei)} ETH) on the local chain ${chainUrl}`];
  if (last) {
    const { id, state, totalWei, intents, workers } = last;
    lines.push(`  run ${id}: ${formatEth(totalWei)} ETH to ${count(workers.length, "worker")}, ${state}`);
    for (const { nonce, hash, state: fate } of intents) lines.push(`  nonce ${nonce}  ${hash}  ${fate}`);
    for (const { worker, beforeWei, afterWei } of workers) {
      lines.push(`  ${shortAddress(worker)}  ${formatEth(beforeWei)} ETH before, ${formatEth(afterWei)} ETH after`);
    }
  }
  if (waitingFor !== undefined) lines.push(`  ${waitingFor}`);
  return lines;
}

function shortAddress(address: string): string {
  return `${address.slice(0, 6)}…${address.slice(-4)}`;
}

/** The state in one line, for logs. Segments are booked moments after their answers: what a worker has may be one behind. */
export function stateLine(state: DemoState): string {
  const latency = latencySummary(state.latenciesMs);
  const workers = state.workers
    .filter((one) => one.state === "working")
    .map((one) => `${shortName(one.name)} ${one.segments}`)
    .join(", ");
  return `${state.done} done, ${state.lost + state.wrong} lost, p50 ${latency.p50} ms, p99 ${latency.p99} ms, booked so far: ${workers}`;
}

/** What is left to say when it is over. */
export function summaryText(state: DemoState): string {
  const latency = latencySummary(state.latenciesMs);
  const lines = [
    `${count(state.done, "segment")} done, ${state.lost} lost, ${state.wrong} wrong, in ${upTime(state.upMs)}`,
    `latency      p50 ${latency.p50} ms, p99 ${latency.p99} ms`,
    `renditions   ${state.renditions.map((one) => `${one.made} × ${one.name} (${one.width}×${one.height})`).join(", ") || "none"}`,
    ...state.workers.map(
      (one) =>
        `${shortName(one.name).padEnd(24)} ${count(one.segments, "segment").padStart(12)}   ${formatEth(one.creditedWei)} ETH${one.state === "killed" ? "   (killed)" : ""}`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}

/** `0x1111…1111.rig1`. */
export function shortName(name: string): string {
  const [address = "", rig = ""] = name.split(".");
  return `${address.slice(0, 6)}…${address.slice(-4)}.${rig}`;
}

function upTime(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  return minutes === 0 ? `${seconds} s` : `${minutes} min ${String(seconds % 60).padStart(2, "0")} s`;
}

function renditionText(renditions: readonly RenditionTally[]): string {
  if (renditions.length === 0) return `${dim}none yet${off}`;
  return renditions
    .map((one) => `${bold}${grouped(one.made)}${off} × ${one.name} ${one.width}×${one.height}`)
    .join("   ");
}

function workerRow(name: string, sessions: string, segments: string, earned: string, state: string): string {
  return `${name.padEnd(20)} ${sessions.padStart(8)} ${segments.padStart(9)} ${earned.padStart(22)}   ${state}`;
}

function workerLine(worker: DemoWorker): string {
  const states = {
    starting: `${yellow}starting${off}`,
    working: worker.jobsInFlight > 0 ? `${green}● transcoding${off}` : `${dim}○ idle${off}`,
    killed: `${red}killed${off}`,
    gone: `${red}gone${off}`,
  };
  const sessions = worker.state === "working" ? `${worker.sessions}/${worker.capacity}` : "-";
  const row = workerRow(shortName(worker.name), sessions, grouped(worker.segments), formatEth(worker.creditedWei), "");
  return `  ${row}${states[worker.state]}`;
}

/** Cuts a line to a width, not counting its colours. */
function cropped(line: string, width: number): string {
  let visible = 0;
  let out = "";
  // oxlint-disable-next-line no-control-regex -- the escape character is what colours begin with
  for (const [part] of line.matchAll(/\u001b\[[0-9;]*m|./gsu)) {
    if (part.startsWith("\u001b")) out += part;
    else if (visible++ < width) out += part;
  }
  return out;
}
