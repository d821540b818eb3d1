import { isIP } from "node:net";
import type { FastifyReply, FastifyRequest } from "fastify";
import { ApiError } from "./problem.ts";

/** Of a request: who asks, and for which site. */
export type Asking = Pick<FastifyRequest, "headers" | "ip" | "protocol">;

/** Whether only programs on this machine can reach an address. */
export function isLoopback(host: string): boolean {
  const plain = host.replace(/^::ffff:/, "");
  return plain === "localhost" || plain === "::1" || (isIP(plain) === 4 && plain.startsWith("127."));
}

/**
 * Where this pool's own pages are for whoever asks: what a signature must name and where a change must come from. That is
 * `--public-url`. A `Host` header is believed only from this machine, to a name of this machine: anything else in it may
 * be the address of another site, for which an owner's signature was got by a trick.
 */
export function ownOrigin(request: Asking, publicUrl: string | undefined): string {
  if (publicUrl !== undefined) return publicUrl;
  const { host } = request.headers;
  if (isLoopback(request.ip) && host !== undefined && /^(?:localhost|127\.[\d.]+|\[::1\])(?::\d{1,5})?$/.test(host)) {
    return `${request.protocol}://${host}`;
  }
  throw new ApiError(
    { code: "api/not-configured" },
    "Nobody can sign in here: the operator has not said where the pool's pages are (--public-url).",
  );
}

/** Refuses changes that a page of another site asks for in a reader's name. Browsers say where a change comes from. */
export function mustBeOwn(request: Asking, origin: string): void {
  if (request.headers.origin === origin) return;
  throw new ApiError(
    { code: "api/wrong-origin" },
    `A change must come from this pool's own pages: from a program, send "origin: ${origin}".`,
  );
}

/** With TLS the browser itself makes sure that no other host has set it. */
const nameOf = (origin: string): string =>
  origin.startsWith("https:") ? "__Host-openpool-session" : "openpool-session";

/** The token of a session in a request; undefined: there is none that could be one of ours. */
export function readToken(request: Asking, origin: string): string | undefined {
  const wanted = `${nameOf(origin)}=`;
  const found = (request.headers.cookie ?? "").split(/; */).find((one) => one.startsWith(wanted));
  const token = found?.slice(wanted.length);
  return token !== undefined && /^[\w-]{43}$/.test(token) ? token : undefined;
}

/** Keeps a token in the browser, out of reach of scripts and of requests of other sites; undefined takes it away. */
export function writeToken(reply: FastifyReply, origin: string, token: string | undefined, seconds: number): void {
  const secure = origin.startsWith("https:") ? "; Secure" : "";
  const age = token === undefined ? 0 : seconds;
  reply.header(
    "set-cookie",
    `${nameOf(origin)}=${token ?? ""}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${age}${secure}`,
  );
}
