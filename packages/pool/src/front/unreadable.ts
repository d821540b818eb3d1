import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { errorCode } from "@openpool/base";

/** For reading what was wrong with a request, before its connection is cut. */
const LAST_WORD_MS = 2_000;

/**
 * A listener for `clientError` of a server of HTTP/1.1: says with a status why bytes are no request, and with a problem of
 * RFC 9457 where its `code` is given, and ends the connection. `told` hears of each, for a log.
 */
export function refuseUnreadable(options: {
  readonly code?: string;
  told?(facts: { readonly code: string | undefined; readonly peer: string }): void;
}): (error: Error, socket: Duplex) => void {
  const refused = new WeakSet<Duplex>();
  return (error, socket) => {
    // What comes behind unreadable bytes is just as unreadable, and reported again.
    if (refused.has(socket)) return;
    refused.add(socket);
    const code = errorCode(error);
    options.told?.({ code, peer: (socket as Socket).remoteAddress ?? "" });
    // One that left in the middle reads nothing any more.
    if (!socket.writable || code === "ECONNRESET" || code === "HPE_INVALID_EOF_STATE") return void socket.destroy();
    // What it still sends is read and dropped for so long: a connection that is closed over unread bytes is reset, and the
    // reset can overtake the answer. A peer that never closes its end must not keep ours.
    const timer = setTimeout(() => socket.destroy(), LAST_WORD_MS);
    timer.unref();
    socket.once("close", () => clearTimeout(timer));
    socket.end(answerTo(code, options.code));
  };
}

function answerTo(error: string | undefined, code: string | undefined): string {
  const [status, title] = statusOf(error);
  const line = `HTTP/1.1 ${status} ${title}\r\nConnection: close\r\n`;
  if (code === undefined) return `${line}\r\n`;
  const body = JSON.stringify({ type: "about:blank", title, status, code });
  return `${line}Content-Type: application/problem+json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

function statusOf(error: string | undefined): readonly [status: number, title: string] {
  switch (error) {
    case "HPE_HEADER_OVERFLOW":
      return [431, "Request Header Fields Too Large"];
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return [408, "Request Timeout"];
    default:
      return [400, "Bad Request"];
  }
}
