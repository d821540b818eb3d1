import { openScope } from "@openpool/base";
import { expect, onTestFailed } from "vitest";
import { ADA, BOB, creditsOf, startStreams, type Streams, until } from "../e2e/pool.ts";
import { type Program, startProgram } from "../e2e/program.ts";
import { behaviours, type FakeTranscoder, startFakeTranscoder } from "../peers/fake-transcoder.ts";
import { type StockOrchestrator, startStockOrchestrator } from "../peers/stock-orchestrator.ts";
import { NO_COMPLAINTS, SECRET, writeSecret } from "./pool.ts";

/** A rig that takes its time, so that there is always something in hand. */
const TASK_MS = 100;
/** An orchestrator without a transcoder says so at once: a gateway comes back with its next segment only. */
const ERROR_REST_MS = 100;
/** Sessions of each rig. */
export const RIG_CAPACITY = 10;

/** The program as a transcoder of an orchestrator, with rigs, and streams that run. */
export interface BusyProgram extends AsyncDisposable {
  readonly orchestrator: StockOrchestrator;
  readonly secretFile: string;
  readonly program: Program;
  /** Flags of the program, to start it again with. */
  readonly flags: readonly string[];
  readonly streams: Streams;
  readonly rigs: readonly FakeTranscoder[];
  /** One more rig comes. */
  join(secret: string): Promise<FakeTranscoder>;
  /** The streams go on for a while and end: no task was lost, the orchestrator has nothing to complain about, each is paid once. */
  endWell(): Promise<void>;
}

export async function startBusyProgram(options: {
  readonly streams: number;
  readonly rigs?: readonly string[];
  /** Of each segment; default: one for which an orchestrator waits eight seconds. */
  readonly durationMs?: number;
}): Promise<BusyProgram> {
  const { streams: count, rigs: names = [`${ADA}.rig1`, `${ADA}.rig2`, `${BOB}.rig1`], durationMs = 2_000 } = options;
  const scope = openScope();
  try {
    const orchestrator = scope.use(await startStockOrchestrator({ secret: SECRET, keepBodies: false }));
    const secret = scope.use(await writeSecret());
    const flags = ["--upstream", `main=${orchestrator.addr}`, "--upstream-secret-file", secret.file];
    const program = scope.use(await startProgram({ flags }));
    onTestFailed(() => {
      process.stderr.write(program.log());
    });
    const rigs: FakeTranscoder[] = [];
    const join = async (name: string): Promise<FakeTranscoder> => {
      const behaviour = behaviours.after(TASK_MS);
      const options = { addr: program.addr, secret: name, capacity: RIG_CAPACITY, behaviour, backoffScale: 0.2 };
      const rig = scope.use(await startFakeTranscoder(options));
      rigs.push(rig);
      return rig;
    };
    await Promise.all(names.map(join));
    const offered = (): number => orchestrator.live.reduce((sum, { capacity }) => sum + capacity, 0);
    await until(() => offered() === RIG_CAPACITY * names.length, 60_000);
    const streams = startStreams(count, async (stream, seq) => {
      const outcome = await orchestrator.transcode({ session: `s${stream}`, seq, durationMs });
      if (outcome.kind === "done") return { kind: "done" };
      await new Promise((resolve) => setTimeout(resolve, ERROR_REST_MS));
      return outcome;
    });
    await streams.moreOfAll(2);
    return {
      orchestrator,
      secretFile: secret.file,
      program,
      flags,
      streams,
      rigs,
      join,
      async endWell() {
        await streams.moreOfAll(4);
        await streams.stop();
        expect(streams.outcomes.filter((outcome) => outcome !== "done")).toEqual([]);
        expect(orchestrator.complaints).toEqual(NO_COMPLAINTS);
        expect(await program.credited()).toEqual(creditsOf(streams.outcomes.length));
      },
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (error) {
    await scope[Symbol.asyncDispose]();
    throw error;
  }
}
