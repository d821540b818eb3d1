import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { errorCode } from "@openpool/base";
import { LAST_WORD_MS } from "./exchange.ts";

/**
 * A listener for `clientError` of a server of HTTP/1.1: says with a status why bytes are no request, with the
 * `problem` of RFC 9457 that it is given for it, and ends the connection. `told` hears of each, for a log.
 */
export function refuseUnreadable(options: {
  problem?(status: number, detail: string): object;
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
    socket.end(answerTo(code, options.problem));
  };
}

function answerTo(
  error: string | undefined,
  problem: ((status: number, detail: string) => object) | undefined,
): string {
  const [status, title, detail] = statusOf(error);
  const line = `HTTP/1.1 ${status} ${title}\r\nConnection: close\r\n`;
  if (problem === undefined) return `${line}\r\n`;
  const body = JSON.stringify(problem(status, detail));
  return `${line}Content-Type: application/problem+json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

function statusOf(error: string | undefined): readonly [status: number, title: string, detail: string] {
  switch (error) {
    case "HPE_HEADER_OVERFLOW":
      return [431, "Request Header Fields Too Large", "Its header is too long: send less than 16 KB."];
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return [408, "Request Timeout", "It did not come to its end in time: send it at once."];
    default:
      return [400, "Bad Request", "It cannot be read as HTTP/1.1."];
  }
}
