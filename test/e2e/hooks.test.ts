import { createHash } from "node:crypto";
import { parseAddress, type WorkerAddress } from "@openpool/protocol";
import { expect, test } from "vitest";
import { ADA, BOB, push, startTestPool, until } from "./pool.ts";

const source = `export const workerJoined = ({ rig, capacity }) => {
  if (capacity > 2) return { veto: rig + " has to bring less" };
};
`;
const hook = `sha256:${createHash("sha256").update(source).digest("hex")}`;

test("a rig that the operator's hook does not want is let go whenever it comes, and everybody else works", async () => {
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
  expect(new Set(refused.map(({ rig, data }) => `${rig}: ${String(data["reason"])}`))).toEqual(
    new Set(["large: the hook workerJoined: large has to bring less"]),
  );
  await large[Symbol.asyncDispose]();
  await pool.untilConnected(2);
  expect([partners.registrations, small.registrations]).toEqual([1, 1]);
  expect((await push(pool.gateway(), "s", 0)).kind).toBe("done");
});
