import { type Ability, announced, compareVersions, isAsAble } from "@openpool/protocol";
import type { Supply } from "../dispatch/types.ts";

/**
 * What one registration says: that so many sessions are taken of whatever needs no more than this. There is one for each ability
 * that workers really have: an orchestrator gives us a task when one registration fits it, and then some worker does.
 */
export interface Offer extends Ability {
  readonly capacity: number;
}

/** Each is a registration at least. A fleet of all kinds of machines has less; beyond it stands for some what they have in common. */
export const MAX_ABILITIES = 6;

export function offerOf({ capabilities, version }: Ability, capacity: number): Offer {
  return { capabilities, version, capacity };
}

export function sameAbility(a: Ability, b: Ability): boolean {
  return a.capabilities === b.capabilities && a.version === b.version;
}

/** Both in the order of `offersOf`. */
export function sameOffers(a: readonly Offer[], b: readonly Offer[]): boolean {
  return a.length === b.length && a.every((one, i) => sameAbility(one, b[i]!) && one.capacity === b[i]!.capacity);
}

/** Sessions of all together. */
export function capacityOf(offers: readonly { readonly capacity: number }[]): number {
  return offers.reduce((sum, { capacity }) => sum + capacity, 0);
}

/** The sessions that are offered of one ability. */
export function capacityFor(ability: Ability, offers: readonly Offer[]): number {
  return offers.find((one) => sameAbility(one, ability))?.capacity ?? 0;
}

/**
 * What to announce of what workers can do: only what is a transcoder's, no version newer than ours, what is the same then
 * together. In a fixed order. What was `told` gives way only to what has twice its places: each change is a registration more
 * and one less.
 */
export function offersOf(supplies: readonly Supply[], told: readonly Offer[] = []): readonly Supply[] {
  const all = supplies.map((one) => ({ ...one, ...announced(one) }));
  let offers = together(all.filter((one) => sizeOf(one) > 0 && one.capabilities !== 0n));
  while (offers.length > MAX_ABILITIES) offers = together(withoutSmallest(offers, told));
  return offers.toSorted(inOrder);
}

/**
 * The ability of the fewest places goes; those of trusted workers come before any that are only claimed. They count for one that
 * asks less of them, or else, together with the next few, for what both can do; with nobody in common they are not offered. So
 * nothing is announced that they could not do, and no ability of many is lost for one of few.
 */
function withoutSmallest(offers: readonly Supply[], told: readonly Offer[]): readonly Supply[] {
  const isTold = (ability: Ability): boolean => capacityFor(ability, told) > 0;
  const factor = (one: Supply): number => (isTold(one) ? 2 : 1);
  const difference = (a: Supply, b: Supply, of: (one: Supply) => number): number =>
    of(a) * factor(a) - of(b) * factor(b);
  const [smallest, ...others] = offers.toSorted(
    (a, b) => difference(a, b, ({ trusted }) => trusted) || difference(a, b, sizeOf) || inOrder(a, b),
  );
  const home =
    others.findLast((one) => isAsAble(smallest!, one)) ??
    others.find((one) => isTold(common(one, smallest!))) ??
    others.find((one) => common(one, smallest!).capabilities !== 0n);
  if (!home) return others;
  const both = { ...common(home, smallest!), ...sumOf(home, smallest!) };
  return [...others.filter((one) => one !== home), both];
}

/** What who has either can do. */
function common(a: Ability, b: Ability): Ability {
  return {
    capabilities: a.capabilities & b.capabilities,
    version: compareVersions(a.version, b.version) <= 0 ? a.version : b.version,
  };
}

function sizeOf({ capacity, staying }: Supply): number {
  return capacity + staying;
}

function sumOf(a: Supply, b: Supply): Omit<Supply, keyof Ability> {
  return {
    capacity: a.capacity + b.capacity,
    staying: a.staying + b.staying,
    trusted: a.trusted + b.trusted,
  };
}

/** One for each ability. */
function together(supplies: readonly Supply[]): readonly Supply[] {
  const each = new Map<string, Supply>();
  for (const one of supplies) {
    const key = `${one.capabilities} ${one.version}`;
    const before = each.get(key);
    each.set(key, before ? { ...one, ...sumOf(before, one) } : one);
  }
  return [...each.values()];
}

function inOrder(a: Ability, b: Ability): number {
  if (a.capabilities !== b.capabilities) return a.capabilities < b.capabilities ? -1 : 1;
  return a.version < b.version ? -1 : a.version > b.version ? 1 : 0;
}

/** What to take of each where fewer places are to be had than there are, and what of it is used. */
export interface Wanted extends Supply {
  readonly sessions: number;
}

/**
 * So much of the offers as makes up `limit` places: of each in proportion, but one at least as long as there are enough, and
 * never less than is used of it while others can give.
 */
export function limitOffers(wanted: readonly Wanted[], limit: number): readonly Offer[] {
  const offers = wanted.filter(({ capacity }) => capacity > 0);
  const all = capacityOf(offers);
  if (limit >= all) {
    return offers.map((offer) => offerOf(offer, offer.capacity));
  }
  const largestFirst = offers.toSorted((a, b) => b.capacity - a.capacity || inOrder(a, b));
  // One each, then of the rest in proportion to what more there is; what rounding leaves goes to the largest fractions.
  const rest = Math.max(0, limit - offers.length);
  const shares = largestFirst.map((offer, i) => {
    const exact = rest === 0 ? 0 : ((offer.capacity - 1) * rest) / (all - offers.length);
    return { offer, fraction: exact % 1, places: (i < limit ? 1 : 0) + Math.floor(exact) };
  });
  let left = limit - shares.reduce((sum, { places }) => sum + places, 0);
  for (const share of shares.toSorted((a, b) => b.fraction - a.fraction)) {
    if (left-- > 0) share.places++;
  }
  const spare = ({ offer, places }: (typeof shares)[number]): number => Math.max(0, places - offer.sessions);
  for (const needy of shares) {
    let missing = Math.max(0, Math.min(needy.offer.sessions, needy.offer.capacity) - needy.places);
    for (const giver of shares) {
      const given = Math.min(missing, spare(giver));
      giver.places -= given;
      needy.places += given;
      missing -= given;
    }
  }
  return shares
    .filter(({ places }) => places > 0)
    .map(({ offer, places }) => offerOf(offer, places))
    .toSorted(inOrder);
}
