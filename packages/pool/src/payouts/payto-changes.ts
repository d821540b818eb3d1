import { PoolError } from "@openpool/base";
import type { PayoutContext } from "./context.ts";
import type { PayToChange, PayToRequest } from "./types.ts";

/** Takes a signed change of how a worker is paid in; it counts after a delay. */
export async function requestPayTo({ settings, deps }: PayoutContext, request: PayToRequest): Promise<PayToChange> {
  const { signature, ...wish } = request;
  const { worker, asset } = wish;
  const { rules } = settings;
  if (asset !== "pool" && asset !== rules.asset && !rules.choices.includes(asset)) {
    throw new PoolError(
      { code: "payto/not-offered" },
      `This pool does not pay in ${asset}. It offers: ${["pool", rules.asset, ...rules.choices].join(", ")}.`,
    );
  }
  if (!(await deps.signedBy?.(request))) {
    throw new PoolError({ code: "payto/bad-signature" }, `The signature is not one of ${worker} for this change.`);
  }
  const requestedAtMs = deps.clock.now();
  const effectiveAtMs = requestedAtMs + settings.payToDelayMs;
  const change: PayToChange = { ...wish, requestedAtMs, effectiveAtMs, state: "waiting" };
  const stands = await deps.store.addPayToChange(change, signature);
  if (stands) return stands;
  throw new PoolError(
    { code: "payto/old-nonce" },
    "A change with this nonce or a higher one was asked for before: sign one with a higher nonce.",
  );
}
