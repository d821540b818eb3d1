import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findBrowser } from "./dashboard/find-browser.ts";
import { openRunTempDir } from "./temp-dir.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** An older build would be tested, and pass or fail for reasons that nobody can see. */
function build(...words: readonly string[]): void {
  const { status } = spawnSync(process.execPath, words, { cwd: root, stdio: "inherit" });
  if (status !== 0) throw new Error(`${words.join(" ")} failed: see above; tests need what it builds`);
}

/**
 * Tests that start the real program run what `tsc -b` built, and those of the pages what Vite built of them; where that is up
 * to date it costs under a second. Their temporary files lie in a directory of this run, which goes with it.
 */
export default function setup(): () => void {
  build("node_modules/typescript/bin/tsc", "-b");
  // Once for all files that try the pages: two that build at once would stand in each other's way.
  if (findBrowser() !== undefined) build("packages/dashboard/build.js");
  // Media that is made once is for all runs.
  process.env["TEST_MEDIA_DIR"] ??= join(tmpdir(), "openpool-test-media");
  const run = openRunTempDir();
  process.env["TMPDIR"] = run.path;
  return () => run.remove();
}
