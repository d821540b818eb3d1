import type { Profile } from "@openpool/protocol";

/** A piece of the source, in milliseconds from its first frame, ends included; `toMs` 0: to the end. */
export interface ClipRange {
  readonly fromMs: number;
  readonly toMs: number;
}

/** One segment and what is wanted of it. */
export interface TranscodeRequest {
  /** The stream: segments of one session come in order. */
  readonly session: string;
  readonly source: Uint8Array;
  readonly durationMs: number;
  readonly profiles: readonly Profile[];
  readonly clip: ClipRange | undefined;
  /** Make an MPEG-7 signature of every rendition too. */
  readonly perceptualHash: boolean;
  /** Who the renditions are made for, as it stands in their metadata: `offchain` or an address. */
  readonly orchId: string;
  /** Monotonic ms after which the result is worthless. */
  readonly deadlineMs: number;
}

export interface Rendition {
  readonly container: Profile["container"];
  readonly data: Uint8Array;
  /** Counted, not computed: encoded frames × encoder size. */
  readonly pixels: bigint;
  readonly frames: number;
  /** MPEG-7 signature in FFmpeg's binary form, when it was asked for. */
  readonly signature: Uint8Array | undefined;
}

export type TranscodeOutcome =
  | {
      readonly kind: "done";
      readonly renditions: readonly Rendition[];
      readonly decodedPixels: bigint;
      /** The renditions' memory counts against a budget until this is called. */
      release(): void;
    }
  /** It is the input or the profiles: no worker could have done it. `text` is what a stock transcoder says. */
  | { readonly kind: "refused"; readonly text: string }
  /** FFmpeg died, hung, or made something else than was asked for. `text` goes to the pool, `stderrTail` to the log. */
  | { readonly kind: "died"; readonly text: string; readonly stderrTail: string }
  /** By us: nobody's fault, give the task to another worker. */
  | { readonly kind: "stopped" };

/** Turns a segment into renditions. Behind it: a child per segment today, something in-process perhaps tomorrow. */
export interface Transcoder extends AsyncDisposable {
  transcode(request: TranscodeRequest, signal: AbortSignal): Promise<TranscodeOutcome>;
  /** The session is over: what is kept ready for its next segment can go. */
  endSession(session: string): void;
}

/** Texts of a stock transcoder that we have a reason to say; gateways and pools compare the whole string. */
export const transcodeText = {
  invalidVideo: "TranscoderInvalidVideo",
  invalidGop: "TranscoderInvalidGOP",
  invalidClip: "TranscoderInvalidClipConfig",
  invalidDuration: "TranscoderInvalidDuration",
  unrecognizedFormat: "TranscoderUnrecognizedFormat",
  invalidResolution: "TranscoderInvalidResolution",
  tooManyOutputs: "Too many outputs",
  invalidData: "Invalid data found when processing input",
  noKeyframes: "No keyframes in input",
  runaway: "Encoded frames runaway",
  decoderNotFound: "Decoder not found",
  encoderNotFound: "Encoder not found",
  filtergraph: "Error initializing filtergraph",
  pixelFormat: "Unsupported input pixel format",
  busy: "TranscoderBusy",
  stopped: "TranscoderStopped",
} as const;
