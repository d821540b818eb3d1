import type { ReactNode } from "react";
import { text } from "../text.tsx";
import { Eth } from "./amount.tsx";

/** Numbers side by side, in large. */
export function Figures({ children }: { readonly children: ReactNode }): ReactNode {
  return <dl className="figures">{children}</dl>;
}

/** One of them: what it is, how much, and a line about it. */
export function Figure(props: {
  readonly title: string;
  readonly value: ReactNode;
  readonly note: ReactNode;
}): ReactNode {
  return (
    <div>
      <dt>{props.title}</dt>
      <dd>
        <div className="v">{props.value}</div>
        <div className="d">{props.note}</div>
      </dd>
    </div>
  );
}

/** An amount, brief, with its unit beside it. */
export function FigureEth({ wei }: { readonly wei: string }): ReactNode {
  return (
    <>
      <Eth wei={wei} brief />
      <small>{text.eth}</small>
    </>
  );
}
