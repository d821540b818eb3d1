import type { Price } from "@openpool/base";
import type { Need, Profile, RigName } from "@openpool/protocol";
import type { Body } from "../bodies/body.ts";
import type { JobId } from "../dispatch/types.ts";
import type { Clip } from "./wishes.ts";

/** The door that a job came through, and so whose fee it is: a gateway's of our own, or that of an orchestrator by its name. */
export type JobSource = "gateway" | `upstream:${string}`;

/** Where the price of a job comes from: our settings, or what the orchestrator before us charges. */
export type PriceSource = "configured" | "upstream";

/** A segment to transcode, whoever wants it. */
export interface Work {
  /** UUIDv7. */
  readonly id: JobId;
  /** The stream as the pool knows it: stable across a change of auth token, says nothing about the manifest id. */
  readonly session: string;
  readonly seq: bigint;
  readonly durationMs: number;
  readonly profiles: readonly Profile[];
  /** Of a worker, and in the worker's own eyes, too: it is told. */
  readonly need: Need;
  readonly clip: Clip | undefined;
  readonly perceptualHash: boolean;
  readonly forceSessionReinit: boolean;
  /** The source; it may still be arriving. The job holds it until it ends. */
  readonly input: Body;
  /** Monotonic ms; after it an answer is worthless. It already leaves time to answer. */
  readonly deadlineMs: number;
}

/** One request for one segment, whichever door it came through. */
export interface Job extends Work {
  readonly source: JobSource;
  /** A gateway's Ethereum address, else the host it comes from; of other doors as `source`. For the operator only. */
  readonly sender: string;
  readonly price: Price;
  readonly priceSource: PriceSource;
}

/** One encoding of the source, as bytes that were measured. */
export interface JobRendition {
  readonly profile: Profile;
  readonly data: Uint8Array;
  /** Counted by us. */
  readonly pixels: bigint;
  readonly perceptualHash: Uint8Array | undefined;
}

export type JobOutcome =
  | {
      readonly kind: "done";
      readonly renditions: readonly JobRendition[];
      readonly earner: RigName;
      /** Of the source, as far as it could be counted: what was decoded. */
      readonly sourcePixels: bigint;
      /** How long the answer waited for its credit to be durable. */
      readonly creditMs: number;
      /** Call it once when the renditions are not needed any more. */
      readonly release: () => void;
    }
  /** Lost. `text` is what the gateway reads, `reason` what the operator does. */
  | { readonly kind: "failed"; readonly text: string; readonly reason: string }
  /** The gateway left. */
  | { readonly kind: "abandoned" };
