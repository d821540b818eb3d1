import { scrypt } from "@noble/hashes/scrypt.js";
import { hexToBytes, keccak256 } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { expect, test } from "vitest";
import type { PayToRequest } from "../payouts/types.ts";
import { decryptKeystore, encryptKeystore } from "./keystore.ts";
import { isSignedPayTo, type PayToPlace, payToTypedData } from "./payto.ts";
import { createSignatureCheck } from "./signatures.ts";
import { newKeystore, ourAddress, parseKey, signerOfKey, signerOfKeystore } from "./signer.ts";

const KEY = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
const TESTS = "testpassword";

test("opens a keystore with pbkdf2: the example that the format's own description gives", async () => {
  const file = JSON.stringify({
    version: 3,
    crypto: {
      cipher: "aes-128-ctr",
      cipherparams: { iv: "6087dab2f9fdbbfaddc31a909735c1e6" },
      ciphertext: "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
      kdf: "pbkdf2",
      kdfparams: {
        c: 262_144,
        dklen: 32,
        prf: "hmac-sha256",
        salt: "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
      },
      mac: "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
  });
  expect(Buffer.from(await decryptKeystore(file, TESTS)).toString("hex")).toBe(KEY);
  await expect(decryptKeystore(file, "Testpassword")).rejects.toThrow(/payout\/wrong-password/);
});

test("a keystore that it writes with scrypt opens by another implementation of scrypt, and with capital letters", async () => {
  const written = await encryptKeystore(hexToBytes(`0x${KEY}`), TESTS, { address: "0x00", n: 4096 });
  const { version, crypto } = JSON.parse(written) as {
    readonly version: number;
    readonly crypto: {
      readonly mac: string;
      readonly ciphertext: string;
      readonly kdfparams: { readonly salt: string };
    };
  };
  const salt = Buffer.from(crypto.kdfparams.salt, "hex");
  const derived = scrypt(new TextEncoder().encode(TESTS), salt, { N: 4096, r: 8, p: 1, dkLen: 32 });
  const mac = keccak256(Buffer.concat([derived.subarray(16), Buffer.from(crypto.ciphertext, "hex")]));
  expect(mac).toBe(`0x${crypto.mac}`);
  const capital = JSON.stringify({ version, Crypto: crypto });
  expect(Buffer.from(await decryptKeystore(capital, TESTS)).toString("hex")).toBe(KEY);
});

test("a new key opens with its password, and no error ever holds a key or a password", async () => {
  const { address, keystore } = await newKeystore("secret words", { n: 1024 });
  expect((await signerOfKeystore(keystore, "secret words")).address).toBe(address);
  const other = await encryptKeystore(hexToBytes(`0x${KEY}`), "secret words", { address, n: 1024 });
  for (const attempt of [
    () => decryptKeystore(other, "wrong words"),
    () => decryptKeystore(other.slice(0, 200), "secret words"),
    () => decryptKeystore(JSON.stringify({ version: 3, crypto: { kdf: "scrypt", n: 2 ** 40 } }), "secret words"),
    async () => parseKey(`${KEY}00`),
    async () => signerOfKey(new Uint8Array(32)),
  ]) {
    const text = await attempt().then(
      () => "it was taken",
      (error: unknown) => (error instanceof Error ? `${error.message} ${String(error.cause ?? "")}` : ""),
    );
    expect(text).toMatch(/^\[payout\//);
    expect(text).not.toContain("words");
    expect(text).not.toContain(KEY.slice(0, 16));
  }
});

test("a change of the payout address counts only with the worker's own signature, at this pool, on this chain", async () => {
  const account = privateKeyToAccount(`0x${KEY}`);
  const place = { pool: "https://pool.example.com:8935", chainId: 42_161 };
  const change = {
    worker: ourAddress(account.address),
    payTo: ourAddress("0x1111111111111111111111111111111111111111"),
    thresholdWei: 5n,
    asset: "eth",
    maxGasPriceWei: 7n,
    maxGasSharePpm: 50_000n,
    nonce: 1n,
  } as const;
  const signature = await account.signTypedData(payToTypedData(change, place));
  const request = { ...change, signature };
  const check = createSignatureCheck([], 1);
  const isSigned = (one: PayToRequest, at: PayToPlace): Promise<boolean> => isSignedPayTo(one, at, check);
  expect(await isSigned(request, place)).toBe(true);
  expect(await isSigned({ ...request, payTo: change.worker }, place)).toBe(false);
  expect(await isSigned({ ...request, nonce: 2n }, place)).toBe(false);
  expect(await isSigned({ ...request, thresholdWei: 0n }, place)).toBe(false);
  expect(await isSigned({ ...request, asset: "pool" }, place)).toBe(false);
  expect(await isSigned({ ...request, asset: change.payTo }, place)).toBe(false);
  expect(await isSigned({ ...request, maxGasPriceWei: 8n }, place)).toBe(false);
  expect(await isSigned({ ...request, maxGasSharePpm: 0n }, place)).toBe(false);
  expect(await isSigned(request, { ...place, chainId: 1 })).toBe(false);
  expect(await isSigned(request, { ...place, pool: "https://other.example.com:8935" })).toBe(false);
  expect(await isSigned({ ...request, signature: "0x00" }, place)).toBe(false);
});
