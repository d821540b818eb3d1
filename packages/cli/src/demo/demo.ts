import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Clock, errorText, PoolError, silentLogger, systemClock } from "@openpool/base";
import { checksumAddress } from "@openpool/protocol";
import { describeOutcome, type PushedSegment, pushFile } from "@openpool/push";
import { z } from "zod";
import { type AdminClient, AdminClientError } from "../admin-client.ts";
import { balancesSchema } from "../commands/balances.ts";
import { type ExitCode, exitCode, type Io } from "../io.ts";
import { count } from "../text/words.ts";
import { wrongWith } from "./check-rendition.ts";
import { type BooksSaid, endingOf } from "./ending.ts";
import { ensureFfmpeg, thisHost } from "./ffmpeg-setup.ts";
import { DemoError, type Member, poolReady, runCommand, startMember } from "./household.ts";
import { DemoPayouts, type PaidAll } from "./payouts.ts";
import { openScreen, watchKeys } from "./screen.ts";
import { type DemoState, type DemoWorker, payoutLines, shortName, stateLine, summaryText, viewLines } from "./view.ts";

export interface DemoOptions {
  /** Push so many segments, as fast as they are answered, pay for them and end. */
  readonly once: number | undefined;
  /** Without `once` and without a terminal: push in real time until told to stop, as in a terminal. */
  readonly loop: boolean;
  /** FFmpeg may be installed where it is missing. */
  readonly mayInstall: boolean;
  readonly workers: number;
  readonly streams: number;
  /** What the gateway pushes; undefined: the clip that comes with the program. */
  readonly source: string | undefined;
  /** Where everything lies and stays; undefined: a temporary directory that is removed at the end. */
  readonly dataDir: string | undefined;
}

/** So many segments are pushed where nobody looks on who could end it. */
export const SEGMENTS_UNWATCHED = 20;

const clip = fileURLToPath(new URL("../../media/bigbuckbunny.mp4", import.meta.url));

/**
 * The gateway of the demo waits ten times as long as one does: its network is this machine, which a pool, a database, a chain
 * and several FFmpegs share with it. When it dials late, no pool has lost a segment; when a pool loses one, it says so itself.
 */
const patientClock: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(10 * delayMs, callback),
};

/** How many of the latest segments the latency is taken of. */
const LATENCY_WINDOW = 500;
const POLL_MS = 400;
/** Everybody gets this long to end by themselves; what is left is killed. */
const PATIENCE_MS = 4_000;
/** How long the workers may take to join: each tries its encoders first, all of them at once. */
const JOINING_MS = 120_000;
/** How long payouts may take at the end. */
const PAYING_MS = 120_000;
/** How long `openpool ledger check` may take after that: seconds, but for a machine that stands still. */
const CHECKING_MS = 120_000;
/** As long as that when somebody wants it to end. */
const AT_STOP_MS = 5_000;

const statusSchema = z.object({
  serviceUri: z.string(),
  publicListen: z.string().optional(),
  rigs: z.array(
    z.object({
      worker: z.string(),
      rig: z.string(),
      state: z.string(),
      capacity: z.number(),
      sessions: z.number(),
      jobsInFlight: z.number(),
    }),
  ),
});
const eventSchema = z.object({
  worker: z.string(),
  rig: z.string(),
  data: z.object({ seq: z.string(), attempts: z.number() }),
});

interface Worker {
  readonly name: string;
  readonly member: Member;
  state: DemoWorker["state"];
  killedAtMs: number;
  /** Segments that it held when it was killed and that have not come back yet. */
  heldAtDeath: number;
  sessions: number;
  capacity: number;
  jobsInFlight: number;
  segments: number;
  creditedWei: bigint;
}

