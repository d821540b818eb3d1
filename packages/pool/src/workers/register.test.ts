import { silentLogger, systemClock } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { openTestStore } from "../store/testing/test-store.ts";
import type { Store } from "../store/types.ts";
import { Connections } from "./connections.ts";
import { hashSecret, Identities, isIdentityRefusal } from "./identity.ts";
import { WorkersRegister } from "./register.ts";

const ada = parseAddress("0x00000000000000000000000000000000000000aa") as WorkerAddress;

/** The register of one process, and whether it lets a secret in. */
async function openRegister(
  store: Store,
): Promise<{ register: WorkersRegister; refusal: (secret: string) => unknown }> {
  const clock = systemClock;
  const identities = new Identities({ joinOpen: true, joinRegistered: true, joinPassword: undefined });
  const connections = new Connections({ logger: silentLogger, clock });
  const register = new WorkersRegister({ store, identities, connections, clock });
  await register.load();
  return {
    register,
    refusal(secret) {
      const found = identities.identify(secret, new Uint8Array());
      return isIdentityRefusal(found) ? found.reason : undefined;
    },
  };
}

test.each(["the ban first", "the lock first", "both at once"])("a lock and a ban both stay: %s", async (order) => {
  await using store = await openTestStore();
  const { register, refusal } = await openRegister(store);
  const lock = async (): Promise<void> => {
    await register.change(ada, { locked: true }, "worker");
    await register.change(ada, { locked: false }, "worker");
    await register.change(ada, { locked: true }, "worker");
  };
  const ban = (): Promise<unknown> => register.change(ada, { banned: "it lies" }, "operator");
  if (order === "both at once") await Promise.all([lock(), ban()]);
  else for (const step of order === "the ban first" ? [ban, lock] : [lock, ban]) await step();
  expect(await store.worker(ada)).toMatchObject({ locked: true, banned: "it lies" });
  const { secret } = await register.issue({ worker: ada, rig: "one" }, "worker");
  expect(refusal(secret)).toBe("banned");
});

test("what the process before this one was told meanwhile is neither undone nor forgotten", async () => {
  await using store = await openTestStore();
  const before = await openRegister(store);
  const after = await openRegister(store);
  await before.register.change(ada, { banned: "it lies" }, "operator");
  const { secret } = await before.register.issue({ worker: ada, rig: "one" }, "operator");
  await after.register.change(ada, { locked: true }, "worker");
  expect(await store.worker(ada)).toMatchObject({ locked: true, banned: "it lies" });
  await after.register.load();
  expect(after.refusal(secret)).toBe("banned");
  await after.register.change(ada, { banned: null }, "operator");
  expect(after.refusal(secret)).toBeUndefined();
});

test("a lock ends what came by the address alone, a ban everything; who has a credential stays until then", async () => {
  await using store = await openTestStore();
  const ended: string[] = [];
  const open = new Map<string, string>();
  const connections = {
    all: () =>
      [...open].map(([rig, secret]) => ({
        rig: { worker: ada, rig },
        secretHash: hashSecret(secret),
        end: () => void (ended.push(rig), open.delete(rig)),
      })),
  };
  const identities = new Identities({ joinOpen: true, joinRegistered: true, joinPassword: undefined });
  const register = new WorkersRegister({ store, identities, connections, clock: systemClock });
  await register.load();
  open.set("plain", ada);
  open.set("issued", (await register.issue({ worker: ada, rig: "issued" }, "worker")).secret);
  await register.change(ada, { locked: true }, "worker");
  expect(ended).toEqual(["plain"]);
  await register.change(ada, { banned: "it lies" }, "operator");
  expect(ended).toEqual(["plain", "issued"]);
});
