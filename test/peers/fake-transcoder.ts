/**
 * An unmodified `livepeer -transcoder` as it looks on the wire, with reactions chosen by the test: registration, source
 * download, result upload, the way it comes back after its stream ended, and the three things that make it quit for good.
 */
import { randomBytes } from "node:crypto";
import http2 from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { errorCode, errorText } from "@openpool/base";
import {
  capabilitiesToWire,
  LIVEPEER_VERSION,
  type NotifySegment,
  misfit,
  needFromWire,
  NotifySegmentSchema,
  type Profile,
  profilesOfSegment,
  RegisterRequestSchema,
  RESULT_AUTHORIZATION,
  TRANSCODING_ERROR_TYPE,
} from "@openpool/protocol";
import { seed, seeded } from "../chance.ts";
import { readyRenditionsFor, SOURCE_PIXELS } from "./media.ts";
import {
  connectH2,
  type GrpcCall,
  createDownloadAgent,
  goClientSettings,
  type GrpcEnd,
  type H2Connection,
  parseHostPort,
  requestH2,
  requestHttp1,
  startGrpcCall,
  unlessRefused,
} from "./wire.ts";

/** By which transcoders come back at different times. */
const chance = seeded(seed);

/** What a stock software transcoder advertises. */
export const SOFTWARE_CAPABILITIES = 0x15ffe25fffn;

export interface FakeTask {
  readonly taskId: bigint;
  readonly notify: NotifySegment;
  readonly url: string;
  readonly manifestId: string;
  readonly sessionId: string;
  readonly seq: bigint;
  readonly profiles: readonly Profile[];
  /** The source as downloaded. */
  readonly source: Buffer;
  /** Which task of this transcoder it is, from 0. */
  readonly index: number;
}

export interface UploadPart {
  readonly data: Uint8Array;
  /** Its `Pixels` header; undefined: none, which makes it something else than a rendition. */
  readonly pixels: bigint | undefined;
  readonly contentType: string;
}

/** What the transcoder uploads for a task. */
export type Upload =
  | { readonly kind: "renditions"; readonly parts: readonly UploadPart[] }
  | { readonly kind: "error"; readonly text: string }
  | { readonly kind: "body"; readonly contentType: string; readonly body: Uint8Array };

/** Decides what a task leads to: an upload, or `undefined` for a task that is never answered. */
export type Behaviour = (
  task: FakeTask,
  transcoder: FakeTranscoder,
) => Promise<Upload | undefined> | Upload | undefined;

export interface UploadAnswer {
  readonly taskId: bigint;
  readonly status: number;
  readonly body: string;
}

export interface FakeTranscoderOptions {
  /** `HOST:PORT` of the orchestrator. */
  readonly addr: string;
  readonly secret: string;
  /** Sessions at once; default 10, as stock. */
  readonly capacity?: number;
  readonly capabilities?: bigint;
  readonly version?: string;
  /** Registers without the capabilities message, as very old transcoders did. */
  readonly withoutCapabilities?: boolean;
  /** The payout address that transcoders of the Open Pool fork send: 20 bytes. */
  readonly ethereumAddress?: Uint8Array;
  /** Default: the ready-made renditions, at once. */
  readonly behaviour?: Behaviour;
  /** `stock`: comes back as an unmodified transcoder does. `never`: stays away. Default: stock. */
  readonly reconnect?: "stock" | "never";
  /** Scales the stock delays of coming back (0.5 s, growing for ever); a test that cannot wait makes it small. */
  readonly backoffScale?: number;
  /**
   * How long it waits for a whole source; default: for ever nearly. A stock one waits `DOWNLOAD_TIMEOUT_MS`, for which this
   * machine may stand still.
   */
  readonly sourceTimeoutMs?: number;
}

export type FakeTranscoderState =
  | { readonly kind: "connecting" }
  /** The call is open. An orchestrator that takes the registration says nothing, so this is all that is known. */
  | { readonly kind: "registered" }
  | { readonly kind: "waiting"; readonly delayMs: number; readonly end: GrpcEnd | string }
  /** Would stay idle until its operator restarts it. */
  | { readonly kind: "quit"; readonly why: string }
  | { readonly kind: "stopped" };

