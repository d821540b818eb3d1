import {
  createCipheriv,
  createDecipheriv,
  pbkdf2,
  randomBytes,
  randomUUID,
  scrypt,
  timingSafeEqual,
} from "node:crypto";
import { promisify } from "node:util";
import { PoolError } from "@openpool/base";
import { bytesToHex, hexToBytes, keccak256 } from "viem";
import { z } from "zod";

const hex = (bytes?: number) =>
  z
    .string()
    .regex(/^(0x)?([0-9a-fA-F]{2})+$/)
    .transform((text) => hexToBytes(`0x${text.replace(/^0x/, "")}`))
    .refine((value) => bytes === undefined || value.length === bytes);

const common = {
  cipher: z.literal("aes-128-ctr"),
  ciphertext: hex(32),
  cipherparams: z.object({ iv: hex(16) }),
  mac: hex(32),
};
// The limits keep a file from asking for more memory or time than any wallet's does.
const scryptParams = z.object({
  n: z
    .int()
    .min(2)
    .max(2 ** 20)
    .refine((n) => (n & (n - 1)) === 0),
  r: z.int().min(1).max(32),
  p: z.int().min(1).max(16),
  dklen: z.literal(32),
  salt: hex(),
});
// The library below refuses what the algorithm's own paper does, though the format's description has it in an example.
const isPossible = ({ n, r }: { n: number; r: number }): boolean => 16 * r > 53 || n < 2 ** (16 * r);
const pbkdf2Params = z.object({
  c: z.int().min(1).max(10_000_000),
  prf: z.literal("hmac-sha256"),
  dklen: z.literal(32),
  salt: hex(),
});
const keystoreSchema = z.object({
  version: z.literal(3),
  crypto: z.discriminatedUnion("kdf", [
    z.object({ ...common, kdf: z.literal("scrypt"), kdfparams: scryptParams.refine(isPossible) }),
    z.object({ ...common, kdf: z.literal("pbkdf2"), kdfparams: pbkdf2Params }),
  ]),
});

const scryptAsync = promisify<Uint8Array, Uint8Array, number, object, Buffer>(scrypt);
const pbkdf2Async = promisify(pbkdf2);

/**
 * The key of a V3 keystore, as geth, go-livepeer and most wallets write it. Throws `payout/bad-keystore` or
 * `payout/wrong-password`; no message holds a part of key, password or file.
 */
export async function decryptKeystore(text: string, password: string): Promise<Uint8Array> {
  let parsed;
  try {
    // Some wallets write the names of a V3 file with capitals.
    const file: unknown = JSON.parse(text, (_name, value: unknown) =>
      value !== null && typeof value === "object" && "Crypto" in value ? { ...value, crypto: value.Crypto } : value,
    );
    parsed = keystoreSchema.safeParse(file);
  } catch {
    parsed = undefined;
  }
  if (!parsed?.success) {
    throw new PoolError(
      { code: "payout/bad-keystore" },
      "The keystore is no V3 keystore with scrypt or pbkdf2 and aes-128-ctr: make one with `openpool payouts new-key`, geth or a wallet.",
    );
  }
  const { crypto } = parsed.data;
  const secret = new TextEncoder().encode(password);
  const derived =
    crypto.kdf === "scrypt"
      ? await scryptAsync(secret, crypto.kdfparams.salt, 32, {
          N: crypto.kdfparams.n,
          r: crypto.kdfparams.r,
          p: crypto.kdfparams.p,
          maxmem:
            128 * crypto.kdfparams.n * crypto.kdfparams.r + 128 * crypto.kdfparams.r * crypto.kdfparams.p + 2 ** 20,
        })
      : await pbkdf2Async(secret, crypto.kdfparams.salt, crypto.kdfparams.c, 32, "sha256");
  const mac = keccak256(Buffer.concat([derived.subarray(16, 32), crypto.ciphertext]), "bytes");
  if (!timingSafeEqual(mac, crypto.mac)) {
    throw new PoolError({ code: "payout/wrong-password" }, "The password does not open the keystore.");
  }
  const decipher = createDecipheriv("aes-128-ctr", derived.subarray(0, 16), crypto.cipherparams.iv);
  return Buffer.concat([decipher.update(crypto.ciphertext), decipher.final()]);
}

/** A V3 keystore of a key, with scrypt at the strength that geth uses unless told otherwise. */
export async function encryptKeystore(
  key: Uint8Array,
  password: string,
  { address, n = 2 ** 18 }: { readonly address: string; readonly n?: number },
): Promise<string> {
  const salt = randomBytes(32);
  const iv = randomBytes(16);
  const derived = await scryptAsync(new TextEncoder().encode(password), salt, 32, {
    N: n,
    r: 8,
    p: 1,
    maxmem: 1100 * n,
  });
  const cipher = createCipheriv("aes-128-ctr", derived.subarray(0, 16), iv);
  const ciphertext = Buffer.concat([cipher.update(key), cipher.final()]);
  const plain = (bytes: Uint8Array): string => bytesToHex(bytes).slice(2);
  const mac = keccak256(Buffer.concat([derived.subarray(16, 32), ciphertext]), "bytes");
  return `${JSON.stringify({
    version: 3,
    id: randomUUID(),
    address: address.replace(/^0x/, "").toLowerCase(),
    crypto: {
      cipher: "aes-128-ctr",
      ciphertext: plain(ciphertext),
      cipherparams: { iv: plain(iv) },
      kdf: "scrypt",
      kdfparams: { n, r: 8, p: 1, dklen: 32, salt: plain(salt) },
      mac: plain(mac),
    },
  })}\n`;
}
