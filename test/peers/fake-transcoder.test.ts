import { create } from "@bufbuild/protobuf";
import { multipartBoundary, parseMultipart, type Profile, SegDataSchema, setProfiles } from "@openpool/protocol";
import { describe, expect, test } from "vitest";
import { behaviours, type FakeTranscoderOptions, startFakeTranscoder } from "./fake-transcoder.ts";
import { readyProfiles, readyRenditions, sourceSegment } from "./media.ts";
import { startScriptedOrchestrator } from "./scripted-orchestrator.ts";

type Scripted = Awaited<ReturnType<typeof startScriptedOrchestrator>>;

const start = (orchestrator: Scripted, options: Partial<FakeTranscoderOptions> = {}) =>
  startFakeTranscoder({ addr: orchestrator.uri, secret: "s", backoffScale: 0.02, ...options });

/** Waits for the registration with that number and hands it a task. */
async function give(
  orchestrator: Scripted,
  taskId: bigint,
  profiles: readonly Profile[] = readyProfiles,
  registration = 0,
): Promise<void> {
  await orchestrator.until(() => orchestrator.registrations.length > registration);
  const segData = create(SegDataSchema, { authToken: { sessionId: "session" } });
  setProfiles(segData, profiles);
  const url = orchestrator.serve(`session/${taskId}.tempfile`, sourceSegment);
  orchestrator.registrations[registration]?.send({ url, taskId, segData });
}

test("registers as a stock software transcoder does", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  await using transcoder = await start(orchestrator, { secret: "0xAA.rig", capacity: 4 });
  await orchestrator.until(() => orchestrator.registrations.length === 1);
  expect(orchestrator.registrations[0]?.request).toMatchObject({
    secret: "0xAA.rig",
    capacity: 4n,
    capabilities: { bitstring: [0x15ffe25fffn], version: "0.9.1", constraints: {} },
  });
  expect(transcoder.state.kind).toBe("registered");
  expect(orchestrator.alpn).toEqual(["h2"]);
});

test("fetches the source without ALPN and uploads the renditions over a connection of their own", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  await using transcoder = await start(orchestrator);
  await give(orchestrator, 0n);
  await transcoder.until(({ uploads }) => uploads.length === 1);
  expect(transcoder.tasks[0]?.source.equals(sourceSegment)).toBe(true);
  expect(orchestrator.alpn).toEqual(["h2", false, "h2"]);
  const [{ headers, body }] = orchestrator.results as [Scripted["results"][number]];
  expect(headers).toMatchObject({ authorization: "Livepeer-Transcoder-1.0", credentials: "s", taskid: "0" });
  const boundary = multipartBoundary(String(headers["content-type"]));
  const parts = parseMultipart(body, boundary ?? "", { maxParts: 9, maxPartBytes: 1 << 20 });
  expect(Array.isArray(parts)).toBe(true);
  if (!Array.isArray(parts)) return;
  expect(parts.map((part) => part.headers.get("pixels"))).toEqual(readyRenditions.map(({ pixels }) => `${pixels}`));
  expect(parts.every((part, i) => readyRenditions[i]?.data.equals(part.data))).toBe(true);
});

test("a teardown frees a session and is not answered", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  await using transcoder = await start(orchestrator);
  await orchestrator.until(() => orchestrator.registrations.length === 1);
  orchestrator.registrations[0]?.send({ segData: { authToken: { sessionId: "gone" } } });
  await transcoder.until(({ teardowns }) => teardowns.length === 1);
  expect(transcoder.teardowns).toEqual(["gone"]);
  expect(orchestrator.results).toEqual([]);
});

test("what it cannot do or fetch it answers with the text of a stock transcoder", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  await using transcoder = await start(orchestrator);
  await orchestrator.until(() => orchestrator.registrations.length === 1);
  const [registration] = orchestrator.registrations;
  const url = `${orchestrator.uri}/stream/none`;
  registration?.send({ url, taskId: 1n, segData: { capabilities: { bitstring: [1n << 60n] } } });
  registration?.send({ url, taskId: 2n, segData: {} });
  await transcoder.until(({ uploads }) => uploads.length === 2);
  const texts = orchestrator.results.map(({ body }) => body.toString()).sort();
  expect(texts).toEqual(["404 Not Found", "incompatible segment capabilities"]);
});

