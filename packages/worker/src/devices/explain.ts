/** What FFmpeg and drivers say when a device does not work, and what that means. First match wins. */
const meanings: readonly (readonly [RegExp, (match: RegExpExecArray) => string])[] = [
  [/Unknown encoder '([^']+)'/, (m) => `FFmpeg has no ${m[1]}`],
  [/minimum required Nvidia driver for nvenc is (\S+)/, (m) => `driver too old: this FFmpeg's NVENC needs ${m[1]}`],
  [/Driver does not support the required nvenc API version/, () => "driver too old for the NVENC of this FFmpeg"],
  [/forward compatibility was attempted|CUDA driver version is insufficient/, () => "driver too old for this CUDA"],
  [
    /Cannot load libnvidia-encode/,
    () => "the driver's encoder library is missing (in a container: NVIDIA_DRIVER_CAPABILITIES must name video)",
  ],
  [
    /Cannot load libcuda|Could not dynamically load CUDA/,
    () => "no NVIDIA driver (in a container: started without the GPU?)",
  ],
  [
    /Cannot load (libnvcuvid\S*)/,
    () => "the driver's decoder library is missing (in a container: NVIDIA_DRIVER_CAPABILITIES must name video)",
  ],
  [/CUDA_ERROR_NO_DEVICE|no CUDA-capable device|CUDA_ERROR_INVALID_DEVICE/, () => "there is no such CUDA device"],
  [/CUDA_ERROR_OUT_OF_MEMORY/, () => "the card's memory is full"],
  [
    /OpenEncodeSessionEx failed: (?:out of memory|incompatible client key)/,
    () => "all encoder sessions of the card are in use",
  ],
  [
    /No capable devices found|No NVENC capable devices found|OpenEncodeSessionEx failed: unsupported device|Codec not supported/,
    () => "no NVENC on this card for this codec",
  ],
  [/No such filter: '([^']+)'/, (m) => `FFmpeg has no filter ${m[1]}`],
  [
    /No VA display found|Failed to initialise VAAPI connection|vaInitialize failed/,
    () => "no VAAPI driver for this device",
  ],
  [/No usable encoding entrypoint|No usable encoding profile/, () => "the device cannot encode this codec"],
  [
    /Error creating a MFX session|Error initializing an? (?:internal )?MFX session/i,
    () => "no Quick Sync on this machine",
  ],
  [/amfrt\S* failed to open|DLL (?:amfrt\S*) failed|AMF failed/i, () => "AMD's AMF runtime is missing"],
  [
    /Cannot open (?:the )?drm(?: device)? |Permission denied/i,
    () => "no permission to use the device: add the user to the groups video and render",
  ],
  [/No space left on device/, () => "the disk is full"],
];

/** Plain words for a failed test; the last line of the log where nothing better is known. */
export function explainFailure(stderrTail: string): string {
  for (const [pattern, say] of meanings) {
    const match = pattern.exec(stderrTail);
    if (match) return say(match);
  }
  const last = stderrTail.trim().split("\n").at(-1) ?? "";
  return last.replace(/^(?:\[[^\]]*\]\s*)+/, "").slice(0, 300) || "the test encode failed without a word";
}
