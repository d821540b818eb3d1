import { LIVEPEER_VERSION, needOf, type RigName, type WorkerAddress } from "@openpool/protocol";
import { describe, expect, test } from "vitest";
import { decisionText } from "./decision-text.ts";
import {
  type AttemptId,
  type ConnectionId,
  defaultDispatchOptions,
  type DispatchJob,
  type DispatchOptions,
  Dispatcher,
  type Effect,
  type JobId,
  type RigDecision,
} from "./index.ts";

// The policy only compares names: these need not be addresses.
const rig = (worker: string, name = "default"): RigName => ({ worker: worker as WorkerAddress, rig: name });
const ALL = 0b111n;

type Assign = Effect & { kind: "assign" };

/** A dispatcher with its clock, and names short enough to read. */
class Bench {
  nowMs = 1_000;
  /** What `random` answers: 1 tries nobody out, 0 always does. */
  chance = 0.999;
  readonly dispatcher: Dispatcher;
  #ids = 0;

  constructor(options: Partial<DispatchOptions> = {}) {
    this.dispatcher = new Dispatcher(
      { ...defaultDispatchOptions, startGraceMs: 0, ...options },
      { random: () => this.chance, newAttemptId: () => `a${this.#ids++}` as AttemptId },
    );
  }

  connect(
    id: string,
    offer: { rig?: RigName; capacity?: number; capabilities?: bigint; version?: string } = {},
  ): Effect[] {
    const plain = { rig: rig(id), capacity: 1, capabilities: ALL, version: "0.9.1" };
    return this.dispatcher.connect({ connection: id as ConnectionId, ...plain, ...offer }, this.nowMs);
  }

  disconnect(id: string): Effect[] {
    return this.dispatcher.disconnect(id as ConnectionId, this.nowMs);
  }

  submit(job: string, session = "s", change: Partial<DispatchJob> = {}): Effect[] {
    const deadlineMs = this.nowMs + 7_400;
    const plain = { seq: 0n, durationMs: 2_000, need: needOf(1n), kind: "k", deadlineMs };
    return this.dispatcher.submit({ job: job as JobId, session, ...plain, ...change }, this.nowMs);
  }

  accept(attempt: AttemptId): Effect[] {
    return this.dispatcher.resultAccepted(attempt, this.nowMs);
  }

  error(attempt: AttemptId, text: string): Effect[] {
    return this.dispatcher.attemptFailed(attempt, { kind: "worker-error", text }, this.nowMs);
  }

  invalid(attempt: AttemptId, text: string): Effect[] {
    return this.dispatcher.attemptFailed(attempt, { kind: "invalid-result", text }, this.nowMs);
  }

  /** Lets time pass, with every tick on time; what fell due comes back. */
  pass(ms: number): Effect[] {
    const untilMs = this.nowMs + ms;
    const effects: Effect[] = [];
    for (let dueMs = this.dispatcher.nextTickMs(); dueMs !== undefined && dueMs <= untilMs;) {
      this.nowMs = Math.max(this.nowMs, dueMs);
      effects.push(...this.dispatcher.tick(this.nowMs));
      dueMs = this.dispatcher.nextTickMs();
    }
    this.nowMs = untilMs;
    return effects;
  }

  /** Runs a job of a session to its good end in `tookMs`; returns where. */
  done(session: string, tookMs = 400, change: Partial<DispatchJob> = {}): string {
    const assign = only(this.submit(`done${this.#ids++}`, session, change), "assign");
    this.pass(tookMs);
    this.accept(assign.attempt);
    return assign.connection;
  }

  view(of: RigName) {
    const view = this.dispatcher.rigs(this.nowMs).find((one) => one.rig.worker === of.worker && one.rig.rig === of.rig);
    if (view === undefined) throw new Error(`no such rig: ${of.worker}.${of.rig}`);
    return view;
  }
}

function all<K extends Effect["kind"]>(effects: readonly Effect[], kind: K): (Effect & { kind: K })[] {
  return effects.filter((effect): effect is Effect & { kind: K } => effect.kind === kind);
}

const said = (decision: RigDecision | undefined): string | undefined => decision && decisionText(decision.reason);

function only<K extends Effect["kind"]>(effects: readonly Effect[], kind: K): Effect & { kind: K } {
  const found = all(effects, kind);
  expect(found, `exactly one ${kind} in ${JSON.stringify(effects)}`).toHaveLength(1);
  return found[0]!;
}

/** Sessions "x0" … that each hold a place, with work open. */
function occupy(bench: Bench, count: number): Assign[] {
  return Array.from({ length: count }, (_, i) => only(bench.submit(`busy${i}`, `x${i}`), "assign"));
}

describe("choosing", () => {
  test("a session stays where it is", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 4 });
    bench.connect("b", { capacity: 4 });
    const first = bench.done("s");
    for (let i = 0; i < 20; i++) expect(bench.done("s")).toBe(first);
  });

  test("different sessions spread over equal rigs", () => {
    const bench = new Bench();
    for (const id of ["a", "b", "c"]) bench.connect(id, { capacity: 4 });
    const used = occupy(bench, 3).map((assign) => assign.connection);
    expect(new Set(used).size).toBe(3);
  });

  test("a new session goes to the rig that was measured to be faster at that kind of work", () => {
    const bench = new Bench();
    bench.connect("slow", { capacity: 8 });
    for (let i = 0; i < 6; i++) bench.done("s1", 1_500);
    bench.connect("fast", { capacity: 8 });
    // The new one is taken for an equal and gets the next session, since less is on it.
    for (let i = 0; i < 6; i++) expect(bench.done("s2", 200)).toBe("fast");
    for (let i = 0; i < 5; i++) expect(only(bench.submit(`j${i}`, `n${i}`), "assign").connection).toBe("fast");
  });

  test("capabilities decide who can have a job at all", () => {
    const bench = new Bench();
    bench.connect("plain", { capabilities: 0b001n, capacity: 9 });
    bench.connect("able", { capabilities: 0b101n, capacity: 1 });
    expect(only(bench.submit("j", "s", { need: needOf(0b100n) }), "assign").connection).toBe("able");
    expect(bench.dispatcher.capabilities()).toBe(0b101n);
  });

  test("a connection that offers something else is taken at its new word", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 1 });
    occupy(bench, 1);
    expect(bench.submit("j", "s")).toEqual([]);
    expect(only(bench.connect("a", { capacity: 2 }), "assign").job).toBe("j");
    expect(bench.dispatcher.capacity()).toBe(2);
  });

  test("somebody new is tried out with single segments while the session stays where it is", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 4 });
    for (let i = 0; i < 6; i++) bench.done("s");
    bench.connect("b", { capacity: 4 });
    bench.chance = 0;
    const trial = only(bench.submit("j", "s"), "assign");
    expect(trial.connection).toBe("b");
    expect(said(bench.dispatcher.decisions(rig("b"))[0])).toBe("chosen: tried out: it is new");
    // One at a time: nobody knows yet what it is worth.
    expect(only(bench.submit("k", "s"), "assign").connection).toBe("a");
    bench.chance = 0.999;
    expect(bench.accept(trial.attempt)).toContainEqual({ kind: "unbind", session: "s", connection: "b" });
    expect(only(bench.submit("l", "s"), "assign").connection).toBe("a");
  });

  test("a session that is answered too slowly for its gateway moves to a faster rig", () => {
    const bench = new Bench();
    bench.connect("slow", { capacity: 4 });
    for (let i = 0; i < 6; i++) expect(bench.done("s", 1_900)).toBe("slow");
    bench.connect("fast", { capacity: 4 });
    for (let i = 0; i < 6; i++) bench.done("other", 200);
    const moved = bench.submit("j", "s");
    expect(only(moved, "assign").connection).toBe("fast");
    expect(moved).toContainEqual({ kind: "unbind", session: "s", connection: "slow" });
  });
});

