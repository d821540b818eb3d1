/** What FFmpeg's own account of a run says, read from its verbose log. */
export interface FfmpegLog {
  /** Decoded video frames; undefined until it says so, at the end. */
  readonly decodedFrames: number | undefined;
  readonly sourceSize: { readonly width: number; readonly height: number } | undefined;
  /** Encoded video frames of each output. */
  readonly encodedFrames: ReadonlyMap<number, number>;
  readonly outputSizes: ReadonlyMap<number, { readonly width: number; readonly height: number }>;
  /** Errors of the decoder: the input is damaged. */
  readonly decodeErrors: number;
  /** The last lines that were warnings or worse, bounded. */
  readonly tail: readonly string[];
}

const MAX_LINE = 2_000;
const MAX_TAIL_LINES = 40;

const decoded = /Input stream #0:\d+ \(video\): \d+ packets read .*; (\d+) frames decoded/;
const encoded = /Output stream #(\d+):\d+ \(video\): (\d+) frames encoded/;
const section = /\[info\] (Input|Output) #(\d+), /;
const videoStream = /Stream #(\d+):\d+.*?: Video: .*?, (\d{1,5})x(\d{1,5})(?:[ ,]|$)/;
// 5.1 and older; 6 and newer.
const decodeError = /Error while decoding stream #|Error submitting (?:a )?packet to (?:the )?decoder/;

export interface LogReader {
  readonly log: FfmpegLog;
  push(text: string): void;
  end(): void;
}

/** Reads `-loglevel level+verbose` as it comes; keeps numbers and a short tail, never the text. */
export function createLogReader(onDecodeError: () => void): LogReader {
  const encodedFrames = new Map<number, number>();
  const outputSizes = new Map<number, { width: number; height: number }>();
  const tail: string[] = [];
  const log = {
    decodedFrames: undefined as number | undefined,
    sourceSize: undefined as { width: number; height: number } | undefined,
    encodedFrames,
    outputSizes,
    decodeErrors: 0,
    tail,
  };
  let rest = "";
  let within: "Input" | "Output" | undefined;

  const readLine = (line: string): void => {
    const head = section.exec(line);
    if (head) {
      within = head[1] === "Input" ? "Input" : "Output";
      return;
    }
    if (line.includes(": Video: ")) {
      const match = videoStream.exec(line);
      if (match) {
        const size = { width: Number(match[2]), height: Number(match[3]) };
        if (within === "Input") log.sourceSize ??= size;
        else if (within === "Output") outputSizes.set(Number(match[1]), size);
      }
      return;
    }
    if (line.includes("frames ")) {
      const input = decoded.exec(line);
      if (input) log.decodedFrames = Number(input[1]);
      const output = encoded.exec(line);
      if (output) encodedFrames.set(Number(output[1]), Number(output[2]));
    }
    if (/\[(?:warning|error|fatal|panic)\]/.test(line)) {
      tail.push(line);
      if (tail.length > MAX_TAIL_LINES) tail.shift();
      if (decodeError.test(line)) {
        log.decodeErrors++;
        if (log.decodeErrors === 1) onDecodeError();
      }
    }
  };

  return {
    log,
    push(text) {
      const lines = (rest + text).split(/\r?\n|\r/);
      rest = (lines.pop() ?? "").slice(0, MAX_LINE);
      for (const line of lines) readLine(line.slice(0, MAX_LINE));
    },
    end() {
      if (rest) readLine(rest);
      rest = "";
    },
  };
}
