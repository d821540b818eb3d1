import { isAsAble } from "@openpool/protocol";
import { capacityOf, type Offer, offerOf, sameAbility } from "./offers.ts";

/**
 * Which registrations together make up what an orchestrator is offered. It binds each of its sessions to one of them; when that
 * one leaves, its sessions move with their next segment, and while the orchestrator is full, new ones can take their places.
 */

/** One of the registrations that are there. */
export interface PartLoad {
  readonly capacity: number;
  /** That it carries now. */
  readonly sessions: number;
}

/** What leads to the wanted capacity. */
export interface PartsPlan<Part> {
  /** Of one more registration, which comes before those leave; 0: none. */
  readonly openCapacity: number;
  readonly leave: readonly Part[];
}

/** At most so many at once, of all abilities together: each is a connection, and a line in the orchestrator's log and pages. */
export const MAX_PARTS = 12;

/** What one ability needs. */
export interface AbilityPlan<Part> {
  /** One more registration, which comes before those leave. */
  readonly open: Offer | undefined;
  readonly leave: readonly Part[];
}

/** What leads to the wanted offers, ability by ability: sessions of one find no place in the registrations of another. */
export interface OffersPlan<Part> {
  readonly abilities: readonly AbilityPlan<Part>[];
  /** Nobody can do what these say: they go, whether anything comes for them or not. */
  readonly over: readonly Part[];
}

/** Who was registered with less leaves for an offer that is as able: its sessions find their place there. */
export function planOffers<Part extends PartLoad & { readonly offer: Offer }>(
  parts: readonly Part[],
  offers: readonly Offer[],
): OffersPlan<Part> {
  const most = Math.floor(MAX_PARTS / Math.max(1, offers.length));
  const isOffered = (part: Part): boolean => offers.some((offer) => sameAbility(part.offer, offer));
  const heirOf = (part: Part): Offer | undefined => offers.find((offer) => isAsAble(offer, part.offer));
  const others = parts.filter((part) => !isOffered(part));
  const abilities = offers.map((offer): AbilityPlan<Part> => {
    const own = parts.filter((part) => sameAbility(part.offer, offer));
    const { openCapacity, leave } = planParts(own, offer.capacity, most);
    return {
      open: openCapacity > 0 ? offerOf(offer, openCapacity) : undefined,
      leave: [...leave, ...others.filter((part) => heirOf(part) === offer)],
    };
  });
  return { abilities, over: others.filter((part) => !heirOf(part)) };
}

/**
 * Of all ways to offer that capacity with one more registration at most, the one that moves the fewest sessions, and then the
 * one that leaves the fewest registrations. So growth adds one for the difference, and a loss of places costs those first that
 * nobody uses. While nothing runs one is enough.
 */
export function planParts<Part extends PartLoad>(
  parts: readonly Part[],
  capacity: number,
  most = MAX_PARTS,
): PartsPlan<Part> {
  const running = parts.some(({ sessions }) => sessions > 0);
  const isFew = parts.length <= (running ? most : 1);
  if (capacityOf(parts) === capacity && isFew) return { openCapacity: 0, leave: [] };
  let kept: readonly Part[] = [];
  if (running) {
    for (const some of subsets(parts)) {
      const missing = capacity - capacityOf(some);
      if (missing < 0 || some.length + (missing > 0 ? 1 : 0) > most) continue;
      const more = sessionsOn(some) - sessionsOn(kept);
      if (more > 0 || (more === 0 && some.length > kept.length)) kept = some;
    }
  }
  return {
    openCapacity: capacity - capacityOf(kept),
    leave: parts.filter((part) => !kept.includes(part)),
  };
}

function sessionsOn(parts: readonly PartLoad[]): number {
  return parts.reduce((total, { sessions }) => total + sessions, 0);
}

function subsets<T>(all: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: 2 ** all.length }, (_, chosen) => all.filter((_one, i) => (chosen >> i) % 2 === 1));
}
