import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Tests that start the real program run what `tsc -b` built; an up-to-date build costs under a second. */
export default function setup(): void {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-b"], {
    cwd: root,
    stdio: "inherit",
  });
  // Tests of one room still run while another does not compile; the types check is what fails then.
  if (status !== 0) process.stderr.write("tsc -b failed: tests that start the program run an older build\n");
}
