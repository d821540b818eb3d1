import { create } from "@bufbuild/protobuf";
import {
  type SegData,
  type VideoProfile,
  VideoProfile_Format,
  VideoProfile_Profile,
  VideoProfile_VideoCodec,
  VideoProfileSchema,
} from "./gen/lp_rpc_pb.ts";
import { segmentText } from "./wire-text.ts";

export type Container = "mpegts" | "mp4";
export type VideoCodec = "h264" | "h265" | "vp8" | "vp9";
export type H264Profile = "default" | "baseline" | "main" | "high" | "constrained-high";

/** One target encoding, as a job asks for it. */
export interface Profile {
  /** Rendition name; any text at all, chosen by the gateway. */
  readonly name: string;
  /** Requested size in pixels; the real one keeps the source's aspect ratio. */
  readonly width: number;
  readonly height: number;
  /** bit/s. */
  readonly bitrate: number;
  /** Frames per second as `fps / fpsDen`; 0: as the source. */
  readonly fps: number;
  readonly fpsDen: number;
  readonly container: Container;
  readonly codec: VideoCodec;
  readonly h264Profile: H264Profile;
  /** Distance of keyframes in ms; 0: the encoder's default, -1: every frame. */
  readonly gopMs: number;
  /** Constant quality (CRF/CQ), 1 to 63; 0: by bitrate. */
  readonly quality: number;
}

/** A profile of which only so much is said: for the rest H.264 in MPEG-TS as an encoder makes it by itself, at the source's rate. */
export function plainProfile(said: Pick<Profile, "name" | "width" | "height" | "bitrate"> & Partial<Profile>): Profile {
  return {
    fps: 0,
    fpsDen: 1,
    container: "mpegts",
    codec: "h264",
    h264Profile: "default",
    gopMs: 0,
    quality: 0,
    ...said,
  };
}

const containers: Readonly<Record<number, Container>> = {
  [VideoProfile_Format.MPEGTS]: "mpegts",
  [VideoProfile_Format.MP4]: "mp4",
};
const codecs: Readonly<Record<number, VideoCodec>> = {
  [VideoProfile_VideoCodec.H264]: "h264",
  [VideoProfile_VideoCodec.H265]: "h265",
  [VideoProfile_VideoCodec.VP8]: "vp8",
  [VideoProfile_VideoCodec.VP9]: "vp9",
};
const h264Profiles: Readonly<Record<number, H264Profile>> = {
  [VideoProfile_Profile.ENCODER_DEFAULT]: "default",
  [VideoProfile_Profile.H264_BASELINE]: "baseline",
  [VideoProfile_Profile.H264_MAIN]: "main",
  [VideoProfile_Profile.H264_HIGH]: "high",
  [VideoProfile_Profile.H264_CONSTRAINED_HIGH]: "constrained-high",
};

/** Reads a profile; on an enum value that nobody knows, the text that a stock orchestrator refuses it with. */
export function profileFromWire(wire: VideoProfile): Profile | string {
  const container = containers[wire.format];
  if (!container) return segmentText.outputFormat;
  const h264Profile = h264Profiles[wire.profile];
  if (!h264Profile) return segmentText.encoderProfile;
  const codec = codecs[wire.encoder];
  if (!codec) return segmentText.videoCodec;
  return {
    name: wire.name || `net_${wire.width}x${wire.height}_${wire.bitrate}`,
    width: wire.width,
    height: wire.height,
    bitrate: wire.bitrate,
    fps: wire.fps,
    fpsDen: wire.fpsDen || 1,
    container,
    codec,
    h264Profile,
    gopMs: wire.gop,
    quality: wire.quality,
  };
}

/** The profiles of a job: the first of the three fields, newest first, that holds any. */
export function profilesOfSegment(segment: SegData): Profile[] | string {
  const wire =
    [segment.fullProfiles3, segment.fullProfiles2, segment.fullProfiles].find((list) => list.length > 0) ?? [];
  const profiles: Profile[] = [];
  for (const one of wire) {
    const profile = profileFromWire(one);
    if (typeof profile === "string") return profile;
    profiles.push(profile);
  }
  return profiles;
}

function keyOf<Value>(table: Readonly<Record<number, Value>>, value: Value): number {
  return Number(Object.keys(table).find((key) => table[Number(key)] === value));
}

export function profileToWire(profile: Profile): VideoProfile {
  return create(VideoProfileSchema, {
    name: profile.name,
    width: profile.width,
    height: profile.height,
    bitrate: profile.bitrate,
    fps: profile.fps,
    fpsDen: profile.fpsDen === 1 ? 0 : profile.fpsDen,
    format: keyOf(containers, profile.container),
    profile: keyOf(h264Profiles, profile.h264Profile),
    encoder: keyOf(codecs, profile.codec),
    gop: profile.gopMs,
    quality: profile.quality,
  });
}

/**
 * Puts profiles into the field that a stock sender would use: 35 as soon as one has an fps denominator, an H.264 profile
 * or a GOP, else 33 when all are MPEG-TS, else 34.
 */
export function setProfiles(segment: SegData, profiles: readonly Profile[]): void {
  const wire = profiles.map(profileToWire);
  segment.fullProfiles = [];
  segment.fullProfiles2 = [];
  segment.fullProfiles3 = [];
  if (wire.some((p) => p.fpsDen !== 0 || p.profile !== VideoProfile_Profile.ENCODER_DEFAULT || p.gop !== 0)) {
    segment.fullProfiles3 = wire;
  } else if (wire.every((p) => p.format === VideoProfile_Format.MPEGTS)) {
    segment.fullProfiles = wire;
  } else {
    segment.fullProfiles2 = wire;
  }
}
