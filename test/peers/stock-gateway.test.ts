import { describe, expect, test } from "vitest";
import { readyProfiles, readyRenditions, SOURCE_DURATION_MS, sourceSegment } from "./media.ts";
import { type OrchestratorScript, startScriptedOrchestrator } from "./scripted-orchestrator.ts";
import { type PublisherAnswer, startStockGateway } from "./stock-gateway.ts";

type Scripted = Awaited<ReturnType<typeof startScriptedOrchestrator>>;

interface Plan {
  readonly segments: number;
  /** Time between segments, in ms; default 2 s. */
  readonly everyMs?: number;
  /** A longer pause behind this segment. */
  readonly pause?: { readonly after: number; readonly ms: number };
  /** Runs before the segment is pushed. */
  readonly before?: (seq: number, orchestrator: Scripted) => Promise<void> | void;
}

/** Pushes segments at one scripted orchestrator with a clock of its own and says which were lost. */
async function lostSegments(script: OrchestratorScript, plan: Plan): Promise<{ lost: number[]; exited: boolean }> {
  await using orchestrator = await startScriptedOrchestrator(script);
  let nowMs = Date.now();
  await using gateway = startStockGateway({
    orchestrators: [orchestrator.uri],
    profiles: readyProfiles,
    now: () => nowMs,
  });
  await plan.before?.(-1, orchestrator); // a stream asks for sessions as it opens
  const stream = await gateway.openStream("stream");
  const lost: number[] = [];
  for (let seq = 0; seq < plan.segments; seq++) {
    await plan.before?.(seq, orchestrator);
    const answer = await stream.push(seq, sourceSegment, SOURCE_DURATION_MS);
    if (answer.kind !== "renditions") lost.push(seq);
    await stream.settled();
    nowMs += plan.pause?.after === seq ? plan.pause.ms : (plan.everyMs ?? 2_000);
  }
  return { lost, exited: gateway.exited !== undefined };
}

const failing = (seqs: readonly number[], text = "no transcoders available"): OrchestratorScript => ({
  segment: ({ seq }) => (seqs.includes(seq) ? { kind: "error", text } : undefined),
});
const from = (first: number, end: number): number[] => Array.from({ length: end - first }, (_, i) => first + i);

describe("what an unmodified off-chain gateway loses when its only orchestrator", () => {
  const cases: readonly (readonly [string, OrchestratorScript, Plan, number[]])[] = [
    ["does nothing wrong", {}, { segments: 8 }, []],
    ["fails one segment", failing([3]), { segments: 8 }, [3]],
    ["fails the first segment", failing([0]), { segments: 8 }, [0]],
    ["fails one segment of a slow publisher", failing([3]), { segments: 10, everyMs: 5_000 }, from(3, 10)],
    ["fails one segment of a fast publisher", failing([3]), { segments: 10, everyMs: 500 }, [3]],
    ["fails before a pause", failing([3]), { segments: 9, pause: { after: 3, ms: 5_000 } }, from(3, 9)],
    ["fails twice", failing([3, 9]), { segments: 12 }, [3, ...from(9, 12)]],
    ["fails five in a row", failing([3, 4, 5, 6, 7]), { segments: 14 }, from(3, 14)],
    ["fails from the start", failing([0, 1, 2, 3, 4]), { segments: 14 }, from(0, 14)],
    [
      "calls the input bad five times",
      failing([3, 4, 5, 6, 7], "TranscoderInvalidVideo"),
      { segments: 10 },
      [3, 4, 5, 6, 7],
    ],
    ["wraps a text that is not retried", failing([3], "transcode failed: Invalid argument"), { segments: 8 }, [3]],
    [
      "refuses one segment",
      { segment: ({ seq }) => (seq === 3 ? { kind: "status", status: 403, text: "ErrSegSig" } : undefined) },
      { segments: 8 },
      [3],
    ],
    [
      "cuts the connection on one segment",
      { segment: ({ seq }) => (seq === 3 ? { kind: "cut" } : undefined) },
      { segments: 9 },
      [3],
    ],
    [
      "answers a refresh of a running stream with OrchestratorCapped",
      { getOrchestrator: (index) => (index >= 4 && index < 8 ? "OrchestratorCapped" : undefined) },
      { segments: 12 },
      [],
    ],
    [
      "leaves out the info once",
      { segment: ({ seq }) => (seq === 3 ? { kind: "renditions", info: null } : undefined) },
      { segments: 9 },
      [],
    ],
  ];
  test.each(cases)("%s", async (_name, script, plan, lost) => {
    expect(await lostSegments(script, plan)).toEqual({ lost, exited: false });
  });

  test("is full when the stream starts", async () => {
    let full = true;
    const plan: Plan = { segments: 9, before: (seq) => void (full = seq < 4) };
    const script: OrchestratorScript = { getOrchestrator: () => (full ? "OrchestratorCapped" : undefined) };
    expect((await lostSegments(script, plan)).lost).toEqual([0, 1, 2, 3, 4]);
  });

  test("refuses connections for a while", async () => {
    const plan: Plan = {
      segments: 14,
      async before(seq, orchestrator) {
        if (seq === 3) await orchestrator.goAway();
        if (seq === 8) await orchestrator.listen();
      },
    };
    expect((await lostSegments({}, plan)).lost).toEqual(from(3, 14));
  });

  test("changes its URI in an answer", async () => {
    let uri = "";
    const authToken = { token: new Uint8Array(32), sessionId: "00000001", expiration: 4_000_000_000n };
    const script: OrchestratorScript = {
      segment: ({ seq }) =>
        seq === 3 ? { kind: "renditions", info: { transcoder: `${uri}/`, authToken } } : undefined,
    };
    const before = (_seq: number, orchestrator: Scripted): void => void ({ uri } = orchestrator);
    expect((await lostSegments(script, { segments: 9, before })).lost).toEqual(from(4, 9));
  });

  test("leaves the auth token out of an answer's info", async () => {
    let uri = "";
    const script: OrchestratorScript = {
      segment({ seq, segData }) {
        if (!segData.authToken) return { kind: "status", status: 403, text: "missing auth token" };
        return seq === 3 ? { kind: "renditions", info: { transcoder: uri } } : undefined;
      },
    };
    const before = (_seq: number, orchestrator: Scripted): void => void ({ uri } = orchestrator);
    expect((await lostSegments(script, { segments: 9, before })).lost).toEqual(from(4, 9));
  });
});

