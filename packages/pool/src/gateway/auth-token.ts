import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { type AuthToken, AuthTokenSchema, minBytes } from "@openpool/protocol";

/**
 * Half a day. Gateways accept any validity, and each refresh of a running stream is a chance to lose it; on a stock
 * orchestrator's 30 minutes every long stream takes that chance twice an hour.
 */
const VALID_MS = 12 * 3600_000;

export type TokenProblem = "missing" | "invalid" | "expired";

/** Issues and checks session tokens without remembering any: HMAC under a key that outlives restarts. */
export interface TokenIssuer {
  /** A token for a new session. */
  issue(nowMs: number): AuthToken;
  /** Whether the token is one of ours, whatever its age. */
  isGenuine(token: AuthToken): boolean;
  /** When a genuine token was issued, in unix seconds. */
  issuedAt(token: AuthToken): number;
  check(token: AuthToken | undefined, nowMs: number): TokenProblem | undefined;
}

export function createTokenIssuer(key: Uint8Array): TokenIssuer {
  const mac = (sessionId: string, expiration: bigint): Buffer =>
    createHmac("sha256", key)
      .update(sessionId)
      .update(minBytes(expiration < 0n ? 0n : expiration))
      .digest();
  const isGenuine = (token: AuthToken): boolean => {
    const wanted = mac(token.sessionId, token.expiration);
    return token.token.length === wanted.length && timingSafeEqual(token.token, wanted);
  };
  return {
    issue(nowMs) {
      // 64 bits: a stock orchestrator's 32 collide over time.
      const sessionId = randomBytes(8).toString("hex");
      const expiration = BigInt(Math.floor((nowMs + VALID_MS) / 1000));
      return create(AuthTokenSchema, { sessionId, expiration, token: mac(sessionId, expiration) });
    },
    isGenuine,
    issuedAt: (token) => Number(token.expiration) - VALID_MS / 1000,
    check(token, nowMs) {
      if (!token) return "missing";
      if (!isGenuine(token)) return "invalid";
      return BigInt(Math.floor(nowMs / 1000)) > token.expiration ? "expired" : undefined;
    },
  };
}
