import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { type Clock, errorCode, errorText } from "@openpool/base";
import { HTTP2_CONNECTION_MEMORY_MB } from "@openpool/protocol";

/** A stock gateway's limit for TCP and TLS together. */
const DIAL_TIMEOUT_MS = 2_000;

/**
 * A connection that speaks h2: TLS with ALPN for https, prior knowledge for http. Nobody verifies certificates in Livepeer,
 * so neither does this. Rejects with words for people.
 */
export function dial(origin: string, clock: Clock): Promise<http2.ClientHttp2Session> {
  const url = new URL(origin);
  return new Promise((resolve, reject) => {
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const port = Number(url.port || (url.protocol === "http:" ? 80 : 443));
    const socket =
      url.protocol === "http:"
        ? net.connect({ host, port })
        : tls.connect({
            host,
            port,
            ...(net.isIP(host) ? {} : { servername: host }),
            ALPNProtocols: ["h2", "http/1.1"],
            rejectUnauthorized: false,
          });
    const inTime = clock.after(DIAL_TIMEOUT_MS, () =>
      socket.destroy(new Error(`no connection to ${url.host} in time`)),
    );
    const fail = (error: Error): void => {
      inTime();
      reject(new Error(whyNotDialled(error, url), { cause: error }));
    };
    socket.once("error", fail);
    socket.once("connect", () => socket.setNoDelay(true));
    socket.once(url.protocol === "http:" ? "connect" : "secureConnect", () => {
      inTime();
      if (socket instanceof tls.TLSSocket && socket.alpnProtocol !== "h2") {
        socket.destroy();
        return reject(new Error(`${url.host} does not offer HTTP/2`));
      }
      socket.off("error", fail);
      const session = http2.connect(origin, {
        createConnection: () => socket,
        maxSessionMemory: HTTP2_CONNECTION_MEMORY_MB,
        settings: { enablePush: false, initialWindowSize: 4 << 20 },
      });
      // Every stream on it hears of its end; an error without a listener would end the process.
      session.on("error", () => {});
      resolve(session);
    });
  });
}

/** Why there is no connection, in words. */
function whyNotDialled(error: Error, { host, hostname }: URL): string {
  const code = errorCode(error) ?? "";
  switch (code) {
    case "ECONNREFUSED":
      return `nobody listens at ${host}`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `there is no host ${hostname}, or no name server that knows it`;
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return `there is no way to ${host} from here`;
    case "ECONNRESET":
      return `${host} closed the connection before it was open`;
    case "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL":
      return `${host} does not offer HTTP/2`;
    default:
      // OpenSSL's own texts tell of its source files: nobody wants to read those.
      return code.startsWith("ERR_SSL") || code === "EPROTO"
        ? `${host} does not speak TLS as an orchestrator does`
        : errorText(error);
  }
}
