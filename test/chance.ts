import fc from "fast-check";

/**
 * Property tests try the same cases in every run, so that a change is judged by what it changed. `OPENPOOL_TEST_SEED=<n>` tries
 * others, `npm run soak` many: what they find becomes a test of its own.
 */
fc.configureGlobal({ seed: Number(process.env["OPENPOOL_TEST_SEED"] ?? 20_261_121) });
