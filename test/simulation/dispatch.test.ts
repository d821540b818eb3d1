import { needOf } from "@openpool/protocol";
import { describe, expect, test } from "vitest";
import { seeded } from "../chance.ts";
import {
  healthy,
  inventWorld,
  rigName,
  type RigPlan,
  type StreamPlan,
  withVersions,
  World,
  type WorldPlan,
  type WorldResult,
} from "./dispatch-world.ts";

/** Seeds that once failed; they run first. Add to them whatever fails from now on. */
const onceFailed: readonly number[] = [
  10, 36, 38, 41, 71, 83, 352, 371, 521, 595, 703, 744, 1067, 1195, 1482, 1548, 1781, 1889, 2180, 2886, 3218, 3667,
  3820, 4722, 4902, 6080, 6791, 8293, 11824, 14136, 15336, 19035, 21353,
];
const SEEDS = 2_500;

function play(seed: number, plan: WorldPlan = inventWorld(seed)): WorldResult {
  try {
    return new World(plan, seeded(seed ^ 0x5eed)).run();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`seed ${seed}: ${message}`, { cause });
  }
}

describe("dispatch in worlds made up by a seed", () => {
  test("the rules hold at every moment in the worlds where they once did not", () => {
    for (const seed of onceFailed) play(seed);
  });

  // Nothing answered twice or credited twice, nothing on a connection that is gone or full, nobody waits beside a free
  // place, nothing good is lost while a good rig is free, nothing is done by whoever is too old for it, every effect means
  // something that is there, nothing left over.
  test(`the rules hold at every moment in ${SEEDS} worlds`, () => {
    let answered = 0;
    let lost = 0;
    let abandoned = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const plan = inventWorld(seed);
      const result = play(seed, seed % 2 === 0 ? withVersions(plan, seed) : plan);
      answered += result.answered;
      lost += result.lost;
      abandoned += result.abandoned;
    }
    // The worlds are worth the time: a good part of what happens in them goes wrong, and most of it ends well.
    expect(answered).toBeGreaterThan(20 * SEEDS);
    expect(lost).toBeGreaterThan(SEEDS);
    expect(abandoned).toBeGreaterThan(SEEDS / 10);
  }, 120_000);

  test("the same seed is the same run, effect for effect", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const [one, two] = [play(seed), play(seed)];
      expect(two.hash, `seed ${seed}`).toBe(one.hash);
      expect(two.events).toBe(one.events);
    }
  });
});

const HOUR_MS = 3_600_000;

function stream(session: string, change: Partial<StreamPlan> = {}): StreamPlan {
  return {
    session,
    startMs: 0,
    segments: 1_800,
    durationMs: 2_000,
    intervalMs: 2_000,
    need: needOf(1n),
    kind: "720",
    badInput: 0,
    abandoned: 0,
    ends: true,
    uploadMs: 0,
    ...change,
  };
}

function world(rigs: readonly RigPlan[], streams: readonly StreamPlan[], change: Partial<WorldPlan> = {}): WorldPlan {
  return { rigs, streams, endMs: 2 * HOUR_MS, tickLagMs: 0, drains: false, angel: false, ownWords: true, ...change };
}

function good(count: number, change: Partial<RigPlan> = {}): RigPlan[] {
  return Array.from({ length: count }, (_, i) => ({ ...healthy, ...change, name: rigName(1 + i) }));
}

const streams = (count: number): StreamPlan[] =>
  Array.from({ length: count }, (_, i) => stream(`s${i}`, { startMs: 37 * i }));

/** Of one among good ones: the share of all attempts that it got, and of the answers that it gave. */
function shareOf(odd: Partial<RigPlan>, seed: number): { attempts: number; accepted: number; result: WorldResult } {
  const name = rigName(99);
  const plan = world([...good(3), { ...healthy, ...odd, name }], streams(6));
  const result = play(seed, plan);
  const mine = result.rigs.get(`${name.worker}.${name.rig}`)!;
  return { attempts: mine.assigned / result.assigned, accepted: mine.accepted / result.answered, result };
}

