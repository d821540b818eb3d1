import { randomBytes } from "node:crypto";
import type http2 from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  capabilitiesToWire,
  NotifySegmentSchema,
  RegisterRequestSchema,
  RESULT_AUTHORIZATION,
} from "@openpool/protocol";
import { SOFTWARE_CAPABILITIES } from "../../test/peers/fake-transcoder.ts";
import { readyRenditions, SOURCE_PIXELS, sourceSegment } from "../../test/peers/media.ts";
import { connectH2, goClientSettings, type H2Connection, type HostPort, startGrpcCall } from "../../test/peers/wire.ts";
import { openPlainHttp } from "./plain-http.ts";

export interface LoadWorkerOptions {
  readonly address: HostPort;
  readonly secret: string;
  readonly capacity: number;
  /** Time that a task takes, in ms. */
  readonly delayMs: number;
  /** Told of every task as it arrives: which segment of which stream. */
  readonly onTask?: (task: { readonly segment: string; readonly atMs: number }) => void;
}

/** A transcoder that answers every task with ready-made renditions, in one preformatted body. */
export interface LoadWorker extends AsyncDisposable {
  readonly done: number;
  /** Sources that did not arrive as they were sent. */
  readonly wrongSources: number;
  /** Segments that it has and has not answered. */
  readonly working: ReadonlySet<string>;
  /** Dies as a killed process does. */
  kill(): void;
  /** Keeps its connections and answers nothing any more. */
  hang(): void;
}

const BOUNDARY = randomBytes(10).toString("hex");
const UPLOAD_BODY = Buffer.concat([
  ...readyRenditions.flatMap(({ data, pixels }, i) => [
    Buffer.from(
      `${i === 0 ? "" : "\r\n"}--${BOUNDARY}\r\nContent-Length: ${data.length}\r\nContent-Type: video/mp2t\r\nPixels: ${pixels}\r\n\r\n`,
    ),
    data,
  ]),
  Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
]);

export async function startLoadWorker(options: LoadWorkerOptions): Promise<LoadWorker> {
  const registration = await connectH2(options.address);
  const results = await connectH2(options.address, { settings: goClientSettings });
  const sources = openPlainHttp(options.address);
  const working = new Set<string>();
  let done = 0;
  let wrongSources = 0;
  let dead = false;

  const upload = (session: http2.ClientHttp2Session, taskId: bigint): Promise<void> =>
    new Promise((resolve) => {
      const stream = session.request({
        ":method": "POST",
        ":path": "/transcodeResults",
        authorization: RESULT_AUTHORIZATION,
        credentials: options.secret,
        taskid: String(taskId),
        pixels: String(SOURCE_PIXELS),
        "content-type": `multipart/mixed; boundary=${BOUNDARY}`,
        "content-length": UPLOAD_BODY.length,
      });
      stream.on("error", () => {});
      stream.on("close", resolve);
      stream.resume();
      stream.end(UPLOAD_BODY);
    });

  const work = async (message: Uint8Array): Promise<void> => {
    const { url, taskId, segData } = fromBinary(NotifySegmentSchema, message);
    if (url === "" || !segData || dead) return;
    const segment = `${Buffer.from(segData.manifestId).toString()}/${segData.seq}`;
    options.onTask?.({ segment, atMs: performance.now() });
    working.add(segment);
    // A download that breaks off belongs to a task that was taken back.
    const fetched = await sources.fetch(new URL(url).pathname, sourceSegment);
    if (fetched === "wrong") wrongSources++;
    if (options.delayMs > 0) await new Promise((resolve) => void setTimeout(resolve, options.delayMs));
    if (dead) return;
    if (fetched === "right") await upload(results.session, taskId);
    working.delete(segment);
    done++;
  };

  const request = create(RegisterRequestSchema, {
    secret: options.secret,
    capacity: BigInt(options.capacity),
    capabilities: capabilitiesToWire(SOFTWARE_CAPABILITIES, "0.9.1"),
  });
  startGrpcCall(
    registration.session,
    "/net.Transcoder/RegisterTranscoder",
    toBinary(RegisterRequestSchema, request),
    (message) => void work(message),
  );

  const connections: readonly H2Connection[] = [registration, results];
  const cut = (): void => {
    dead = true;
    for (const { socket } of connections) socket.destroy();
    sources[Symbol.dispose]();
  };
  return {
    get done() {
      return done;
    },
    get wrongSources() {
      return wrongSources;
    },
    working,
    kill: cut,
    hang() {
      dead = true;
    },
    [Symbol.asyncDispose]: () => Promise.resolve(cut()),
  };
}
