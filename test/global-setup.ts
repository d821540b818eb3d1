import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openRunTempDir } from "./temp-dir.ts";

/**
 * Tests that start the real program run what `tsc -b` built; an up-to-date build costs under a second. Their temporary
 * files lie in a directory of this run, which goes with it.
 */
export default function setup(): () => void {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-b"], {
    cwd: root,
    stdio: "inherit",
  });
  // An older build would be tested, and pass or fail for reasons that nobody can see.
  if (status !== 0) throw new Error("tsc -b failed: see above; tests that start the program need what it builds");
  // Media that is made once is for all runs.
  process.env["TEST_MEDIA_DIR"] ??= join(tmpdir(), "openpool-test-media");
  const run = openRunTempDir();
  process.env["TMPDIR"] = run.path;
  return () => run.remove();
}
