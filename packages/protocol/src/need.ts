import { create } from "@bufbuild/protobuf";
import {
  type CapabilitySet,
  capabilitySetFromWords,
  capabilityWords,
  isSubset,
  LIVEPEER_VERSION,
} from "./capabilities.ts";
import { type Capabilities, Capabilities_ConstraintsSchema, CapabilitiesSchema } from "./gen/lp_rpc_pb.ts";

/** What a piece of work asks of whoever does it: the same rule for an orchestrator and for each of its transcoders. */
export interface Need {
  readonly capabilities: CapabilitySet;
  /** Lowest go-livepeer version that will do, `major.minor.patch`; empty: any. Never what a stranger wrote. */
  readonly minVersion: string;
}

/** What somebody says of itself, to be held against a need. */
export interface Ability {
  readonly capabilities: CapabilitySet;
  /** Of go-livepeer, as announced; whoever announces none, or no version, has only work that asks for none. */
  readonly version: string;
}

type Version = readonly [major: number, minor: number, patch: number];

/** The numbers of a semver without its pre-release part, as leniently read as go-livepeer does; undefined if it is none. */
function parseVersion(text: string): Version | undefined {
  const match = /^v?(\d{1,15})(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?(?:[-+].*)?$/.exec(text.trim());
  return match ? [Number(match[1]), Number(match[2] ?? 0), Number(match[3] ?? 0)] : undefined;
}

/** More than 0: `a` is newer. What is no version is older than any, and as old as anything else that is none. */
export function compareVersions(a: string, b: string): number {
  const [one, two] = [parseVersion(a), parseVersion(b)];
  if (!one || !two) return (one ? 1 : 0) - (two ? 1 : 0);
  return one[0] - two[0] || one[1] - two[1] || one[2] - two[2];
}

/** As all that is compared of it is written: MAJOR.MINOR.PATCH; empty: no version. */
export function plainVersion(version: string): string {
  return parseVersion(version)?.join(".") ?? "";
}

/** A need of these. A lowest version that is none asks for nothing, as with go-livepeer. */
export function needOf(capabilities: CapabilitySet, minVersion = ""): Need {
  return { capabilities, minVersion: plainVersion(minVersion) };
}

/** What a gateway or an orchestrator asks for in a message; without one, nothing. */
export function needFromWire(message: Capabilities | undefined): Need {
  return needOf(capabilitySetFromWords(message?.bitstring ?? []), message?.constraints?.minVersion);
}

/** As gateways write it: no version and no capacities, constraints present. */
export function needToWire({ capabilities, minVersion }: Need): Capabilities {
  return create(CapabilitiesSchema, {
    bitstring: capabilityWords(capabilities),
    constraints: create(Capabilities_ConstraintsSchema, { minVersion }),
  });
}

/** Equal for equal needs. */
export function needKey({ capabilities, minVersion }: Need): string {
  return `${capabilities.toString(36)} ${minVersion}`;
}

/** What of a need is not met; undefined: it fits. */
export function misfit(ability: Ability, need: Need): "capabilities" | "version" | undefined {
  if (need.minVersion !== "" && compareVersions(ability.version, need.minVersion) < 0) return "version";
  return isSubset(need.capabilities, ability.capabilities) ? undefined : "capabilities";
}

/** Whoever has the first can do whatever one can who has the second. */
export function isAsAble(one: Ability, other: Ability): boolean {
  return misfit(one, needOf(other.capabilities, other.version)) === undefined;
}

/** Capabilities that are a transcoder's; workers name others, which an orchestrator would then announce. */
const TRANSCODING = (1n << 27n) - 1n;

/** What a pool says of one who can do this: only what is a transcoder's, and no version newer than its own code. */
export function announced({ capabilities, version }: Ability): Ability {
  const isNewer = compareVersions(version, LIVEPEER_VERSION) > 0;
  // 0.8.8, v0.8.8 and 0.8.8-dirty are one to whoever compares them.
  return { capabilities: capabilities & TRANSCODING, version: plainVersion(isNewer ? LIVEPEER_VERSION : version) };
}