export interface FakeTranscoder extends AsyncDisposable {
  readonly state: FakeTranscoderState;
  /** Registrations sent so far. */
  readonly registrations: number;
  /** How often it noticed that its registration had ended, each time coming back later. */
  readonly disconnects: number;
  /** Tasks received so far, in order. */
  readonly tasks: readonly FakeTask[];
  /** Those of them that its behaviour has not answered yet. */
  readonly inHand: ReadonlySet<FakeTask>;
  /** Everything that came over the registration's stream, as it came. */
  readonly messages: readonly Uint8Array[];
  /** Session ids that it was told to free, in order. */
  readonly teardowns: readonly string[];
  readonly uploads: readonly UploadAnswer[];
  /** Downloads and uploads that went wrong. */
  readonly problems: readonly string[];
  behaviour: Behaviour;
  /** Waits until the condition holds; checked whenever something happened. */
  until(condition: (transcoder: FakeTranscoder) => boolean, timeoutMs?: number): Promise<void>;
  /** Uploads something for a task id, known or not. */
  upload(taskId: bigint, upload: Upload, pixels?: bigint): Promise<UploadAnswer>;
  /** Dies as a killed process does: its connections are cut, nothing is ever answered. */
  kill(how?: "close" | "reset"): void;
  /** Loses the registration's connection only; comes back as `reconnect` says, its tasks go on. */
  dropStream(): void;
  /** Its machine has another address from now on: all of its connections are gone, and new ones come from there. */
  moveTo(localAddress: string): void;
  /** Cancels its registration and keeps the connection, as a worker of ours that drains; its tasks go on. */
  leave(): void;
}

