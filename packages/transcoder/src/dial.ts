import { X509Certificate } from "node:crypto";
import http2 from "node:http2";
import { isIP } from "node:net";
import tls from "node:tls";
import { type Clock, formatHostPort, type HostPort } from "@openpool/base";
import { HTTP2_CONNECTION_MEMORY_MB } from "@openpool/protocol";

/** A connection to an orchestrator, over which it speaks HTTP/2. */
export interface Dialled {
  readonly session: http2.ClientHttp2Session;
  /**
   * SHA-256 of the certificate that it showed. A stock orchestrator makes a new one at every start, so this says which
   * life of it we speak to.
   */
  readonly fingerprint: string;
  /** Bytes of HTTP/2 that came over it, and went. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /**
   * Says goodbye and goes on reading: what the orchestrator has sent before it hears of it still arrives, and the
   * connection ends when it closes its side.
   */
  halfClose(): void;
  /** Ends it at once: the session waits for what was written, and for the other side, even when it is destroyed. */
  cut(): void;
}

/** What is waited for when an orchestrator does not close its side after a goodbye. */
const LINGER_MS = 5_000;
const NO_COMMON_PROTOCOL = "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL";

/** The window for answers to us: messages are small, and a connection carries one stream. */
const SETTINGS = { enablePush: false, initialWindowSize: 1 << 20 } as const;

export interface DialOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** SHA-256 of the only certificate that is accepted, as {@link parseFingerprint} writes it; undefined: any. */
  readonly certSha256?: string | undefined;
}

/** A certificate's fingerprint as `DialOptions` wants it, from any common notation; undefined: it is none. */
export function parseFingerprint(text: string): string | undefined {
  const hex = text
    .replace(/^sha-?256[:/=]/i, "")
    .replaceAll(":", "")
    .toLowerCase();
  return /^[0-9a-f]{64}$/.test(hex) ? hex : undefined;
}

/** Of the certificate that the other side showed; undefined: it showed none. */
export function fingerprintOf(socket: tls.TLSSocket): string | undefined {
  const { raw } = socket.getPeerCertificate();
  return raw && parseFingerprint(new X509Certificate(raw).fingerprint256);
}

/** Connects as a transcoder does: TLS, HTTP/2 only. Rejects with what to tell the operator. */
export function dialOrchestrator(address: HostPort, options: DialOptions, clock: Clock): Promise<Dialled> {
  const where = formatHostPort(address);
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      host: address.host,
      port: address.port,
      ALPNProtocols: ["h2"],
      // Orchestrators sign their own certificates, a stock one a new one at every start: no authority can verify them.
      rejectUnauthorized: false,
      ...(isIP(address.host) ? {} : { servername: address.host }),
    });
    const settle = (): void => {
      forget();
      options.signal.removeEventListener("abort", onAbort);
      socket.removeListener("error", onError);
      socket.removeListener("close", onClose);
    };
    const fail = (error: Error): void => {
      settle();
      socket.on("error", () => {});
      socket.destroy();
      reject(error);
    };
    const failNoHttp2 = (): void =>
      fail(new Error(`${where} does not speak HTTP/2 over TLS: is it a pool's or an orchestrator's port?`));
    // One that speaks another protocol says so in TLS; one that does not know of protocols says nothing.
    const onError = (error: NodeJS.ErrnoException): void =>
      error.code === NO_COMMON_PROTOCOL ? failNoHttp2() : fail(error);
    const onAbort = (): void => fail(new Error("stopped"));
    const onClose = (): void => fail(new Error(`${where} closed the connection`));
    const forget = clock.after(options.timeoutMs, () =>
      fail(new Error(`${where} did not answer within ${options.timeoutMs} ms`)),
    );
    options.signal.addEventListener("abort", onAbort);
    socket.on("error", onError);
    socket.on("close", onClose);
    if (options.signal.aborted) return onAbort();
    socket.once("secureConnect", () => {
      if (socket.alpnProtocol !== "h2") return failNoHttp2();
      const fingerprint = fingerprintOf(socket);
      if (options.certSha256 !== undefined && options.certSha256 !== fingerprint) {
        return fail(new Error(`${where} showed the certificate ${fingerprint}, pinned is ${options.certSha256}`));
      }
      settle();
      socket.setNoDelay(true);
      const session = http2.connect(`https://${where}`, {
        createConnection: () => socket,
        maxSessionMemory: HTTP2_CONNECTION_MEMORY_MB,
        settings: SETTINGS,
      });
      // An error without a listener ends the process; whoever uses the session learns of it by its streams and `close`.
      session.on("error", () => {});
      resolve({
        session,
        fingerprint: fingerprint ?? "",
        get bytesRead() {
          return socket.bytesRead;
        },
        get bytesWritten() {
          return socket.bytesWritten;
        },
        halfClose() {
          if (session.destroyed || socket.destroyed) return;
          socket.end();
          const cancel = clock.after(LINGER_MS, () => session.destroy());
          session.once("close", cancel);
        },
        cut() {
          socket.destroy();
        },
      });
    });
  });
}