/** Runs the demo until it has pushed what it should, or until `io.stop` or a key ends it. */
export async function runDemo(options: DemoOptions, io: Io): Promise<ExitCode> {
  await ensureFfmpeg(
    { mayInstall: options.mayInstall },
    { host: thisHost((text) => io.err(text)), say: (line) => io.err(`openpool: ${line}\n`) },
  );
  const dataDir =
    options.dataDir === undefined ? await mkdtemp(join(tmpdir(), "openpool-demo-")) : resolve(io.cwd, options.dataDir);
  await mkdir(dataDir, { recursive: true });
  // Run by root, the database belongs to another user, who has to pass through here.
  await chmod(dataDir, 0o755);
  let code: ExitCode = exitCode.failed;
  try {
    code = await new Demo(options, dataDir, io).run();
    return code;
  } finally {
    if (options.dataDir === undefined) {
      if (code === exitCode.ok) await removeData(dataDir);
      else io.err(`openpool: data and logs were kept in ${dataDir}\n`);
    }
  }
}

/** Removes a temporary data directory, and its database where that had to lie elsewhere. */
async function removeData(dataDir: string): Promise<void> {
  const record = await readFile(join(dataDir, "postgres.json"), "utf8").catch(() => "{}");
  const { place } = z.object({ place: z.string().optional() }).parse(JSON.parse(record));
  if (place !== undefined && basename(dirname(place)) === "openpool") await rm(place, { recursive: true, force: true });
  await rm(dataDir, { recursive: true, force: true });
}

type PaidAndChecked = PaidAll & { readonly books: BooksSaid };

class Demo {
  readonly #options: DemoOptions;
  /** So many segments; undefined: until told to stop. */
  readonly #segments: number | undefined;
  readonly #dataDir: string;
  readonly #io: Io;
  readonly #live: boolean;
  readonly #startedMs = performance.now();
  readonly #end = new AbortController();
  readonly #workers: Worker[] = [];
  readonly #renditions = new Map<string, { width: number; height: number; made: number }>();
  readonly #notes: { readonly time: string; readonly text: string }[] = [];
  readonly #latenciesMs: number[] = [];
  #done = 0;
  #lost = 0;
  #wrong = 0;
  #poolDied = false;
  /** Why not everything that was credited was paid, when somebody wanted it to end. */
  #unpaid: string | undefined;
  #phase: string | undefined = "starting the pool";
  /** The pool's own address, once it is there. */
  #serviceUri = "";
  #pool: AdminClient | undefined;
  #pagesUrl: string | undefined;
  #payouts: DemoPayouts | undefined;
  #redraw: () => void = () => {};

  constructor(options: DemoOptions, dataDir: string, io: Io) {
    this.#options = options;
    this.#dataDir = dataDir;
    this.#io = io;
    const watched = io.keyboard !== undefined && io.outIsTerminal;
    this.#live = watched && options.once === undefined;
    this.#segments = options.once ?? (watched || options.loop ? undefined : SEGMENTS_UNWATCHED);
  }

