import { createHmac, timingSafeEqual } from "node:crypto";
import type { WorkerAddress } from "@openpool/protocol";

/** How long after its making a text may be signed and sent. */
export const SIGN_IN_VALID_MS = 10 * 60_000;
/** Clocks of two processes of a pool differ by so much at most. */
const CLOCK_SKEW_MS = 60_000;

/** Without quotes and line breaks, so that it fits into a shell's `$'…'`. */
const STATEMENT = "Change the settings of this worker. This moves no money and costs no gas.";

/** What stands in a text to sign. */
export interface SignInFacts {
  readonly worker: WorkerAddress;
  /** Where the pool's pages are: `https://HOST[:PORT]`. */
  readonly origin: string;
  readonly chainId: number;
  readonly nonce: string;
}

/**
 * A nonce says when it was made, and that we made it: nothing has to be kept of those that nobody uses, and a stranger
 * who asks for many of them fills nothing.
 */
export function makeNonce(key: Uint8Array, nowMs: number, random: Uint8Array): string {
  const made = nowMs.toString(16).padStart(12, "0") + Buffer.from(random).toString("hex");
  return made + mac(key, made);
}

const mac = (key: Uint8Array, made: string): string =>
  createHmac("sha256", key).update(`sign-in ${made}`).digest("hex").slice(0, 24);

/** When a nonce was made, unix ms; undefined: not by us. */
export function nonceTime(key: Uint8Array, nonce: string): number | undefined {
  const [, made, sealed] = /^([0-9a-f]{28})([0-9a-f]{24})$/.exec(nonce) ?? [];
  if (made === undefined || sealed === undefined) return undefined;
  if (!timingSafeEqual(Buffer.from(sealed), Buffer.from(mac(key, made)))) return undefined;
  return Number.parseInt(made.slice(0, 12), 16);
}

/** The text of EIP-4361. */
export function signInText({ worker, origin, chainId, nonce }: SignInFacts, madeAtMs: number): string {
  return `${new URL(origin).host} wants you to sign in with your Ethereum account:
${worker}

${STATEMENT}

URI: ${origin}/settings/${worker}
Version: 1
Chain ID: ${chainId}
Nonce: ${nonce}
Issued At: ${new Date(madeAtMs).toISOString()}
Expiration Time: ${new Date(madeAtMs + SIGN_IN_VALID_MS).toISOString()}`;
}

/** Which part of a text keeps it from being a sign-in here. */
export type TextProblem =
  "address" | "domain" | "uri" | "version" | "chainId" | "nonce" | "issuedAt" | "expirationTime" | "message";

/** A text's own name for each of its lines. */
const LINES = {
  uri: "URI",
  version: "Version",
  chainId: "Chain ID",
  nonce: "Nonce",
  issuedAt: "Issued At",
  expirationTime: "Expiration Time",
} as const;

const GREETING = " wants you to sign in with your Ethereum account:";
/** Ours has eleven; of a text with far more no line is looked at. */
const MOST_LINES = 40;

interface SignInRead {
  readonly worker: WorkerAddress;
  readonly nonce: string;
  /** From then on no process of this pool takes the text any more, used or not. Unix ms. */
  readonly forgetAtMs: number;
}

/**
 * Reads a text that was signed. Only one that we would have written ourselves, letter by letter, counts; of any other the
 * first part that differs is named.
 */
export function readSignInText(
  text: string,
  { origin, chainId, key, nowMs }: { origin: string; chainId: number; key: Uint8Array; nowMs: number },
): SignInRead | TextProblem {
  // Cut at its line breaks, never matched as a whole: a text is a stranger's, and patterns can be made to search forever.
  const [greeting = "", address, ...rest] = text.split("\n", MOST_LINES);
  if (address === undefined || !greeting.endsWith(GREETING)) return "message";
  if (greeting.slice(0, -GREETING.length) !== new URL(origin).host) return "domain";
  const given = new Map(rest.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
  const nonce = given.get(LINES.nonce) ?? "";
  const madeAtMs = nonceTime(key, nonce);
  if (madeAtMs === undefined) return "nonce";
  // Compared with what we would write, and so an address in the form that the text must have.
  const worker = address as WorkerAddress;
  const expected = signInText({ worker, origin, chainId, nonce }, madeAtMs);
  for (const [part, name] of Object.entries(LINES)) {
    if (!expected.includes(`\n${name}: ${given.get(name)}`)) return part as keyof typeof LINES;
  }
  if (text !== expected) return "message";
  if (nowMs < madeAtMs - CLOCK_SKEW_MS) return "issuedAt";
  if (nowMs >= madeAtMs + SIGN_IN_VALID_MS) return "expirationTime";
  return { worker, nonce, forgetAtMs: madeAtMs + SIGN_IN_VALID_MS + CLOCK_SKEW_MS };
}
