/**
 * Runs every property test again and again, with other cases each time: `npm run soak -- 10` for ten rounds. Stops at the
 * first that fails and says the seed that brings it back.
 */
import { execFileSync, spawnSync } from "node:child_process";

const rounds = Number(process.argv[2] ?? 5);
const files = execFileSync("git", ["grep", "-l", "-F", "fc.assert(", "--", "*.test.ts"], { encoding: "utf8" })
  .trim()
  .split("\n");
for (let round = 1; round <= rounds; round++) {
  const seed = String(Math.floor(Math.random() * 2 ** 31));
  process.stdout.write(`round ${round} of ${rounds}: TEST_SEED=${seed}\n`);
  const { status } = spawnSync("npx", ["vitest", "run", "--reporter=dot", ...files], {
    env: { ...process.env, TEST_SEED: seed },
    stdio: "inherit",
  });
  if (status !== 0) {
    process.stderr.write(`Failed. The same cases again: TEST_SEED=${seed} npx vitest run <file>\n`);
    process.exit(1);
  }
}
