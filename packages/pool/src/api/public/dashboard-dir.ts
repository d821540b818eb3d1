import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * Where the built pages lie: in the package of the dashboard beside this one, or inside this one, where a published
 * package has them. Undefined when they are not built.
 */
export function findDashboard(): string | undefined {
  for (const place of ["../../../../dashboard/dist/", "../../../dashboard/"]) {
    const dir = fileURLToPath(new URL(place, import.meta.url));
    if (existsSync(`${dir}index.html`)) return dir;
  }
  return undefined;
}
