import { defineConfig } from "vitest/config";

const source = ["source", "module", "node", "development|production"];

export default defineConfig({
  resolve: { conditions: source },
  ssr: { resolve: { conditions: source } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "test/**/*.test.ts"],
    globalSetup: ["test/global-setup.ts"],
    setupFiles: ["test/chance.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores are the smallest machine that we promise to: more files at once only make each other late.
    maxWorkers: 2,
  },
});
