import { PoolError } from "@openpool/base";
import { isLive, type PayoutContext, payerOf } from "./context.ts";
import { notFinal, RECONCILED_HALTS } from "./reconcile.ts";
import { notIn } from "./refusals.ts";
import type { GiveUpAccount, RunDetail } from "./types.ts";

/**
 * Takes back what an account signed that does not pay any more and whose transactions nobody can have mined: a thief has its
 * key and keeps it empty. These stay good for ever, so the account is watched from then on: what is mined of them, once it
 * holds money again, halts and is booked.
 */
export async function giveUpAccount(
  context: PayoutContext,
  { run, intents }: RunDetail,
  { payer, reason, by }: GiveUpAccount,
): Promise<void> {
  const { store, chain, clock } = context.deps;
  if (payer !== run.payer)
    throw notIn(run.id, `is paid by ${run.payer}, not by ${payer}: name the account that is lost`);
  if (run.chainId !== chain.chainId) throw notIn(run.id, `is paid on chain ${run.chainId}, not on ${chain.chainId}`);
  const live = intents.filter(isLive);
  if (live.length === 0) {
    throw notIn(
      run.id,
      "has nothing that is signed and not decided: `openpool payouts cancel` takes back what is not signed, and what a multisig has is given up with --safe",
    );
  }
  if (payerOf(context) === payer) {
    throw notIn(
      run.id,
      "is paid by the account that this pool pays from, which goes on with it once it holds money. If its key is stolen, start the pool with another --payout-keystore first",
    );
  }
  const halt = (await store.control()).halts.find(({ code }) => RECONCILED_HALTS.has(code));
  if (halt)
    throw notIn(
      run.id,
      `is not given up while payouts are halted, \`openpool payouts resume\` comes first: ${halt.message}`,
    );
  const nonceFloor = await chain.settledNonce(payer);
  if (nonceFloor === undefined)
    throw notFinal(`the last transactions of ${payer} are in blocks that are not final yet`);
  if (live.some(({ nonce }) => nonce < nonceFloor)) {
    throw notIn(
      run.id,
      "has transactions whose nonces are used by now: wait until that is booked, or halts, and resume",
    );
  }
  if ((await chain.pendingNonce(payer)) > nonceFloor) {
    throw new PoolError(
      { code: "payout/still-pending" },
      `${payer} has transactions that wait to be mined: whom they pay would be paid twice. Wait until they are mined, or forgotten by the nodes.`,
    );
  }
  const given = { nonceFloor, reason: `the account that was to pay it is lost: ${reason}`, by, atMs: clock.now() };
  if (!(await store.giveUpSigned(run.id, given))) throw notIn(run.id, "was decided meanwhile");
}
