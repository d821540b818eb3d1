import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Tests that start the real program run what `tsc -b` built; an up-to-date build costs under a second. */
export default function setup(): void {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-b"], {
    cwd: root,
    stdio: "inherit",
  });
  // An older build would be tested, and pass or fail for reasons that nobody can see.
  if (status !== 0) throw new Error("tsc -b failed: see above; tests that start the program need what it builds");
}
