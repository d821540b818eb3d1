import { expect, test } from "vitest";
import { calls } from "../chain/index.ts";
import { checksumOf, type SafeFile, withChecksum } from "./safe-file.ts";

/** What the transaction builder's own tests say of this file: a published vector. */
const published = {
  file: {
    version: "1.0",
    chainId: "4",
    createdAt: 1_646_321_521_061,
    meta: {
      name: "test batch file",
      txBuilderVersion: "1.4.0",
      checksum: "",
      createdFromSafeAddress: "0xDF8a1Ce35c9a6ACE153B4e0767942f1E2291a1Aa",
      createdFromOwnerAddress: "0x49d4450977E2c95362C13D3a31a09311E0Ea26A6",
    },
    transactions: [
      {
        to: "0x49d4450977E2c95362C13D3a31a09311E0Ea26A6",
        value: "0",
        contractMethod: {
          inputs: [{ internalType: "address", name: "paramAddress", type: "address" }],
          name: "testAddress",
          payable: false,
        },
        contractInputsValues: { paramAddress: "0x49d4450977E2c95362C13D3a31a09311E0Ea26A6" },
      },
      {
        to: "0x49d4450977E2c95362C13D3a31a09311E0Ea26A6",
        value: "0",
        contractMethod: {
          inputs: [{ internalType: "bool", name: "paramBool", type: "bool" }],
          name: "testBool",
          payable: false,
        },
        contractInputsValues: { paramAddress: "", paramBool: "false" },
      },
      {
        to: "0x49d4450977E2c95362C13D3a31a09311E0Ea26A6",
        value: "2000000000000000000",
        data: "0x42f4579000000000000000000000000049d4450977e2c95362c13d3a31a09311e0ea26a6",
      },
    ],
  },
  checksum: "0x4ecbfd364aa6759983915644e73f8bd411e85a2dc306f252a387c2728c4db64c",
};

const ours: SafeFile = {
  version: "1.0",
  chainId: "42161",
  createdAt: 1_700_000_000_000,
  meta: {
    name: "a payout",
    description: "2 payments",
    createdFromSafeAddress: "0x49d4450977E2c95362C13D3a31a09311E0Ea26A6",
    createdFromOwnerAddress: "",
  },
  transactions: [{ to: "0x49d4450977E2c95362C13D3a31a09311E0Ea26A6", value: "5", data: "0x00" }],
};

test("the checksum is the transaction builder's own, whatever the order of the names in the file", () => {
  expect(checksumOf(published.file, calls.keccak)).toBe(published.checksum);
  const { meta, ...rest } = published.file;
  const reversed = { ...Object.fromEntries(Object.entries(rest).reverse()), meta };
  expect(checksumOf(reversed, calls.keccak)).toBe(published.checksum);
});

test("it is that of the file without a checksum, and any change but that of the name changes it", () => {
  const { checksum, ...bare } = withChecksum(ours, calls.keccak).meta;
  const sum = (file: SafeFile) => checksumOf(file, calls.keccak);
  expect(checksum).toBe(sum({ ...ours, meta: bare }));
  expect(sum({ ...ours, meta: { ...bare, name: "another name" } })).toBe(checksum);
  const [only] = ours.transactions;
  for (const transactions of [[], [only!, only!], [{ ...only!, value: "6" }], [{ ...only!, data: "0x01" as const }]]) {
    expect(sum({ ...ours, transactions })).not.toBe(checksum);
  }
  expect(sum({ ...ours, chainId: "1" })).not.toBe(checksum);
});
