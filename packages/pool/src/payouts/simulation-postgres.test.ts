import { systemClock } from "@openpool/base";
import { describe, expect, test } from "vitest";
import { openTestDatabase } from "../store/testing/test-store.ts";
import { crashEverywhere, runScenario } from "./testing/crash-sweep.ts";
import { PostgresBooks } from "./testing/postgres-books.ts";
import { noteProof, triesAll } from "./testing/proof.ts";
import { scenarios } from "./testing/scenarios.ts";

/** Runs on a real database take their time: some scenarios; `bench/payout-proof.ts` plays all of them. */
const played = scenarios.filter(({ onlyInMemory }, place) => onlyInMemory !== true && (triesAll || place % 3 === 0));
/** A crash at every so-manieth point: a prime, so that those before and those after a question have their turn. */
const STEP = triesAll ? 1 : 401;

describe.each(played)("$name, on Postgres", (scenario) => {
  test(
    "a crash before or after a question to store, chain or key pays everybody once, and the log tells it once",
    async () => {
      await using books = await PostgresBooks.open(await openTestDatabase(), systemClock);
      let run = 0;
      const { points, crashes } = await crashEverywhere(
        (options) => runScenario(scenario, { ...options, books, run: ++run }),
        STEP,
      );
      expect(crashes).toBe(Math.ceil(points / STEP));
      noteProof(`crashes on Postgres, ${scenario.name}`, { points, crashes });
    },
    triesAll ? 3_600_000 : 240_000,
  );
});
