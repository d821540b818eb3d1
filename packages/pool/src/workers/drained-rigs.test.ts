import { formatRig, parseOpenSecret, type RigName } from "@openpool/protocol";
import { expect, test } from "vitest";
import { DrainedRigs } from "./drained-rigs.ts";

function rig(name: string): RigName {
  const parsed = parseOpenSecret(`0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F.${name}`);
  if (typeof parsed === "string") throw new Error(parsed);
  return { worker: parsed.worker, rig: parsed.rig };
}

/** One pool's store, and what each of its processes was told. */
function pool(saved?: unknown) {
  let value = saved;
  const store = {
    getSnapshot: () => Promise.resolve(value),
    async putSnapshot(_name: string, next: unknown) {
      await Promise.resolve();
      value = JSON.parse(JSON.stringify(next));
    },
  };
  return async () => {
    const told: string[] = [];
    const desk = {
      drainRig: (one: RigName) => void told.push(`drain ${formatRig(one)}`),
      undrainRig: (one: RigName) => void told.push(`undrain ${formatRig(one)}`),
    };
    return { rigs: await DrainedRigs.open({ store, desk }), told };
  };
}

test("a rig that was drained is drained in the next process, too, until it is told otherwise", async () => {
  const start = pool();
  const first = await start();
  await Promise.all([first.rigs.drain(rig("a")), first.rigs.drain(rig("b")), first.rigs.undrain(rig("a"))]);
  const second = await start();
  expect(second.told).toEqual([`drain ${formatRig(rig("b"))}`]);
  await second.rigs.undrain(rig("b"));
  expect((await start()).told).toEqual([]);
});

test("while two processes live, what either was told counts: the next one follows when it begins to serve", async () => {
  const start = pool();
  const old = await start();
  await old.rigs.drain(rig("a"));
  const next = await start();
  await old.rigs.drain(rig("b"));
  await old.rigs.undrain(rig("a"));
  await next.rigs.follow();
  expect(next.told).toEqual(
    ["a", "b"].map((name) => `drain ${formatRig(rig(name))}`).concat(`undrain ${formatRig(rig("a"))}`),
  );
  await next.rigs.drain(rig("c"));
  expect((await start()).told).toEqual(["b", "c"].map((name) => `drain ${formatRig(rig(name))}`));
});

test.each([undefined, null, "drained", { rigs: "all" }, { rigs: [7, "nobody", {}] }])(
  "what stands in its place and is no list of rigs drains nobody: %j",
  async (saved) => {
    expect(await (await pool(saved)()).told).toEqual([]);
  },
);
