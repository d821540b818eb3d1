import type { RigName, WorkerAddress } from "@openpool/protocol";
import { describe, expect, test } from "vitest";
import { hashSecret, Identities, type IdentityRules, isIdentityRefusal } from "./identity.ts";

const ada = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F" as WorkerAddress;
const bob = "0x3eE860A4abA830AF84EbBCE2b381fc11DB8493e2" as WorkerAddress;
const none = new Uint8Array();
const bytesOf = (address: string): Uint8Array => Buffer.from(address.slice(2), "hex");

function identities(rules: Partial<IdentityRules> = {}): Identities {
  const made = new Identities({ joinOpen: true, joinRegistered: true, joinPassword: undefined, ...rules });
  const name: RigName = { worker: ada, rig: "rack" };
  made.load(
    [{ worker: bob, locked: false, banned: "sells other people's pixels", note: undefined }],
    [
      { id: "1", secretHash: hashSecret("good"), name, createdAt: "2026-01-01T00:00:00Z", revokedAt: undefined },
      {
        id: "2",
        secretHash: hashSecret("old"),
        name,
        createdAt: "2026-01-01T00:00:00Z",
        revokedAt: "2026-02-01T00:00:00Z",
      },
    ],
  );
  return made;
}

function outcome(result: RigName | { reason: string }): string {
  return "reason" in result ? result.reason : `${result.worker}.${result.rig}`;
}

describe("a worker's secret", () => {
  test.each([
    [ada, `${ada}.default`],
    [ada.toLowerCase(), `${ada}.default`],
    [`${ada}.rig1`, `${ada}.rig1`],
    [`${ada}.rig1:whatever`, `${ada}.rig1`],
    [ada.replace("9d8A", "9D8A"), "bad-checksum"],
    [`0x${"0".repeat(40)}`, "zero-address"],
    [`${ada}.`, "bad-rig-name"],
    [`${ada}.../x`, "bad-rig-name"],
    [`${ada}.${"a".repeat(33)}`, "bad-rig-name"],
    ["sekret", "bad-secret"],
    ["", "bad-secret"],
    ["good", `${ada}.rack`],
    ["old", "revoked"],
    [bob, "banned"],
  ])("%s is %s when joining is open", (secret, expected) => {
    expect(outcome(identities().identify(secret, none))).toBe(expected);
  });

  test("must be an issued one when only those may join", () => {
    const closed = identities({ joinOpen: false });
    expect(outcome(closed.identify("good", none))).toBe(`${ada}.rack`);
    expect(outcome(closed.identify(ada, none))).toBe("unknown-credential");
  });

  test("must end with the pool's password where there is one, issued or not", () => {
    const guarded = identities({ joinPassword: "open:sesame" });
    expect(outcome(guarded.identify(`${ada}.rig1:open:sesame`, none))).toBe(`${ada}.rig1`);
    expect(outcome(guarded.identify(`${ada}.rig1:wrong`, none))).toBe("wrong-password");
    expect(outcome(guarded.identify(`${ada}.rig1`, none))).toBe("wrong-password");
    expect(outcome(guarded.identify("good:open:sesame", none))).toBe(`${ada}.rack`);
    expect(outcome(guarded.identify("good:open", none))).toBe("wrong-password");
    expect(outcome(guarded.identify("good", none))).toBe("wrong-password");
    expect(outcome(guarded.identify("old:open:sesame", none))).toBe("revoked");
    expect(outcome(guarded.identify("unknown:open:sesame", none))).toBe("bad-secret");
  });

  test("may end with a password where there is none, issued or not", () => {
    expect(outcome(identities().identify("good:whatever", none))).toBe(`${ada}.rack`);
  });

  test("that was issued is known by the same hash with and without a password", () => {
    for (const rules of [{}, { joinPassword: "sesame" }]) {
      expect(identities(rules).hashOf("good:sesame")).toBe(hashSecret("good"));
      expect(identities(rules).hashOf("good")).toBe(hashSecret("good"));
      expect(identities(rules).hashOf(`${ada}:sesame`)).toBe(hashSecret(`${ada}:sesame`));
    }
  });

  test("an address that is locked works only with issued credentials", () => {
    const locked = identities();
    locked.load([{ worker: ada, locked: true, banned: undefined, note: undefined }], []);
    expect(outcome(locked.identify(ada, none))).toBe("locked");
    expect(outcome(locked.identify("anything", bytesOf(ada)))).toBe("locked");
  });
});

describe("a rig that was let in", () => {
  test("is dismissed when its worker is banned, its credential revoked, or its address locked to credentials", () => {
    const rig = { worker: ada, rig: "rack" };
    expect(identities().isDismissed(rig, hashSecret("good"))).toBe(false);
    expect(identities().isDismissed(rig, hashSecret("old"))).toBe(true);
    expect(identities().isDismissed({ worker: bob, rig: "default" }, hashSecret(bob))).toBe(true);
    const locked = identities();
    locked.load([{ worker: ada, locked: true, banned: undefined, note: undefined }], []);
    expect(locked.isDismissed(rig, hashSecret(ada))).toBe(true);
  });
});

describe("a worker of the fork, which registers with its address", () => {
  test("is named by it when its secret names nobody", () => {
    expect(outcome(identities().identify("any shared secret", bytesOf(ada)))).toBe(`${ada}.default`);
    expect(outcome(identities().identify("x", new Uint8Array(20)))).toBe("zero-address");
    const guarded = identities({ joinPassword: "sesame" });
    expect(outcome(guarded.identify("sesame", bytesOf(ada)))).toBe(`${ada}.default`);
    expect(outcome(guarded.identify("other", bytesOf(ada)))).toBe("bad-secret");
  });

  test("must be the same worker that its secret names", () => {
    expect(outcome(identities().identify(`${ada}.rig1`, bytesOf(ada)))).toBe(`${ada}.rig1`);
    expect(outcome(identities().identify(`${ada}.rig1`, bytesOf(bob)))).toBe("address-mismatch");
    expect(outcome(identities().identify("good", bytesOf(bob)))).toBe("address-mismatch");
    const refusal = identities().identify(bob, bytesOf(bob));
    expect(isIdentityRefusal(refusal) && refusal.worker).toBe(bob);
  });

  test("is refused with the zero address, and with bytes that are none, whatever its secret names", () => {
    for (const secret of [ada, `${ada}.rig1`, "good"]) {
      expect(outcome(identities().identify(secret, new Uint8Array(20)))).toBe("zero-address");
      expect(outcome(identities().identify(secret, bytesOf(ada).subarray(1)))).toBe("address-mismatch");
      expect(outcome(identities().identify(secret, Buffer.concat([bytesOf(ada), Buffer.of(0)])))).toBe(
        "address-mismatch",
      );
      expect(outcome(identities().identify(secret, bytesOf(ada)))).not.toMatch(/^(zero|address)-/);
    }
  });
});
