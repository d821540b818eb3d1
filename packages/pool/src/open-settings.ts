import { createHmac, randomBytes } from "node:crypto";
import { type Clock, openScope } from "@openpool/base";
import { assetJson } from "./api/public/payout-view.ts";
import type { SettingsPort } from "./api/public/ports.ts";
import type { SignatureCheck } from "./chain/index.ts";
import type { PayoutOptions } from "./payouts/options.ts";
import type { Terms, TermsBook } from "./ledger/terms.ts";
import { RigLabels } from "./settings/rig-labels.ts";
import { SignIn } from "./settings/sign-in.ts";
import { WorkerSettings, type WorkerSettingsDeps } from "./settings/worker-settings.ts";
import type { RunningPayouts } from "./start-payouts.ts";
import { type PgConnection, PgSettingsStore } from "./store/index.ts";

/** What a pool that pays on no chain names in texts to sign: where Livepeer's money is. */
const ARBITRUM_ONE = 42_161;

export interface SettingsOptions {
  /** Where the pool's pages are. */
  readonly publicUrl: string | undefined;
  /** The pool's own key, of which one for this is made. */
  readonly key: Uint8Array;
  readonly payouts: PayoutOptions | undefined;
}

export interface SettingsDeps extends Pick<WorkerSettingsDeps, "register" | "join" | "rigsOf" | "alerts" | "append"> {
  readonly connection: PgConnection;
  readonly clock: Clock;
  readonly payouts: RunningPayouts | undefined;
  readonly terms: { readonly current: Terms; readonly book: TermsBook };
}

/** Signing in by a wallet, and what workers may then change. */
export async function openSettings(
  options: SettingsOptions,
  deps: SettingsDeps,
): Promise<SettingsPort & AsyncDisposable> {
  const { clock, payouts, terms } = deps;
  const { publicUrl } = options;
  const scope = openScope();
  const store = scope.use(new PgSettingsStore(deps.connection));
  const chainId = options.payouts?.chainId ?? ARBITRUM_ONE;
  const openSignatures = async (): Promise<SignatureCheck> =>
    // What speaks to a chain is much code: a pool without one loads it when the first wallet signs in.
    payouts?.signatures ?? (await import("./chain/index.ts")).createSignatureCheck([], 1);
  const signIn = new SignIn(
    {
      chainId,
      publicUrl,
      contractsSign: payouts !== undefined,
      key: createHmac("sha256", options.key).update("nonces of sign-ins").digest(),
    },
    {
      store,
      clock,
      isSigned: async (worker, text, signature) => (await openSignatures()).text(worker, text, signature),
      random: randomBytes,
    },
  );
  const labels = new RigLabels(store, clock);
  await labels.load();
  const worker = new WorkerSettings({
    ...deps,
    labels,
    sessionsOf: (address) => signIn.count(address),
    payouts: payouts &&
      options.payouts && {
        port: payouts.port,
        assetOf: assetJson,
        minimumWei: (address) => terms.book.of(terms.current, address).minimumPayoutWei,
        gasBorneBy: () => terms.current.gasBorneBy,
        document: (change) => payouts.payToDocument(change),
      },
  });
  return { signIn, worker, labels, [Symbol.asyncDispose]: () => scope[Symbol.asyncDispose]() };
}
