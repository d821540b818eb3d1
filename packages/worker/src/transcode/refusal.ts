import { transcodeText } from "./transcoder.ts";

/** What FFmpeg complains about, and what a stock transcoder says of the same input. First match wins. */
const refusals: readonly (readonly [RegExp, string])[] = [
  [/matches no streams|does not contain any stream|Output file does not contain/, transcodeText.invalidVideo],
  [/[Dd]ecoder .*not found|no decoder found/, transcodeText.decoderNotFound],
  [/Unknown encoder|[Ee]ncoder .*not found/, transcodeText.encoderNotFound],
  [
    /Cannot determine format of input stream|Could not find codec parameters for stream \d+ \(Video/,
    transcodeText.invalidVideo,
  ],
  [
    /\[error\] (?:pipe:0|source\.mp4): (?:Invalid data|End of file)|Error opening input.*(?:Invalid data|End of file)/,
    transcodeText.invalidVideo,
  ],
  [
    /Impossible to convert between the formats|Error (?:re)?initializing (?:complex )?filter|Failed to configure/,
    transcodeText.filtergraph,
  ],
  [/Invalid data found when processing input/, transcodeText.invalidData],
];

/** The text for a failed run that is the input's fault; undefined where the log does not say so. */
export function refusalOf(tail: readonly string[]): string | undefined {
  for (const [pattern, text] of refusals) if (tail.some((line) => pattern.test(line))) return text;
  return undefined;
}