describe("places", () => {
  test("sessions, not segments, take up capacity", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 1 });
    const first = only(bench.submit("j0", "s"), "assign");
    expect(only(bench.submit("j1", "s"), "assign").connection).toBe("a");
    expect(bench.submit("k", "t")).toEqual([]);
    bench.accept(first.attempt);
    expect(bench.dispatcher.load()).toBe(1);
  });

  test("at most five segments of a session lie on one connection, the others wait in order", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 3 });
    const started: Assign[] = [];
    for (let i = 0; i < 8; i++) started.push(...all(bench.submit(`j${i}`, "s", { durationMs: 250 }), "assign"));
    expect(started).toHaveLength(5);
    const next = started.flatMap((assign) => all(bench.accept(assign.attempt), "assign"));
    expect(next.map((assign) => assign.job)).toEqual(["j5", "j6", "j7"]);
  });

  test("segments that would wait long behind others go elsewhere", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 3 });
    for (let i = 0; i < 6; i++) bench.done("s", 1_500);
    bench.connect("b", { capacity: 3 });
    const used = Array.from({ length: 3 }, (_, i) => only(bench.submit(`j${i}`, "s"), "assign").connection);
    expect(used).toContain("a");
    expect(used).toContain("b");
  });

  test("a job that finds no place waits and starts the moment one is free", () => {
    const bench = new Bench();
    bench.connect("a");
    const [busy] = occupy(bench, 1);
    expect(bench.submit("j", "s")).toEqual([]);
    bench.pass(500);
    const effects = bench.accept(busy!.attempt);
    expect(only(effects, "unbind")).toMatchObject({ session: "x0", connection: "a" });
    expect(only(effects, "assign")).toMatchObject({ job: "j", connection: "a" });
  });

  test("an idle session gives up its place to one that has nowhere else to go", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 2 });
    bench.done("idle0");
    bench.pass(100);
    bench.done("idle1");
    const effects = bench.submit("j", "s");
    // The one that was idle for longer.
    expect(effects[0]).toEqual({ kind: "unbind", session: "idle0", connection: "a" });
    expect(only(effects, "assign").connection).toBe("a");
  });

  test("while others wait, no session stacks more work on the place that it has", () => {
    const bench = new Bench();
    bench.connect("a");
    const first = only(bench.submit("j0", "s"), "assign");
    expect(bench.submit("k", "t")).toEqual([]);
    expect(bench.submit("j1", "s")).toEqual([]);
    // The place goes round.
    const second = only(bench.accept(first.attempt), "assign");
    expect(second.job).toBe("k");
    expect(only(bench.accept(second.attempt), "assign").job).toBe("j1");
  });

  test("everybody gets a turn, however many kinds of needs wait for one place", () => {
    const bench = new Bench();
    const many = (1n << 60n) - 1n;
    bench.connect("a", { capabilities: many });
    const [busy] = occupy(bench, 1);
    for (let i = 0; i < 50; i++) expect(bench.submit(`j${i}`, `s${i}`, { need: needOf(1n << BigInt(i)) })).toEqual([]);
    const served: string[] = [];
    for (let next = busy!; served.length < 50; served.push(next.job)) {
      bench.pass(10);
      next = only(bench.accept(next.attempt), "assign");
    }
    expect(new Set(served).size).toBe(50);
  });

  test("a session that floods the pool does not keep the others out", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 2 });
    const open: Assign[] = [];
    const run = (effects: Effect[]): void => void open.push(...all(effects, "assign"));
    for (let i = 0; i < 300; i++) run(bench.submit(`flood${i}`, "flood"));
    bench.pass(1);
    for (let i = 0; i < 5; i++) run(bench.submit(`j${i}`, `s${i}`));
    const answered = new Set<string>();
    while (bench.nowMs < 8_000) {
      bench.pass(200);
      for (const assign of open.splice(0)) {
        answered.add(assign.job);
        run(bench.accept(assign.attempt));
      }
    }
    for (let i = 0; i < 5; i++) expect(answered).toContain(`j${i}`);
  });

  test("a session that ends leaves its place, once, when its last job is done", () => {
    const bench = new Bench();
    bench.connect("a");
    const { attempt } = only(bench.submit("j", "s"), "assign");
    expect(bench.dispatcher.endSession("s", bench.nowMs)).toEqual([]);
    expect(bench.accept(attempt)).toEqual([{ kind: "unbind", session: "s", connection: "a" }]);
    expect(bench.dispatcher.endSession("s", bench.nowMs)).toEqual([]);
    expect(bench.dispatcher.endSession("never seen", bench.nowMs)).toEqual([]);
    expect(bench.dispatcher.size().sessions).toBe(0);
  });

  test("a new job keeps an ended session alive", () => {
    const bench = new Bench();
    bench.connect("a");
    const first = only(bench.submit("j", "s"), "assign");
    bench.dispatcher.endSession("s", bench.nowMs);
    const second = only(bench.submit("k", "s"), "assign");
    expect([...bench.accept(first.attempt), ...bench.accept(second.attempt)]).toEqual([]);
    expect(bench.dispatcher.size().sessions).toBe(1);
  });

  test("a session without a job for 70 s is over", () => {
    const bench = new Bench();
    bench.connect("a");
    bench.done("s");
    expect(bench.pass(69_999)).toEqual([]);
    expect(bench.pass(1)).toEqual([{ kind: "unbind", session: "s", connection: "a" }]);
    expect(bench.dispatcher.size()).toEqual({ jobs: 0, attempts: 0, sessions: 0, timers: 0, waiting: 0 });
  });
});

