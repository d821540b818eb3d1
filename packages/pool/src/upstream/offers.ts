import { type Ability, announcedVersion, plainVersion, compareVersions } from "@openpool/protocol";

/**
 * What one registration says: that so many sessions are taken of whatever needs no more than this. There is one for each ability
 * that workers really have: an orchestrator gives us a task when one registration fits it, and then some worker does.
 */
export interface Offer extends Ability {
  readonly capacity: number;
}

/** Capabilities that are a transcoder's; workers name others, which an orchestrator would then announce. */
const TRANSCODING = (1n << 27n) - 1n;

/** Each is a registration at least. A fleet of all kinds of machines has less; beyond it stands for some what they have in common. */
export const MAX_ABILITIES = 6;

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
 * What to announce of what groups of workers can do: only what is a transcoder's, no version newer than ours, what is the
 * same then together. In a fixed order.
 */
export function offersOf(groups: readonly Offer[]): readonly Offer[] {
  const announced = groups
    .filter(({ capacity, capabilities }) => capacity > 0 && (capabilities & TRANSCODING) !== 0n)
    .map(({ capabilities, version, capacity }) => ({
      capabilities: capabilities & TRANSCODING,
      // 0.8.8, v0.8.8 and 0.8.8-dirty are one to whoever compares them.
      version: plainVersion(announcedVersion([version])),
      capacity,
    }));
  let offers = together(announced);
  while (offers.length > MAX_ABILITIES) offers = together(withoutSmallest(offers));
  return offers.toSorted(inOrder);
}

/**
 * The ability of the fewest workers goes: they count for one that asks less of them, or else, together with the next few, for what
 * both can do. So nothing is announced that they could not do, and no ability of many is lost for one of few.
 */
function withoutSmallest(offers: readonly Offer[]): readonly Offer[] {
  const [smallest, ...others] = offers.toSorted((a, b) => a.capacity - b.capacity || inOrder(a, b));
  const home = others.findLast((one) => sameAbility(common(one, smallest!), one)) ?? others[0]!;
  const both = { ...common(home, smallest!), capacity: home.capacity + smallest!.capacity };
  return [...others.filter((one) => one !== home), both];
}

/** What who has either can do. */
function common(a: Ability, b: Ability): Ability {
  return {
    capabilities: a.capabilities & b.capabilities,
    version: compareVersions(a.version, b.version) <= 0 ? a.version : b.version,
  };
}

/** One for each ability. */
function together(offers: readonly Offer[]): readonly Offer[] {
  const each = new Map<string, Offer>();
  for (const one of offers) {
    const key = `${one.capabilities} ${one.version}`;
    each.set(key, { ...one, capacity: one.capacity + (each.get(key)?.capacity ?? 0) });
  }
  return [...each.values()];
}

function inOrder(a: Ability, b: Ability): number {
  if (a.capabilities !== b.capabilities) return a.capabilities < b.capabilities ? -1 : 1;
  return a.version < b.version ? -1 : a.version > b.version ? 1 : 0;
}

/** What to take of each where fewer places are to be had than there are, and what of it is used. */
export interface Wanted extends Offer {
  readonly sessions: number;
}

/**
 * So much of the offers as makes up `limit` places: of each in proportion, but one at least as long as there are enough, and
 * never less than is used of it while others can give.
 */
export function limitOffers(offers: readonly Wanted[], limit: number): readonly Offer[] {
  const all = capacityOf(offers);
  if (limit >= all) {
    return offers.map(({ capabilities, version, capacity }) => ({ capabilities, version, capacity }));
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
    .map(({ offer: { capabilities, version }, places }) => ({ capabilities, version, capacity: places }))
    .toSorted(inOrder);
}