describe("dispatch over hours", () => {
  test("among equals nobody is starved for ever, though sessions are few and stay where they are", () => {
    const result = play(1, world(good(12), streams(3)));
    expect(result.lost).toBe(0);
    for (const [rig, { accepted }] of result.rigs) expect(accepted, rig).toBeGreaterThan(0);
  });

  test("nor in worlds of any size, nor those whom something ails", () => {
    const ailments: readonly Partial<RigPlan>[] = [{ errors: 0.5 }, { hangs: 0.3 }, { cost: 2 }, { lies: 0.5 }];
    for (let seed = 100; seed < 120; seed++) {
      const random = seeded(seed);
      const among = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));
      const well = good(among(2, 10), { capacity: among(1, 4) });
      const ill = Array.from({ length: among(0, 3) }, (_, i) => {
        return { ...healthy, ...ailments[among(0, ailments.length - 1)], name: rigName(50 + i) };
      });
      const count = Math.min(among(1, 6), Math.max(1, well.length * well[0]!.capacity - 1));
      const result = play(seed, world([...well, ...ill], streams(count)));
      for (const [rig, { assigned }] of result.rigs) expect(assigned, `${rig}, seed ${seed}`).toBeGreaterThan(0);
    }
  });

  test("a rig that came late gets work as well", () => {
    const late = { ...healthy, name: rigName(77), staysMs: 1e9, awayMs: HOUR_MS / 10 };
    const result = play(2, world([...good(2), late], streams(3)));
    expect(result.rigs.get(`${late.name.worker}.default`)?.accepted).toBeGreaterThan(10);
  });

  test.each([
    ["fails half of the time", { errors: 0.5 }],
    ["always fails", { errors: 1 }],
    ["returns broken results", { invalid: 0.8 }],
    ["hangs on every task", { hangs: 1 }],
    ["hangs now and then", { hangs: 0.3 }],
    ["is four times slower than real time", { cost: 4 }],
    ["leaves every few seconds", { staysMs: 6_000, awayMs: 1_000, delivers: false }],
    ["cannot be handed half of its tasks", { untaken: 0.5 }],
  ])("a rig that %s gets only a small share, and nothing is lost", (_, odd) => {
    const { attempts, result } = shareOf(odd, 3);
    expect(result.lost).toBe(0);
    expect(attempts).toBeLessThan(0.06);
    // … but it is not forgotten either.
    expect(attempts).toBeGreaterThan(0);
  });

  test("a rig that lies about its work is not trusted with it", () => {
    const { attempts, result } = shareOf({ lies: 0.5 }, 4);
    const view = result.dispatcher.rigs(result.nowMs).find((one) => one.rig.worker === rigName(99).worker);
    expect(["probation", "barred"]).toContain(view?.standing);
    expect(attempts).toBeLessThan(0.06);
  });

  test("a rig that was ill and recovered is trusted again", () => {
    const { accepted, result } = shareOf({ illFromMs: 0, illUntilMs: HOUR_MS / 4 }, 5);
    const view = result.dispatcher.rigs(result.nowMs).find((one) => one.rig.worker === rigName(99).worker);
    expect(view?.standing).toBe("trusted");
    expect(accepted).toBeGreaterThan(0.001);
    expect(result.lost).toBe(0);
  });

  test("rigs that die all the time lose nothing as long as one is there", () => {
    const mortal = good(6, { staysMs: 4_000, awayMs: 2_000, delivers: false });
    const result = play(6, world([...mortal, { ...healthy, capacity: 20, name: rigName(50) }], streams(8)));
    expect(result.lost).toBe(0);
  });

  test("where all fail now and then, second attempts save all but the unluckiest", () => {
    const result = play(7, world(good(5, { errors: 0.1, hangs: 0.02, capacity: 6 }), streams(6)));
    expect(result.lost / result.answered).toBeLessThan(0.001);
  });

  test("a pool of one weak rig serves more sessions than it has places, in turn", () => {
    const result = play(8, world(good(1, { capacity: 2, cost: 0.2 }), streams(5)));
    expect(result.lost / (result.answered + result.lost)).toBeLessThan(0.01);
  });
});
