import type { RigSummary } from "@openpool/protocol";
import { Link } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { shortHex } from "../format/address.ts";
import { text } from "../text.tsx";

/** Where addresses are looked up when the pool has not named an explorer of its own. */
export const DEFAULT_EXPLORER = "https://arbiscan.io";

/** Copies also where the page came without TLS, where browsers hide the clipboard. */
async function copy(value: string): Promise<void> {
  if (window.isSecureContext) return navigator.clipboard.writeText(value);
  const area = document.createElement("textarea");
  area.value = value;
  area.style.position = "fixed";
  area.style.opacity = "0";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("the browser did not copy");
}

interface CopyProps {
  readonly value: string;
  /** What is copied, for those who cannot see it. */
  readonly label: string;
  readonly className?: string;
  readonly children?: ReactNode;
}

export function CopyButton({ value, label, className = "link", children = text.copy }: CopyProps): ReactNode {
  const [state, setState] = useState<"idle" | "copied" | "failed">("idle");
  useEffect(() => {
    if (state === "idle") return;
    const timer = setTimeout(() => setState("idle"), 1_600);
    return () => clearTimeout(timer);
  }, [state]);
  const onClick = (): void => {
    copy(value).then(
      () => setState("copied"),
      () => setState("failed"),
    );
  };
  return (
    <button type="button" className={className} onClick={onClick} aria-label={text.copyOf(label)}>
      <span aria-live="polite">
        {state === "copied" ? text.copied : state === "failed" ? text.copyFailed : children}
      </span>
    </button>
  );
}

/** A worker: `0x3fA9…77c2`, a link to its page. */
export function WorkerLink({ worker }: { readonly worker: string }): ReactNode {
  return (
    <Link to="/w/$address" params={{ address: worker }} className="mono plain hover:underline" title={worker}>
      {shortHex(worker)}
    </Link>
  );
}

/** A rig: `0x3fA9…77c2.rig1`, a link to its page. */
export function RigLink({ worker, rig }: { readonly worker: string; readonly rig: string }): ReactNode {
  return (
    <Link
      to="/w/$address/$rig"
      params={{ address: worker, rig }}
      className="rig-name mono plain hover:underline"
      title={`${worker}.${rig}`}
    >
      {shortHex(worker)}
      <wbr />.{rig}
    </Link>
  );
}

/** What its worker calls a rig, below its name. */
export function RigLabel({ rig }: { readonly rig: Pick<RigSummary, "label"> }): ReactNode {
  return rig.label === null ? null : <span className="sub text-soft wrap-anywhere">{rig.label}</span>;
}

/** A transaction, at the explorer where there is one. */
export function TxLink({
  hash,
  explorer,
}: {
  readonly hash: string | null;
  readonly explorer: string | null;
}): ReactNode {
  if (hash === null) return text.none;
  if (explorer === null)
    return (
      <span className="mono" title={hash}>
        {shortHex(hash)}
      </span>
    );
  return (
    <a className="mono" href={`${explorer}/tx/${hash}`} title={hash} rel="noreferrer">
      {shortHex(hash)}
    </a>
  );
}