/** Starts it and waits until its registration was sent. */
export async function startFakeTranscoder(options: FakeTranscoderOptions): Promise<FakeTranscoder> {
  const address = parseHostPort(options.addr);
  const capabilities = options.capabilities ?? SOFTWARE_CAPABILITIES;
  const version = options.version ?? LIVEPEER_VERSION;
  let agent = createDownloadAgent();
  let localAddress: string | undefined;
  const tasks: FakeTask[] = [];
  const inHand = new Set<FakeTask>();
  const teardowns: string[] = [];
  const messages: Uint8Array[] = [];
  const uploads: UploadAnswer[] = [];
  const problems: string[] = [];
  const running = new Set<Promise<void>>();
  const listeners = new Set<() => void>();
  let state: FakeTranscoderState = { kind: "connecting" };
  let registrations = 0;
  let disconnects = 0;
  let registration: H2Connection | undefined;
  let call: GrpcCall | undefined;
  let leaving = false;
  let results: Promise<H2Connection> | undefined;
  let received = 0;
  let backoffMs = 500;
  let cancelWait: (() => void) | undefined;

  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  const become = (next: FakeTranscoderState): void => {
    if (state.kind === "stopped") return;
    state = next;
    changed();
  };
  const stopped = (): boolean => state.kind === "stopped";

  const resultConnection = async (): Promise<H2Connection> => {
    const pooled = await results?.catch(() => undefined);
    if (pooled && !pooled.session.closed && !pooled.session.destroyed) return pooled;
    results = connectH2(address, { settings: goClientSettings, localAddress });
    return results;
  };

  const upload = async (taskId: bigint, what: Upload, pixels?: bigint): Promise<UploadAnswer> => {
    const { contentType, body } = encodeUpload(what);
    const headers = {
      ":path": "/transcodeResults",
      authorization: RESULT_AUTHORIZATION,
      credentials: options.secret,
      "content-type": contentType,
      taskid: String(taskId),
      pixels: String(pixels ?? (what.kind === "error" ? 0n : SOURCE_PIXELS)),
      "accept-encoding": "gzip",
    };
    const answer = await unlessRefused(async () => requestH2((await resultConnection()).session, headers, body));
    const record = { taskId, status: answer.status, body: answer.body.toString() };
    uploads.push(record);
    changed();
    return record;
  };

  /** The checks and the download that a stock transcoder does before it transcodes; a text is the error it uploads. */
  const prepare = async (notify: NotifySegment): Promise<FakeTask | string> => {
    const { segData } = notify;
    if (!segData) return "missing segment data";
    const profiles = profilesOfSegment(segData);
    if (typeof profiles === "string") return profiles;
    if (misfit({ capabilities, version }, needFromWire(segData.capabilities)) !== undefined) {
      return "incompatible segment capabilities";
    }
    let source: Buffer;
    try {
      const answer = await requestHttp1(notify.url, {
        agent,
        headers: { "accept-encoding": "gzip" },
        timeoutMs: options.sourceTimeoutMs,
      });
      if (answer.status !== 200) return `${answer.status} ${answer.statusMessage}`;
      source = answer.body;
    } catch (error) {
      return `Get "${notify.url}": ${errorCode(error) ?? errorText(error)}`;
    }
    if (source.length === 0) return "TranscoderInvalidVideo";
    return {
      taskId: notify.taskId,
      notify,
      url: notify.url,
      manifestId: Buffer.from(segData.manifestId).toString(),
      sessionId: segData.authToken?.sessionId ?? "",
      seq: segData.seq,
      profiles,
      source,
      index: tasks.length,
    };
  };

  const work = async (notify: NotifySegment): Promise<void> => {
    const task = await prepare(notify);
    if (stopped()) return;
    if (typeof task === "string") {
      problems.push(`task ${notify.taskId}: ${task}`);
      await upload(notify.taskId, { kind: "error", text: task });
      return;
    }
    tasks.push(task);
    inHand.add(task);
    changed();
    let what: Upload | undefined;
    try {
      what = await self.behaviour(task, self);
    } finally {
      inHand.delete(task);
    }
    if (what && !stopped()) await upload(task.taskId, what);
  };

  const onNotify = (message: Uint8Array): void => {
    received++;
    messages.push(Uint8Array.from(message));
    const notify = fromBinary(NotifySegmentSchema, message);
    const sessionId = notify.segData?.authToken?.sessionId ?? "";
    if (notify.url === "" && sessionId !== "") {
      teardowns.push(sessionId);
      return changed();
    }
    const one: Promise<void> = work(notify)
      .catch((error: unknown) => void problems.push(`task ${notify.taskId}: ${errorText(error)}`))
      .finally(() => {
        running.delete(one);
        changed();
      });
    running.add(one);
  };

  const register = (session: http2.ClientHttp2Session): Promise<GrpcEnd> => {
    registrations++;
    received = 0;
    const request = create(RegisterRequestSchema, { secret: options.secret, capacity: BigInt(options.capacity ?? 10) });
    if (!options.withoutCapabilities) request.capabilities = capabilitiesToWire(capabilities, version);
    if (options.ethereumAddress) request.ethereumAddress = options.ethereumAddress;
    const bytes = toBinary(RegisterRequestSchema, request);
    call = startGrpcCall(session, "/net.Transcoder/RegisterTranscoder", bytes, onNotify);
    const { ended } = call;
    // The answer to a ping comes after everything sent before it has arrived.
    session.ping((error) => error ?? become({ kind: "registered" }));
    return ended;
  };

  /** One registration, from dialling to the end of its stream. */
  const registerOnce = async (): Promise<GrpcEnd | string> => {
    become({ kind: "connecting" });
    try {
      registration = await connectH2(address, { localAddress });
    } catch (error) {
      return errorText(error);
    }
    if (stopped()) return registration.socket.destroy() && "stopped";
    let { session } = registration;
    let end = await register(session);
    // grpc-go repeats a call that was refused before its first message, once: on the same connection, or on another one if
    // this one was told to go away.
    if (end.rst === REFUSED_STREAM && received === 0 && !stopped()) {
      if (session.closed || session.destroyed) {
        session.destroy();
        registration = await connectH2(address, { localAddress }).catch(() => undefined);
        if (!registration) return "connection refused";
        if (stopped()) return registration.socket.destroy() && "stopped";
        session = registration.session;
      }
      end = await register(session);
    }
    if (leaving) await new Promise((resolve) => session.once("close", resolve));
    session.destroy();
    return end;
  };

  const live = async (): Promise<void> => {
    while (!stopped()) {
      const end = await registerOnce();
      if (stopped()) return;
      const fatal = typeof end === "string" ? undefined : fatalEnd(end);
      if (fatal !== undefined) return become({ kind: "quit", why: fatal });
      if (options.reconnect === "never") return become({ kind: "quit", why: "told not to come back" });
      await Promise.all(running);
      // It never goes back to the start, however long a registration lasted.
      const delayMs = backoffMs * (0.5 + chance()) * (options.backoffScale ?? 1);
      backoffMs = Math.min(backoffMs * 1.5, 60_000);
      disconnects++;
      become({ kind: "waiting", delayMs, end });
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, delayMs);
        cancelWait = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  };

  const closeConnections = (cut: (connection: H2Connection) => void): void => {
    cancelWait?.();
    if (registration) cut(registration);
    void results?.then(cut, () => {});
    agent.destroy();
  };

  const self: FakeTranscoder = {
    get state() {
      return state;
    },
    get registrations() {
      return registrations;
    },
    get disconnects() {
      return disconnects;
    },
    tasks,
    inHand,
    messages,
    teardowns,
    uploads,
    problems,
    behaviour: options.behaviour ?? behaviours.ready(),
    upload,
    until(condition, timeoutMs = 60_000) {
      return new Promise((resolve, reject) => {
        const check = (): void => {
          if (!condition(self)) return;
          clearTimeout(timer);
          listeners.delete(check);
          resolve();
        };
        const timer = setTimeout(() => {
          listeners.delete(check);
          const seen = `state ${state.kind}, ${tasks.length} tasks, ${uploads.length} uploads, ${problems.join("; ")}`;
          reject(new Error(`the fake transcoder waited in vain: ${seen}`));
        }, timeoutMs);
        listeners.add(check);
        check();
      });
    },
    kill(how = "close") {
      become({ kind: "stopped" });
      closeConnections(({ socket }) => {
        if (how === "reset") socket.tcp.resetAndDestroy();
        else socket.destroy();
      });
    },
    dropStream() {
      registration?.socket.destroy();
    },
    moveTo(there) {
      localAddress = there;
      closeConnections(({ socket }) => socket.destroy());
      results = undefined;
      agent = createDownloadAgent(true, there);
    },
    leave() {
      leaving = true;
      call?.stream.close(http2.constants.NGHTTP2_CANCEL);
    },
    async [Symbol.asyncDispose]() {
      become({ kind: "stopped" });
      closeConnections(({ session }) => session.destroy());
      await living;
    },
  };
  const living = live();
  await self.until(() => state.kind !== "connecting");
  return self;
}

