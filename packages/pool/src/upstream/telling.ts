import { capacityFor, capacityOf, type Offer, sameOffers } from "./offers.ts";

/** Something that a notable change is worth at once, after a second; what is less waits. */
const SOON_MS = 1_000;
const LATER_MS = 10_000;
/** Rigs that lost their connection are back within this time, mostly. */
const GONE_MS = 5_000;
const NOTABLE_SHARE = 0.1;
/** Places that are there but are another's share now: so much of what was told, or one, waits. */
const SHARED_SHARE = 0.25;
const SHARED_MS = 30_000;
/** So long it counts that something which was told was gone again. */
const SETBACK_MS = 60_000;

/**
 * What one orchestrator was told last, and when it is told something else. A loss is told soon: nobody should be sent to
 * places that are not there. Where they are there and only the share is smaller, which it is with each stream of somebody else,
 * a small loss waits: each is a registration that moves its streams. A gain is believed later each time that one was gone again
 * soon: a rig that comes and goes does not open and close a registration each time.
 */
export class Telling {
  #told: readonly Offer[] = [];
  #toldMs = 0;
  /** Since when there is nothing to offer. */
  #nothingSinceMs: number | undefined;
  /** Since when there is more than it was told, without a break. */
  #moreSinceMs: number | undefined;
  /** When it was told of losses, oldest first. */
  #setbacksMs: readonly number[] = [];

  /** Nothing: it was told that, or not asked for anything yet. */
  get told(): readonly Offer[] {
    return this.#told;
  }

  /**
   * Whether it is told this now; then that counts as told. `known`: what there is, whoever has it. Ask every second, and whenever
   * something changed.
   */
  tell(wanted: readonly Offer[], known: readonly Offer[], nowMs: number): boolean {
    this.#nothingSinceMs = wanted.length > 0 ? undefined : (this.#nothingSinceMs ?? nowMs);
    const less = wanted.length > 0 && takesAway(this.#told, wanted);
    const more = wanted.length > 0 && !less && !sameOffers(this.#told, wanted);
    this.#moreSinceMs = more ? (this.#moreSinceMs ?? nowMs) : undefined;
    if (!this.#isDue(wanted, known, less, nowMs)) return false;
    if (less) this.#setbacksMs = [...this.#setbacksMs, nowMs].slice(-4);
    this.#told = wanted;
    this.#toldMs = nowMs;
    this.#moreSinceMs = undefined;
    return true;
  }

  /** It was told that there is nothing for it: whatever comes is told at once. */
  forget(): void {
    this.#told = [];
  }

  #isDue(wanted: readonly Offer[], known: readonly Offer[], less: boolean, nowMs: number): boolean {
    if (sameOffers(this.#told, wanted)) return false;
    if (this.#told.length === 0) return true;
    if (wanted.length === 0) return nowMs - (this.#nothingSinceMs ?? nowMs) >= GONE_MS;
    const onlyShared = less && !takesAway(this.#told, known);
    if (nowMs - this.#toldMs < (onlyShared ? sharedMs(this.#told, wanted) : changedMs(this.#told, wanted)))
      return false;
    const setbacks = this.#setbacksMs.filter((ms) => nowMs - ms < SETBACK_MS).length;
    if (less || setbacks === 0) return true;
    return nowMs - (this.#moreSinceMs ?? nowMs) >= Math.min(SOON_MS * 2 ** setbacks, LATER_MS);
  }
}

function takesAway(told: readonly Offer[], wanted: readonly Offer[]): boolean {
  return told.some((one) => capacityFor(one, wanted) < one.capacity);
}

/** How long what was told counts where something came or went. */
function changedMs(told: readonly Offer[], wanted: readonly Offer[]): number {
  const moved = changes(told, wanted);
  const most = Math.max(...moved.map(([before, after]) => Math.abs(after - before)));
  const isNotable = most > capacityOf(told) * NOTABLE_SHARE || moved.some((both) => both.includes(0));
  return isNotable ? SOON_MS : LATER_MS;
}

/** How long it counts where only the shares moved. */
function sharedMs(told: readonly Offer[], wanted: readonly Offer[]): number {
  const isFar = changes(told, wanted).some(
    ([before, after]) => before === 0 || Math.abs(after - before) > Math.max(1, before * SHARED_SHARE),
  );
  return isFar ? SOON_MS : SHARED_MS;
}

/** The places of each ability, before and after. */
function changes(told: readonly Offer[], wanted: readonly Offer[]): readonly (readonly [number, number])[] {
  return [...told, ...wanted].map((one) => [capacityFor(one, told), capacityFor(one, wanted)]);
}