describe("failover", () => {
  test("a job whose connection ends starts elsewhere in the same breath", () => {
    const bench = new Bench();
    bench.connect("a");
    const first = only(bench.submit("j", "s"), "assign");
    bench.connect("b");
    bench.pass(100);
    expect(only(bench.disconnect("a"), "assign")).toMatchObject({ job: "j", connection: "b", hedge: false });
    expect(bench.done("s")).toBe("b");
    expect(first.connection).toBe("a");
  });

  test("what a worker uploads after its connection ended counts if it is first", () => {
    const bench = new Bench();
    bench.connect("a");
    const first = only(bench.submit("j", "s"), "assign");
    bench.connect("b");
    const second = only(bench.disconnect("a"), "assign");
    expect(bench.dispatcher.size().attempts).toBe(2);
    const effects = bench.accept(first.attempt);
    expect(only(effects, "cancel")).toMatchObject({ attempt: second.attempt, connection: "b" });
    expect(bench.accept(second.attempt)).toEqual([]);
    expect(bench.view(rig("a")).accepted).toBe(1);
  });

  test("with nobody else a job waits for its worker to come back, and starts when it does", () => {
    const bench = new Bench();
    bench.connect("a");
    bench.submit("j", "s");
    expect(all(bench.disconnect("a"), "give-up")).toEqual([]);
    expect(bench.pass(3_000)).toEqual([]);
    expect(only(bench.connect("a2", { rig: rig("a") }), "assign")).toMatchObject({ job: "j", connection: "a2" });
  });

  test("a job that nobody can do is given up at once", () => {
    const bench = new Bench();
    expect(bench.submit("j")).toEqual([{ kind: "give-up", job: "j", failure: { kind: "no-capable-worker" } }]);
    bench.connect("a", { capabilities: 1n });
    const effects = bench.submit("k", "s", { need: needOf(2n) });
    expect(effects).toEqual([{ kind: "give-up", job: "k", failure: { kind: "no-capable-worker" } }]);
  });

  test("… but not while a rig that can is expected back", () => {
    const bench = new Bench({ returnGraceMs: 2_000 });
    bench.connect("a", { capabilities: 3n });
    bench.connect("b", { capabilities: 1n });
    bench.disconnect("a");
    bench.pass(500);
    expect(bench.submit("j", "s", { need: needOf(2n) })).toEqual([]);
    expect(bench.pass(1_499)).toEqual([]);
    expect(only(bench.pass(1), "give-up").failure).toEqual({ kind: "no-capable-worker" });
  });

  test("… nor right after the pool started, when rigs are still on their way", () => {
    const bench = new Bench({ startGraceMs: 5_000 });
    expect(bench.submit("j")).toEqual([]);
    bench.pass(1_000);
    expect(only(bench.connect("a"), "assign").job).toBe("j");
  });

  test("an error of one worker sends the job to another, and is held against it once that one did it", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 2 });
    bench.connect("b", { capacity: 2 });
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.error(first.attempt, "Conversion failed!"), "assign");
    expect(second.connection).not.toBe(first.connection);
    expect(bench.view(rig(first.connection)).failed).toBe(0);
    bench.accept(second.attempt);
    expect(bench.view(rig(first.connection)).failed).toBe(1);
    // Whoever did better keeps the session.
    expect(bench.done("s")).toBe(second.connection);
  });

  test("a delivery that fails is like a connection that ended", () => {
    const bench = new Bench();
    bench.connect("a");
    const first = only(bench.submit("j"), "assign");
    bench.connect("b");
    const effects = bench.dispatcher.attemptFailed(first.attempt, { kind: "disconnected" }, bench.nowMs);
    expect(only(effects, "assign").connection).toBe("b");
  });

  test("a gateway that leaves costs nobody any more work, nor a bad name", () => {
    const bench = new Bench();
    bench.connect("a");
    const { attempt } = only(bench.submit("j"), "assign");
    bench.pass(3_000);
    const effects = bench.dispatcher.abandon("j" as JobId, bench.nowMs);
    expect(only(effects, "cancel")).toMatchObject({ attempt, connection: "a", why: "the gateway left" });
    expect(bench.view(rig("a"))).toMatchObject({ failed: 0, inFlight: 0 });
    expect(bench.dispatcher.abandon("j" as JobId, bench.nowMs)).toEqual([]);
  });

  test("a worker is told to stop when nothing of a session is wanted from it any more, and the session stays", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 2 });
    bench.connect("b", { capacity: 2 });
    const { connection } = only(bench.submit("j", "s"), "assign");
    expect(only(bench.submit("k", "s"), "assign").connection).toBe(connection);
    // It still works at the other one.
    expect(all(bench.dispatcher.abandon("j" as JobId, bench.nowMs), "stop")).toEqual([]);
    const effects = bench.dispatcher.abandon("k" as JobId, bench.nowMs);
    expect(effects).toEqual([expect.objectContaining({ kind: "cancel" }), { kind: "stop", session: "s", connection }]);
    expect(bench.done("s")).toBe(connection);
  });

  test("at its deadline a job is given up and its attempts are cancelled", () => {
    const bench = new Bench();
    bench.connect("a");
    const { attempt } = only(bench.submit("j"), "assign");
    const effects = bench.pass(7_400);
    expect(only(effects, "give-up").failure).toEqual({ kind: "deadline", attempts: 1 });
    expect(only(effects, "cancel").attempt).toBe(attempt);
    expect(bench.view(rig("a")).failed).toBe(1);
  });

  test("a job that comes after its deadline is given up at once", () => {
    const bench = new Bench();
    bench.connect("a");
    const failure = { kind: "deadline", attempts: 0 };
    expect(bench.submit("j", "s", { deadlineMs: bench.nowMs })).toEqual([{ kind: "give-up", job: "j", failure }]);
  });
});

