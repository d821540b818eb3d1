import type { CapabilitySet, ProfileCodec } from "@openpool/protocol";
import type { EncodingPath } from "../transcode/arguments.ts";

export type DeviceKind = "cpu" | "nvidia" | "vaapi" | "qsv" | "amf";

/** FFmpeg's encoder for each codec. */
export type Encoders = Partial<Record<ProfileCodec, string>>;

/** Something that transcodes, proved by a test encode. */
export interface Device {
  /** `cpu`, `nvidia:0`, `vaapi:/dev/dri/renderD128`: what the operator would name it. */
  readonly id: string;
  readonly kind: DeviceKind;
  /** `AMD EPYC 7B13, 16 threads`, `NVIDIA L4, driver 550.90`. */
  readonly name: string;
  /** Of NVIDIA cards. */
  readonly uuid: string | undefined;
  readonly path: EncodingPath;
  readonly anySourcePath: EncodingPath | undefined;
  readonly capabilities: CapabilitySet;
}

/** One thing that detection found out, in words for the operator. */
export interface Finding {
  readonly device: string;
  readonly usable: boolean;
  readonly text: string;
}
