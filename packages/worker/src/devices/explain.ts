import { type PreflightProblem, problemReason, reasonTexts, wordsOf } from "@openpool/protocol";

/** Why a test fails: what the pool is told of it, and what only our own log says. */
export interface Trouble {
  readonly problem: PreflightProblem;
  /** What the problem names: an encoder, a version; empty where it names nothing. */
  readonly subject: string;
  /** FFmpeg's own words, where they are all that is known. */
  readonly said?: string;
}

/** What FFmpeg and drivers say when a device does not work, and what that means. First match wins. */
const meanings: readonly (readonly [RegExp, PreflightProblem])[] = [
  [/Unknown encoder '([^']+)'/, "no-encoder"],
  [/minimum required Nvidia driver for nvenc is (\S+)/, "driver-too-old"],
  [/Driver does not support the required nvenc API version/, "driver-too-old"],
  [/forward compatibility was attempted|CUDA driver version is insufficient/, "driver-too-old"],
  [/Cannot load libnvidia-encode/, "no-encoder-library"],
  [/Cannot load libcuda|Could not dynamically load CUDA/, "no-driver"],
  [/Cannot load libnvcuvid/, "no-decoder-library"],
  [/CUDA_ERROR_NO_DEVICE|no CUDA-capable device|CUDA_ERROR_INVALID_DEVICE/, "no-cuda-device"],
  [/CUDA_ERROR_OUT_OF_MEMORY/, "memory-full"],
  [/OpenEncodeSessionEx failed: (?:out of memory|incompatible client key)/, "sessions-taken"],
  [
    /No capable devices found|No NVENC capable devices found|OpenEncodeSessionEx failed: unsupported device|Codec not supported/,
    "no-nvenc",
  ],
  [/No such filter: '([^']+)'/, "no-filter"],
  [/No VA display found|Failed to initialise VAAPI connection|vaInitialize failed/, "no-vaapi"],
  [/No usable encoding entrypoint|No usable encoding profile/, "cannot-encode"],
  [/Error creating a MFX session|Error initializing an? (?:internal )?MFX session/i, "no-quick-sync"],
  [/amfrt\S* failed to open|DLL (?:amfrt\S*) failed|AMF failed/i, "no-amf"],
  [/Cannot open (?:the )?drm(?: device)? |Permission denied/i, "no-permission"],
  [/No space left on device/, "disk-full"],
];

/** What a failed test means; the last line of the log where nothing better is known. */
export function explainFailure(stderrTail: string): Trouble {
  for (const [pattern, problem] of meanings) {
    const match = pattern.exec(stderrTail);
    if (match) return { problem, subject: match[1] ?? "" };
  }
  const last = stderrTail.trim().split("\n").at(-1) ?? "";
  const said = last.replace(/^(?:\[[^\]]*\]\s*)+/, "").slice(0, 300) || "the test encode failed without a word";
  return { problem: "other", subject: "", said };
}

/** For whoever runs this machine. */
export function troubleText({ problem, subject, said }: Trouble): string {
  if (said !== undefined) return said;
  const { code, facts } = problemReason(problem, subject);
  const [sentence, action]: readonly [string, string?] = reasonTexts[code];
  return [sentence, ...(action === undefined ? [] : [action])].map((text) => asPart(wordsOf(text, facts))).join(": ");
}

/** A sentence as a part of one: `The disk is full.` as `the disk is full`; `FFmpeg` stays `FFmpeg`. */
function asPart(sentence: string): string {
  const whole = sentence.replace(/\.$/, "");
  return /^[A-Z][a-z]/.test(whole) ? whole.charAt(0).toLowerCase() + whole.slice(1) : whole;
}