describe("bad input", () => {
  const damaged = "Invalid data found when processing input";

  test("two different workers that blame the input end the job with their text", () => {
    const bench = new Bench();
    for (const id of ["a", "b", "c"]) bench.connect(id);
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.error(first.attempt, damaged), "assign");
    const effects = bench.error(second.attempt, "TranscoderInvalidVideo");
    expect(only(effects, "give-up").failure).toEqual({ kind: "bad-input", text: "TranscoderInvalidVideo" });
    for (const id of ["a", "b", "c"]) expect(bench.view(rig(id))).toMatchObject({ failed: 0, standing: "new" });
  });

  test("two that fail in the same words do as well, numbers and paths aside", () => {
    const bench = new Bench();
    for (const id of ["a", "b", "c"]) bench.connect(id);
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.error(first.attempt, "no frame after 12 packets in /tmp/a.ts"), "assign");
    const effects = bench.error(second.attempt, "no frame after 9 packets in /var/b.ts");
    expect(only(effects, "give-up").failure.kind).toBe("bad-input");
  });

  test("two that fail differently do not", () => {
    const bench = new Bench();
    for (const id of ["a", "b", "c"]) bench.connect(id);
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.error(first.attempt, "Conversion failed!"), "assign");
    expect(only(bench.error(second.attempt, "segment / profile mismatch"), "assign").job).toBe("j");
  });

  test("two rigs of one worker are one opinion while another worker can be asked", () => {
    const bench = new Bench();
    bench.connect("a1", { rig: rig("a", "one"), capacity: 5 });
    const first = only(bench.submit("j"), "assign");
    bench.connect("a2", { rig: rig("a", "two"), capacity: 5 });
    const second = only(bench.error(first.attempt, damaged), "assign");
    expect(second.connection).toBe("a2");
    bench.connect("b");
    const third = only(bench.error(second.attempt, damaged), "assign");
    expect(third.connection).toBe("b");
    expect(only(bench.error(third.attempt, damaged), "give-up").failure.kind).toBe("bad-input");
  });

  test("a second opinion waits for a worker that has no place just now", () => {
    const bench = new Bench();
    bench.connect("b");
    const [busy] = occupy(bench, 1);
    bench.connect("a");
    const first = only(bench.submit("j"), "assign");
    expect(first.connection).toBe("a");
    expect(bench.error(first.attempt, damaged)).toEqual([]);
    const effects = bench.accept(busy!.attempt);
    expect(only(effects, "assign")).toMatchObject({ job: "j", connection: "b" });
  });

  test("a worker that is alone ends the job with its second failure of the kind", () => {
    const bench = new Bench();
    bench.connect("a");
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.error(first.attempt, damaged), "assign");
    expect(only(bench.error(second.attempt, damaged), "give-up").failure).toEqual({ kind: "bad-input", text: damaged });
  });

  test("a damaged input may also show in a result that is not valid", () => {
    const bench = new Bench();
    for (const id of ["a", "b", "c"]) bench.connect(id);
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.error(first.attempt, damaged), "assign");
    const effects = bench.invalid(second.attempt, "rendition 0 has 12 frames, the source 50");
    expect(only(effects, "give-up").failure).toEqual({ kind: "bad-input", text: damaged });
  });

  test("invalid results alone take three workers to be believed: broken rigs look alike", () => {
    const bench = new Bench();
    for (const id of ["a", "b", "c", "d"]) bench.connect(id);
    const text = "rendition 0 has 12 frames, the source 50";
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.invalid(first.attempt, text), "assign");
    const third = only(bench.invalid(second.attempt, text), "assign");
    expect(only(bench.invalid(third.attempt, text), "give-up").failure.kind).toBe("bad-input");
  });

  test("two strangers are not believed while somebody trusted can be asked", () => {
    const bench = new Bench();
    bench.connect("known", { capacity: 2 });
    for (let i = 0; i < 10; i++) bench.done("warm");
    expect(bench.view(rig("known")).standing).toBe("trusted");
    const known = occupy(bench, 2);
    bench.connect("x");
    bench.connect("y");
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.error(first.attempt, damaged), "assign");
    const waits = bench.error(second.attempt, damaged);
    expect([...all(waits, "assign"), ...all(waits, "give-up")]).toEqual([]);
    const effects = bench.accept(known[0]!.attempt);
    const third = only(effects, "assign");
    expect(third.connection).toBe("known");
    bench.accept(third.attempt);
    expect([bench.view(rig("x")).failed, bench.view(rig("y")).failed]).toEqual([1, 1]);
  });

  test.each([
    ["TranscoderBusy", 0],
    ["404 Not Found", 1],
    ['Get "https://pool/x.ts": EOF', 1],
    ["No space left on device", 1],
    ["TranscoderStopped", 0],
  ])("%s is no word about the input, however often it is said", (text, faults) => {
    const bench = new Bench();
    for (const id of ["a", "b", "c"]) bench.connect(id);
    const first = only(bench.submit("j"), "assign");
    const second = only(bench.error(first.attempt, text), "assign");
    const third = only(bench.error(second.attempt, text), "assign");
    bench.accept(third.attempt);
    expect(bench.view(rig(first.connection)).failed).toBe(faults);
  });

  test("a busy worker is left alone for a moment and asked again if there is nobody else", () => {
    const bench = new Bench();
    bench.connect("a");
    const first = only(bench.submit("j"), "assign");
    expect(bench.error(first.attempt, "TranscoderBusy")).toEqual([]);
    expect(bench.view(rig("a")).connections[0]?.avoided).toBe(true);
    expect(bench.pass(299)).toEqual([]);
    expect(only(bench.pass(1), "assign").connection).toBe("a");
  });

  test("a worker that cannot do what it registered for is not asked for it again", () => {
    const bench = new Bench({ returnGraceMs: 0 });
    bench.connect("a");
    const first = only(bench.submit("j"), "assign");
    bench.connect("b");
    const second = only(bench.error(first.attempt, "incompatible segment capabilities"), "assign");
    expect(second.connection).toBe("b");
    bench.accept(second.attempt);
    bench.disconnect("b");
    expect(only(bench.submit("k"), "give-up").failure).toEqual({ kind: "no-capable-worker" });
    expect(only(bench.submit("l", "t", { need: needOf(2n) }), "assign").connection).toBe("a");
  });

  test("a job that fails again and again in different ways is given up before it has toured the pool", () => {
    const bench = new Bench({ maxAttempts: 4 });
    for (let i = 0; i < 20; i++) bench.connect(`c${i}`);
    let effects = bench.submit("j");
    const texts = ["one", "two", "three", "four"];
    for (const text of texts) effects = bench.error(only(effects, "assign").attempt, text);
    expect(only(effects, "give-up").failure.kind).toBe("bad-input");
  });
});

