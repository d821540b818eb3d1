import { copyFile, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { silentLogger } from "@openpool/base";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readyProfiles, readyRenditions } from "../../../test/peers/media.ts";
import { patientClock } from "../../../test/peers/patient-clock.ts";
import { startScriptedOrchestrator } from "../../../test/peers/scripted-orchestrator.ts";
import { type PushedSegment, pushFile, type PushOptions } from "./push-file.ts";

const dependencies = { logger: silentLogger, clock: patientClock() };
const media = fileURLToPath(new URL("../../../test/fixtures/media/720.ts", import.meta.url));
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "openpool-push-file-"));
  await copyFile(media, path.join(folder, "0.ts"));
  await copyFile(media, path.join(folder, "1.ts"));
});
afterAll(() => rm(folder, { recursive: true }));

async function push(options: Partial<PushOptions> & Pick<PushOptions, "orchestrator">): Promise<PushedSegment[]> {
  const pushed = [];
  for await (const one of pushFile({ source: folder, profiles: readyProfiles, ...options }, dependencies)) {
    pushed.push(one);
  }
  return pushed;
}

test("a folder goes out once, in order, as one stream, whose session is ended", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  const pushed = await push({ orchestrator: orchestrator.uri });
  expect(pushed.map(({ seq, outcome }) => [seq, outcome.kind])).toEqual([
    [0, "done"],
    [1, "done"],
  ]);
  expect(new Set(pushed.map(({ manifestId }) => manifestId)).size).toBe(1);
  expect(orchestrator.ended).toHaveLength(1);
});

test("several streams each send as many segments as asked for, repeating the source", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  const pushed = await push({ orchestrator: orchestrator.uri, streams: 3, count: 5 });
  for (const stream of [0, 1, 2]) {
    const own = pushed.filter((one) => one.stream === stream);
    expect(own.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4]);
  }
  expect(orchestrator.ended).toHaveLength(3);
});

test("renditions are written where they were wanted, whatever their names", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  const outDir = path.join(folder, "out");
  const profiles = [{ ...readyProfiles[0]!, name: "../../up & away" }];
  const [first] = await push({ orchestrator: orchestrator.uri, count: 1, outDir, profiles });
  expect(first?.files).toHaveLength(1);
  const [written] = first!.files;
  expect(path.relative(outDir, written!)).not.toMatch(/\.\.[/\\]/);
  expect((await readFile(written!)).equals(readyRenditions[0]!.data)).toBe(true);
  expect(await readdir(outDir)).toEqual([first!.manifestId]);
});

test("a failure of one segment is an outcome, not the end", async () => {
  await using orchestrator = await startScriptedOrchestrator({
    segment: ({ index }) => (index === 1 ? { kind: "error", text: "no transcoders available" } : undefined),
  });
  const pushed = await push({ orchestrator: orchestrator.uri, count: 3 });
  expect(pushed.map(({ outcome }) => outcome.kind)).toEqual(["done", "failed", "done"]);
});

test("a push for ever stops when it is told to, cancelling what is under way", async () => {
  await using orchestrator = await startScriptedOrchestrator({
    segment: ({ index }) => (index === 3 ? { kind: "empty", headersAfterMs: 60_000 } : undefined),
  });
  const stop = new AbortController();
  const pushed = push({ orchestrator: orchestrator.uri, count: "forever", signal: stop.signal });
  await orchestrator.until(() => orchestrator.segments.length === 4, 60_000);
  stop.abort();
  expect((await pushed).map(({ outcome }) => outcome.kind)).toEqual(["done", "done", "done"]);
  expect(orchestrator.ended).toHaveLength(1);
});

test("a consumer that has seen enough ends it", async () => {
  await using orchestrator = await startScriptedOrchestrator();
  const options = { source: folder, orchestrator: orchestrator.uri, profiles: readyProfiles, streams: 2 } as const;
  for await (const one of pushFile({ ...options, count: "forever" }, dependencies)) {
    if (one.seq === 2) break;
  }
  expect(orchestrator.ended).toHaveLength(2);
});

test("in real time a slow answer does not hold up the next segment", async () => {
  let release: (() => void) | undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  await using orchestrator = await startScriptedOrchestrator({
    segment: ({ seq }) => (seq === 0 ? { kind: "renditions", bodyAfter: gate } : undefined),
  });
  const options = { source: folder, orchestrator: orchestrator.uri, profiles: readyProfiles, count: 2 } as const;
  const seqs: number[] = [];
  for await (const { seq } of pushFile({ ...options, pace: "real-time" }, dependencies)) {
    seqs.push(seq);
    release?.();
  }
  expect(seqs).toEqual([1, 0]);
});

test("a source that cannot be read is an error", async () => {
  await expect(push({ orchestrator: "https://127.0.0.1:1", source: "/no/such/file" })).rejects.toThrow("cannot read");
});
