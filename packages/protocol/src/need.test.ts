import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { LIVEPEER_VERSION } from "./capabilities.ts";
import { CapabilitiesSchema } from "./gen/lp_rpc_pb.ts";
import { announced, compareVersions, misfit, needFromWire, needKey, needOf, needToWire } from "./need.ts";

describe("what fits a need", () => {
  test.each([
    ["0.9.1", "", undefined],
    ["0.9.1", "0.9.1", undefined],
    ["0.9.1", "0.9.2", "version"],
    ["0.9.1", "0.10", "version"],
    ["0.10.0", "0.9.9", undefined],
    ["v0.9.1", "0.9.1", undefined],
    // As a node announces itself that was not built from a tag: what comes after the dash does not count.
    ["0.9.1-14-g176aa415", "0.9.1", undefined],
    ["0.9.1", "0.9.1-rc.1", undefined],
    // The fork's.
    ["0.8.8", "0.9.0", "version"],
    // Nothing announced, or built without a version: good only for work that asks for none.
    ["", "0.0.1", "version"],
    ["undefined", "0.0.1", "version"],
    ["pool-1.0", "0.0.1", "version"],
    ["", "", undefined],
    ["undefined", "", undefined],
    // A lowest version that is none asks for nothing.
    ["0.9.1", "latest", undefined],
    ["", "latest", undefined],
  ] as const)("announced %j, at least %j wanted", (version, minVersion, expected) => {
    expect(misfit({ capabilities: 1n, version }, needOf(1n, minVersion))).toBe(expected);
  });

  test("is all of its capabilities, whatever the version", () => {
    expect(misfit({ capabilities: 0b101n, version: "" }, needOf(0b100n))).toBeUndefined();
    expect(misfit({ capabilities: 0b101n, version: "9.9.9" }, needOf(0b110n, "0.9.1"))).toBe("capabilities");
  });
});

test("a need survives the wire, and a message that is not there asks for nothing", () => {
  const need = needOf(0x4001003n, "0.9.1");
  expect(needFromWire(needToWire(need))).toEqual(need);
  expect(needToWire(needOf(1n)).constraints).toBeDefined();
  expect(needFromWire(undefined)).toEqual(needOf(0n));
  expect(needFromWire(create(CapabilitiesSchema, { bitstring: [1n] }))).toEqual(needOf(1n));
});

test("versions that mean the same make equal needs, and a version without end is none", () => {
  expect(needKey(needOf(5n, " v0.9-rc1 "))).toBe(needKey(needOf(5n, "0.9.0")));
  expect(needKey(needOf(5n, "0.9.1"))).not.toBe(needKey(needOf(5n)));
  expect(needKey(needOf(5n))).not.toBe(needKey(needOf(4n)));
  expect(needOf(5n, `${"1".repeat(1_000)}.`.repeat(20)).minVersion).toBe("");
});

test("a pool announces of a worker what is a transcoder's, in plain numbers, and no version newer than its own", () => {
  const version = (of: string) => announced({ capabilities: 1n, version: of }).version;
  expect(["0.8.8", "v0.9.0-3-gabc", "7.0.0", "undefined", ""].map(version)).toEqual([
    "0.8.8",
    "0.9.0",
    LIVEPEER_VERSION,
    "",
    "",
  ]);
  expect(announced({ capabilities: 0x15_ffe2_5fffn, version: "" }).capabilities).toBe(0x7e2_5fffn);
});

test("what is no version is older than any", () => {
  expect(compareVersions("", "0.0.0")).toBeLessThan(0);
  expect(compareVersions("0.0.0", "undefined")).toBeGreaterThan(0);
  expect(compareVersions("", "undefined")).toBe(0);
});
