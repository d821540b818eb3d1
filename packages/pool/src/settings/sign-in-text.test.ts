import { parseAddress, isAddressProblem } from "@openpool/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { makeNonce, readSignInText, signInText } from "./sign-in-text.ts";

const nowMs = Date.UTC(2026, 6, 15);
const key = new Uint8Array(32).fill(7);
const read = { origin: "https://pool.example.com", chainId: 42_161, key, nowMs };
const address = parseAddress("0x00000000000000000000000000000000000000aa");
if (isAddressProblem(address)) throw new Error(address);
const text = signInText({ ...read, worker: address, nonce: makeNonce(key, nowMs, new Uint8Array(8)) }, nowMs);

test("reads the text that it wrote", () => {
  expect(readSignInText(text, read)).toMatchObject({ worker: address });
});

test.each(["Aa: ", "A: \n", "Aa", ": ", "\n", " wants you to sign in with your Ethereum account:\n", "Nonce: "])(
  "a text made of %j many times over is refused at once",
  (piece) => {
    const head = `a wants you to sign in with your Ethereum account:\n0x${"0".repeat(40)}\n\n\n`;
    for (const count of [40, 400, 4_000]) {
      expect(readSignInText(`${head}${piece.repeat(count)}\n\n`, read)).toBe("domain");
      expect(readSignInText(`${head.replace(/^a/, "pool.example.com")}${piece.repeat(count)}\n\n`, read)).toBe("nonce");
      expect(readSignInText(`${text}${piece.repeat(count)}`, read)).toBeTypeOf("string");
    }
  },
);

test("any change to a text is noticed", () => {
  fc.assert(
    fc.property(fc.nat({ max: text.length }), fc.nat({ max: 20 }), fc.string({ maxLength: 30 }), (at, gone, put) => {
      const changed = text.slice(0, at) + put + text.slice(at + gone);
      fc.pre(changed !== text);
      expect(readSignInText(changed, read)).toBeTypeOf("string");
    }),
  );
});
