import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { multipartBoundary, parseMultipart } from "@openpool/protocol";
import { encodeAnswer } from "./uploader.ts";

const wireFile = (name: string): Buffer =>
  readFileSync(new URL(`../../../test/fixtures/wire/${name}`, import.meta.url));

interface Recorded {
  readonly exchanges: readonly {
    readonly request: { readonly headers: [string, string][]; readonly body: { readonly file: string } };
  }[];
}

test.each(["1-rendition", "3-renditions", "fps-den", "mp4", "phash"])(
  "the body of a result is written as a stock transcoder writes it, byte for byte: %s",
  (name) => {
    const recorded = JSON.parse(wireFile(`transcode-results-${name}.json`).toString()) as Recorded;
    const { headers, body } = recorded.exchanges[0]!.request;
    const boundary = multipartBoundary(new Map(headers).get("content-type") ?? "") ?? "";
    const bytes = wireFile(body.file);
    const parts = parseMultipart(bytes, boundary, { maxParts: 20, maxPartBytes: 3e8 });
    if (typeof parts === "string") throw new Error(parts);
    const { contentType, chunks } = encodeAnswer({
      kind: "renditions",
      decodedPixels: 0n,
      parts: parts.map((part) => ({
        contentType: part.headers.get("content-type") ?? "",
        pixels: part.headers.has("pixels") ? BigInt(part.headers.get("pixels")!) : undefined,
        data: part.data,
      })),
    });
    const ours = multipartBoundary(contentType) ?? "";
    const text = Buffer.concat(chunks).toString("latin1").replaceAll(ours, boundary);
    expect(Buffer.from(text, "latin1").equals(bytes)).toBe(true);
  },
);

test("a result without renditions still has a body that ends", () => {
  const { contentType, chunks } = encodeAnswer({ kind: "renditions", decodedPixels: 0n, parts: [] });
  const boundary = multipartBoundary(contentType) ?? "";
  expect(parseMultipart(Buffer.concat(chunks), boundary, { maxParts: 1, maxPartBytes: 1 })).toEqual([]);
});

test("an error goes up as bare text", () => {
  expect(encodeAnswer({ kind: "error", text: "TranscoderBusy" })).toEqual({
    contentType: "livepeer/transcoding-error",
    chunks: [Buffer.from("TranscoderBusy")],
  });
});
