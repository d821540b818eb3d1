import { integerValue, option, type OptionProblem, type OptionValues } from "@openpool/base";
import type { WorkerAddress } from "@openpool/protocol";
import { addressValue } from "../address-value.ts";

/** Where income is read from. */
export interface IncomeOptions {
  readonly rpcUrls: readonly string[];
  /** How many of them must say the same; undefined: more than half. */
  readonly quorum: number | undefined;
  readonly orchestrator: WorkerAddress;
  /** Livepeer's controller; undefined: Arbitrum One's. */
  readonly controller: WorkerAddress | undefined;
  /** Undefined: from the newest block on. */
  readonly fromBlock: number | undefined;
  /** How many blocks behind the newest one a block is final; undefined: what the chain itself calls final. */
  readonly confirmations: number | undefined;
}

/** The settings of reading income from the chain. */
export const incomeOptionDefinitions = {
  orchestrator: option({
    name: "orchestrator-address",
    kind: addressValue,
    defaultNote: "income is not read from the chain",
    help: "the orchestrator on chain whose ticket income is read: the pool's own, or the one that it works for",
    details:
      "Needs `rpc-url` and no key. What came in stands in `openpool income` and `openpool solvency`, and is what the schemes proportional and blend share.",
    group: "Income",
  }),
  incomeFromBlock: option({
    name: "income-from-block",
    kind: integerValue("N", { min: 0 }),
    defaultNote: "the newest block at the first start",
    help: "the first block to read income from",
    group: "Income",
  }),
  controller: option({
    name: "controller-address",
    kind: addressValue,
    defaultNote: "Livepeer's on Arbitrum One",
    help: "Livepeer's controller contract, on a chain of your own",
    group: "Income",
  }),
} as const;

/** What reading income is told, from the settings; undefined where none is read. Adds what does not fit together. */
export function toIncomeOptions(
  values: OptionValues<typeof incomeOptionDefinitions>,
  chain:
    | {
        readonly rpcUrls: readonly string[];
        readonly quorum: number | undefined;
        readonly finality: "finalized" | number;
      }
    | undefined,
  problems: OptionProblem[],
): IncomeOptions | undefined {
  const { orchestrator, controller, incomeFromBlock: fromBlock } = values;
  if (orchestrator === undefined) return undefined;
  if (!chain) {
    problems.push({ where: "--rpc-url", problem: "is missing: income is read from a chain, through an RPC node" });
    return undefined;
  }
  return {
    rpcUrls: chain.rpcUrls,
    quorum: chain.quorum,
    orchestrator,
    controller,
    fromBlock,
    // There, a block counts with itself.
    confirmations: chain.finality === "finalized" ? undefined : Math.max(0, chain.finality - 1),
  };
}
