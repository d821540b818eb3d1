/** Who may import whom. The direction of every arrow in the house is decided here and checked in CI. */
const only = (from, allowed, comment) => ({
  name: `${from}-imports`,
  comment,
  severity: "error",
  from: { path: `^packages/${from}/src` },
  to: { path: "^packages/", pathNot: [`^packages/${from}/`, ...allowed.map((a) => `^packages/${a}/`)] },
});

module.exports = {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    only("base", [], "base imports nothing of ours"),
    only("protocol", ["base"], "protocol imports base"),
    only("transcoder", ["base", "protocol"], "what a transcoder says knows neither who says it nor to whom"),
    only("pool", ["base", "protocol", "transcoder"], "pool and worker meet only on the wire"),
    only("worker", ["base", "protocol", "transcoder"], "pool and worker meet only on the wire"),
    only("dashboard", ["base", "protocol"], "the pages know the pool by its HTTP API alone"),
    only("push", ["base", "protocol"], "push is an outsider to the pool: it knows only the wire"),
    {
      name: "base-and-protocol-do-no-io",
      comment: "base and protocol run in a browser too",
      severity: "error",
      from: { path: "^packages/(base|protocol)/src", pathNot: "\\.test\\.ts$|/testing/" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "dispatch-is-pure",
      comment: "policy has no socket, clock or database of its own",
      severity: "error",
      from: { path: "^packages/pool/src/(dispatch|ledger)/", pathNot: "\\.test\\.ts$|/testing/" },
      to: { path: "^packages/pool/src/", pathNot: "^packages/pool/src/(dispatch|ledger)/" },
    },
    {
      name: "only-store-opens-a-database",
      severity: "error",
      from: { path: "^packages/pool/src", pathNot: "^packages/pool/src/store/|\\.test\\.ts$" },
      to: { path: "node_modules/(pg|kysely)/" },
    },
    {
      name: "only-chain-speaks-to-a-chain",
      comment: "viem stays behind the chain's door; keys, nodes and bytes of calls are its business",
      severity: "error",
      from: { path: "^packages/pool/src", pathNot: "^packages/pool/src/chain/|\\.test\\.ts$|/testing/" },
      to: { path: "node_modules/(viem|ox)/" },
    },
    {
      name: "payouts-know-no-driver",
      comment: "payouts state what they need of chain and store; start-payouts.ts brings them together",
      severity: "error",
      from: { path: "^packages/pool/src/payouts/", pathNot: "\\.test\\.ts$|/testing/" },
      to: { path: "^packages/pool/src/", pathNot: "^packages/pool/src/(payouts/|address-value\\.ts$)" },
    },
    {
      name: "nothing-imports-cli",
      severity: "error",
      from: { pathNot: "^packages/cli/" },
      to: { path: "^packages/cli/" },
    },
    {
      name: "packages-have-one-door",
      comment: "another package is imported by its name, never by a path into it",
      severity: "error",
      from: { path: "^packages/([^/]+)/" },
      to: { path: "^packages/([^/]+)/src/(?!index\\.ts$)", pathNot: "^packages/$1/" },
    },
  ],
  options: {
    exclude: { path: "^test/fixtures/" }, // there .ts is MPEG-TS
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.tools.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["source", "import", "node", "default"] },
  },
};
