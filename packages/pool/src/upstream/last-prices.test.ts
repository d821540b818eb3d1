import { silentLogger, systemClock } from "@openpool/base";
import { expect, test } from "vitest";
import { openLastPrices } from "./last-prices.ts";
import { createPriceReader } from "./price.ts";

function savedStore(saved?: unknown) {
  let value = saved;
  return {
    getSnapshot: () => Promise.resolve(value),
    async putSnapshot(_name: string, next: unknown) {
      await Promise.resolve();
      value = JSON.parse(JSON.stringify(next));
    },
  };
}

const price = { pricePerUnitWei: 2n ** 100n, pixelsPerUnit: 3n };
const configured = { pricePerUnitWei: 1_000n, pixelsPerUnit: 1n };

test("what an orchestrator charged last counts in the next process while its port does not answer", async () => {
  const store = savedStore();
  const first = await openLastPrices({ store, logger: silentLogger });
  expect(first.of("main")).toBeUndefined();
  first.keep("main", configured);
  first.keep("main", price);
  await expect.poll(async () => (await openLastPrices({ store, logger: silentLogger })).of("main")).toEqual(price);

  const deps = { clock: systemClock, logger: silentLogger, onChange: () => {} };
  const nobody = { host: "127.0.0.1", port: 1 };
  await using known = createPriceReader({ name: "main", cli: nobody, configured, last: price }, deps);
  expect(known.quote).toEqual({ price, source: "upstream" });
  await using unknown = createPriceReader({ name: "other", cli: nobody, configured, last: first.of("other") }, deps);
  expect(unknown.quote).toEqual({ price: configured, source: "configured" });
  // Who no longer asks an orchestrator has set a price for it.
  await using set = createPriceReader({ name: "main", cli: undefined, configured, last: price }, deps);
  expect(set.quote).toEqual({ price: configured, source: "configured" });
});

test.each([
  undefined,
  null,
  "x",
  { prices: 1 },
  { prices: [1, ["main"], ["main", "1", "0"], ["main", "-1", "1"], ["main", 1, 1]] },
])("what stands in its place and is no price is none: %j", async (saved) => {
  expect((await openLastPrices({ store: savedStore(saved), logger: silentLogger })).of("main")).toBeUndefined();
});