describe("lateness", () => {
  /** Two rigs that were measured at 400 ms, with a session on "a". */
  function warm(options: Partial<DispatchOptions> = {}): Bench {
    const bench = new Bench(options);
    bench.connect("a", { capacity: 2 });
    for (let i = 0; i < 10; i++) bench.done("s", 400);
    bench.connect("b", { capacity: 4 });
    // What is done elsewhere at once leaves the session where it is.
    for (let i = 0; i < 10; i++) bench.done("t", 400);
    return bench;
  }

  test("an attempt that is late for its rig's own times goes to a second one that is idle, and the first stays open", () => {
    const bench = warm();
    const first = only(bench.submit("j", "s"), "assign");
    expect(first.connection).toBe("a");
    expect(bench.pass(599)).toEqual([]);
    const hedge = only(bench.pass(2), "assign");
    expect(hedge).toMatchObject({ connection: "b", hedge: true });
    expect(said(bench.dispatcher.decisions(rig("b"))[0])).toMatch(/^chosen: the first attempt is late, about /);
    expect(bench.dispatcher.size().attempts).toBe(2);
  });

  test("the first valid result wins, the loser is cancelled and it is no failure", () => {
    const bench = warm();
    const first = only(bench.submit("j", "s"), "assign");
    const hedge = only(bench.pass(700), "assign");
    bench.pass(300);
    const effects = bench.accept(hedge.attempt);
    expect(only(effects, "cancel").attempt).toBe(first.attempt);
    // Its session has moved, and what it does is stopped by that.
    expect(only(effects, "unbind")).toMatchObject({ session: "s", connection: "a" });
    expect(all(effects, "stop")).toEqual([]);
    expect(bench.view(rig("a"))).toMatchObject({ failed: 0, standing: "trusted" });
    expect(bench.accept(first.attempt)).toEqual([]);
    expect(bench.view(rig("a")).accepted).toBe(10);
  });

  test("the late one may still win", () => {
    const bench = warm();
    const first = only(bench.submit("j", "s"), "assign");
    const hedge = only(bench.pass(700), "assign");
    expect(only(bench.accept(first.attempt), "cancel").attempt).toBe(hedge.attempt);
    // Alive after all: the session stays.
    expect(bench.done("s")).toBe("a");
  });

  test("a connection that lets an attempt run late without a sign of life is avoided for a while", () => {
    const bench = warm();
    only(bench.submit("j", "s"), "assign");
    const hedge = only(bench.pass(700), "assign");
    bench.accept(hedge.attempt);
    expect(bench.view(rig("a")).connections[0]?.avoided).toBe(true);
    expect(bench.done("s")).toBe("b");
    expect(bench.done("new")).toBe("b");
  });

  test("a worker that hangs on every task loses its good name in the end", () => {
    const bench = warm({ hedgeShare: 1 });
    for (let i = 0; i < 40 && bench.view(rig("a")).standing === "trusted"; i++) {
      const effects = bench.submit(`h${i}`, `h${i}`);
      let assign = only(effects, "assign");
      if (assign.connection === "a") assign = only(all(bench.pass(1_300), "assign"), "assign");
      bench.accept(assign.attempt);
      // Long enough to be asked again, if only to see what it is worth today.
      bench.pass(400_000);
      bench.chance = 0;
    }
    expect(bench.view(rig("a"))).toMatchObject({ standing: "probation" });
    expect(bench.view(rig("a")).reason).toMatch(/gave no sign of life for \d+ tasks in a row/);
  });

  test("a result that began to arrive is not late for a while", () => {
    const bench = warm();
    const { attempt } = only(bench.submit("j", "s"), "assign");
    bench.pass(500);
    expect(bench.dispatcher.resultArriving(attempt, bench.nowMs)).toEqual([]);
    expect(bench.pass(1_499)).toEqual([]);
    expect(only(bench.pass(2), "assign").hedge).toBe(true);
  });

  test("nobody is late while the source is still arriving", () => {
    const bench = warm();
    const { attempt } = only(bench.submit("j", "s", { inputArriving: true }), "assign");
    expect(bench.pass(3_000)).toEqual([]);
    bench.dispatcher.inputComplete("j" as JobId, bench.nowMs);
    expect(bench.pass(500)).toEqual([]);
    bench.accept(attempt);
    // Nor is it slow.
    const [speed] = bench.view(rig("a")).speeds;
    expect(speed?.realTimeRatio).toBeGreaterThan(4);
  });

  test("a second attempt that fails is followed by a third while the first is still late", () => {
    const bench = warm();
    bench.connect("c", { capacity: 2 });
    only(bench.submit("j", "s"), "assign");
    const second = only(bench.pass(700), "assign");
    const third = only(bench.error(second.attempt, "Conversion failed!"), "assign");
    expect(third.hedge).toBe(true);
    expect(new Set(["a", second.connection, third.connection]).size).toBe(3);
  });

  test("nobody is disturbed for a second attempt before the deadline asks for it", () => {
    const bench = new Bench();
    bench.connect("a");
    for (let i = 0; i < 10; i++) bench.done("s", 400);
    bench.connect("b");
    for (let i = 0; i < 10; i++) bench.done("t", 400);
    only(bench.submit("j", "s"), "assign");
    // "b" has a place that an idle session holds: it is left alone while there is time.
    expect(bench.pass(4_000)).toEqual([]);
    const effects = bench.pass(3_000);
    expect(only(effects, "unbind")).toMatchObject({ session: "t", connection: "b" });
    expect(only(effects, "assign")).toMatchObject({ connection: "b", hedge: true });
  });

  test("of a worker that nobody knows half the time is expected, so that another one can still do it", () => {
    const bench = new Bench();
    bench.connect("a");
    only(bench.submit("j"), "assign");
    bench.connect("b");
    const effects = bench.pass(5_000);
    expect(only(effects, "assign")).toMatchObject({ connection: "b", hedge: true });
  });

  test("in a pool that is slow as a whole second attempts are a luxury", () => {
    const bench = new Bench({ hedgeBurst: 2, hedgeShare: 0.1 });
    for (const id of ["a", "b", "c", "d"]) bench.connect(id, { capacity: 8 });
    const run = (i: number): number => {
      const { attempt } = only(bench.submit(`j${i}`, `s${i % 4}`), "assign");
      const hedges = all(bench.pass(4_500 + (i % 7) * 200), "assign").length;
      bench.accept(attempt);
      return hedges;
    };
    // Until the pool knows that it is slow it tries to be quicker.
    for (let i = 0; i < 20; i++) run(i);
    let hedges = 0;
    for (let i = 20; i < 120; i++) hedges += run(i);
    expect(hedges).toBeLessThanOrEqual(100 * 0.1 + 2);
  });
});

describe("drain", () => {
  test("sessions leave a draining rig with their next segment, and nothing is lost", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 4 });
    const open = only(bench.submit("j", "s"), "assign");
    bench.done("idle");
    bench.connect("b", { capacity: 4 });
    // Idle ones at once.
    expect(bench.dispatcher.drain(rig("a"), bench.nowMs)).toEqual([
      { kind: "unbind", session: "idle", connection: "a" },
    ]);
    expect(bench.view(rig("a"))).toMatchObject({ state: "draining", inFlight: 1 });
    expect(only(bench.submit("k", "s"), "assign").connection).toBe("b");
    expect(bench.accept(open.attempt)).toContainEqual({ kind: "unbind", session: "s", connection: "a" });
    expect(bench.view(rig("a"))).toMatchObject({ sessions: 0, inFlight: 0 });
  });

  test("it stays draining when it reconnects, until it is told otherwise", () => {
    const bench = new Bench();
    bench.connect("a");
    bench.dispatcher.drain(rig("a"), bench.nowMs);
    bench.disconnect("a");
    bench.connect("a2", { rig: rig("a") });
    bench.connect("b");
    expect(bench.dispatcher.capacity()).toBe(1);
    expect(bench.done("s")).toBe("b");
    bench.dispatcher.undrain(rig("a"), bench.nowMs);
    expect(bench.dispatcher.capacity()).toBe(2);
  });

  test("with nobody else a draining rig goes on serving, but takes no new sessions in", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 4 });
    bench.done("s");
    bench.dispatcher.drain("a" as ConnectionId, bench.nowMs);
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(false);
    expect(bench.done("s")).toBe("a");
  });

  test("a connection that was draining may end without a bad name", () => {
    const bench = new Bench();
    bench.connect("a");
    only(bench.submit("j"), "assign");
    bench.dispatcher.drain(rig("a"), bench.nowMs);
    bench.disconnect("a");
    expect(bench.view(rig("a"))).toMatchObject({ failed: 0, state: "gone" });
  });
});

describe("a worker that takes no more tasks and is still there", () => {
  test("keeps what it has: nobody gets that a second time, and it gets nothing more", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 4 });
    const open = only(bench.submit("j", "s"), "assign");
    bench.done("idle");
    bench.connect("b", { capacity: 4 });
    expect(bench.dispatcher.finishUp("a" as ConnectionId, bench.nowMs)).toEqual([]);
    expect(bench.view(rig("a"))).toMatchObject({ state: "draining", inFlight: 1, sessions: 1 });
    expect(only(bench.submit("k", "s"), "assign").connection).toBe("b");
    expect(bench.accept(open.attempt)).toEqual([]);
    bench.disconnect("a");
    expect(bench.view(rig("a"))).toMatchObject({ state: "gone", accepted: 2, failed: 0 });
  });

  test("gets nothing even where nobody else is: the job waits for whoever comes", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 4 });
    bench.done("s");
    bench.dispatcher.finishUp("a" as ConnectionId, bench.nowMs);
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(false);
    expect(bench.dispatcher.capacity()).toBe(0);
    expect(bench.submit("k", "s")).toEqual([]);
    expect(only(bench.connect("a2", { rig: rig("a") }), "assign").job).toBe("k");
    bench.disconnect("a");
    expect(bench.dispatcher.capacity()).toBe(1);
  });

  test("loses what it has when its connection ends after all, or when it is late", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 4 });
    const first = only(bench.submit("j", "s"), "assign");
    bench.connect("b", { capacity: 4 });
    bench.dispatcher.finishUp("a" as ConnectionId, bench.nowMs);
    expect(only(bench.dispatcher.attemptFailed(first.attempt, { kind: "late" }, bench.nowMs), "assign")).toMatchObject({
      connection: "b",
      hedge: true,
    });
    const second = only(bench.submit("k", "t"), "assign");
    expect(second.connection).toBe("b");
    bench.connect("c");
    bench.dispatcher.finishUp("b" as ConnectionId, bench.nowMs);
    expect(all(bench.disconnect("b"), "assign").map(({ connection }) => connection)).toContain("c");
    expect(bench.view(rig("b"))).toMatchObject({ failed: 1 });
  });
});

