import { formatUnits } from "@openpool/base";
import type { Asset, PayoutWish, PayToDocument, WorkerSettingsAnswer } from "@openpool/protocol";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useId, useState } from "react";
import type { SettingsApi } from "../../api/settings.ts";
import { shortHex } from "../../format/address.ts";
import { GWEI_DIGITS, parseUnits, PERCENT_DIGITS, WEI_DIGITS } from "../../format/amount.ts";
import { formatSpan } from "../../format/time.ts";
import { text } from "../../text.tsx";
import { words as all } from "../../text-settings.tsx";
import { Marks } from "../../ui/address.tsx";
import { Amount, Eth } from "../../ui/amount.tsx";
import { Empty, Section } from "../../ui/parts.tsx";
import { Coded } from "../../ui/said.tsx";
import { Until } from "../../ui/time.tsx";
import { Failure, Field, Sign, useChange } from "./forms.tsx";

const words = all.payout;

type Payout = Extract<WorkerSettingsAnswer["payout"], { configured: true }>;
interface Props {
  readonly worker: string;
  readonly api: SettingsApi;
}

/** Where the money goes, in what, from how much on and at what gas: all of it one signed document. */
export function PayoutSettings({
  payout,
  ...props
}: Props & { readonly payout: WorkerSettingsAnswer["payout"] }): ReactNode {
  return (
    <Section title={words.title} note={words.note} id="payout">
      {payout.configured ? (
        <Configured payout={payout} {...props} />
      ) : (
        <Empty title={<Coded said={payout.why} coded={payout.whyCoded} />} />
      )}
    </Section>
  );
}

/** The name of what is chosen, as one of what the pool offers. */
function nameOf(choice: string, { poolAsset, choices }: Payout): string {
  if (choice === "pool") return words.poolAsset(poolAsset.symbol);
  return [poolAsset, ...choices].find((one) => idOf(one) === choice)?.symbol ?? shortHex(choice);
}
const idOf = (asset: Asset): string => asset.token ?? "eth";

function Configured({ payout, worker, api }: Props & { readonly payout: Payout }): ReactNode {
  const cancel = useChange(api.cancelPayTo);
  return (
    <>
      <Wish wish={payout} payout={payout} worker={worker} />
      {payout.pending !== null && (
        <div className="mt-5 border-l-2 border-edge pl-4" data-pending="">
          <p className="mb-2">
            <span className="tag warn">{words.pending}</span>{" "}
            {words.pendingAt(<Until at={payout.pending.effectiveAt} />)}
          </p>
          <Wish wish={payout.pending} payout={payout} worker={worker} />
          <p className="mt-3 mb-2 max-w-prose text-soft">{words.notYou}</p>
          <button type="button" className="button quiet" onClick={() => cancel.mutate(undefined)}>
            {words.takeBack}
          </button>
          <Failure error={cancel.error} />
        </div>
      )}
      <Change payout={payout} worker={worker} api={api} />
    </>
  );
}

function Wish({
  wish,
  payout,
  worker,
}: {
  readonly wish: PayoutWish;
  readonly payout: Payout;
  readonly worker: string;
}): ReactNode {
  const { maxGasPriceWei, maxGasSharePpm } = wish;
  const anyPrice = maxGasPriceWei === "0";
  const anyShare = maxGasSharePpm === 0;
  return (
    <dl className="facts">
      <dt>{words.to}</dt>
      <dd>
        {wish.payTo === worker ? (
          <span title={wish.payTo}>{words.own}</span>
        ) : (
          <span className="mono">{wish.payTo}</span>
        )}
        <Marks value={wish.payTo} kind="address" />
      </dd>
      <dt>{words.from}</dt>
      <dd>
        <Eth wei={wish.minimumWei === "0" ? payout.poolMinimumWei : wish.minimumWei} /> {text.eth}
        {wish.minimumWei === "0" && <span className="text-soft"> ({words.poolMinimum})</span>}
      </dd>
      <dt>{words.in}</dt>
      <dd>{nameOf(wish.asset, payout)}</dd>
      <dt>{words.gas}</dt>
      <dd>
        {anyPrice && anyShare && words.anyGas}
        {!anyPrice && (
          <Amount wei={BigInt(maxGasPriceWei)}>
            {words.gasPrice(formatUnits(BigInt(maxGasPriceWei), GWEI_DIGITS))}
          </Amount>
        )}
        {!anyPrice && !anyShare && ", "}
        {!anyShare && words.gasShare(formatUnits(BigInt(maxGasSharePpm), PERCENT_DIGITS))}
        {payout.gasBorneBy === "pool" && <span className="text-soft"> ({words.gasPool})</span>}
      </dd>
    </dl>
  );
}

