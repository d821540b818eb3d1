import type { CapabilitySet, PreflightTest, ProfileCodec, RigDevice } from "@openpool/protocol";
import type { EncodingPath } from "../transcode/arguments.ts";

export type DeviceKind = RigDevice["kind"];

/** FFmpeg's encoder for each codec. */
export type Encoders = Partial<Record<ProfileCodec, string>>;

/** What a device is, before anything is known of what it can do. */
export interface Hardware {
  /** `cpu`, `nvidia:0`, `vaapi:/dev/dri/renderD128`: what the operator would name it. */
  readonly id: string;
  readonly kind: DeviceKind;
  /** `AMD EPYC 7B13, 16 threads`, `NVIDIA L4`. */
  readonly model: string;
  /** Version, and the card's own memory: of NVIDIA cards. */
  readonly driver: string | undefined;
  readonly memoryMib: number | undefined;
  /** Of NVIDIA cards. */
  readonly uuid: string | undefined;
}

/** Something that transcodes, proved by a test encode. */
export interface Device extends Hardware {
  readonly path: EncodingPath;
  readonly anySourcePath: EncodingPath | undefined;
  readonly capabilities: CapabilitySet;
  /** Encoders that passed on this device, by FFmpeg's names, and kinds of sources that it decoded. */
  readonly proved: { readonly encoders: readonly string[]; readonly decoders: readonly string[] };
}

/** For logs and the status page: `NVIDIA L4, driver 550.90`. */
export function deviceName({ model, driver }: Hardware): string {
  return driver === undefined ? model : `${model}, driver ${driver}`;
}

/** One thing that detection found out, in words for the operator. */
export interface Finding {
  readonly device: string;
  readonly usable: boolean;
  readonly text: string;
  /** The single tests behind it, for the pool. */
  readonly tests: readonly PreflightTest[];
}
