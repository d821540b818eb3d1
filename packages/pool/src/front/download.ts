import { answerText, type Exchange } from "./exchange.ts";

/** Whether it is a GET or a HEAD; anything else is answered here. */
export function isDownload(exchange: Exchange): boolean {
  if (exchange.method === "GET" || exchange.method === "HEAD") return true;
  exchange.answer(405, { allow: "GET, HEAD" }, "");
  return false;
}

/** Answers a GET with bytes, whole or one range of them, with the headers that go with `/stream`. */
export function sendBytes(exchange: Exchange, data: Uint8Array, contentType: string): void {
  const headers = {
    "content-type": contentType,
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Content-Length",
    "cache-control": "max-age=5",
    "accept-ranges": "bytes",
  };
  if (exchange.method === "HEAD") {
    exchange.start(200, { ...headers, "content-length": data.length });
    exchange.output.end();
    return;
  }
  const range = /^bytes=(\d*)-(\d*)$/.exec(exchange.header("range") ?? "");
  if (!range || (range[1] === "" && range[2] === "")) {
    exchange.answer(200, headers, data);
    return;
  }
  const first = range[1] === "" ? Math.max(0, data.length - Number(range[2])) : Number(range[1]);
  const last = range[1] === "" || range[2] === "" ? data.length - 1 : Math.min(Number(range[2]), data.length - 1);
  if (first > last) {
    exchange.answer(416, { "content-range": `bytes */${data.length}` }, "");
    return;
  }
  exchange.answer(
    206,
    { ...headers, "content-range": `bytes ${first}-${last}/${data.length}` },
    data.subarray(first, last + 1),
  );
}

export function answerNotFound(exchange: Exchange): void {
  answerText(exchange, 404, "ErrNotFound");
}