  async run(): Promise<ExitCode> {
    const wanted = this.#segments;
    const members: Member[] = [];
    let paid: PaidAndChecked | undefined;
    const stop = (): void => this.#end.abort();
    if (this.#io.stop.aborted) return exitCode.ok;
    this.#io.stop.addEventListener("abort", stop, { once: true });
    const view = this.#live ? this.#openView() : undefined;
    try {
      const payouts = await DemoPayouts.start(this.#dataDir, { live: wanted === undefined });
      if ("none" in payouts) this.#note(`nothing will be paid out here: ${payouts.none}`);
      else this.#payouts = payouts;
      const listen = "127.0.0.1:0";
      const poolArgs = ["pool", "--data-dir", this.#dataDir, "--listen", listen, "--service-uri", `https://${listen}`];
      poolArgs.push("--admin-listen", "127.0.0.1:0", "--log-format", "json");
      poolArgs.push(...(this.#payouts?.poolArgs ?? []));
      const pool = startMember("pool", poolArgs, this.#dataDir, this.#io);
      members.push(pool);
      this.#pool = await poolReady(pool, this.#dataDir, this.#end.signal);
      const { serviceUri, publicListen } = statusSchema.parse(await this.#pool.get("/status"));
      this.#serviceUri = serviceUri;
      if (publicListen !== undefined) this.#pagesUrl = `http://${publicListen}`;
      this.#note(`the pool serves at ${serviceUri}, its admin port is ${this.#pool.url}`);
      if (this.#pagesUrl !== undefined) this.#note(`look at it in a browser: ${this.#pagesUrl}`);
      this.#say("starting the workers");
      for (let i = 0; i < this.#options.workers; i++) this.#addWorker();
      await this.#workersReady();
      const background = Promise.all([this.#poll(), this.#followEvents(), this.#watchPool(pool)]);
      // Awaited at the end; what fails before that ends the demo.
      background.catch(() => this.#end.abort());
      this.#phase = undefined;
      await this.#push();
      if (!this.#live) {
        await this.#settleCredits();
        paid = await this.#payAll();
      }
      this.#say("ending");
      this.#end.abort();
      await background;
    } catch (error) {
      const byTheEnd = error instanceof Error && error.name === "AbortError" && this.#end.signal.aborted;
      // A pool that is gone does not answer; that it went is told below.
      const byItsDeath = error instanceof AdminClientError && this.#poolDied;
      if (!byTheEnd && !byItsDeath) throw error;
    } finally {
      this.#io.stop.removeEventListener("abort", stop);
      this.#end.abort();
      this.#say("ending");
      await endAll([...members, ...this.#workers.map((one) => one.member)]);
      await this.#payouts?.[Symbol.asyncDispose]();
      view?.[Symbol.dispose]();
    }
    await this.#io.out(summaryText(this.#state()));
    const { code, lines, error } = endingOf({
      poolDied: this.#poolDied,
      unpaid: this.#unpaid,
      paid,
      wanted,
      done: this.#done,
      bad: this.#lost + this.#wrong,
      credited: this.#workers.reduce((sum, one) => sum + one.segments, 0),
    });
    for (const line of lines) await this.#io.out(`${line}\n`);
    if (error !== undefined) this.#io.err(`openpool: ${error}\n`);
    return code;
  }

  /** Pays what was credited, on the demo's own chain, and checks the books; undefined where nothing was, or could be, paid. */
  async #payAll(): Promise<PaidAndChecked | undefined> {
    if (!this.#payouts || !this.#pool || this.#creditedWei() === 0n) return undefined;
    this.#say("paying the workers");
    using patience = this.#patience(PAYING_MS);
    let paid: PaidAll;
    try {
      paid = await this.#payouts.payAll(this.#pool, {
        workers: this.#workers.map(addressOf),
        creditedWei: async () => {
          await this.#refresh();
          return this.#creditedWei();
        },
        patience: patience.signal,
      });
    } catch (error) {
      if (!this.#end.signal.aborted || !(error instanceof PoolError && error.info.code === "demo/not-paid"))
        throw error;
      this.#unpaid = errorText(error);
      return undefined;
    }
    await this.#refresh();
    for (const line of payoutLines(this.#payouts.state)) this.#note(line);
    return { ...paid, books: await this.#checkBooks() };
  }

  async #checkBooks(): Promise<BooksSaid> {
    const check = ["ledger", "check", "--data-dir", this.#dataDir];
    using patience = this.#patience(CHECKING_MS);
    const { code, text } = await runCommand(check, this.#dataDir, this.#io, patience.signal);
    this.#note(`openpool ledger check: ${code === undefined ? "it did not end in time" : text}`);
    if (code !== undefined) return code === exitCode.ok ? "right" : "wrong";
    return this.#end.signal.aborted ? "cut-short" : "late";
  }

  /** For something that may take so long: less, from when somebody wants the demo to end. */
  #patience(longestMs: number): Disposable & { readonly signal: AbortSignal } {
    const over = new AbortController();
    const timers = [setTimeout(() => over.abort(), longestMs)];
    const hurry = (): void => void timers.push(setTimeout(() => over.abort(), AT_STOP_MS));
    const { signal } = this.#end;
    if (signal.aborted) hurry();
    else signal.addEventListener("abort", hurry, { once: true });
    return {
      signal: over.signal,
      [Symbol.dispose]() {
        signal.removeEventListener("abort", hurry);
        for (const timer of timers) clearTimeout(timer);
      },
    };
  }

  #creditedWei(): bigint {
    return this.#workers.reduce((sum, one) => sum + one.creditedWei, 0n);
  }

  #addWorker(): void {
    const number = this.#workers.length + 1;
    // Addresses that are easy to tell apart. Nobody has their keys: what they are paid is play money of a chain that ends
    // with the demo.
    const address = checksumAddress(number <= 9 ? new Uint8Array(20).fill(0x11 * number) : randomBytes(20));
    const rig = `rig${number}`;
    const args = ["worker", "--pool", new URL(this.#serviceUri).host, "--address", address, "--name", rig];
    args.push("--devices", "cpu", "--max-sessions", String(Math.max(2, this.#options.streams)), "--log-format", "json");
    args.push("--work-dir", join(this.#dataDir, rig));
    const member = startMember(rig, args, this.#dataDir, this.#io);
    const worker: Worker = {
      name: `${address}.${rig}`,
      member,
      state: "starting",
      killedAtMs: 0,
      heldAtDeath: 0,
      sessions: 0,
      capacity: 0,
      jobsInFlight: 0,
      segments: 0,
      creditedWei: 0n,
    };
    this.#workers.push(worker);
    void member.ended.then(() => {
      if (worker.state === "killed" || this.#end.signal.aborted) return;
      worker.state = "gone";
      this.#note(`${shortName(worker.name)} ended by itself: ${member.logFile} says why`);
    });
  }

  async #workersReady(): Promise<void> {
    const patience = AbortSignal.timeout(JOINING_MS);
    while (this.#workers.some((one) => one.state === "starting")) {
      await this.#refresh();
      const failed = this.#workers.find((one) => one.state === "gone" || patience.aborted);
      if (failed) {
        const { logFile } = failed.member;
        throw new DemoError({ code: "demo/no-worker", logFile }, `a worker did not join the pool: ${logFile} says why`);
      }
      await sleep(100, undefined, { signal: this.#end.signal });
    }
    this.#note(`${count(this.#workers.length, "worker")} joined`);
  }

  async #push(): Promise<void> {
    const once = this.#segments;
    const { streams, source = clip } = this.#options;
    // A number that does not divide by the streams goes through one.
    const parallel = once === undefined || once % streams === 0 ? streams : 1;
    const segments = pushFile(
      {
        source,
        orchestrator: this.#serviceUri,
        streams: parallel,
        count: once === undefined ? "forever" : once / parallel,
        pace: "as-answered",
        manifestPrefix: "demo",
        signal: this.#end.signal,
      },
      { logger: silentLogger, clock: patientClock },
    );
    let dueMs = performance.now();
    for await (const segment of segments) {
      // What is cut off by the end was not lost by the pool.
      if (segment.outcome.kind !== "done" && this.#end.signal.aborted) continue;
      this.#count(segment);
      this.#redraw();
      if (once !== undefined) continue;
      // Streams run in real time, but never ahead of a machine that cannot keep up: the next segment of a stream goes
      // out when this result was taken.
      dueMs = Math.max(dueMs + segment.durationMs / parallel, performance.now() - segment.durationMs);
      await sleep(Math.max(0, dueMs - performance.now()), undefined, { signal: this.#end.signal }).catch(
        () => undefined,
      );
    }
  }

  #count(segment: PushedSegment): void {
    const { outcome } = segment;
    const name = `segment ${segment.seq} of stream ${segment.stream + 1}`;
    if (outcome.kind !== "done") {
      this.#lost += 1;
      this.#note(`${name} was lost: ${describeOutcome(outcome)}`);
      return;
    }
    const wrong = wrongWith(segment);
    if (wrong !== undefined) {
      this.#wrong += 1;
      this.#note(`${name} came back wrong: ${wrong}`);
      return;
    }
    this.#done += 1;
    this.#latenciesMs.push(outcome.timings.totalMs);
    if (this.#latenciesMs.length > LATENCY_WINDOW) this.#latenciesMs.shift();
    for (const { profile } of outcome.renditions) {
      const made = (this.#renditions.get(profile.name)?.made ?? 0) + 1;
      this.#renditions.set(profile.name, { width: profile.width, height: profile.height, made });
    }
    if (!this.#live) this.#log(`${name}: ${describeOutcome(outcome)}   (${stateLine(this.#state())})`);
  }

  /** Kills a worker while it holds a segment, so that the rescue can be watched. */
  async #killOne(): Promise<void> {
    const working = this.#workers.filter((one) => one.state === "working");
    if (working.length < 2) {
      this.#note("the last worker is not killed: nobody would be left to do its work. Add one with a");
      return;
    }
    const patience = AbortSignal.any([AbortSignal.timeout(5_000), this.#end.signal]);
    let victim = working[0]!;
    for (;;) {
      await this.#refresh();
      const busy = working.find((one) => one.state === "working" && one.jobsInFlight > 0);
      if (busy) victim = busy;
      if (busy || patience.aborted) break;
      await sleep(25);
    }
    if (this.#end.signal.aborted || victim.state !== "working") return;
    victim.state = "killed";
    victim.killedAtMs = performance.now();
    victim.heldAtDeath = victim.jobsInFlight;
    victim.member.kill();
    this.#note(
      `killed ${shortName(victim.name)}${victim.jobsInFlight > 0 ? " in the middle of a segment" : ", which was idle"}`,
    );
  }

  /** Reads who is connected and what everybody earned. */
  async #refresh(): Promise<void> {
    if (!this.#pool) return;
    const [status, balances] = await Promise.all([this.#pool.get("/status"), this.#pool.get("/balances")]);
    const rigs = new Map(statusSchema.parse(status).rigs.map((one) => [`${one.worker}.${one.rig}`, one]));
    const credits = new Map(
      balancesSchema.parse(balances).flatMap((one) => one.rigs.map((rig) => [`${one.worker}.${rig.name}`, rig])),
    );
    for (const worker of this.#workers) {
      const rig = rigs.get(worker.name);
      const connected = rig?.state === "connected";
      if (connected && worker.state === "starting") {
        worker.state = "working";
        if (this.#phase === undefined) this.#note(`${shortName(worker.name)} joined`);
      }
      worker.sessions = rig?.sessions ?? 0;
      worker.capacity = rig?.capacity ?? 0;
      worker.jobsInFlight = rig?.jobsInFlight ?? 0;
      const credit = credits.get(worker.name);
      worker.segments = credit?.segments ?? worker.segments;
      worker.creditedWei = credit?.creditedWei ?? worker.creditedWei;
    }
    await this.#payouts?.refresh(this.#pool);
    this.#redraw();
  }

  async #poll(): Promise<void> {
    while (!this.#end.signal.aborted) {
      await this.#refresh().catch((error: unknown) => {
        if (!(error instanceof AdminClientError)) throw error;
      });
      await sleep(POLL_MS, undefined, { signal: this.#end.signal }).catch(() => undefined);
    }
  }

  /** Tells what becomes of the segments that killed workers held. */
  async #followEvents(): Promise<void> {
    if (!this.#pool) return;
    try {
      for await (const line of this.#pool.lines("/events?follow=1&type=job.credited", this.#end.signal)) {
        const { worker, rig, data } = eventSchema.parse(JSON.parse(line));
        const name = `${worker}.${rig}`;
        const killed = this.#workers.find((one) => one.state === "killed" && one.heldAtDeath > 0);
        // More than one attempt: somebody else had it before.
        if (!killed || name === killed.name || data.attempts < 2) continue;
        killed.heldAtDeath -= 1;
        const sinceMs = Math.round(performance.now() - killed.killedAtMs);
        this.#note(
          `segment ${data.seq}, which it held, came from ${shortName(name)} ${sinceMs} ms after the kill: nothing was lost`,
        );
      }
    } catch (error) {
      // The pool ends before we do, or tells its own story.
      if (!this.#end.signal.aborted) this.#note(`the event log cannot be followed: ${errorText(error)}`);
    }
  }

  async #watchPool(pool: Member): Promise<void> {
    await Promise.race([pool.ended, new Promise((resolve) => this.#end.signal.addEventListener("abort", resolve))]);
    if (pool.running || this.#end.signal.aborted) return;
    this.#poolDied = true;
    this.#note(`the pool ended by itself: ${pool.logFile} says why`);
    this.#end.abort();
  }

  /** A credit is durable before its answer goes out, so all are there; the page may be a poll behind, and a job still at work. */
  async #settleCredits(): Promise<void> {
    for (let attempt = 0; attempt < 20; attempt++) {
      await this.#refresh();
      const credited = this.#workers.reduce((sum, one) => sum + one.segments, 0);
      if (credited >= this.#done && this.#workers.every((one) => one.jobsInFlight === 0)) return;
      await sleep(50);
    }
  }

  #state(): DemoState {
    return {
      upMs: performance.now() - this.#startedMs,
      phase: this.#phase,
      streams: this.#options.streams,
      done: this.#done,
      lost: this.#lost,
      wrong: this.#wrong,
      latenciesMs: this.#latenciesMs,
      renditions: [...this.#renditions].map(([name, one]) => ({ name, ...one })),
      workers: this.#workers,
      payouts: this.#payouts?.state,
      serviceUri: this.#serviceUri,
      pagesUrl: this.#pagesUrl,
      adminUrl: this.#pool?.url,
      dataDir: this.#dataDir,
      keepsData: this.#options.dataDir !== undefined,
      notes: this.#notes,
    };
  }

  #say(phase: string): void {
    if (phase === this.#phase) return;
    this.#phase = phase;
    if (!this.#live) this.#log(phase);
    this.#redraw();
  }

  #note(text: string): void {
    this.#notes.push({ time: new Date().toTimeString().slice(0, 8), text });
    if (this.#notes.length > 100) this.#notes.shift();
    if (!this.#live) this.#log(text);
    this.#redraw();
  }

  #log(text: string): void {
    this.#io.err(`${new Date().toTimeString().slice(0, 8)}  ${text}\n`);
  }

  #openView(): Disposable {
    const { keyboard, terminal } = this.#io;
    if (!keyboard || !terminal) return { [Symbol.dispose]: () => {} };
    const screen = openScreen(terminal);
    this.#redraw = () => screen.draw(viewLines(this.#state(), screen.size));
    const clock = setInterval(() => this.#redraw(), 1_000);
    const keys = watchKeys(keyboard, (key) => {
      if (key === "q") this.#end.abort();
      if (this.#phase !== undefined) return;
      if (key === "a") {
        this.#addWorker();
        this.#note("a new worker is starting");
      }
      if (key === "p" && this.#payouts && this.#pool) {
        this.#payouts.payNow(this.#pool).then(
          (said) => this.#note(said),
          (error: unknown) => this.#note(`the payout failed: ${errorText(error)}`),
        );
      }
      if (key === "k") this.#killOne().catch((error: unknown) => this.#note(`the kill failed: ${errorText(error)}`));
    });
    this.#redraw();
    const close = (): void => {
      this.#io.kill.removeEventListener("abort", close);
      clearInterval(clock);
      this.#redraw = () => {};
      keys[Symbol.dispose]();
      screen[Symbol.dispose]();
    };
    // Also who is in a hurry gets the terminal back.
    this.#io.kill.addEventListener("abort", close);
    return { [Symbol.dispose]: close };
  }
}

/** The payout address of `0xADDRESS.rig`. */
function addressOf({ name }: Worker): string {
  return name.split(".", 1)[0] ?? "";
}

/** Asks everyone to end, and kills what is left when the patience is over. */
async function endAll(members: readonly Member[]): Promise<void> {
  for (const one of members) one.stop();
  const all = Promise.all(members.map((one) => one.ended));
  await Promise.race([all, sleep(PATIENCE_MS, undefined, { ref: false })]);
  // Also those that have ended: what they started must not stay behind.
  for (const one of members) one.kill();
  await all;
}
