/** The recordings in `test/fixtures/wire`: traffic of unmodified Livepeer nodes, with what each message means beside it. */
import { readFileSync } from "node:fs";
import {
  type DescEnum,
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  type MessageShape,
} from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { type NotifySegment, NotifySegmentSchema } from "@openpool/protocol";

export interface RecordedBody {
  readonly length: number;
  readonly sha256?: string;
  readonly base64?: string;
  readonly file?: string;
}

export type RecordedHeaders = readonly (readonly [string, string])[];

export interface RecordedExchange {
  readonly connection: { readonly alpnOffered: readonly string[] | null; readonly alpn: string | null };
  readonly request: {
    readonly method: string;
    readonly path: string;
    /** HTTP/1.1 only. */
    readonly requestLine?: string;
    readonly headers: RecordedHeaders;
    readonly grpcMessages?: readonly string[];
    readonly body?: RecordedBody;
  };
  readonly response: {
    readonly status: number | null;
    /** HTTP/1.1 only. */
    readonly statusLine?: string;
    readonly headers: RecordedHeaders | null;
    readonly trailers?: RecordedHeaders;
    readonly grpcMessages?: readonly string[];
    readonly body?: RecordedBody;
  };
  readonly expect?: Readonly<Record<string, unknown>>;
}

export interface RecordedFile {
  readonly about: string;
  readonly exchanges: readonly RecordedExchange[];
}

export interface TranscoderCase {
  readonly case: string;
  readonly notifySegment: string;
  readonly expect: { readonly notifySegment: unknown };
  readonly result?: { readonly headers: RecordedHeaders; readonly errorText?: string; readonly parts?: unknown };
}

const folder = new URL("../fixtures/wire/", import.meta.url);

export function readJson<Shape>(name: string): Shape {
  return JSON.parse(readFileSync(new URL(name, folder), "utf8")) as Shape; // our own files, checked by the tests that use them
}

export const recordedFiles: readonly string[] = readJson<{ files: { file: string }[] }>("index.json").files.map(
  ({ file }) => file,
);

/** All exchanges of all files, with the file's name. */
export const exchanges: readonly (readonly [string, RecordedExchange])[] = recordedFiles.flatMap((file) =>
  (readJson<Partial<RecordedFile>>(file).exchanges ?? []).map((exchange) => [file, exchange] as const),
);

export function bodyOf(body: RecordedBody | undefined): Buffer {
  if (body?.file) return readFileSync(new URL(body.file, folder));
  return Buffer.from(body?.base64 ?? "", "base64");
}

export function headerOf(headers: RecordedHeaders | null | undefined, name: string): string | undefined {
  return headers?.find(([key]) => key.toLowerCase() === name)?.[1];
}

/** What a stock orchestrator sent to a transcoder, in order. */
export const recordedTasks: readonly { readonly bytes: Buffer; readonly notify: NotifySegment }[] = (
  readJson<RecordedFile>("register-transcoder.json").exchanges[0]?.response.grpcMessages ?? []
).map((text) => {
  const bytes = Buffer.from(text, "base64");
  return { bytes, notify: fromBinary(NotifySegmentSchema, bytes) };
});

/** The source that a gateway sent for such a task; undefined where that was not recorded. */
export function recordedSourceOf({ segData }: NotifySegment): Buffer | undefined {
  const manifestId = Buffer.from(segData?.manifestId ?? []).toString("hex");
  const found = exchanges.find(([, { request, expect: meant }]) => {
    const sent = meant?.["segData"] as Readonly<Record<string, unknown>> | undefined;
    return (
      request.path === "/segment" &&
      sent?.["manifestId"] === manifestId &&
      (sent["seq"] ?? "0") === String(segData?.seq ?? 0)
    );
  });
  return found && bodyOf(found[1].request.body);
}

/**
 * A message as the recordings write it: field names of the .proto, bytes as hex, 64-bit integers as decimal texts, enums
 * by name, unset fields absent.
 */
export function dump<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Record<string, unknown> {
  return dumpReflected(reflect(schema, message));
}

/** Decodes and dumps. */
export function dumpBytes(schema: DescMessage, bytes: Uint8Array): Record<string, unknown> {
  return dump(schema, fromBinary(schema, bytes) as Message as MessageShape<typeof schema>);
}

function dumpReflected(message: ReflectMessage): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const field of message.fields) {
    if (message.isSet(field)) out[field.name] = dumpField(message, field);
  }
  return out;
}

function dumpField(message: ReflectMessage, field: DescField): unknown {
  switch (field.fieldKind) {
    case "list":
      return [...message.get(field)].map((item) => dumpValue(item, field.enum));
    case "map":
      return Object.fromEntries(
        [...message.get(field)].map(([key, value]) => [String(key), dumpValue(value, field.enum)]),
      );
    default:
      return dumpValue(message.get(field), field.enum);
  }
}

function dumpValue(value: unknown, names: DescEnum | undefined): unknown {
  if (names && typeof value === "number") return names.value[value]?.name ?? value;
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (typeof value === "object" && value !== null && "fields" in value) return dumpReflected(value as ReflectMessage);
  return value;
}
