import { create } from "@bufbuild/protobuf";
import { type Clock, errorText, type HostPort, plainText } from "@openpool/base";
import { capabilitiesToWire, type NotifySegment, RegisterRequestSchema } from "@openpool/protocol";
import { dialOrchestrator, register, type Registration, type RegistrationEnd } from "@openpool/transcoder";
import type { Opening } from "./life.ts";
import type { Offer } from "./offers.ts";

/** The registration that a message came on: what its answer needs to reach the same orchestrator. */
export interface NotifiedBy {
  readonly opening: Opening;
  /** That it was registered with. */
  readonly secret: string;
  /** What it was registered with. */
  readonly offer: Offer;
  /** It was left or lost: what it carried moves to others with its next segment. */
  readonly gone: boolean;
}

/** One of the registrations with an orchestrator. */
export interface Part extends NotifiedBy {
  /** When the orchestrator had taken it, monotonic. */
  readonly sinceMs: number;
  /** Says goodbye, and goes on listening until the orchestrator has heard it. */
  leave(): void;
}

export interface PartOptions {
  readonly address: HostPort;
  readonly secret: string;
  readonly offer: Offer;
}

export interface PartDeps {
  readonly clock: Clock;
  /** Aborted: the connection ends at once. */
  readonly signal: AbortSignal;
  opening(fingerprint: string, answers: () => Promise<boolean>): Promise<Opening>;
  /** The orchestrator, or the way to it, ended what began with this. */
  ended(opening: Opening): void;
  onNotify(notify: NotifySegment, from: NotifiedBy): void;
  /** It ended although nobody left it. */
  onLost(part: Part, why: string): void;
}

const DIAL_TIMEOUT_MS = 5_000;
/** Who was asked whether it is there, because somebody else answers at its address, is dead after this. */
const PROOF_TIMEOUT_MS = 2_000;

/** Tries to register once. Resolves with the registration that was taken, or with what became of it. */
export async function openPart(
  { address, secret, offer }: PartOptions,
  deps: PartDeps,
): Promise<{ readonly kind: "taken"; readonly part: Part } | ({ readonly kind: "failed" } & RegistrationEnd)> {
  const { clock, signal } = deps;
  let begun: Opening | undefined;
  let registration: Registration | undefined;
  try {
    const dialled = await dialOrchestrator(address, { timeoutMs: DIAL_TIMEOUT_MS, signal }, clock);
    const opening = await deps.opening(
      dialled.fingerprint,
      async () => (await registration?.answers(PROOF_TIMEOUT_MS)) ?? false,
    );
    begun = opening;
    return await new Promise((resolve) => {
      let takenMs: number | undefined;
      let gone = false;
      const part: Part = {
        offer,
        opening,
        secret,
        get gone() {
          return gone;
        },
        get sinceMs() {
          return takenMs ?? clock.monotonicMs();
        },
        leave() {
          gone = true;
          registration?.leave();
        },
      };
      const cut = (): void => registration?.cut();
      registration = register(
        dialled,
        create(RegisterRequestSchema, {
          secret,
          capacity: BigInt(offer.capacity),
          capabilities: capabilitiesToWire(offer.capabilities, offer.version),
        }),
        {
          onTaken() {
            takenMs = clock.monotonicMs();
            resolve({ kind: "taken", part });
          },
          onNotify: (notify) => deps.onNotify(notify, part),
          onEnd({ text: said, refused }) {
            signal.removeEventListener("abort", cut);
            deps.ended(opening);
            const text = plainText(said);
            const lost = takenMs !== undefined && !gone;
            gone = true;
            if (lost) deps.onLost(part, text);
            else resolve({ kind: "failed", text, refused });
          },
        },
        clock,
      );
      signal.addEventListener("abort", cut);
      if (signal.aborted) cut();
    });
  } catch (error) {
    // Its connection was gone before it could be asked: nothing else says that it ended.
    if (begun !== undefined) deps.ended(begun);
    return { kind: "failed", text: errorText(error), refused: false };
  }
}