describe("the gateway process exits when", () => {
  test.each<[string, OrchestratorScript]>([
    ["a rendition is not there", { rendition: (path) => (path.endsWith("/3.ts") ? { status: 404 } : undefined) }],
    [
      "a rendition's URL cannot be parsed",
      { segment: ({ seq }) => (seq === 3 ? { kind: "renditions", urls: ["%zz", "%zz", "%zz"] } : undefined) },
    ],
    [
      "there is a result too many",
      { segment: ({ seq }) => (seq === 3 ? { kind: "renditions", urls: ["", "", "", ""] } : undefined) },
    ],
  ])("%s", async (_name, script) => {
    expect(await lostSegments(script, { segments: 6 })).toEqual({ lost: [3, 4, 5], exited: true });
  });
});

test("a result too few costs the publisher a rendition and nothing else", async () => {
  await using orchestrator = await startScriptedOrchestrator({
    segment: () => ({ kind: "renditions", urls: [orchestrator.serve("only", readyRenditions[0]!.data)] }),
  });
  await using gateway = startStockGateway({ orchestrators: [orchestrator.uri], profiles: readyProfiles });
  const stream = await gateway.openStream("stream");
  const answers: PublisherAnswer[] = [];
  for (const seq of [0, 1]) answers.push(await stream.push(seq, sourceSegment, SOURCE_DURATION_MS));
  expect(answers.map((answer) => answer.kind === "renditions" && answer.renditions.length)).toEqual([1, 1]);
});

test("every segment asks for an info on a connection of its own, whose answer is thrown away", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  await using gateway = startStockGateway({ orchestrators: [orchestrator.uri], profiles: readyProfiles });
  const stream = await gateway.openStream("stream");
  for (const seq of [0, 1, 2]) {
    await stream.push(seq, sourceSegment, SOURCE_DURATION_MS);
    await stream.settled();
  }
  expect(orchestrator.infoCalls).toBe(3);
  expect(new Set(orchestrator.segments.map(({ segData }) => segData.authToken?.sessionId))).toEqual(
    new Set(["00000001"]),
  );
  await stream.end();
  expect(orchestrator.ended).toEqual(["00000001"]);
});

test("with two orchestrators a stream moves to the other one when the first has failed", async () => {
  await using bad = await startScriptedOrchestrator(failing([3]));
  await using good = await startScriptedOrchestrator({ getOrchestrator: () => undefined });
  let nowMs = Date.now();
  await using gateway = startStockGateway({
    orchestrators: [bad.uri, good.uri],
    profiles: readyProfiles,
    now: () => nowMs,
  });
  const stream = await gateway.openStream("stream");
  const kinds: string[] = [];
  for (let seq = 0; seq < 8; seq++) {
    kinds.push((await stream.push(seq, sourceSegment, SOURCE_DURATION_MS)).kind);
    nowMs += 2_000;
  }
  expect(kinds.filter((kind) => kind !== "renditions").length).toBeLessThanOrEqual(1);
});
