import { errorText, type Logger, type Price } from "@openpool/base";
import type { Store } from "../store/types.ts";

const SNAPSHOT = "upstream-prices";

/** What each orchestrator charged when it was last asked, for the process after this one. */
export interface LastPrices {
  of(name: string): Price | undefined;
  keep(name: string, price: Price): void;
}

export async function openLastPrices(deps: {
  readonly store: Pick<Store, "getSnapshot" | "putSnapshot">;
  readonly logger: Logger;
}): Promise<LastPrices> {
  const prices = parseSnapshot(await deps.store.getSnapshot(SNAPSHOT));
  let writing = Promise.resolve();
  const save = (): Promise<void> =>
    deps.store
      .putSnapshot(SNAPSHOT, {
        v: 1,
        prices: [...prices].map(([name, one]) => [name, String(one.pricePerUnitWei), String(one.pixelsPerUnit)]),
      })
      .catch((error: unknown) => {
        deps.logger.debug("what an orchestrator charges was not saved", { error: errorText(error) });
      });
  return {
    of: (name) => prices.get(name),
    keep(name, price) {
      prices.set(name, price);
      writing = writing.then(save);
    },
  };
}

/** What a process of this pool saved; whatever else it is, nothing. */
function parseSnapshot(value: unknown): Map<string, Price> {
  const prices = new Map<string, Price>();
  if (typeof value !== "object" || value === null || !("prices" in value) || !Array.isArray(value.prices)) {
    return prices;
  }
  for (const one of value.prices as readonly unknown[]) {
    if (!Array.isArray(one)) continue;
    const [name, wei, pixels] = one as readonly unknown[];
    if (typeof name !== "string" || !isAmount(wei) || !isAmount(pixels) || BigInt(pixels) === 0n) continue;
    prices.set(name, { pricePerUnitWei: BigInt(wei), pixelsPerUnit: BigInt(pixels) });
  }
  return prices;
}

function isAmount(value: unknown): value is string {
  return typeof value === "string" && /^\d{1,78}$/.test(value);
}
