import { X509Certificate } from "node:crypto";
import http2 from "node:http2";
import { isIP } from "node:net";
import tls from "node:tls";
import type { Clock } from "@openpool/base";
import { formatPoolAddress, type PoolAddress } from "../options.ts";

export interface DialOptions {
  readonly pool: PoolAddress;
  /** SHA-256 of the only certificate that is accepted, lower-case hex without colons. */
  readonly certSha256: string | undefined;
  readonly timeoutMs: number;
}

/** The certificate's fingerprint in the form in which `DialOptions` wants it, from any common notation; undefined: it is none. */
export function parseFingerprint(text: string): string | undefined {
  const hex = text
    .replace(/^sha-?256[:/=]/i, "")
    .replaceAll(":", "")
    .toLowerCase();
  return /^[0-9a-f]{64}$/.test(hex) ? hex : undefined;
}

function connectTls(
  { pool, certSha256, timeoutMs }: DialOptions,
  clock: Clock,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host: pool.host,
      port: pool.port,
      ALPNProtocols: ["h2"],
      // Pools sign their own certificates, and a new one at every start if they are stock: nobody verifies them.
      rejectUnauthorized: false,
      ...(isIP(pool.host) ? {} : { servername: pool.host }),
    });
    const fail = (error: Error): void => {
      settle();
      socket.destroy();
      reject(error);
    };
    const forget = clock.after(timeoutMs, () =>
      fail(new Error(`${formatPoolAddress(pool)} did not answer within ${timeoutMs} ms`)),
    );
    const onAbort = (): void => fail(new Error("stopped"));
    const settle = (): void => {
      forget();
      signal.removeEventListener("abort", onAbort);
      socket.removeListener("error", fail);
      socket.removeListener("close", onClose);
    };
    const onClose = (): void => fail(new Error(`${formatPoolAddress(pool)} closed the connection`));
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    socket.on("error", fail);
    socket.on("close", onClose);
    socket.once("secureConnect", () => {
      if (socket.alpnProtocol !== "h2") {
        return fail(
          new Error(`${formatPoolAddress(pool)} does not speak HTTP/2: is it a pool's or orchestrator's port?`),
        );
      }
      if (certSha256 !== undefined) {
        const raw = socket.getPeerCertificate().raw;
        const seen = raw && new X509Certificate(raw).fingerprint256.replaceAll(":", "").toLowerCase();
        if (seen !== certSha256) {
          return fail(new Error(`the pool showed the certificate ${seen}, pinned is ${certSha256}`));
        }
      }
      settle();
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}

/** Connects to the pool and speaks HTTP/2 with it. Rejects with what to tell the operator. */
export async function dialPool(
  options: DialOptions,
  clock: Clock,
  signal: AbortSignal,
): Promise<http2.ClientHttp2Session> {
  const socket = await connectTls(options, clock, signal);
  const session = http2.connect(`https://${formatPoolAddress(options.pool)}`, {
    createConnection: () => socket,
    // Results of several sessions go up together, each up to hundreds of megabytes.
    maxSessionMemory: 4000,
    settings: { enablePush: false },
  });
  // An error without a listener ends the process; whoever uses the session learns of it by its streams and `close`.
  session.on("error", () => {});
  return session;
}
