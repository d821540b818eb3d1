import { readFile } from "node:fs/promises";
import { type Clock, errorText, type Logger, openScope, PoolError } from "@openpool/base";
import {
  batchPayerAddress,
  calls,
  checkChainId,
  createSignatureCheck,
  fiatPriceOf,
  isSignedPayTo,
  openChain,
  parseKey,
  payToJson,
  type SignatureCheck,
  signerOfKey,
  signerOfKeystore,
  tokenPriceOf,
} from "./chain/index.ts";
import type { Terms, TermsBook } from "./ledger/terms.ts";
import type { PayoutDeps } from "./payouts/context.ts";
import { PayoutEngine } from "./payouts/engine.ts";
import { paymentsReader } from "./payouts/payments-of.ts";
import type { PayoutOptions } from "./payouts/options.ts";
import type { Signer } from "./payouts/ports.ts";
import { PayoutRunner } from "./payouts/runner.ts";
import type { Hex, PayoutPort, PayToRequest } from "./payouts/types.ts";
import { createUuidV7, type PaidChain, type PgConnection, PgPayoutStore } from "./store/index.ts";

export interface StartPayoutsDeps {
  readonly connection: PgConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What workers know the pool by: part of what they sign. */
  readonly poolName: string;
  readonly terms: { readonly current: Terms; readonly book: TermsBook };
  readonly review?: PayoutDeps["review"];
}

export interface RunningPayouts extends AsyncDisposable {
  readonly port: PayoutPort;
  /** For the check of the books. */
  readonly chain: PaidChain;
  /** Asks the chain that is paid on, where a wallet is a contract. */
  readonly signatures: SignatureCheck;
  /** What a worker's wallet signs to be paid in another way, as JSON. */
  payToDocument(change: Omit<PayToRequest, "signature">): string;
}

/** Reads a file that holds a secret; its content appears in no error. */
async function readSecret(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new PoolError({ code: "payout/unreadable-key" }, `${file} cannot be read: ${errorText(cause)}.`);
  }
}

async function openSigner(options: PayoutOptions): Promise<Signer | undefined> {
  if (options.keyFile !== undefined) return signerOfKey(parseKey(await readSecret(options.keyFile)));
  if (options.keystoreFile === undefined || options.passwordFile === undefined) return undefined;
  const password = (await readSecret(options.passwordFile)).replace(/\r?\n$/, "");
  return signerOfKeystore(await readSecret(options.keystoreFile), password);
}

/** Starts paying. @throws PoolError when a key cannot be opened or a node is on another chain: nothing runs then. */
export async function startPayouts(options: PayoutOptions, deps: StartPayoutsDeps): Promise<RunningPayouts> {
  const { clock, connection, terms } = deps;
  const logger = deps.logger.child({ room: "payouts" });
  const scope = openScope();
  try {
    const { chain, nodes, quorum } = openChain(options);
    const signatures = createSignatureCheck(nodes, quorum);
    const place = { chainId: options.chainId, pool: deps.poolName };
    await checkChainId(nodes, options.chainId, logger);
    const signer = await openSigner(options);
    const newId = createUuidV7(() => clock.now());
    const store = new PgPayoutStore(connection, { clock, newId });
    scope.use(store);
    const runner = scope.use(
      new PayoutRunner({ busyMs: options.finality === "finalized" ? 4_000 : 500, idleMs: 15_000 }, { clock, logger }),
    );
    const { prices, fiat } = options;
    const engine = new PayoutEngine(
      {
        rules: {
          method: options.method,
          asset: options.asset,
          choices: options.choices,
          dailyCapWei: options.dailyCapWei,
          approvalAboveWei: options.approvalAboveWei,
          maxGasPriceWei: options.maxGasPriceWei,
          maxGasSharePpm: options.maxGasSharePpm,
          batchContract: options.contract ?? batchPayerAddress,
        },
        poolName: deps.poolName,
        batchSize: options.batchSize,
        bumpAfterMs: options.bumpAfterMs,
        maxBump: options.maxBump,
        payToDelayMs: options.payToDelayMs,
        safe: options.safe,
      },
      {
        terms() {
          const { current, book } = terms;
          return {
            minimumWei: current.minimumPayoutWei,
            minimumOf: (worker) => book.of(current, worker).minimumPayoutWei,
            gasBorneBy: current.gasBorneBy,
            schedule: current.schedule.cron,
            timeZone: current.schedule.timeZone,
          };
        },
        wake: () => runner.wake(),
        store,
        chain,
        signer,
        calls,
        clock,
        logger,
        newId,
        async price(token, atBlock) {
          const source = prices.get(token);
          if (source) return tokenPriceOf(source, token, nodes, options, clock.now(), atBlock);
          return { problem: `${token} has no price: name its source with --payout-price` };
        },
        fiat: fiat && (() => fiatPriceOf(fiat, nodes, options, clock.now())),
        review: deps.review,
        signedBy: (request) => isSignedPayTo(request, place, signatures),
      },
    );
    const readPayments = paymentsReader({ chain, calls });
    runner.start(engine);
    logger.info("payouts are on", { payer: engine.payer, chainId: options.chainId, method: options.method });
    return {
      port: engine,
      // What the books keep of a payment is the hash that a receipt had.
      chain: {
        chainId: options.chainId,
        transaction: (hash, of) => readPayments(hash as Hex, of),
        hashesIn: async (block) => (await chain.transactionsIn(block, undefined)).map(({ hash }) => hash),
      },
      signatures,
      payToDocument: (change) => payToJson(change, place),
      [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose](),
    };
  } catch (cause) {
    await scope[Symbol.asyncDispose]().then(undefined, () => {});
    throw cause;
  }
}
