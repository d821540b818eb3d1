import { type OptionProblem, resolveOptions } from "@openpool/base";
import { expect, test } from "vitest";
import { payoutOptionDefinitions, toPayoutOptions } from "./options.ts";

/** What is wrong with these settings, as people are told. */
function problemsOf(flags: Readonly<Record<string, string>>): readonly string[] {
  const source = { origin: "flag", label: (name: string) => name, values: new Map(Object.entries(flags)) } as const;
  const { values, problems } = resolveOptions(payoutOptionDefinitions, [source]);
  expect(problems).toEqual([]);
  const found: OptionProblem[] = [];
  toPayoutOptions(values, found);
  return found.map(({ where, problem }) => `${where} ${problem}`);
}

test.each(["42161", "1", "421614", "10", "1338"])(
  "a key in plain text is refused on chain %s, which is not one of play money on this machine",
  (chainId) => {
    expect(problemsOf({ "rpc-url": "http://127.0.0.1:1", "chain-id": chainId, "payout-key-file": "/key" })).toEqual([
      "--payout-key-file is for local chains only: put the key into a keystore (--payout-keystore)",
    ]);
  },
);

test("without a word about the chain it is Arbitrum One, where a key in plain text is refused", () => {
  expect(problemsOf({ "rpc-url": "http://127.0.0.1:1", "payout-key-file": "/key" })).toHaveLength(1);
});

test.each(["31337", "1337"])("a key in plain text is taken on the local chain %s", (chainId) => {
  expect(problemsOf({ "rpc-url": "http://127.0.0.1:1", "chain-id": chainId, "payout-key-file": "/key" })).toEqual([]);
});

test("two keys at once, a keystore without its password and a key without a chain are refused", () => {
  const chain = { "rpc-url": "http://127.0.0.1:1", "chain-id": "31337" };
  const keystore = { "payout-keystore": "/keystore", "payout-password-file": "/password" };
  expect(problemsOf({ ...chain, ...keystore, "payout-key-file": "/key" })).toEqual([
    "--payout-key-file and --payout-keystore name two accounts: give one",
  ]);
  expect(problemsOf({ ...chain, "payout-keystore": "/keystore" })).toEqual([
    "--payout-password-file is missing: --payout-keystore cannot be opened without its password",
  ]);
  expect(problemsOf(keystore)).toEqual(["--rpc-url is missing: there is a key for payouts, but no chain to pay on"]);
});

test.each<readonly [nodes: number, quorum: number, problem: RegExp | undefined]>([
  [1, 1, undefined],
  [3, 2, undefined],
  [3, 3, undefined],
  [3, 1, /^--rpc-quorum is not more than half of the 3 nodes .* Give a larger one, or leave it out$/],
  [4, 2, /^--rpc-quorum is not more than half of the 4 nodes/],
  [2, 3, /^--rpc-quorum is more than the 2 nodes of --rpc-url: they could never agree$/],
])("of %i nodes a quorum of %i is taken only where no other could say the opposite", (nodes, quorum, problem) => {
  const urls = Array.from({ length: nodes }, (_, i) => `http://127.0.0.1:${i + 1}`).join(",");
  const problems = problemsOf({ "rpc-url": urls, "rpc-quorum": String(quorum) });
  expect(problems).toEqual(problem === undefined ? [] : [expect.stringMatching(problem)]);
});
