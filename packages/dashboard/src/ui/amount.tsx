import type { ReactNode } from "react";
import { briefDigits, ethDigits, formatEth, formatGwei, formatWei, parseWei } from "../format/amount.ts";
import { text } from "../text.tsx";

interface EthProps {
  /** A decimal string of wei, as the API gives it; null is drawn as a dash. */
  readonly wei: string | null | undefined;
  /** Digits behind the point, where amounts stand below each other ({@link columnDigits}). */
  readonly digits?: number | undefined;
  readonly unit?: boolean | undefined;
  /** Fewer digits, for a headline. */
  readonly brief?: boolean | undefined;
}

/** An amount, however it is written: its exact wei when hovered over, and in `data-wei` for programs. */
export function Amount({ wei, children }: { readonly wei: bigint; readonly children: ReactNode }): ReactNode {
  return (
    <span className="whitespace-nowrap" data-wei={wei.toString()} title={formatWei(wei)}>
      {children}
    </span>
  );
}

/** An amount in ETH. */
export function Eth({ wei, digits, unit = false, brief = false }: EthProps): ReactNode {
  const amount = wei === null || wei === undefined ? undefined : parseWei(wei);
  if (amount === undefined) return text.none;
  return (
    <Amount wei={amount}>
      {formatEth(amount, brief ? briefDigits(amount) : digits)}
      {unit ? `\u00a0${text.eth}` : ""}
    </Amount>
  );
}

/** An amount in gwei, for single segments. */
export function Gwei({ wei }: { readonly wei: string }): ReactNode {
  const amount = parseWei(wei);
  return amount === undefined ? text.none : <Amount wei={amount}>{formatGwei(amount)}</Amount>;
}

/** Digits for a column of amounts. */
export function columnDigits(amounts: readonly (string | null | undefined)[]): number {
  return ethDigits(amounts.flatMap((one) => (one === null || one === undefined ? [] : (parseWei(one) ?? []))));
}
