import type { Ability } from "@openpool/protocol";
import type { Offer } from "./part.ts";

/** What there is to share among orchestrators and gateways. */
export interface Room extends Ability {
  /** Sessions that the workers take at once. */
  readonly capacity: number;
  /** All gateways of our own together. */
  readonly gateways: Sharer;
}

/** Capabilities that are a transcoder's; workers name others, which an orchestrator would then announce. */
const TRANSCODING = (1n << 27n) - 1n;
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
 * What one orchestrator is offered. What it uses of what it was `told` stays offered, and at least one session is while
 * anybody can work: whoever is registered with nothing left shares what there is, and is not torn from its streams by the
 * load of another. Sessions beyond what it was told are no reason to offer more: some of them have ended unnoticed.
 * Undefined: nobody can work.
 */
export function shareFor(room: Room, own: number, others: readonly Sharer[], told = own): Offer | undefined {
  if (room.capacity <= 0) return undefined;
  const limit = limitFor(room.capacity, Math.min(own, told), [...others, room.gateways]);
  const capacity = Math.min(MAX_CAPACITY, Math.max(1, limit));
  return { capacity, capabilities: room.capabilities & TRANSCODING, version: room.version };
}
