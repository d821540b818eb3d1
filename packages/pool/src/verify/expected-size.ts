import type { Profile, VideoTrack } from "@openpool/protocol";

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Encoders refuse smaller and larger pictures, so a stock transcoder moves the request inside these. */
const limits: Readonly<Record<Profile["codec"], { readonly min: Size; readonly max: Size }>> = {
  h264: { min: { width: 146, height: 50 }, max: { width: 4096, height: 4096 } },
  h265: { min: { width: 132, height: 40 }, max: { width: 8192, height: 8192 } },
  vp8: { min: { width: 2, height: 2 }, max: { width: 16_383, height: 16_383 } },
  vp9: { min: { width: 2, height: 2 }, max: { width: 16_383, height: 16_383 } },
};

/** Scalers and encoders round the derived side differently. */
const TOLERANCE_PX = 2;

const even = (value: number): number => Math.max(2, Math.round(value / 2) * 2);
const clamp = (value: number, min: number, max: number): number => Math.min(Math.max(value, min), max);

function within(size: Size, min: Size, max: Size): boolean {
  return size.width >= min.width && size.height >= min.height && size.width <= max.width && size.height <= max.height;
}

/**
 * The sizes that a stock transcoder may make of a source for this profile, the likeliest first. The picture keeps its
 * aspect ratio; the larger requested side goes to the larger side of the source, also where the request lies and the
 * source stands; the other side follows.
 */
export function expectedSizes(profile: Profile, source: Size): Size[] {
  const { min, max } = limits[profile.codec];
  const large = Math.max(profile.width, profile.height);
  const small = Math.min(profile.width, profile.height);
  const stands = source.height > source.width;
  const square = source.height === source.width;
  const byWidth = (wanted: number): Size => {
    const width = clamp(wanted, min.width, max.width);
    return { width, height: even((width * source.height) / source.width) };
  };
  const byHeight = (wanted: number): Size => {
    const height = clamp(wanted, min.height, max.height);
    return { width: even((height * source.width) / source.height), height };
  };
  // Versions differ in which side leads when the source stands; both keep the aspect ratio.
  const sizes = stands ? [byHeight(large), byWidth(small)] : [byWidth(large)];
  if (square) sizes.push(byWidth(small));
  if (!sizes.every((size) => within(size, min, max))) sizes.push(stands ? byWidth(large) : byHeight(small));
  // Stock transcoders do not scale for these encoders.
  if (profile.codec === "vp8" || profile.codec === "vp9") sizes.unshift(source);
  return sizes;
}

/** Whether a picture of this size is what the profile asked for. `source` is undefined when nothing is known of it. */
export function isExpectedSize(profile: Profile, source: Size | undefined, size: Size): boolean {
  const near = (a: number, b: number): boolean => Math.abs(a - b) <= TOLERANCE_PX;
  const exact = size.width === profile.width && size.height === profile.height;
  if (exact) return true;
  if (source) {
    return expectedSizes(profile, source).some(
      ({ width, height }) => near(width, size.width) && near(height, size.height),
    );
  }
  if (profile.codec === "vp8" || profile.codec === "vp9") return true;
  // Without the source's aspect ratio only one side can be known, and which one cannot.
  const { min, max } = limits[profile.codec];
  const widths = [profile.width, profile.height].map((side) => clamp(side, min.width, max.width));
  const heights = [profile.width, profile.height].map((side) => clamp(side, min.height, max.height));
  return widths.some((width) => near(width, size.width)) || heights.some((height) => near(height, size.height));
}

/** The size of a source, where it can be relied upon. */
export function knownSize(video: VideoTrack, reliable: boolean): Size | undefined {
  return reliable && video.width > 0 && video.height > 0 ? { width: video.width, height: video.height } : undefined;
}
