import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import { join } from "node:path";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance } from "fastify";

/** Nothing but our own files; no other page may frame the operator's. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self'; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/**
 * The operator's page, `/admin`, with the files that it is made of. It is served here and not beside the public pages,
 * so that a browser asks the admin port as its own and no other page's script can.
 */
export function servePages(app: FastifyInstance<Server>, dir: string): void {
  const index = readFileSync(join(dir, "index.html"), "utf8");
  void app.register(fastifyStatic, {
    root: dir,
    index: false,
    wildcard: false,
    dotfiles: "ignore",
    preCompressed: true,
    globIgnore: ["index.html*"],
  });
  app.get("/admin", (_request, reply) =>
    reply
      .headers({
        "content-security-policy": POLICY,
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
      })
      .type("text/html; charset=utf-8")
      .send(index),
  );
}
