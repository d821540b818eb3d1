import { expect, test } from "vitest";
import { decided, decisionText } from "../../dispatch/decision-text.ts";
import { publicDecision, publicReason } from "./public-text.ts";

test("reasons in the pool's own words are public as they are", () => {
  for (const reason of [
    "too new to be judged",
    "20 good results",
    "12 good results in a row",
    "3 good retrials in a row",
    "claimed pixels that were not in the result",
    "slow: 0.8 × real time, others do the same work at about 2.4 ×",
    "success down to 55 %, the last failure: no answer before the deadline",
    "success down to 55 %, the last failure: gave no sign of life for 3 tasks in a row",
    "4 grossly false claims, the last: claimed pixels that were not in the result",
  ]) {
    expect(publicReason(reason).sentence).toBe(reason);
  }
});

test("what a rig said is replaced by the kind of trouble that it is", () => {
  const said = "success down to 40 %, the last failure: ";
  expect(publicReason(`${said}/home/bob/secret.ts: Invalid data found when processing input`).sentence).toBe(
    `${said}it called the segment bad, and others did not`,
  );
  expect(publicReason(`${said}CUDA_ERROR_OUT_OF_MEMORY on 10.1.2.3`).sentence).toBe(
    `${said}trouble with its own disk, memory or GPU`,
  );
  expect(publicReason(`${said}<script>alert(1)</script>\nmore`).sentence).not.toContain("script");
  expect(publicReason("anything else").sentence).toBe("the pool's operator knows why");
  const barred = decided("not-chosen-barred", { why: `${said}dial tcp 10.0.0.7: connection refused` });
  expect(decisionText(publicDecision(barred))).toBe(`not chosen: barred (${said}it could not fetch the segment)`);
  expect(publicDecision(barred).facts).toMatchObject({
    whyCode: "standing-failing",
    percent: "40",
    failureCode: "failure-download",
  });
  const full = decided("not-chosen-full", {});
  expect(publicDecision(full)).toBe(full);
});
