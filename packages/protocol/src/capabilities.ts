import { create } from "@bufbuild/protobuf";
import { type Capabilities, Capabilities_ConstraintsSchema, CapabilitiesSchema } from "./gen/lp_rpc_pb.ts";
import type { Profile } from "./profile.ts";

/** Numbers of the capabilities that matter to transcoding; each is one bit of a capability set. */
export const Capability = {
  h264: 0,
  mpegts: 1,
  mp4: 2,
  fractionalFramerates: 3,
  storageDirect: 4,
  storageS3: 5,
  storageGcs: 6,
  h264Baseline: 7,
  h264Main: 8,
  h264High: 9,
  h264ConstrainedHigh: 10,
  gop: 11,
  authToken: 12,
  mpeg7Signature: 14,
  hevcDecode: 15,
  hevcEncode: 16,
  vp8Decode: 17,
  vp9Decode: 18,
  vp8Encode: 19,
  vp9Encode: 20,
  h264Decode444: 21,
  h264Decode422: 22,
  h264Decode444TenBit: 23,
  h264Decode422TenBit: 24,
  h264Decode420TenBit: 25,
  segmentSlicing: 26,
} as const;

/** A set of capabilities: bit n is the capability with number n. */
export type CapabilitySet = bigint;

/** What a set holds, by the names above; numbers that have none are left out. */
export function capabilityNames(set: CapabilitySet): string[] {
  return Object.entries(Capability).flatMap(([name, number]) => ((set >> BigInt(number)) & 1n ? [name] : []));
}

export function capabilitySet(...numbers: readonly number[]): CapabilitySet {
  let set = 0n;
  for (const number of numbers) if (number >= 0) set |= 1n << BigInt(number);
  return set;
}

/** What every orchestrator announces, workers or none, and every transcoder is taken to have. */
export const DEFAULT_CAPABILITIES: CapabilitySet = 0x4005fffn;

/** The version that the pool announces: gateways compare it with the lowest go-livepeer version that they accept. */
export const LIVEPEER_VERSION = "0.9.1";

/** Words of 64 bits, lowest first, never with a trailing zero word: a longer array is not a subset of a shorter one. */
export function capabilityWords(set: CapabilitySet): bigint[] {
  const words: bigint[] = [];
  for (let rest = set; rest > 0n; rest >>= 64n) words.push(rest & 0xffff_ffff_ffff_ffffn);
  return words;
}

/** Words that are read: sixteen times what the network uses. A message may hold a quarter of a million. */
const MAX_WORDS = 16;
/** Stands for whatever lies beyond: nobody offers it. */
const BEYOND = 1n << BigInt(64 * MAX_WORDS);

export function capabilitySetFromWords(words: readonly bigint[]): CapabilitySet {
  let set = words.some((word, index) => index >= MAX_WORDS && word !== 0n) ? BEYOND : 0n;
  words.slice(0, MAX_WORDS).forEach((word, index) => (set |= word << BigInt(64 * index)));
  return set;
}

/** As a stock node announces itself: one of each, its version, constraints present. */
export function capabilitiesToWire(set: CapabilitySet, version: string): Capabilities {
  const capacities: Record<number, number> = {};
  for (let number = 0, rest = set; rest > 0n; number++, rest >>= 1n) if (rest & 1n) capacities[number] = 1;
  return create(CapabilitiesSchema, {
    bitstring: capabilityWords(set),
    capacities,
    version,
    constraints: create(Capabilities_ConstraintsSchema, {}),
  });
}

/** Every capability of `needed` is in `offered`. */
export function isSubset(needed: CapabilitySet, offered: CapabilitySet): boolean {
  return (needed & ~offered) === 0n;
}

/** What a job with these outputs needs, as a gateway works it out for H.264 input. */
export function capabilitiesOfJob(profiles: readonly Profile[], options: { slicing: boolean }): CapabilitySet {
  const needed: number[] = [Capability.authToken, Capability.h264];
  if (options.slicing) needed.push(Capability.segmentSlicing);
  for (const profile of profiles) {
    needed.push(profile.container === "mp4" ? Capability.mp4 : Capability.mpegts);
    needed.push(
      { h264: Capability.h264, h265: Capability.hevcEncode, vp8: Capability.vp8Encode, vp9: Capability.vp9Encode }[
        profile.codec
      ],
    );
    if (profile.fpsDen > 1) needed.push(Capability.fractionalFramerates);
    if (profile.gopMs !== 0) needed.push(Capability.gop);
    if (profile.h264Profile === "baseline") needed.push(Capability.h264Baseline);
    if (profile.h264Profile === "main") needed.push(Capability.h264Main);
    if (profile.h264Profile === "high") needed.push(Capability.h264High);
    if (profile.h264Profile === "constrained-high") needed.push(Capability.h264ConstrainedHigh);
  }
  return capabilitySet(...needed);
}
