import type { Fact, FactsMessage, WorkerAddress } from "@openpool/protocol";
import type { StoredEvent } from "../../store/types.ts";
import { publicReason } from "./public-text.ts";

/** Facts of one message; what is more is counted only. */
const MAX_FACTS = 200;

/** What of an event is kept to be told: a part of what the log has of it. */
export interface Told {
  readonly position: bigint;
  /** Unix ms. */
  readonly atMs: number;
  readonly kind: "job" | "lost" | "other";
  /** What everybody may know of it; a segment's is for who asks for its worker. */
  readonly fact: Fact | undefined;
  readonly pixels: bigint;
  readonly feeWei: bigint;
  readonly earnedWei: bigint;
}

export function toldOf(event: StoredEvent): Told {
  const { position, data } = event;
  const isJob = event.type === "job.credited";
  const shown = isJob ? jobFacts(data) : PUBLIC_FACTS[event.type]?.(data);
  return {
    position,
    atMs: Date.parse(event.time),
    kind: isJob ? "job" : event.type === "job.failed" ? "lost" : "other",
    fact: shown && {
      position: position.toString(),
      at: event.time,
      type: event.type,
      worker: event.worker ?? null,
      rig: event.rig ?? null,
      data: shown,
    },
    pixels: isJob ? amount(data["pixels"]) : 0n,
    feeWei: isJob ? amount(data["feeWei"]) : 0n,
    earnedWei: isJob ? amount(data["earnedWei"]) : 0n,
  };
}

/** What happens between two positions, as it adds up for everybody and for single workers. */
export class Digest {
  #to = 0n;
  #jobs = 0;
  #lostJobs = 0;
  #pixels = 0n;
  #feeWei = 0n;
  #earnedWei = 0n;
  readonly #facts: Fact[] = [];
  #left = 0;
  /** Segments by who did them. */
  readonly #jobsOf = new Map<string, Fact[]>();
  /** What was merged: whose segments those have is looked up when somebody asks. */
  readonly #parts: Digest[] = [];

  /** Position of the newest event in it. */
  get to(): bigint {
    return this.#to;
  }

  /** Something that a reader would care for. */
  get isNews(): boolean {
    return this.#jobs + this.#lostJobs + this.#facts.length + this.#left > 0;
  }

  hasJobsOf(worker: WorkerAddress): boolean {
    return this.#jobsOf.has(worker) || this.#parts.some((part) => part.hasJobsOf(worker));
  }

  /** Takes what came next. */
  add({ position, kind, fact, pixels, feeWei, earnedWei }: Told): void {
    this.#to = position;
    if (kind === "job") {
      this.#jobs++;
      this.#pixels += pixels;
      this.#feeWei += feeWei;
      this.#earnedWei += earnedWei;
      if (typeof fact?.worker === "string") this.#listJob(fact.worker, fact);
    } else if (kind === "lost") {
      this.#lostJobs++;
    } else if (fact) {
      this.#list([fact]);
    }
  }

  /** Takes all that came next, added up already, and to which nothing is added as long as this one is told. */
  merge(next: Digest): void {
    this.#to = next.#to;
    this.#jobs += next.#jobs;
    this.#lostJobs += next.#lostJobs;
    this.#pixels += next.#pixels;
    this.#feeWei += next.#feeWei;
    this.#earnedWei += next.#earnedWei;
    this.#list(next.#facts);
    this.#left += next.#left;
    this.#parts.push(next);
  }

  #list(facts: readonly Fact[]): void {
    const room = MAX_FACTS - this.#facts.length;
    this.#facts.push(...facts.slice(0, room));
    this.#left += Math.max(0, facts.length - room);
  }

  #listJob(worker: string, job: Fact): void {
    const own = this.#jobsOf.get(worker);
    if (own === undefined) this.#jobsOf.set(worker, [job]);
    else if (own.length < MAX_FACTS) own.push(job);
  }

  /** The first segments of a worker, oldest first. */
  #jobsBy(worker: WorkerAddress): readonly Fact[] {
    const jobs = [...(this.#jobsOf.get(worker) ?? [])];
    for (const part of this.#parts) {
      if (jobs.length >= MAX_FACTS) break;
      jobs.push(...part.#jobsBy(worker));
    }
    return jobs.slice(0, MAX_FACTS);
  }

  message(worker: WorkerAddress | undefined): Buffer {
    const own = worker === undefined ? [] : this.#jobsBy(worker);
    const data: FactsMessage = {
      to: this.#to.toString(),
      jobs: this.#jobs,
      lostJobs: this.#lostJobs,
      pixels: this.#pixels.toString(),
      feeWei: this.#feeWei.toString(),
      earnedWei: this.#earnedWei.toString(),
      facts: own.length === 0 ? this.#facts : [...this.#facts, ...own].toSorted(byPosition),
      left: this.#left,
    };
    return Buffer.from(`id: ${data.to}\nevent: facts\ndata: ${JSON.stringify(data)}\n\n`);
  }
}

function byPosition(a: Fact, b: Fact): number {
  return a.position.length - b.position.length || (a.position < b.position ? -1 : 1);
}

function amount(value: unknown): bigint {
  return typeof value === "string" && /^\d+$/.test(value)
    ? BigInt(value)
    : typeof value === "number"
      ? BigInt(Math.trunc(value))
      : 0n;
}

type Data = Readonly<Record<string, unknown>>;
const pick =
  (...names: readonly string[]) =>
  (data: Data): Record<string, unknown> =>
    Object.fromEntries(names.filter((name) => data[name] !== undefined).map((name) => [name, data[name]]));

const jobFacts = pick(
  "job",
  "pixels",
  "feeWei",
  "commissionWei",
  "earnedWei",
  "durationMs",
  "tookMs",
  "attempts",
  "hedged",
);

/** What everybody may know of an event, by its type; a type that is missing here is nobody's business. */
const PUBLIC_FACTS: Readonly<Record<string, (data: Data) => Record<string, unknown>>> = {
  "attempt.failed": pick("kind", "tookMs"),
  "claim.differed": pick("degree", "claimedPixels", "measuredPixels"),
  "rig.joined": pick("capacity", "version"),
  "rig.left": () => ({}),
  "rig.standing": (data) => ({
    standing: data["standing"],
    reason: publicReason(typeof data["reason"] === "string" ? data["reason"] : "").sentence,
  }),
  "rig.drained": () => ({}),
  "rig.undrained": () => ({}),
  "worker.changed": pick("locked", "banned"),
  "pool.started": pick("version"),
  "pool.stopped": () => ({}),
  "pool.no-rigs": pick("since"),
  "pool.has-rigs": () => ({}),
  "log.resumed": () => ({}),
  "terms.announced": pick("version", "effectiveAt"),
  "payout.planned": pick("run", "lines", "totalWei"),
  "payout.approved": pick("run"),
  "payout.cancelled": pick("run"),
  "payout.signed": pick("run", "hash", "lines"),
  "payout.outbid": pick("hash", "replaces"),
  "payout.reorged": pick("hash"),
  "payout.paid": pick("line", "run", "amountWei", "payTo", "hash"),
  "payout.returned": pick("line", "run", "amountWei"),
  "payout.halted": () => ({}),
  "payout.paused": () => ({}),
  "payout.resumed": () => ({}),
  "payto.requested": pick("payTo", "effectiveAtMs"),
  "payto.changed": pick("payTo"),
  "payto.cancelled": () => ({}),
};
