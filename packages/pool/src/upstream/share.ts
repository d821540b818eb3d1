import type { Supply } from "../dispatch/types.ts";
import { capacityFor, capacityOf, limitOffers, type Offer, offerOf, type Wanted } from "./offers.ts";

/** What there is to share among orchestrators and gateways. */
export interface Room {
  /** What all workers together can do. */
  readonly supplies: readonly Supply[];
  /** All gateways of our own together. */
  readonly gateways: Sharer;
  /** As many as they all together may have, however many places there are; undefined: as many as there are. */
  readonly maxSessions: number | undefined;
}

const MAX_CAPACITY = 1_000_000;

/** Somebody else who uses the places. */
export interface Sharer {
  readonly sessions: number;
  /** It may send more; one that is taken out or not there is owed nothing beyond what it uses. */
  readonly present: boolean;
}

/**
 * How many sessions one source may have. Each that is present is owed an equal share of the places. Below its share a
 * source takes whatever is free; beyond it only what leaves one free place for each of the others that has less than its
 * share. So whoever comes late finds a place soon, nobody is thrown out of one, and as sessions end, their places go to
 * who has less than its share.
 */
export function limitFor(capacity: number, own: number, others: readonly Sharer[]): number {
  const share = Math.floor(capacity / (1 + others.filter(({ present }) => present).length));
  let used = 0;
  let kept = 0;
  for (const { sessions, present } of others) {
    used += sessions;
    kept += present && sessions < share ? 1 : 0;
  }
  return Math.max(own, Math.min(share, capacity - used), capacity - used - kept);
}

/**
 * What one orchestrator is offered. What it uses of what it was `told` stays offered, also where rigs take nobody new and go on
 * with who is there; and at least one session is while anybody takes new ones: whoever is registered with nothing left shares what
 * there is, and is not torn from its streams by the load of another. Sessions beyond what it was told are no reason to offer more:
 * some of them have ended unnoticed. `maxSessions`: of all sources together. Nothing: nobody can work.
 */
export function shareFor(
  offers: readonly Wanted[],
  own: number,
  others: readonly Sharer[],
  told = own,
  maxSessions = Infinity,
): readonly Offer[] {
  const capacity = Math.min(capacityOf(offers), maxSessions);
  const limit = limitFor(capacity, Math.min(own, told), others);
  const free = limitOffers(offers, Math.min(MAX_CAPACITY, Math.max(1, limit)));
  return offers
    .map((offer) => {
      const places = capacityFor(offer, free);
      return offerOf(offer, places + Math.min(offer.staying, Math.max(0, offer.sessions - places)));
    })
    .filter(({ capacity }) => capacity > 0);
}
