import { stoppedClock } from "@openpool/base";
import type { RigName } from "@openpool/protocol";
import { expect, test } from "vitest";
import { rigReport } from "../api/public/testing/samples.ts";
import { ada } from "../store/testing/sample-credit.ts";
import { openTestStore } from "../store/testing/test-store.ts";
import { RigReports } from "./rig-reports.ts";

const clock = stoppedClock("2026-11-21T12:30:00Z");
const rig = (name: string): RigName => ({ worker: ada, rig: name });

test("a pool that was started anew knows the machines of rigs that have not come back", async () => {
  await using store = await openTestStore({ clock });
  const [card] = rigReport.devices;
  const before = await RigReports.open({ store, clock });
  await before.keep(rig("rig1"), { ...rigReport, devices: [card!, { ...card!, id: "nvidia:1" }] });
  const after = await RigReports.open({ store, clock });
  expect(after.machineOf(rig("rig1"))).toEqual({
    software: "0.1.0",
    devices: [{ kind: "nvidia", model: "NVIDIA L4", count: 2 }],
  });
  expect(await after.read(rig("rig1"))).toMatchObject({
    reportedAt: "2026-11-21T12:30:00.000Z",
    report: { tests: rigReport.tests },
  });
  expect(after.machineOf(rig("rig2"))).toBeUndefined();
  expect(await after.read(rig("rig2"))).toBeUndefined();
});

test("what a rig calls its card is one line of plain text", async () => {
  await using store = await openTestStore({ clock });
  const reports = await RigReports.open({ store, clock });
  const model = "<b>L4</b>\n\u202e\u0000card";
  await reports.keep(rig("rig1"), { ...rigReport, devices: [{ ...rigReport.devices[0]!, model }] });
  expect(reports.machineOf(rig("rig1"))?.devices[0]?.model).toBe("<b>L4</b> card");
});

test("of more rigs than are kept those that reported longest ago are forgotten", async () => {
  await using store = await openTestStore({ clock });
  const reports = await RigReports.open({ store, clock }, 2);
  for (const name of ["a", "b", "a", "c"]) {
    clock.advance(1_000);
    await reports.keep(rig(name), rigReport);
  }
  expect(["a", "b", "c"].map((name) => reports.machineOf(rig(name)) !== undefined)).toEqual([true, false, true]);
  expect((await store.rigReports()).map(({ name }) => name.rig)).toEqual(["a", "c"]);
});
