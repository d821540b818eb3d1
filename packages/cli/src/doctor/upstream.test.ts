import type { OrchestratorProbe, UpstreamOptions } from "@openpool/pool";
import { expect, test } from "vitest";
import { judgeProbe } from "./upstream.ts";

const upstream: UpstreamOptions = {
  name: "main",
  address: { host: "127.0.0.1", port: 8935 },
  cli: { host: "127.0.0.1", port: 7935 },
};
const status = {
  price: { pricePerUnitWei: 1_200n, pixelsPerUnit: 1n },
  version: "0.9.1",
  transcoders: [],
  local: false,
};
const probe: OrchestratorProbe = {
  unreachable: undefined,
  secretTaken: true,
  secretText: "zero capacity",
  hasRoom: true,
  roomText: "",
  version: "0.9.1",
  cli: status,
};
const busy = { ...status, transcoders: [{ address: "192.0.2.1:5", capacity: 3 }] };

test.each<[string, Partial<OrchestratorProbe>, string, string]>([
  ["the way", { unreachable: "connect ECONNREFUSED" }, "fail", "127.0.0.1:8935 cannot be used: connect ECONNREFUSED"],
  ["a secret that is taken", {}, "ok", "it takes the secret, and transcoders"],
  ["a wrong secret", { secretTaken: false }, "fail", "it does not take the secret"],
  [
    "one that transcodes by itself",
    { secretTaken: undefined, secretText: "unknown service" },
    "fail",
    "it takes no transcoders (unknown service)",
  ],
  ["the version", { version: "0.9.1-14-gabc" }, "ok", "go-livepeer 0.9.1-14-gabc, which the pool is tested with"],
  ["an older one", { version: "0.8.8" }, "warn", "go-livepeer 0.8.8 is older than what the pool is tested with"],
  ["a newer one", { version: "0.10.0" }, "warn", "go-livepeer 0.10.0 is newer than what the pool is tested with"],
  ["none", { version: "" }, "warn", "its version cannot be seen; the pool is tested with go-livepeer 0.9.1"],
  [
    "what is none",
    { version: "undefined" },
    "warn",
    "its version cannot be seen; the pool is tested with go-livepeer 0.9.1",
  ],
  ["room", {}, "ok", "it has room for sessions"],
  [
    "room beside others",
    { cli: busy },
    "ok",
    "it has room for sessions; 1 transcoders with 3 sessions are connected to it already",
  ],
  [
    "no room before anybody is connected",
    { hasRoom: false },
    "ok",
    "it takes no sessions now, while no transcoder is connected to it",
  ],
  [
    "no room beside others",
    { hasRoom: false, cli: busy },
    "warn",
    "it takes no more sessions now; 1 transcoders with 3 sessions are connected to it already",
  ],
  ["no room, for unknown reasons", { hasRoom: false, cli: undefined }, "warn", "it takes no more sessions now"],
  [
    "room that cannot be seen",
    { hasRoom: undefined, roomText: "who are you" },
    "warn",
    "whether it has room for sessions cannot be seen (who are you)",
  ],
  ["a fixed -maxSessions", {}, "warn", "its -maxSessions is a number, not auto"],
  ["-maxSessions auto", { hasRoom: false }, "ok", "its -maxSessions is auto"],
  [
    "one that cannot be seen beside others",
    { cli: busy },
    "ok",
    "whether its -maxSessions is auto cannot be seen from here: transcoders are connected",
  ],
  [
    "one that cannot be seen without the CLI port",
    { cli: "ECONNREFUSED" },
    "ok",
    "whether its -maxSessions is auto cannot be seen from here: its CLI port does not say how many transcoders are connected",
  ],
  [
    "one that cannot be seen without an answer",
    { hasRoom: undefined },
    "ok",
    "whether its -maxSessions is auto cannot be seen from here: it does not say whether it has room",
  ],
  ["a price", {}, "ok", "it charges 1200/1 wei a pixel"],
  [
    "no price",
    { cli: { ...status, price: undefined } },
    "ok",
    "it names no price; work is credited at --price-per-unit",
  ],
  [
    "a CLI port that does not answer",
    { cli: "ECONNREFUSED" },
    "warn",
    "its CLI port 127.0.0.1:7935 does not answer (ECONNREFUSED); work is credited at --price-per-unit",
  ],
  ["no CLI port", { cli: undefined }, "warn", "its price is not asked for; work is credited at --price-per-unit"],
])("of an orchestrator %s is said", (_, found, level, text) => {
  expect(judgeProbe(upstream, "secret", { ...probe, ...found })).toContainEqual(
    expect.objectContaining({ what: "upstream main", level, text }),
  );
});

test("whatever -maxSessions is, it is said what that means; where it cannot be seen, how it can", () => {
  const advice = (found: Partial<OrchestratorProbe>): string =>
    judgeProbe(upstream, "secret", { ...probe, ...found }).find(({ text }) => text.includes("-maxSessions"))?.advice ??
    "";
  for (const found of [{}, { hasRoom: false }, { cli: busy }]) {
    expect(advice(found)).toContain("with auto it takes as many sessions as the pool offers");
  }
  expect(advice({ cli: busy })).toContain("livepeer_max_sessions_total");
});
