import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { payToJson } from "../chain/index.ts";
import { ada, bob } from "../store/testing/sample-credit.ts";
import { signInText } from "./sign-in-text.ts";

const docs = readFileSync(new URL("../../../../docs/settings.md", import.meta.url), "utf8");
/** What stands in the one block of a language. */
const block = (language: string): string => new RegExp("```" + language + "\n([^]*?)\n```").exec(docs)?.[1] ?? "";

test("the docs show the text of a sign-in letter by letter", () => {
  const nonce = "019d1e5f0c2b0102030405060708a5c1b7d2e3f4051627384950";
  const facts = { worker: ada, origin: "https://pool.example.com", chainId: 42_161, nonce };
  expect(block("text")).toBe(signInText(facts, Date.parse("2026-11-21T12:00:00Z")));
});

test("the docs show the document of a change of payouts as wallets get it", () => {
  const change = {
    worker: ada,
    payTo: bob,
    thresholdWei: 20_000_000_000_000_000n,
    asset: "pool",
    maxGasPriceWei: 0n,
    maxGasSharePpm: 5_000n,
    nonce: 1n,
  } as const;
  const place = { pool: "https://pool.example.com:8935", chainId: 42_161 };
  expect(JSON.parse(block("json"))).toEqual(JSON.parse(payToJson(change, place)));
});
