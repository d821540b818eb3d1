import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { formatEth } from "@openpool/base";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { ADA, BOB, push, startTestPool, until } from "./pool.ts";
import { operate } from "./program.ts";

const source = `export const workerJoined = ({ rig, capacity }) => {
  if (capacity > 2) return { veto: rig + " has to bring less" };
};
`;
const hook = `sha256:${createHash("sha256").update(source).digest("hex")}`;

test("a rig that the operator's hook does not want is let go whenever it comes, everybody else works, and another hook can be tried on their jobs", async () => {
  const partner = parseAddress(ADA) as WorkerAddress;
  await using pool = await startTestPool({
    firstTerms: {
      schemeOptions: { hook },
      // The terms of this one name no hook.
      overrides: [{ name: "partners", workers: [partner], schemeOptions: {} }],
    },
  });
  const { schemes } = pool.running.node.admin;
  expect(await schemes?.addHook(source)).toMatchObject({ hash: hook, exports: ["workerJoined"] });
  const partners = await pool.transcoder({ secret: `${ADA}.large`, capacity: 3 });
  const small = await pool.transcoder({ secret: `${BOB}.small`, capacity: 2 });
  const large = await pool.transcoder({ secret: `${BOB}.large`, capacity: 3, backoffScale: 0.01 });
  await large.until(({ registrations }) => registrations >= 4, 60_000);
  await until(async () => (await pool.events("rig.refused")).length > 0, 60_000);
  const refused = await pool.events("rig.refused");
  expect(new Set(refused.map(({ rig, data }) => `${rig}: ${String(data["explanation"])}`))).toEqual(
    new Set(["large: the hook workerJoined: large has to bring less"]),
  );
  await large[Symbol.asyncDispose]();
  await pool.untilConnected(2);
  expect([partners.registrations, small.registrations]).toEqual([1, 1]);
  const gateway = pool.gateway();
  for (const [stream, seq] of [
    ["s", 0],
    ["s", 1],
    ["t", 0],
  ] as const) {
    expect((await push(gateway, stream, seq)).kind).toBe("done");
  }

  // What these jobs would have paid by another function, which leaves the pool nothing.
  const tryIt = async (name: string, body: string, ...flags: readonly string[]): Promise<string> => {
    const file = join(pool.dataDir, name);
    await writeFile(file, `export const share = ({ feeWei, worker }) => ${body};\n`);
    return operate(pool.dataDir, "hooks", "test", file, "--last", "1000", ...flags);
  };
  const workers = (await pool.running.node.admin.balances())
    .filter((one) => one.segments > 0n)
    .map(({ worker, creditedWei, pixels }) => ({ worker, nowWei: creditedWei, thenWei: pixels * 1_000n }))
    .sort((a, b) => (a.worker < b.worker ? -1 : 1));
  const commissionWei = workers.reduce((sum, one) => sum + one.thenWei - one.nowWei, 0n);
  const generous = "[{ to: worker, wei: feeWei }]";
  expect(JSON.parse(await tryIt("generous.mjs", generous, "--json"))).toMatchObject({
    jobs: 3,
    failed: 0,
    payees: [
      { to: "pool", nowWei: `${commissionWei}`, thenWei: "0" },
      ...workers.map(({ worker, nowWei, thenWei }) => ({ to: worker, nowWei: `${nowWei}`, thenWei: `${thenWei}` })),
    ],
  });
  const out = await tryIt("generous.mjs", generous);
  expect(out).toContain("3 jobs, 0 on which it failed\n");
  const more = (of: string): RegExp => new RegExp(`^${of} .* (-?0\\.\\d+) *$`, "m");
  expect(more("pool").exec(out)?.[1]).toBe(formatEth(-commissionWei));
  for (const one of workers) expect(more(one.worker).exec(out)?.[1]).toBe(formatEth(one.thenWei - one.nowWei));
  // One that gives out more than there is would have its jobs' fees held: that is no success.
  await expect(tryIt("greedy.mjs", "[{ to: worker, wei: feeWei + 1n }]")).rejects.toMatchObject({
    code: 1,
    stdout: expect.stringContaining("3 jobs, 3 on which it failed\n"),
  });
});
