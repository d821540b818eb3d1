import { create, toBinary } from "@bufbuild/protobuf";
import { type AuthToken, EndTranscodingSessionRequestSchema } from "@openpool/protocol";
import { expect, test } from "vitest";
import { callGetOrchestrator, getToken, openStream } from "../conformance/gateway.ts";
import { forgeToken } from "../conformance/target.ts";
import { dialUnary, parseHostPort } from "../peers/wire.ts";
import { ADA, startTestPool } from "./pool.ts";

test("a pool takes no more streams than it is told to, whatever tokens there are, and costs nobody a session by that", async () => {
  await using pool = await startTestPool({ maxSessions: 1 });
  const target = { address: parseHostPort(pool.addr) };
  await pool.transcoder({ secret: `${ADA}.rig` });
  await pool.untilConnected(1);
  // Both asked when there was room.
  const tokens = [await getToken(target), await getToken(target)] as const;
  using first = await openStream(target, tokens[0]);
  using second = await openStream(target, tokens[1]);
  expect(await first.push()).toBe("renditions");
  expect((await callGetOrchestrator(target)).message).toContain("OrchestratorCapped");
  for (let i = 0; i < 3; i++) {
    expect(await second.push()).toBe("503 TranscoderInvalidVideo");
    expect(await first.push()).toBe("renditions");
  }
  const end = create(EndTranscodingSessionRequestSchema, { authToken: tokens[0] });
  const bytes = toBinary(EndTranscodingSessionRequestSchema, end);
  await dialUnary(target.address, "/net.Orchestrator/EndTranscodingSession", bytes);
  // Under the token that it had from the beginning.
  expect(await second.push()).toBe("renditions");
  expect(await first.push()).toBe("503 TranscoderInvalidVideo");

  // A stream of the process before this one has its place, and nobody else is let in for that.
  const hour = BigInt(Math.floor(Date.now() / 1000) + 3_600);
  const inherited: AuthToken = await forgeToken(pool.dataDir, "00000000000000aa", hour);
  using old = await openStream(target, inherited);
  expect(await old.push()).toBe("renditions");
  expect(await second.push()).toBe("renditions");
  expect(await first.push()).toBe("503 TranscoderInvalidVideo");
}, 240_000);