const REFUSED_STREAM = 7;
const CANCEL = 8;
const CANCELLED_STATUS = 1;

/** The ends after which a stock transcoder never registers again. */
function fatalEnd(end: GrpcEnd): string | undefined {
  if (end.status === CANCELLED_STATUS || end.rst === CANCEL) return "execution interrupted";
  return ["invalid secret", "zero capacity"].find((text) => text === end.message);
}

function encodeUpload(upload: Upload): { contentType: string; body: Uint8Array } {
  if (upload.kind === "error") return { contentType: TRANSCODING_ERROR_TYPE, body: Buffer.from(upload.text) };
  if (upload.kind === "body") return upload;
  const boundary = randomBytes(10).toString("hex");
  const chunks: Uint8Array[] = [];
  for (const [index, { data, pixels, contentType }] of upload.parts.entries()) {
    const lines = [`Content-Length: ${data.length}`, `Content-Type: ${contentType}`];
    if (pixels !== undefined) lines.push(`Pixels: ${pixels}`);
    chunks.push(Buffer.from(`${index === 0 ? "" : "\r\n"}--${boundary}\r\n${lines.join("\r\n")}\r\n\r\n`), data);
  }
  chunks.push(Buffer.from(`\r\n--${boundary}--\r\n`));
  return { contentType: `multipart/mixed; boundary=${boundary}`, body: Buffer.concat(chunks) };
}

