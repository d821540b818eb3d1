import { type PayoutContext, payerOf } from "./context.ts";
import { exportRun, leftOf } from "./export.ts";
import { whyNotAsPlanned } from "./planner.ts";
import type { Settlement } from "./ports.ts";
import { notIn } from "./refusals.ts";
import { batchIdOf, groupByAsset, settleBatch, unpaidPlaces } from "./settlement.ts";
import type { Asset, ExportFormat, GiveUpMultisig, Halt, Hex, PayoutRun, RunDetail } from "./types.ts";

/** Runs that people with a multisig pay: hands them out, and books what the chain says that became of them. */
export class Multisig {
  readonly #context: PayoutContext;

  constructor(context: PayoutContext) {
    this.#context = context;
  }

  /** A run as a text. `safe` makes it the multisig's. */
  async export(detail: RunDetail, format: ExportFormat): Promise<string> {
    const { calls } = this.#context.deps;
    const text = exportRun(detail, format, { calls, batchContract: contractOf(this.#context, detail.run) });
    // Written down before anybody has it: from then on it may be executed, and nothing else may pay its lines.
    if (format === "safe") await this.#handOver(detail);
    if (format === "safe-cancel" && detail.run.state !== "exported") {
      throw notIn(detail.run.id, "was not exported for a multisig: `openpool payouts cancel` takes it back");
    }
    return text;
  }

  /** Makes a run the multisig's. */
  async #handOver({ run: { id, state }, lines }: RunDetail): Promise<void> {
    const { settings, deps } = this.#context;
    const { store } = deps;
    if (state === "exported") return;
    if (state !== "approved") {
      throw notIn(
        id,
        state === "planned"
          ? "is not approved: `openpool payouts approve` comes first"
          : `is ${state}: there is nothing to be executed`,
      );
    }
    const { halts, paused } = await store.control();
    const why = halts[0]?.message ?? paused;
    if (why !== undefined) throw notIn(id, `is not handed out while payouts stand still: ${why}`);
    // Nothing is taken out of it: what the chain says of a batch names places, and books that were set back to a moment
    // before that would count them otherwise.
    const records = new Map((await store.payees()).map((one) => [one.worker, one]));
    for (const line of lines.filter((one) => one.state === "planned")) {
      const changed = whyNotAsPlanned(line, records, settings.rules);
      if (changed === undefined) continue;
      throw notIn(
        id,
        `would pay ${line.worker}, and ${changed}: cancel it (\`openpool payouts cancel ${id}\`), and plan again`,
      );
    }
    if (!(await store.markExported(id))) throw notIn(id, "is not approved any more");
  }

  /** Books what a transaction of the multisig did: all of the run, or the batches of some of its assets. */
  async reconcile(detail: RunDetail, hash: Hex): Promise<void> {
    const { chain, store, clock, logger } = this.#context.deps;
    const { run, lines } = detail;
    this.#assertExported(run);
    const receipt = await chain.finalReceipt(hash);
    if ("none" in receipt) throw notIn(run.id, `is not paid by ${hash}: ${receipt.none}`);
    const returned: Settlement["returned"][number][] = [];
    const paid: string[] = [];
    let halt: Halt | undefined;
    const left: Asset[] = [];
    for (const [asset, of] of groupByAsset(leftOf(lines))) {
      const unpaid = unpaidPlaces(receipt, {
        contract: contractOf(this.#context, run) ?? run.payer,
        payer: run.payer,
        batch: batchIdOf(run.id, asset),
      });
      if (!unpaid) {
        left.push(asset);
        continue;
      }
      const ids = of.map((line) => line.id);
      if (unpaid.size > ids.length) {
        returned.push(...ids.map((line) => ({ line, reason: "the multisig cancelled the payout", hold: false })));
        continue;
      }
      const settled = settleBatch(ids, asset, unpaid, { hash, atMs: clock.now(), intent: undefined });
      returned.push(...settled.returned);
      paid.push(...settled.paid);
      halt ??= settled.halt;
    }
    if (paid.length + returned.length === 0) {
      throw notIn(
        run.id,
        `is not paid by ${hash}: the batch contract did not do its batch of ${left.join(", ")} in it`,
      );
    }
    await store.settleExported(run.id, { paid, returned, hash, atMs: clock.now(), halt });
    if (halt) logger.error(`payouts are halted: ${halt.message}`, { code: halt.code });
  }

  /**
   * Takes back a run whose multisig can neither execute nor cancel it any more. Nobody can prove that a signature of it is
   * in nobody's hands: so the pool must have stopped paying from that multisig, a person answers for it, and the run is
   * watched for ever.
   */
  async giveUp({ run, lines }: RunDetail, { safe, reason, by }: GiveUpMultisig): Promise<void> {
    const { store, clock } = this.#context.deps;
    this.#assertExported(run);
    if (safe !== run.payer)
      throw notIn(run.id, `is paid by ${run.payer}, not by ${safe}: name the multisig that is lost`);
    if (payerOf(this.#context) === safe) {
      throw notIn(
        run.id,
        "is paid by the multisig that this pool pays from: cancel it there (`openpool payouts export ID --format safe-cancel`). If its keys are lost, start the pool with another --payout-safe or --payout-keystore first",
      );
    }
    for (const asset of groupByAsset(leftOf(lines)).keys()) {
      if (await isExecuted(this.#context, run, asset)) {
        throw notIn(
          run.id,
          "was executed or cancelled by its multisig: `openpool payouts reconcile` books what that did",
        );
      }
    }
    if (!(await store.giveUp(run.id, `its multisig is lost: ${reason}`, by, clock.now()))) {
      throw notIn(run.id, "is not exported any more");
    }
  }

  /** Looks whether a run that was given up was paid after all. */
  async watch(): Promise<void> {
    const { deps } = this.#context;
    for (const { run, assets } of await deps.store.givenUp(deps.chain.chainId)) {
      const paid: Asset[] = [];
      for (const asset of assets) if (await isExecuted(this.#context, run, asset)) paid.push(asset);
      if (paid.length === 0) continue;
      const halt = {
        code: "payout/paid-after-all",
        message: `${run.payer} executed run ${run.id} after it was given up because that multisig was lost: its workers got that, and what was paid to them since. Look at the batch ${paid.map((asset) => batchIdOf(run.id, asset)).join(", ")} on the chain, take back from what they are owed with \`openpool ledger adjust\`, then \`openpool payouts resume\`.`,
        atMs: deps.clock.now(),
        intent: undefined,
        nonce: undefined,
      };
      await deps.store.paidAfterAll(run.id, halt);
      deps.logger.error(`payouts are halted: ${halt.message}`, { code: halt.code });
    }
  }

  #assertExported(run: PayoutRun): void {
    const { chainId } = this.#context.deps.chain;
    if (run.state !== "exported") throw notIn(run.id, "was not exported for a multisig");
    if (run.chainId !== chainId) throw notIn(run.id, `is paid on chain ${run.chainId}, not on ${chainId}`);
  }
}

/** Whether a multisig executed or cancelled its batch of an asset. */
export async function isExecuted(context: PayoutContext, run: PayoutRun, asset: Asset): Promise<boolean> {
  const contract = contractOf(context, run);
  return contract !== undefined && context.deps.chain.isBatchDone(contract, run.payer, batchIdOf(run.id, asset));
}

function contractOf(
  { settings }: PayoutContext,
  { batchContract = settings.rules.batchContract }: PayoutRun,
): PayoutRun["batchContract"] {
  return batchContract;
}
