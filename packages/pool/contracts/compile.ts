/**
 * Compiles the contracts of this folder with the solc of the lockfile and writes what the program uses of them:
 * `npm run contracts` writes, a test compares. The same source and compiler give the same bytes anywhere.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The part of the compiler's standard output that is used. */
interface Compiled {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[];
  readonly contracts?: Record<
    string,
    Record<
      string,
      {
        readonly abi: readonly object[];
        readonly evm: {
          readonly bytecode: { readonly object: string };
          readonly deployedBytecode: { readonly object: string };
        };
      }
    >
  >;
}

const require = createRequire(import.meta.url);
const folder = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
export const artifactFile = folder("../src/chain/batch-payer-artifact.ts");

/** Compiles Solidity sources by name; throws with what the compiler says. */
export function compile(sources: Record<string, string>): NonNullable<Compiled["contracts"]> {
  const solc = require("solc") as { compile(input: string): string };
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(Object.entries(sources).map(([name, content]) => [name, { content }])),
    settings: {
      evmVersion: "paris",
      optimizer: { enabled: true, runs: 10_000 },
      // Nothing of the machine or of comments in the bytes.
      metadata: { bytecodeHash: "none" },
      outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as Compiled;
  const wrong = (output.errors ?? []).filter((one) => one.severity === "error");
  if (wrong.length > 0 || !output.contracts) throw new Error(wrong.map((one) => one.formattedMessage).join("\n"));
  return output.contracts;
}

/** The text of the artifact, from the source that lies here. */
export function batchPayerArtifact(): string {
  const contract = compile({ "BatchPayer.sol": readFileSync(folder("BatchPayer.sol"), "utf8") })["BatchPayer.sol"]?.[
    "BatchPayer"
  ];
  if (!contract) throw new Error("BatchPayer.sol holds no BatchPayer");
  const { abi, evm } = contract;
  return `/** Made from \`contracts/BatchPayer.sol\` by \`npm run contracts\`: never edited by hand. */
/* prettier-ignore */
export const batchPayerAbi = ${JSON.stringify(abi)} as const;
/* prettier-ignore */
export const batchPayerBytecode = "0x${evm.bytecode.object}";
/* prettier-ignore */
export const batchPayerRuntime = "0x${evm.deployedBytecode.object}";
`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(artifactFile, batchPayerArtifact());
}