/** The form; what it asks for is then signed. */
function Change({ payout, worker, api }: Props & { readonly payout: Payout }): ReactNode {
  const [asked, setAsked] = useState<{ readonly wish: PayoutWish; readonly paper: PayToDocument }>();
  const [wrong, setWrong] = useState(false);
  const id = useId();
  const ask = useMutation({
    mutationFn: async (wish: PayoutWish) => ({ wish, paper: await api.payToDocument(wish) }),
    onSuccess: setAsked,
  });
  const change = useChange(({ wish, paper, signature }: NonNullable<typeof asked> & { readonly signature: string }) =>
    api.setPayTo(wish, paper.nonce, signature),
  );
  const onSubmit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const typed = (name: string): string => String(form.get(name) ?? "").trim();
    const minimum = parseUnits(typed("minimum") || "0", WEI_DIGITS);
    const price = parseUnits(typed("price") || "0", GWEI_DIGITS);
    const share = parseUnits(typed("share") || "0", PERCENT_DIGITS);
    const bad = minimum === undefined || price === undefined || share === undefined;
    setWrong(bad);
    setAsked(undefined);
    change.reset();
    if (bad) return;
    ask.mutate({
      payTo: typed("payTo"),
      minimumWei: String(minimum),
      asset: typed("asset"),
      maxGasPriceWei: String(price),
      maxGasSharePpm: Number(share),
    });
  };
  const { poolAsset, choices } = payout;
  return (
    <details className="mt-5">
      <summary className="cursor-pointer">{words.change}</summary>
      <form className="mt-4 grid max-w-3xl gap-5 sm:grid-cols-2" onSubmit={onSubmit}>
        <div className="sm:col-span-2">
          <Field
            label={words.payTo}
            name="payTo"
            className="mono"
            defaultValue={payout.payTo}
            required
            maxLength={64}
          />
        </div>
        <Field
          label={words.minimum}
          name="minimum"
          inputMode="decimal"
          defaultValue={formatUnits(BigInt(payout.minimumWei), WEI_DIGITS)}
          hint={words.minimumHint(<Eth wei={payout.poolMinimumWei} unit />)}
        />
        <div className="grid content-start gap-1.5">
          <label className="small text-soft" htmlFor={id}>
            {words.asset}
          </label>
          <select id={id} name="asset" className="field w-full" defaultValue={payout.asset}>
            <option value="pool">{words.poolAsset(poolAsset.symbol)}</option>
            {[poolAsset, ...choices].map((one) => (
              <option key={idOf(one)} value={idOf(one)}>
                {one.symbol}
              </option>
            ))}
          </select>
        </div>
        <Field
          label={words.maxPrice}
          name="price"
          inputMode="decimal"
          defaultValue={formatUnits(BigInt(payout.maxGasPriceWei), GWEI_DIGITS)}
          hint={words.maxPriceHint}
        />
        <Field
          label={words.maxShare}
          name="share"
          inputMode="decimal"
          defaultValue={formatUnits(BigInt(payout.maxGasSharePpm), PERCENT_DIGITS)}
          hint={words.maxShareHint}
        />
        <div className="sm:col-span-2">
          <p className="mb-3 small text-soft">{words.delay(formatSpan(payout.delayMs))}</p>
          <button type="submit" className="button quiet" disabled={ask.isPending}>
            {words.toSign}
          </button>
          {wrong && (
            <p role="alert" className="mt-3 small text-bad">
              {words.badAmount}
            </p>
          )}
          <Failure error={ask.error} />
        </div>
      </form>
      {asked !== undefined && (
        <div className="mt-5" data-sign="">
          <Sign
            worker={worker}
            what={{ document: asked.paper.document, chainId: payout.chainId }}
            wallet={words.wallet}
            action={words.hand}
            onSigned={async (signature) => {
              await change.mutateAsync({ ...asked, signature });
              setAsked(undefined);
            }}
          />
        </div>
      )}
      {change.isSuccess && (
        <p role="status" className="mt-3 text-good">
          {words.done}
        </p>
      )}
    </details>
  );
}
