import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Tests that start the real program run what `tsc -b` built; an up-to-date build costs under a second. */
export default function setup(): void {
  const root = fileURLToPath(new URL("..", import.meta.url));
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-b"], { cwd: root, stdio: "inherit" });
}