describe("after the end of its stream it", () => {
  test.each([
    ["OK", (scripted: Scripted) => scripted.registrations.at(-1)?.end(0)],
    ["UNAVAILABLE", (scripted: Scripted) => scripted.registrations.at(-1)?.end(14, "unavailable")],
    ["an unknown text", (scripted: Scripted) => scripted.registrations.at(-1)?.end(2, "no ethereum address")],
    ["RST_STREAM INTERNAL_ERROR", (scripted: Scripted) => scripted.registrations.at(-1)?.reset(2)],
  ])("registers again: %s", async (_name, end) => {
    await using orchestrator = await startScriptedOrchestrator();
    await using transcoder = await start(orchestrator);
    for (const count of [1, 2]) {
      await orchestrator.until(() => orchestrator.registrations.length === count);
      end(orchestrator);
    }
    await orchestrator.until(() => orchestrator.registrations.length === 3);
    expect(transcoder.registrations).toBe(3);
  });

  test.each([
    ["invalid secret", (scripted: Scripted) => scripted.registrations[0]?.end(2, "invalid secret")],
    ["invalid secret with any status", (scripted: Scripted) => scripted.registrations[0]?.end(16, "invalid secret")],
    ["zero capacity", (scripted: Scripted) => scripted.registrations[0]?.end(2, "zero capacity")],
    ["CANCELLED", (scripted: Scripted) => scripted.registrations[0]?.end(1)],
    ["RST_STREAM CANCEL", (scripted: Scripted) => scripted.registrations[0]?.reset(8)],
  ])("quits for good: %s", async (_name, end) => {
    await using orchestrator = await startScriptedOrchestrator();
    await using transcoder = await start(orchestrator);
    await orchestrator.until(() => orchestrator.registrations.length === 1);
    end(orchestrator);
    await transcoder.until(({ state }) => state.kind === "quit");
    expect(transcoder.registrations).toBe(1);
  });

  test("tries again at once and on the same connection when the stream was refused", async () => {
    await using orchestrator = await startScriptedOrchestrator();
    await using transcoder = await start(orchestrator, { backoffScale: 1_000 });
    await orchestrator.until(() => orchestrator.registrations.length === 1);
    orchestrator.registrations[0]?.reset(7);
    await orchestrator.until(() => orchestrator.registrations.length === 2);
    expect(orchestrator.alpn).toEqual(["h2"]);
    orchestrator.registrations[1]?.reset(7);
    await transcoder.until(({ state }) => state.kind === "waiting");
  });

  test("finishes and uploads what it had, then registers again", async () => {
    let release: (() => void) | undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    await using orchestrator = await startScriptedOrchestrator();
    await using transcoder = await start(orchestrator, { behaviour: behaviours.when(() => gate) });
    await give(orchestrator, 5n);
    await transcoder.until(({ tasks }) => tasks.length === 1);
    orchestrator.registrations[0]?.end(14, "bye");
    release?.();
    await orchestrator.until(() => orchestrator.registrations.length === 2);
    expect(orchestrator.results.map(({ headers }) => headers["taskid"])).toEqual(["5"]);
  });

  test("waits longer each time, whatever happened in between", async () => {
    await using orchestrator = await startScriptedOrchestrator({ register: () => ({ status: 2, text: "busy" }) });
    await using transcoder = await start(orchestrator, { backoffScale: 0.001 });
    const delays: number[] = [];
    await transcoder.until(({ state, registrations }) => {
      if (state.kind === "waiting") delays[registrations - 1] = state.delayMs;
      return delays.length === 14;
    });
    expect(delays[0]).toBeLessThanOrEqual(0.75);
    expect(delays[13]).toBeGreaterThanOrEqual(30);
  });
});

describe("a killed one", () => {
  test.each(["close", "reset"] as const)("is gone with all its connections: %s", async (how) => {
    await using orchestrator = await startScriptedOrchestrator();
    await using transcoder = await start(orchestrator, { behaviour: behaviours.die(how) });
    await give(orchestrator, 1n);
    await transcoder.until(({ state }) => state.kind === "stopped");
    expect(orchestrator.results).toEqual([]);
  });
});

describe("a misbehaving one uploads", () => {
  const parts = async (behaviour: FakeTranscoderOptions["behaviour"], count = 1) => {
    await using orchestrator = await startScriptedOrchestrator();
    await using transcoder = await start(orchestrator, behaviour ? { behaviour } : {});
    await give(orchestrator, 1n);
    await transcoder.until(({ uploads }) => uploads.length === count);
    return orchestrator.results.map(({ headers, body }) => {
      const boundary = multipartBoundary(String(headers["content-type"]));
      const read = parseMultipart(body, boundary ?? "", { maxParts: 9, maxPartBytes: 1 << 20 });
      return {
        taskId: headers["taskid"],
        parts: Array.isArray(read)
          ? read.map((part) => [part.headers.get("pixels"), part.data.length])
          : body.toString(),
      };
    });
  };
  const honest = readyRenditions.map(({ data, pixels }) => [String(pixels), data.length]);

  test.each([
    ["ten times the pixels", behaviours.claim({ times: 10n }), honest.map(([px, n]) => [`${px}0`, n])],
    ["a rendition too few", behaviours.tooFew(), honest.slice(0, 2)],
    ["a rendition too many", behaviours.tooMany(), [...honest, honest[0]]],
    ["empty parts", behaviours.emptyPart(), honest.map(([px]) => [px, 0])],
    ["an error", behaviours.error("Cannot allocate memory"), "Cannot allocate memory"],
  ])("%s", async (_name, behaviour, expected) => {
    expect(await parts(behaviour)).toEqual([{ taskId: "1", parts: expected }]);
  });

  test("the same twice", async () => {
    expect(await parts(behaviours.twice(), 2)).toEqual([1, 2].map(() => ({ taskId: "1", parts: honest })));
  });

  test("somebody else's task", async () => {
    expect(await parts(behaviours.unknownTask(99n))).toEqual([{ taskId: "99", parts: honest }]);
  });
});
