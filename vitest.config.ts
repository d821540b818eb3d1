import { configDefaults, defineConfig } from "vitest/config";
import { findBrowser } from "./test/dashboard/find-browser.ts";

const source = ["source", "module", "node", "development|production"];

const hasBrowser = findBrowser() !== undefined;
if (!hasBrowser) {
  const what = "There is no browser: the pages (test/dashboard) are not tried. Name one with CHROMIUM=/path/of/it.";
  if (process.env["TEST_BROWSER"] === "needed") throw new Error(what);
  process.stderr.write(`${what}\n`);
}

export default defineConfig({
  resolve: { conditions: source },
  ssr: { resolve: { conditions: source } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...(hasBrowser ? [] : ["test/dashboard/**"])],
    globalSetup: ["test/global-setup.ts"],
    setupFiles: ["test/chance.ts"],
    // Long: they are for what hangs. A machine that is busy, or stands still for seconds, makes no test fail.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A second is nothing on a machine that is busy with the other file.
    expect: { poll: { timeout: 20_000 } },
    // Two cores are the smallest machine that we promise to: more files at once only make each other late.
    maxWorkers: 2,
  },
});
