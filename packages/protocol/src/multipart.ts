/**
 * multipart/mixed as transcoders upload it. A MIME-level reader on purpose: form parsers refuse parts without
 * Content-Disposition. Works on the whole body in place: a part's data is a view, nothing is copied.
 */
export interface MultipartPart {
  /** Header names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly data: Uint8Array;
}

export interface MultipartLimits {
  readonly maxParts: number;
  readonly maxPartBytes: number;
}

const CR = 13;
const LF = 10;
const DASH = 45;
const MAX_HEADER_BYTES = 8192;
const ascii = new TextDecoder("latin1");

/** The `boundary` parameter of a multipart content type, or undefined. */
export function multipartBoundary(contentType: string): string | undefined {
  const match = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType);
  return match?.[1] ?? match?.[2];
}

/** Whether `needle` stands in `body` at `at`. */
function matches(body: Uint8Array, needle: Uint8Array, at: number): boolean {
  if (at + needle.length > body.length) return false;
  for (let i = 0; i < needle.length; i++) if (body[at + i] !== needle[i]) return false;
  return true;
}

/** Where `needle`, which starts with CR, first stands in `body` from `from` on; -1: nowhere. */
function find(body: Uint8Array, needle: Uint8Array, from: number): number {
  for (let at = body.indexOf(CR, from); at >= 0; at = body.indexOf(CR, at + 1))
    if (matches(body, needle, at)) return at;
  return -1;
}

/** What follows a delimiter: another part, the end, or neither (then it was data after all). */
function afterDelimiter(body: Uint8Array, at: number): { kind: "part" | "end"; next: number } | undefined {
  if (body[at] === DASH && body[at + 1] === DASH) return { kind: "end", next: at + 2 };
  let i = at;
  while (body[i] === 32 || body[i] === 9) i++;
  return body[i] === CR && body[i + 1] === LF ? { kind: "part", next: i + 2 } : undefined;
}

/** The next delimiter line from `from` on that really is one. */
function nextDelimiter(body: Uint8Array, delimiter: Uint8Array, from: number) {
  for (let at = find(body, delimiter, from); at >= 0; at = find(body, delimiter, at + 1)) {
    const after = afterDelimiter(body, at + delimiter.length);
    if (after) return { at, after };
  }
  return undefined;
}

function parseHeaders(block: string): Map<string, string> | undefined {
  const headers = new Map<string, string>();
  for (const line of block.split("\r\n")) {
    if (line === "") continue;
    const colon = line.indexOf(":");
    if (colon <= 0) return undefined;
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}

/**
 * Splits a body into its parts; on anything malformed, what is wrong with it. A part's Content-Length is used to jump to
 * its end, never believed: where no delimiter stands there, the delimiter is searched for.
 */
export function parseMultipart(body: Uint8Array, boundary: string, limits: MultipartLimits): MultipartPart[] | string {
  const delimiter = new TextEncoder().encode(`\r\n--${boundary}`);
  let after;
  if (matches(body, delimiter.subarray(2), 0)) after = afterDelimiter(body, delimiter.length - 2);
  after ??= nextDelimiter(body, delimiter, 0)?.after;
  if (!after) return "multipart: NextPart: EOF";
  const parts: MultipartPart[] = [];
  while (after.kind === "part") {
    if (parts.length === limits.maxParts) return `multipart: more than ${limits.maxParts} parts`;
    let headers = new Map<string, string>();
    let start: number = after.next;
    if (body[start] === CR && body[start + 1] === LF) {
      start += 2;
    } else {
      const end = find(body.subarray(0, start + MAX_HEADER_BYTES), new Uint8Array([CR, LF, CR, LF]), start);
      if (end < 0) return "multipart: part headers missing or too long";
      const parsed = parseHeaders(ascii.decode(body.subarray(start, end)));
      if (!parsed) return "malformed MIME header line";
      headers = parsed;
      start = end + 4;
    }
    const length = Number(headers.get("content-length") ?? Number.NaN);
    let end: { at: number; after: { kind: "part" | "end"; next: number } } | undefined;
    if (Number.isSafeInteger(length) && length >= 0 && matches(body, delimiter, start + length)) {
      const there = afterDelimiter(body, start + length + delimiter.length);
      if (there) end = { at: start + length, after: there };
    }
    // An empty part's delimiter shares its CRLF with the end of the headers.
    if (!end && matches(body, delimiter, start - 2)) {
      const there = afterDelimiter(body, start - 2 + delimiter.length);
      if (there) end = { at: start, after: there };
    }
    end ??= nextDelimiter(body, delimiter, start);
    if (!end) return "unexpected EOF";
    if (end.at - start > limits.maxPartBytes) return `multipart: a part of ${end.at - start} bytes is too large`;
    parts.push({ headers, data: body.subarray(start, end.at) });
    after = end.after;
  }
  return parts;
}

/** One part of a result, in the order in which it is uploaded. */
export interface ResultPart {
  readonly contentType: string;
  /** Encoded pixels of a rendition; undefined for what is none. */
  readonly pixels: bigint | undefined;
  readonly data: Uint8Array;
}

const CRLF = "\r\n";

/** A result's body as a stock transcoder writes it, in chunks: headers and views, nothing is copied. */
export function encodeResultParts(parts: readonly ResultPart[], boundary: string): readonly Uint8Array[] {
  const text = new TextEncoder();
  const chunks: Uint8Array[] = [];
  parts.forEach((part, index) => {
    const pixels = part.pixels === undefined ? "" : `Pixels: ${part.pixels}${CRLF}`;
    chunks.push(
      text.encode(
        `${index === 0 ? "" : CRLF}--${boundary}${CRLF}Content-Length: ${part.data.length}${CRLF}` +
          `Content-Type: ${part.contentType}${CRLF}${pixels}${CRLF}`,
      ),
      part.data,
    );
  });
  chunks.push(text.encode(`${parts.length === 0 ? "" : CRLF}--${boundary}--${CRLF}`));
  return chunks;
}