describe("room", () => {
  test("there is room while a place is free, and none when somebody waits for one", () => {
    const bench = new Bench();
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(false);
    bench.connect("a", { capacity: 2 });
    const [first] = occupy(bench, 1);
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(true);
    expect(bench.dispatcher.hasRoom(needOf(0b1000n), bench.nowMs)).toBe(false);
    bench.submit("j", "s");
    bench.submit("k", "t");
    bench.accept(first!.attempt);
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(false);
  });

  test("an idle session keeps its place against new ones", () => {
    const bench = new Bench();
    bench.connect("a");
    bench.done("s");
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(false);
    bench.dispatcher.endSession("s", bench.nowMs);
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(true);
  });
});

describe("standing", () => {
  /** Fails a job on "bad" if it gets it; "good" saves it. */
  function failOnce(bench: Bench, i: number, text = "Conversion failed!"): Effect[] {
    bench.chance = 0;
    const effects = bench.submit(`f${i}`, `f${i}`);
    let { attempt, connection } = only(effects, "assign");
    if (connection === "bad") ({ attempt, connection } = only(bench.error(attempt, text), "assign"));
    expect(connection).toBe("good");
    bench.pass(200);
    return [...bench.accept(attempt), ...bench.dispatcher.endSession(`f${i}`, bench.nowMs)];
  }

  test("a rig that keeps failing goes on probation, gets no more sessions, and is told why", () => {
    const bench = new Bench();
    bench.connect("bad", { capacity: 9 });
    bench.connect("good", { capacity: 9 });
    const changes: Effect[] = [];
    for (let i = 0; i < 60; i++) changes.push(...all(failOnce(bench, i), "standing"));
    const told = changes.find((effect) => effect.kind === "standing" && effect.rig.worker === "bad");
    expect(told).toMatchObject({ standing: "probation" });
    expect(bench.view(rig("bad")).reason).toMatch(/^success down to \d+ %, the last failure: Conversion failed!$/);
    bench.chance = 0.999;
    expect(only(bench.submit("j", "n"), "assign").connection).toBe("good");
    expect(said(bench.dispatcher.decisions(rig("bad"))[0])).toMatch(/^not chosen: (on probation|barred) \(success/);
  });

  test("it is barred if its trials fail as well, tried again ever more rarely, and earns its way back", () => {
    const bench = new Bench();
    bench.connect("bad", { capacity: 9 });
    bench.connect("good", { capacity: 9 });
    for (let i = 0; i < 60; i++) failOnce(bench, i);
    bench.chance = 0;
    for (let i = 100; i < 140 && bench.view(rig("bad")).standing !== "barred"; i++) failOnce(bench, i);
    expect(bench.view(rig("bad")).standing).toBe("barred");
    // Not for a minute …
    expect(bench.done("s")).toBe("good");
    bench.pass(60_000);
    // … then once; it fails again and has to wait twice as long.
    failOnce(bench, 200);
    bench.pass(60_001);
    expect(bench.done("s")).toBe("good");
    bench.pass(60_000);
    // It has been repaired.
    const standings = new Set<string>();
    for (let i = 0; i < 200 && bench.view(rig("bad")).standing !== "trusted"; i++) {
      bench.done(`r${i}`, 300);
      standings.add(bench.view(rig("bad")).standing);
    }
    expect(standings).toContain("probation");
    expect(bench.view(rig("bad")).standing).toBe("trusted");
  });

  test("bad rigs still get the work when there is nobody else", () => {
    const bench = new Bench();
    bench.connect("bad", { capacity: 9 });
    bench.connect("good", { capacity: 9 });
    for (let i = 0; i < 60; i++) failOnce(bench, i);
    bench.disconnect("good");
    expect(bench.done("s")).toBe("bad");
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(true);
  });

  test("a rig that is slower than real time and far slower than the others goes on probation", () => {
    const bench = new Bench();
    bench.connect("fast", { capacity: 9 });
    for (let i = 0; i < 10; i++) bench.done("s", 300);
    bench.connect("slow", { capacity: 9, rig: rig("slow") });
    bench.chance = 0;
    for (let i = 0; i < 30 && bench.view(rig("slow")).standing !== "probation"; i++) {
      const { attempt, connection } = only(bench.submit(`j${i}`, "s"), "assign");
      bench.pass(connection === "slow" ? 2_600 : 300);
      bench.accept(attempt);
    }
    expect(bench.view(rig("slow"))).toMatchObject({ standing: "probation", failed: 0 });
    expect(bench.view(rig("slow")).reason).toMatch(
      /^slow: 0\.\d × real time, others do the same work at about \d+\.\d ×$/,
    );
  });

  test("a claim that differs is only noted; gross lies cost trust, then the work", () => {
    const bench = new Bench();
    bench.connect("a");
    for (let i = 0; i < 10; i++) bench.done("s");
    const told: string[] = [];
    for (const degree of ["differs", "lies", "lies", "lies", "lies"] as const) {
      const { attempt } = only(bench.submit(`${degree}${told.length}`, "s"), "assign");
      bench.accept(attempt);
      bench.dispatcher.claimDiffered(attempt, degree, bench.nowMs);
      told.push(bench.view(rig("a")).standing);
    }
    expect(told).toEqual(["trusted", "probation", "probation", "probation", "barred"]);
    expect(bench.view(rig("a"))).toMatchObject({ claimsDiffered: 1, claimsLied: 4, failed: 0 });
  });

  test("reputation survives a restart as JSON", () => {
    const bench = new Bench();
    bench.connect("bad", { capacity: 9 });
    bench.connect("good", { capacity: 9 });
    for (let i = 0; i < 60; i++) failOnce(bench, i);
    const snapshot: unknown = JSON.parse(JSON.stringify(bench.dispatcher.exportReputation(bench.nowMs)));
    const before = { bad: bench.view(rig("bad")), good: bench.view(rig("good")) };

    const restarted = new Bench();
    restarted.nowMs = 50;
    restarted.dispatcher.importReputation(snapshot, restarted.nowMs, 3_000);
    for (const [id, view] of Object.entries(before)) {
      const { standing, reason, success, accepted, failed } = view;
      expect(restarted.view(rig(id))).toMatchObject({ standing, reason, success, accepted, failed, state: "gone" });
    }
    restarted.connect("bad");
    restarted.connect("good");
    expect(restarted.done("s")).toBe("good");
  });

  test.each([
    [undefined],
    [{ v: 2, rigs: [] }],
    [
      {
        v: 1,
        rigs: [null, 3, { rig: "no dot", standing: "new", reason: "", times: [] }, { rig: "a.b", standing: "god" }],
      },
    ],
  ])("a snapshot that is no good is left out: %j", (snapshot) => {
    const bench = new Bench();
    bench.dispatcher.importReputation(snapshot, bench.nowMs);
    expect(bench.dispatcher.rigs(bench.nowMs)).toEqual([]);
  });

  test("only so many rigs are remembered, the longest gone are forgotten first", () => {
    const bench = new Bench({ rememberedRigs: 2 });
    for (const id of ["a", "b", "c", "d", "e"]) bench.connect(id);
    // Those that are here take nobody's place.
    for (const id of ["b", "a"]) bench.disconnect(id);
    const known = (): string[] => bench.dispatcher.rigs(bench.nowMs).map((view) => view.rig.worker);
    expect(known()).toEqual(["c", "d", "e", "b", "a"]);
    bench.disconnect("d");
    expect(known()).toEqual(["c", "e", "a", "d"]);
  });

  test("a rig that was drained is remembered however many come and go", () => {
    const bench = new Bench({ rememberedRigs: 2 });
    bench.dispatcher.drain(rig("a"), bench.nowMs);
    for (const id of ["b", "c", "d"]) {
      bench.connect(id);
      bench.disconnect(id);
    }
    expect(bench.dispatcher.rigs(bench.nowMs).find((view) => view.rig.worker === "a")?.draining).toBe(true);
  });
});

describe("a job that asks for a version", () => {
  const newer: Partial<DispatchJob> = { need: needOf(1n, "0.9.1") };

  test("goes only to workers whose version will do, the first time and after every failure", () => {
    const bench = new Bench({ returnGraceMs: 0 });
    for (const [id, version] of [
      ["old", "0.8.8"],
      ["silent", ""],
      ["built", "undefined"],
    ] as const)
      bench.connect(id, { version, capacity: 9 });
    bench.connect("new1");
    bench.connect("new2", { version: "0.9.1-3-gabc" });
    const first = only(bench.submit("j", "s", newer), "assign");
    const second = only(bench.error(first.attempt, "out of memory"), "assign");
    expect([first.connection, second.connection].toSorted()).toEqual(["new1", "new2"]);
    const third = only(bench.disconnect(second.connection), "assign");
    expect(third.connection).toBe(first.connection);
    expect(only(bench.disconnect(third.connection), "give-up").failure).toEqual({ kind: "no-capable-worker" });
    // Whoever asks for none is served by anybody.
    expect(all(bench.submit("k", "t"), "assign")).toHaveLength(1);
  });

  test("gets its second attempt from such a worker too, or none", () => {
    const bench = new Bench();
    bench.connect("new1", { capacity: 4 });
    for (let i = 0; i < 10; i++) bench.done("s", 400, newer);
    bench.connect("old", { version: "0.8.8", capacity: 4 });
    only(bench.submit("j", "s", newer), "assign");
    expect(all(bench.pass(3_000), "assign")).toEqual([]);
    expect(only(bench.connect("new2"), "assign")).toMatchObject({ connection: "new2", hedge: true });
  });

  test("waits for its own kind, and nobody who could take it is held up by it", () => {
    const bench = new Bench();
    bench.connect("old", { version: "0.8.8", capacity: 2 });
    bench.connect("new1");
    const first = only(bench.submit("j", "s", newer), "assign");
    expect(bench.submit("k", "t", newer)).toEqual([]);
    expect(bench.dispatcher.hasRoom(needOf(1n, "0.9.1"), bench.nowMs)).toBe(false);
    expect(bench.dispatcher.hasRoom(needOf(1n), bench.nowMs)).toBe(true);
    expect(only(bench.submit("l", "u"), "assign").connection).toBe("old");
    expect(only(bench.accept(first.attempt), "assign")).toMatchObject({ job: "k", connection: "new1" });
  });

  test("moves its session, when that begins to ask where it cannot be served", () => {
    const bench = new Bench();
    bench.connect("old", { version: "0.8.8" });
    expect(bench.done("s")).toBe("old");
    bench.connect("new1");
    expect(bench.done("s")).toBe("old");
    expect(bench.done("s", 400, newer)).toBe("new1");
  });

  test("has room only where a worker's version will do", () => {
    const bench = new Bench();
    bench.connect("old", { version: "0.8.8", capacity: 4 });
    const room = (minVersion: string) => bench.dispatcher.hasRoom(needOf(1n, minVersion), bench.nowMs);
    expect([room("0.9.1"), room("0.8.8"), room(""), room("latest")]).toEqual([false, true, true, true]);
    bench.connect("new1");
    expect(room("0.9.1")).toBe(true);
    bench.disconnect("new1");
    expect(room("0.9.1")).toBe(false);
  });

  test("is promised to others together with the capabilities of the same workers, and with the places of all of them", () => {
    const bench = new Bench();
    const promised = () => bench.dispatcher.promise();
    expect(promised()).toEqual([]);
    bench.connect("old", { version: "0.8.8", capabilities: 3n, capacity: 2 });
    bench.connect("new1", { version: "0.9.0", capabilities: 1n, capacity: 3 });
    bench.connect("new2", { version: "0.9.0", capabilities: 1n, capacity: 4 });
    expect(promised()).toEqual([
      { version: "0.8.8", capabilities: 3n, capacity: 2, staying: 0, trusted: 0 },
      { version: "0.9.0", capabilities: 1n, capacity: 7, staying: 0, trusted: 0 },
    ]);
    bench.dispatcher.drain(rig("new1"), bench.nowMs);
    expect(promised()[1]).toMatchObject({ capacity: 4, staying: 3 });
    bench.disconnect("old");
    expect(promised()).toHaveLength(1);
  });

  test("is promised to who has it already while the only worker that has it is drained, and to whoever comes while it is barred", () => {
    const bench = new Bench({ barredAfterLies: 1 });
    const promised = () => bench.dispatcher.promise().map(({ capacity, staying }) => [capacity, staying]);
    bench.connect("plain", { capabilities: 1n, capacity: 3 });
    bench.connect("able", { capabilities: 3n, capacity: 2 });
    bench.dispatcher.drain(rig("able"), bench.nowMs);
    expect(promised()).toEqual([
      [3, 0],
      [0, 2],
    ]);
    bench.dispatcher.undrain(rig("able"), bench.nowMs);
    const { attempt } = only(bench.submit("j", "s", { need: needOf(2n) }), "assign");
    bench.dispatcher.claimDiffered(attempt, "lies", bench.nowMs);
    bench.accept(attempt);
    expect(bench.view(rig("able")).standing).toBe("barred");
    expect(promised()).toEqual([
      [3, 0],
      [2, 0],
    ]);
    bench.connect("better", { capabilities: 7n, capacity: 9 });
    expect(promised()).toEqual([
      [3, 0],
      [0, 2],
      [9, 0],
    ]);
    bench.dispatcher.finishUp("better" as ConnectionId, bench.nowMs);
    expect(promised()).toEqual([
      [3, 0],
      [2, 0],
    ]);
  });
});

describe("what others are promised of rigs that nobody relies on", () => {
  /** A barred rig beside others. */
  const withBarred = (ability: { capabilities?: bigint; version?: string; capacity: number }) => {
    const bench = new Bench({ barredAfterLies: 1 });
    bench.connect("liar", ability);
    const { attempt } = only(bench.submit("j", "s"), "assign");
    bench.dispatcher.claimDiffered(attempt, "lies", bench.nowMs);
    bench.accept(attempt);
    expect(bench.view(rig("liar")).standing).toBe("barred");
    return { bench, promised: () => bench.dispatcher.promise().map(({ capacity, staying }) => [capacity, staying]) };
  };

  test.each([
    ["capabilities that are no transcoder's", { capabilities: 1n | (1n << 35n) }],
    ["a version that nobody announces", { version: "1.0.0" }],
  ])("a barred one is not a better one by %s", (_what, ability) => {
    const { bench, promised } = withBarred({ ...ability, capacity: 9 });
    bench.connect("plain", { version: LIVEPEER_VERSION, capacity: 3 });
    expect(promised()).toEqual([
      [0, 9],
      [3, 0],
    ]);
  });

  test("a barred one that nobody can stand in for counts for two sessions, whatever it claims", () => {
    const { promised } = withBarred({ capacity: 9 });
    expect(promised()).toEqual([[2, 7]]);
  });

  test("one without enough good results counts for what a large machine can do, whatever it claims", () => {
    const bench = new Bench({ newUntilResults: 2 });
    bench.connect("new1", { capacity: 10_000 });
    const promised = () => bench.dispatcher.promise().map(({ capacity, staying }) => [capacity, staying]);
    bench.done("s");
    expect(promised()).toEqual([[256, 0]]);
    bench.done("s");
    expect(promised()).toEqual([[10_000, 0]]);
    // Now it is trusted, which is more than any claim.
    expect(bench.dispatcher.promise()).toMatchObject([{ trusted: 10_000 }]);
  });
});

describe("why do I get no work", () => {
  test("each rig can read how the newest decisions looked from its side", () => {
    const bench = new Bench();
    bench.connect("fast", { capacity: 9 });
    for (let i = 0; i < 10; i++) bench.done("s", 200);
    bench.connect("slow", { capacity: 9 });
    for (let i = 0; i < 10; i++) bench.done("t", 1_000);
    bench.connect("plain", { capabilities: 2n });
    bench.connect("old", { version: "0.8.8" });
    bench.connect("leaving");
    bench.dispatcher.drain(rig("leaving"), bench.nowMs);
    const reason = (id: string) => said(bench.dispatcher.decisions(rig(id))[0]);
    bench.chance = 0.999;
    only(bench.submit("j0", "u", { need: needOf(1n, "0.9.1") }), "assign");
    expect(reason("old")).toBe("not chosen: the gateway wants a newer go-livepeer than the version that it announced");
    expect(reason("fast")).toMatch(/^chosen: best for a new session, about 0\.2\d s expected$/);
    expect(reason("slow")).toMatch(/^not chosen: about 1\.00 s expected, 0\.2\d s at fast\.default$/);
    expect(reason("plain")).toBe("not chosen: it lacks a capability that the job needs");
    expect(reason("leaving")).toBe("not chosen: draining");
  });

  test("who is passed over for a second attempt reads who was better for it", () => {
    const bench = new Bench();
    bench.connect("home", { capacity: 2 });
    for (let i = 0; i < 10; i++) bench.done("s", 400);
    bench.connect("fast", { capacity: 4 });
    for (let i = 0; i < 10; i++) bench.done("t", 400);
    bench.connect("plain", { capabilities: 2n });
    bench.submit("j", "s");
    expect(only(bench.pass(700), "assign")).toMatchObject({ connection: "fast", hedge: true });
    const about = (id: string) => bench.dispatcher.decisions(rig(id)).filter((line) => line.job === "j");
    expect(said(about("fast")[0])).toMatch(/^chosen: the first attempt is late, about /);
    expect(about("home").map(said)).toContain("not chosen: it works on this job already");
    expect(about("plain").filter((line) => line.reason.code === "not-chosen-unable")).toHaveLength(1);
  });

  test("segments of a session that stays are one line, not a flood", () => {
    const bench = new Bench();
    bench.connect("a");
    for (let i = 0; i < 500; i++) bench.done("s");
    const lines = bench.dispatcher.decisions(rig("a"));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatchObject({ chosen: true, reason: { code: "chosen-stays" }, times: 499 });
  });

  test("what is said again is counted, and pushes out nothing", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 2 });
    bench.connect("b", { capacity: 1, capabilities: 2n });
    for (let i = 0; i < 200; i++) for (const session of ["s", "t"]) bench.done(session, 10);
    const [a, b] = [bench.dispatcher.decisions(rig("a")), bench.dispatcher.decisions(rig("b"))];
    expect(a.map(({ session, times }) => ({ session, times }))).toEqual([
      { session: "t", times: 199 },
      { session: "s", times: 199 },
      { session: "t", times: 1 },
      { session: "s", times: 1 },
    ]);
    expect(b).toMatchObject([{ chosen: false, times: 2 }]);
    expect(bench.view(rig("a"))).toMatchObject({ chosenLastHour: 400, passedOverLastHour: 0 });
    expect(bench.view(rig("b"))).toMatchObject({ chosenLastHour: 0, passedOverLastHour: 2 });
    bench.pass(2 * 3_600_000);
    expect(bench.view(rig("a"))).toMatchObject({ chosenLastHour: 0 });
  });

  test("a rig that nobody decided about is told why", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 4 });
    bench.done("s");
    bench.connect("b");
    for (let i = 0; i < 100; i++) bench.done("s", 1_000);
    expect(said(bench.dispatcher.decisions(rig("b"))[0])).toMatch(/^not chosen: no choice was made, as the 1 running/);
    bench.dispatcher.endSession("s", bench.nowMs);
    expect(said(bench.dispatcher.decisions(rig("b"))[0])).toBe("not chosen: there is no work");
    expect(bench.dispatcher.decisions(rig("unknown"))).toEqual([]);
  });

  test("a job that waits is noted once, not with every look at it", () => {
    const bench = new Bench();
    bench.connect("a", { capacity: 1 });
    bench.connect("other", { capabilities: 2n, capacity: 9 });
    occupy(bench, 1);
    bench.submit("j", "s");
    for (let i = 0; i < 30; i++) bench.done(`o${i}`, 10, { need: needOf(2n), kind: "o" });
    const full = bench.dispatcher.decisions(rig("a")).filter((line) => said(line) === "not chosen: full");
    expect(full).toMatchObject([{ times: 1 + 30 }]);
  });
});

test("what is unknown or over is ignored", () => {
  const bench = new Bench();
  const { dispatcher, nowMs } = bench;
  const none = "none" as AttemptId;
  expect(bench.disconnect("none")).toEqual([]);
  expect(bench.accept(none)).toEqual([]);
  expect(bench.error(none, "x")).toEqual([]);
  expect(dispatcher.resultArriving(none, nowMs)).toEqual([]);
  expect(dispatcher.claimDiffered(none, "lies", nowMs)).toEqual([]);
  expect(dispatcher.inputComplete("none" as JobId, nowMs)).toEqual([]);
  expect(dispatcher.drain("none" as ConnectionId, nowMs)).toEqual([]);
  bench.connect("a");
  const effects = bench.submit("j");
  expect(bench.submit("j")).toEqual([]);
  bench.accept(only(effects, "assign").attempt);
  expect(dispatcher.nextTickMs()).toBe(nowMs + 70_000);
});
