import { expect, test } from "vitest";
import { type Facts, piecesOf, reasonTexts, termsFacts, termsText } from "./sentences.ts";

/** As plain as can be: what a fact is stands behind it. */
const plain = (template: string, facts: Facts): string =>
  piecesOf(template, facts)
    .map((piece) => {
      switch (piece.kind) {
        case "text":
          return piece.text;
        case "amount":
          return `${piece.wei} wei`;
        case "span":
          return `${piece.ms} ms`;
        case "moment":
          return piece.at;
        case "share":
          return `${piece.ppm} ppm`;
      }
    })
    .join("");

test("a fact is an amount, a span, a moment, a share or a word, as its name says", () => {
  const facts = { owedWei: "7", untilMs: 60_000, nextAt: "2026-11-21T18:00:00.000Z", sharePpm: 250_000, rig: "attic" };
  expect(plain("{rig}: {owedWei}, {untilMs}, {nextAt}, {sharePpm}.", facts)).toBe(
    "attic: 7 wei, 60000 ms, 2026-11-21T18:00:00.000Z, 250000 ppm.",
  );
});

test.each([
  [0, "0 rigs are here"],
  [1, "1 rig is here"],
  [2, "2 rigs are here"],
])("%d of something has its noun and its verb", (rigs, words) => {
  expect(plain("{rigs|rig|rigs} {rigs?is|are} here", { rigs })).toBe(words);
});

test("what cannot be said is left out, and what stands for it is said", () => {
  const [held] = reasonTexts.held;
  expect(plain(held, { heldWei: "5" })).toBe("5 wei are held for checks.");
  expect(plain(held, { heldWei: "5", releaseMs: 9 })).toBe(
    "5 wei are held for checks. The oldest of it is released in 9 ms.",
  );
  const [offline, action] = reasonTexts.offline;
  expect(plain(offline, {})).toBe("None of its rigs is connected.");
  expect(plain(offline, { rig: "attic", agoMs: 1 })).toBe("attic is not connected; it was last seen 1 ms ago.");
  expect(plain(action, { rig: "attic", agoMs: 1 })).toMatch(/^Start attic, or/);
});

test("what a fact holds is never read as a template", () => {
  expect(plain("It says {why}.", { why: "[{owedWei}] {why}" })).toBe("It says [{owedWei}] {why}.");
});

test("a fact that is a sentence itself is said by its code, and as it is where nobody knows that", () => {
  const [left] = reasonTexts["left-out"];
  const facts = { payoutAt: "2026-11-21T18:00:00.000Z", because: "too dear", becauseCode: "left-out-gas" };
  const [gas] = reasonTexts["left-out-gas"];
  expect(plain(left, facts)).toBe(`The payout of 2026-11-21T18:00:00.000Z left it out: ${gas}.`);
  expect(plain(left, { ...facts, becauseCode: "unheard-of" })).toContain("left it out: too dear.");
  // Facts of both stand beside each other, however deep they are in each other.
  const failing = { rig: "attic", why: "", whyCode: "standing-failing", percent: 40, failure: "", tasks: 3 };
  expect(plain(reasonTexts.barred[0], { ...failing, failureCode: "failure-silent" })).toContain(
    "attic is barred: success down to 40 %, the last failure: gave no sign of life for 3 tasks in a row.",
  );
  // A code that names its own sentence ends somewhere.
  expect(plain(left, { ...facts, becauseCode: "left-out" })).toContain("left it out: too dear..");
});

test("the terms are a sentence for every scheme, known or not", () => {
  const terms = { commissionPpm: 250_000, holdMs: 0, minimumPayoutWei: "10", gasBorneBy: "pool" };
  const sentence = (scheme: string): string => plain(termsText(scheme), termsFacts(terms));
  expect(sentence("unit")).toBe(
    "Of every fee the pool keeps 250000 ppm and 750000 ppm goes to the worker who did the job; owed at once, paid from 10 wei on, gas on the pool.",
  );
  expect(sentence("lottery")).toContain("goes to the workers by the scheme lottery;");
});
