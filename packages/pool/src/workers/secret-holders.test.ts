import type { RigName, WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { SecretHolders } from "./secret-holders.ts";

const rig = (name: string): RigName => ({
  worker: "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F" as WorkerAddress,
  rig: name,
});

test("a secret is held by whoever registered with it, also for a while after the registration", () => {
  const holders = new SecretHolders();
  expect(holders.anyOf("s")).toBeUndefined();
  holders.registered("s", rig("a"));
  expect(holders.holds("s", rig("a"))).toBe(true);
  expect(holders.holds("s", rig("b"))).toBe(false);
  expect(holders.holds("t", rig("a"))).toBe(false);
  holders.left("s", rig("a"));
  expect(holders.holds("s", rig("a"))).toBe(true);
  expect(holders.anyOf("s")).toEqual(rig("a"));
});

test("several rigs may share a secret, and each keeps it", () => {
  const holders = new SecretHolders();
  holders.registered("s", rig("a"));
  holders.registered("s", rig("b"));
  expect([holders.holds("s", rig("a")), holders.holds("s", rig("b"))]).toEqual([true, true]);
});

test("a flood of made-up secrets costs no more memory than the newest of them", () => {
  const holders = new SecretHolders();
  holders.registered("kept", rig("k"));
  for (let i = 0; i < 25_000; i++) {
    holders.registered(`s${i}`, rig("a"));
    holders.left(`s${i}`, rig("a"));
  }
  expect(holders.anyOf("s0")).toBeUndefined();
  expect(holders.anyOf("s24999")).toEqual(rig("a"));
  expect(holders.holds("kept", rig("k"))).toBe(true);
  // One that comes back is not forgotten with the others.
  holders.registered("s20000", rig("a"));
  for (let i = 30_000; i < 50_000; i++) {
    holders.registered(`s${i}`, rig("a"));
    holders.left(`s${i}`, rig("a"));
  }
  expect(holders.holds("s20000", rig("a"))).toBe(true);
});
