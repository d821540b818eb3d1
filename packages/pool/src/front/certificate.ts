import { webcrypto } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { errorText, PoolError } from "@openpool/base";
import { readKeptFile } from "../kept-file.ts";

export interface TlsIdentity {
  readonly certPem: string;
  readonly keyPem: string;
}

export type CertificateFailure =
  { readonly code: "tls/half-configured" } | { readonly code: "tls/unreadable"; readonly file: string };

const YEARS_MS = 10 * 365 * 24 * 3600 * 1000;

/**
 * A self-signed ECDSA P-256 certificate: nobody on the Livepeer network verifies certificates, and P-256 handshakes cost
 * least. Made in JavaScript, because a host may have no openssl.
 */
async function makeIdentity(host: string, now: number): Promise<TlsIdentity> {
  const crypto = webcrypto;
  // The library's types are the browser's, which Node's web crypto implements.
  x509.cryptoProvider.set(crypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=Open Pool",
    notBefore: new Date(now - 24 * 3600 * 1000),
    notAfter: new Date(now + YEARS_MS),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyCertSign, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        isIP(host) ? { type: "ip", value: host } : { type: "dns", value: host },
      ]),
    ],
  });
  const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { certPem: certificate.toString("pem"), keyPem: x509.PemConverter.encode(key, "PRIVATE KEY") };
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new PoolError<CertificateFailure>(
      { code: "tls/unreadable", file },
      `cannot read ${file}: ${errorText(cause)}. Give the pool's user read access, or name another file.`,
      { cause },
    );
  }
}

/**
 * The pool's certificate and key: the operator's files, or a self-signed pair that is made once and kept in
 * `<dataDir>/tls`, so that a restart shows the same certificate.
 */
export async function loadTlsIdentity(
  options: { dataDir: string; tlsCertFile: string | undefined; tlsKeyFile: string | undefined; host: string },
  now: number,
): Promise<TlsIdentity> {
  if (options.tlsCertFile !== undefined && options.tlsKeyFile !== undefined) {
    return { certPem: await read(options.tlsCertFile), keyPem: await read(options.tlsKeyFile) };
  }
  if (options.tlsCertFile !== undefined || options.tlsKeyFile !== undefined) {
    throw new PoolError<CertificateFailure>(
      { code: "tls/half-configured" },
      "--tls-cert and --tls-key go together: give both, or neither for a self-signed certificate.",
    );
  }
  const directory = join(options.dataDir, "tls");
  const file = join(directory, "identity.pem");
  const stored = (await readKeptFile(file))?.toString();
  const split = stored?.indexOf("-----BEGIN PRIVATE KEY-----") ?? -1;
  if (stored !== undefined && split > 0) return { certPem: stored.slice(0, split), keyPem: stored.slice(split) };
  const made = await makeIdentity(options.host, now);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // One file, renamed into place: a crash leaves both halves or none.
  await writeFile(`${file}.new`, `${made.certPem}\n${made.keyPem}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return made;
}
