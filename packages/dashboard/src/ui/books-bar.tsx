import type { SolvencyAnswer } from "@openpool/protocol";
import type { ReactNode } from "react";
import { parseWei, percentOf } from "../format/amount.ts";
import { text } from "../text.tsx";
import { MoneyBar } from "./parts.tsx";

/** Where every wei that was ever credited is, as one bar; nothing where nothing was credited. */
export function BooksBar({ books }: { readonly books: SolvencyAnswer["books"] }): ReactNode {
  const whole = parseWei(books.creditedWei) ?? 0n;
  if (whole === 0n) return null;
  const share = (wei: string): number => percentOf(parseWei(wei) ?? 0n, whole);
  const paid = share(books.paidWei);
  const paying = share(books.payingWei);
  const owed = share(books.owedWei);
  const held = share(books.heldWei);
  return (
    <MoneyBar
      label={text.homePage.moneyBar(paid, owed + paying, held)}
      parts={[
        { kind: "paid", percent: paid },
        { kind: "paying", percent: paying },
        { kind: "owed", percent: owed },
        { kind: "held", percent: held },
      ]}
    />
  );
}
