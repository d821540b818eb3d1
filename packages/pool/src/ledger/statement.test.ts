import { expect, test } from "vitest";
import {
  type StatementEntry,
  statementColumns,
  statementCsvHead,
  statementCsvLine,
  statementJson,
} from "./statement.ts";

const credit: StatementEntry = {
  id: "019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e11",
  atMs: Date.parse("2026-11-21T13:22:19.103Z"),
  kind: "credit",
  amountWei: 75n * 10n ** 18n,
  state: "held",
  termsVersion: 1,
  releaseAtMs: Date.parse("2026-11-21T14:23:00Z"),
  rig: "rig1",
  job: "019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e10",
  segments: 1,
  pixels: 10n ** 17n,
  pricePerUnitWei: 1_000n,
  pixelsPerUnit: 1n,
  feeWei: 10n ** 20n,
  commissionWei: 25n * 10n ** 18n,
  shape: "1280x720+640x360",
  scheme: "unit",
  data: undefined,
  ethPrice: undefined,
};

test("the columns are what they always were, in their order", () => {
  expect(statementColumns).toEqual(
    (
      "time kind id rig job segments pixels shape price_per_unit_wei pixels_per_unit fee_wei commission_wei amount_wei " +
      "state scheme terms_version release_at reference details eth_price eth_price_currency"
    ).split(" "),
  );
  expect(statementCsvHead().split(",")).toHaveLength(21);
});

test("a credit is a line of exact numbers", () => {
  expect(statementCsvLine(credit)).toBe(
    "2026-11-21T13:22:19.103Z,credit,019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e11,rig1,019aa5b2-6c1f-7003-9d1e-5f0c2b7a4e10,1," +
      "100000000000000000,1280x720+640x360,1000,1,100000000000000000000,25000000000000000000,75000000000000000000,held," +
      "unit,1,2026-11-21T14:23:00.000Z,,,,\r\n",
  );
  const priced = { ...credit, ethPrice: { currency: "EUR", perEth: "2500.50" } };
  expect(statementCsvLine(priced)).toMatch(/,2500\.50,EUR\r\n$/);
  expect(statementJson(priced)).toMatchObject({ eth_price: "2500.50", eth_price_currency: "EUR" });
  expect(statementJson(credit)).toMatchObject({
    amount_wei: "75000000000000000000",
    segments: 1,
    release_at: "2026-11-21T14:23:00.000Z",
  });
});

test("what a person typed cannot break the line or run in a spreadsheet", () => {
  const none = { rig: undefined, job: undefined, segments: undefined, pixels: undefined, shape: undefined };
  const line = statementCsvLine({
    ...credit,
    ...none,
    kind: "adjusted",
    amountWei: -5n,
    data: { reason: '=1+1, "so"' },
  });
  expect(line).toContain(`,-5,held,`);
  expect(line).toContain(`,"'=1+1, ""so""",`);
});
