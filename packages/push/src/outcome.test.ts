import { describe, expect, test } from "vitest";
import { adviceFor, describeOutcome, type SegmentOutcome } from "./outcome.ts";

describe("a lost segment says what to do:", () => {
  const refused = (status: number, text: string): SegmentOutcome => ({ kind: "refused", status, text });
  test.each<[string, SegmentOutcome, RegExp]>([
    ["no orchestrator", { kind: "unreachable", text: "nobody listens at h:1" }, /check --orchestrator/],
    [
      "no place",
      { kind: "no-session", text: "Invalid orchestrator request: OrchestratorCapped" },
      /push fewer streams.*connect more workers/,
    ],
    ["no session for another reason", { kind: "no-session", text: "unknown" }, /log/],
    ["no money", refused(402, "Insufficient balance"), /wants to be paid.*pays nothing/],
    ["no orchestrator but a web server", refused(404, "404 page not found"), /no orchestrator/],
    ["another refusal", refused(403, "invalid auth token"), /new session/],
    ["no worker", { kind: "failed", text: "no transcoders available" }, /openpool rigs list/],
    ["no able worker", { kind: "failed", text: "no transcoders can provide requested capabilities" }, /--profiles/],
    ["a source that is none", { kind: "failed", text: "TranscoderInvalidVideo" }, /ffprobe/],
    ["a wish nobody fulfils", { kind: "failed", text: "TranscoderInvalidGOP" }, /--profiles/],
    ["no answer at all", { kind: "timeout", waitedFor: "session" }, /check --orchestrator/],
    ["slow workers", { kind: "timeout", waitedFor: "answer" }, /fewer streams/],
    ["renditions elsewhere", { kind: "broken", during: "rendition", text: "x" }, /--service-uri/],
    ["renditions too slow", { kind: "timeout", waitedFor: "rendition" }, /--service-uri/],
    ["a broken connection", { kind: "broken", during: "segment", text: "x" }, /log/],
  ])("%s", (_, outcome, advice) => {
    expect(adviceFor(outcome)).toMatch(advice);
    expect(describeOutcome(outcome)).toMatch(/^[^\n]+$/);
  });

  test("a full pool is called one", () => {
    const full: SegmentOutcome = { kind: "no-session", text: "Invalid orchestrator request: OrchestratorCapped" };
    expect(describeOutcome(full)).toBe("no session: all places of the orchestrator are taken (OrchestratorCapped)");
  });

  test("a segment that came back needs none", () => {
    const timings = { sessionMs: 0, headersMs: 0, answerMs: 0, totalMs: 0 };
    expect(adviceFor({ kind: "done", renditions: [], timings })).toBeUndefined();
  });
});
