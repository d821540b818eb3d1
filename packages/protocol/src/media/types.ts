export type MediaContainer = "mpegts" | "mp4";
export type MediaVideoCodec = "h264" | "hevc" | "vp8" | "vp9" | "unknown";
export type MediaAudioCodec = "aac" | "mp3" | "ac3" | "eac3" | "opus" | "unknown";

/** Ticks of a second in every timestamp of a probe, whatever the container counts in. */
export const PTS_PER_SECOND = 90_000;
/** MPEG-TS timestamps wrap here: 2^33. */
export const PTS_WRAP = 8_589_934_592;

/** What is wrong with a file as a whole. Stable words: they end up in events and on pages. */
export type MediaProblem =
  /** Bytes are missing at the end. */
  | "truncated"
  /** Only of the sound. */
  | "sound-truncated"
  /** Packets that are no MPEG-TS packets lie between those that are. */
  | "lost-sync"
  /** Packets are missing or doubled in the video. */
  | "continuity"
  /** A packet says itself that it is damaged. */
  | "transport-error"
  | "scrambled"
  /** No programme table: the streams were guessed. */
  | "no-pmt"
  | "several-programs"
  | "several-videos"
  /** Streams without a name and without a known start: nobody can say what they are. */
  | "unknown-streams"
  /** The coded size changes on the way; width and height are those of the first picture. */
  | "size-change"
  /** There are pictures, but no parameter set that can be read. */
  | "no-parameters"
  /** A timestamp lies more than ten seconds from its neighbour. */
  | "time-jump"
  | "no-timestamps"
  /** The index names samples that lie outside the file, or more bytes than there are. */
  | "bad-index"
  /** Parts of the structure contradict each other and were skipped. */
  | "malformed";

export interface VideoTrack {
  readonly codec: MediaVideoCodec;
  /** Size of a decoded picture in pixels, cropping applied; 0 when nothing tells. */
  readonly width: number;
  readonly height: number;
  /** Pictures that a decoder puts out. Two fields are one picture. */
  readonly frames: number;
  /** Lowest and highest presentation time, 90 kHz; `lastPts` is never below `firstPts` and may pass 2^33. */
  readonly firstPts: number | undefined;
  readonly lastPts: number | undefined;
  /** From the first picture to the end of the last one. */
  readonly durationMs: number;
  /** Average pictures per second; undefined below two pictures. */
  readonly fps: number | undefined;
  readonly chroma: "4:0:0" | "4:2:0" | "4:2:2" | "4:4:4" | undefined;
  readonly bitDepth: number | undefined;
  readonly profile: string | undefined;
  /** Coded as fields, or allowed to be. */
  readonly interlaced: boolean;
  /** The first picture decodes on its own: an IDR picture or its like. Without it a decoder drops pictures. */
  readonly keyframeFirst: boolean;
  /** Bytes of the coded video, and a hash of how the first pictures begin: alike in both, it is a copy. */
  readonly bytes: number;
  readonly fingerprint: number;
}

export interface AudioTrack {
  readonly codec: MediaAudioCodec;
  readonly firstPts: number | undefined;
  readonly lastPts: number | undefined;
}

/** What a file holds, measured from its bytes. */
export interface MediaFile {
  readonly kind: "media";
  readonly container: MediaContainer;
  /** The video stream that a decoder would choose. */
  readonly video: VideoTrack | undefined;
  readonly audio: AudioTrack | undefined;
  readonly problems: readonly MediaProblem[];
}

export interface UnreadableFile {
  readonly kind: "unreadable";
  /** For an operator, in words. */
  readonly why: string;
  /** It looks like something else that FFmpeg may read, so nothing is proved by our not reading it. */
  readonly foreign: boolean;
}

export type MediaProbe = MediaFile | UnreadableFile;