/** An upload of the ready-made renditions for a task; the error of a stock transcoder when there are none for it. */
export function readyUpload(task: FakeTask): Upload {
  const ready = readyRenditionsFor(task.profiles);
  if (!ready) return { kind: "error", text: "segment / profile mismatch" };
  const parts = ready.map(({ data, pixels }) => ({ data, pixels, contentType: "video/mp2t" }));
  const signature = (): UploadPart => ({
    data: Buffer.from("signature"),
    pixels: undefined,
    contentType: "application/octet-stream",
  });
  const withPhash = task.notify.segData?.calcPerceptualHash ?? false;
  return { kind: "renditions", parts: withPhash ? parts.flatMap((part) => [part, signature()]) : parts };
}

function changeParts(change: (parts: readonly UploadPart[]) => readonly UploadPart[]): Behaviour {
  return (task) => {
    const upload = readyUpload(task);
    return upload.kind === "renditions" ? { ...upload, parts: change(upload.parts) } : upload;
  };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The ways in which a transcoder can behave. */
export const behaviours = {
  /** Answers at once with ready-made renditions. */
  ready: (): Behaviour => readyUpload,
  /** The same, after a while. */
  after:
    (delayMs: number, then: Behaviour = readyUpload): Behaviour =>
    async (task, transcoder) => {
      await sleep(delayMs);
      return then(task, transcoder);
    },
  /** The same, when the test says so. */
  when:
    (gate: (task: FakeTask) => Promise<unknown>, then: Behaviour = readyUpload): Behaviour =>
    async (task, transcoder) => {
      await gate(task);
      return then(task, transcoder);
    },
  /** Keeps its connections and never answers. */
  hang: (): Behaviour => () => undefined,
  /** Is killed while it has the task. */
  die:
    (how: "close" | "reset" = "close"): Behaviour =>
    (_task, transcoder) => {
      transcoder.kill(how);
      return undefined;
    },
  /** Loses its stream while it has the task, and uploads the result all the same. */
  loseStream:
    (then: Behaviour = readyUpload): Behaviour =>
    (task, transcoder) => {
      transcoder.dropStream();
      return then(task, transcoder);
    },
  error:
    (text: string): Behaviour =>
    () => ({ kind: "error", text }),
  /** Claims another number of pixels than it made. */
  claim: (factor: { readonly times: bigint } | { readonly plus: bigint }): Behaviour =>
    changeParts((parts) =>
      parts.map((part) => {
        if (part.pixels === undefined) return part;
        return { ...part, pixels: "times" in factor ? part.pixels * factor.times : part.pixels + factor.plus };
      }),
    ),
  tooFew: (): Behaviour => changeParts((parts) => parts.slice(0, -1)),
  tooMany: (): Behaviour => changeParts((parts) => [...parts, ...parts.slice(0, 1)]),
  noParts: (): Behaviour => changeParts(() => []),
  emptyPart: (): Behaviour => changeParts((parts) => parts.map((part) => ({ ...part, data: Buffer.alloc(0) }))),
  html: (): Behaviour =>
    changeParts((parts) => parts.map((part) => ({ ...part, data: Buffer.from(HTML), contentType: "text/html" }))),
  /** The parts hold the renditions of each other. */
  shuffled: (): Behaviour => changeParts((parts) => [...parts].reverse()),
  /** Every rendition stops in the middle. */
  truncated: (): Behaviour =>
    changeParts((parts) => parts.map((part) => ({ ...part, data: part.data.subarray(0, part.data.length >> 1) }))),
  /** Uploads the result twice. */
  twice: (): Behaviour => async (task, transcoder) => {
    await transcoder.upload(task.taskId, readyUpload(task));
    return readyUpload(task);
  },
  /** Answers a task that nobody has instead of its own. */
  unknownTask:
    (taskId = 4_611_686_018_427_387_904n): Behaviour =>
    async (task, transcoder) => {
      await transcoder.upload(taskId, readyUpload(task));
      return undefined;
    },
  /** One after the other, a task each; the last one stays. */
  inTurn:
    (...turns: readonly [Behaviour, ...Behaviour[]]): Behaviour =>
    (task, transcoder) =>
      (turns[Math.min(task.index, turns.length - 1)] ?? turns[0])(task, transcoder),
} as const;

const HTML = "<!doctype html><html><head><title>502 Bad Gateway</title></head><body>502</body></html>";
