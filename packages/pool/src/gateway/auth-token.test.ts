import { create } from "@bufbuild/protobuf";
import { AuthTokenSchema, bytesToHex } from "@openpool/protocol";
import { expect, test } from "vitest";
import { createTokenIssuer } from "./auth-token.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

test.each([
  [text("foo"), "bar", 100n, "e896e58f32128ad59566fbef0ae8d4b702f6f08cdfe3f17b544696016f5e5423"],
  [
    new Uint8Array(32).fill(7),
    "ab12cd34",
    1_700_000_000n,
    "7008bb772b7f8c45c8ba6d6aba300cd31f622b75e03b17186d4c5c6400f38173",
  ],
])("recognises the tokens that a stock orchestrator makes of its key", (key, sessionId, expiration, hex) => {
  const token = create(AuthTokenSchema, { sessionId, expiration, token: Buffer.from(hex, "hex") });
  expect(createTokenIssuer(key).isGenuine(token)).toBe(true);
  expect(createTokenIssuer(key).isGenuine({ ...token, sessionId: "other" })).toBe(false);
  expect(createTokenIssuer(key).isGenuine({ ...token, expiration: expiration + 1n })).toBe(false);
});

test("a token is good until it expires, with another key never", () => {
  const issuer = createTokenIssuer(text("key"));
  const token = issuer.issue(1_000_000);
  expect(issuer.check(token, 1_000_000)).toBeUndefined();
  expect(issuer.check(token, 1_000_000 + 13 * 3600_000)).toBe("expired");
  expect(issuer.check(undefined, 0)).toBe("missing");
  expect(issuer.check(create(AuthTokenSchema, {}), 0)).toBe("invalid");
  expect(createTokenIssuer(text("other")).check(token, 1_000_000)).toBe("invalid");
  expect(bytesToHex(token.token)).toHaveLength(64);
});
