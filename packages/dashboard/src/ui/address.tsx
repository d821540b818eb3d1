import type { RigSummary } from "@openpool/protocol";
import { Link } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { shortHex } from "../format/address.ts";
import { text } from "../text.tsx";
import { useExplorer } from "./explorer.ts";

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

/** Copies when asked to, and says for a moment how that went. */
function useCopy(value: string): { readonly state: "idle" | "copied" | "failed"; readonly onClick: () => void } {
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
  return { state, onClick };
}

export function CopyButton({ value, label, className = "link", children = text.copy }: CopyProps): ReactNode {
  const { state, onClick } = useCopy(value);
  return (
    <button type="button" className={className} onClick={onClick} aria-label={text.copyOf(label)}>
      <span aria-live="polite">
        {state === "copied" ? text.copied : state === "failed" ? text.copyFailed : children}
      </span>
    </button>
  );
}

/** Two sheets, a check mark or a cross. */
const SIGNS = { idle: "M5 5h7v8H5zM3 10V3h6", copied: "M3 9l3 3 6-8", failed: "M4 4l8 8M12 4l-8 8" } as const;

function Sign({ path }: { readonly path: string }): ReactNode {
  return (
    <svg
      viewBox="0 0 16 16"
      width="13"
      height="13"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.4"
      aria-hidden="true"
    >
      <path d={path} />
    </svg>
  );
}

interface MarksProps {
  readonly value: string;
  readonly kind: "address" | "tx";
  /** What makes an address the name of a rig, with its dot: the chain does not know it, who copies the name wants it. */
  readonly behind?: string;
}

/** Behind an address or a hash: it whole into the clipboard, and to where the chain says more about it. */
export function Marks({ value, kind, behind = "" }: MarksProps): ReactNode {
  const explorer = useExplorer();
  const { state, onClick } = useCopy(value + behind);
  return (
    <span className="marks">
      <button type="button" onClick={onClick} aria-label={text.copyOf(shortHex(value) + behind)} title={text.copy}>
        <Sign path={SIGNS[state]} />
        <span className="sr-only" aria-live="polite">
          {state === "idle" ? "" : state === "copied" ? text.copied : text.copyFailed}
        </span>
      </button>
      {explorer !== null && (
        <a
          href={`${explorer}/${kind}/${value}`}
          rel="noreferrer"
          aria-label={text.inExplorer(shortHex(value))}
          title={text.explorer}
        >
          <Sign path="M6 4h6v6M12 4L4 12" />
        </a>
      )}
    </span>
  );
}

/** A worker: `0x3fA9…77c2`, a link to its page. */
export function WorkerLink({ worker }: { readonly worker: string }): ReactNode {
  return (
    <span className="hex">
      <Link to="/w/$address" params={{ address: worker }} className="mono plain hover:underline" title={worker}>
        {shortHex(worker)}
      </Link>
      <Marks value={worker} kind="address" />
    </span>
  );
}

/** A rig: `0x3fA9…77c2.rig1`, a link to its page. */
export function RigLink({ worker, rig }: { readonly worker: string; readonly rig: string }): ReactNode {
  return (
    <>
      <Link
        to="/w/$address/$rig"
        params={{ address: worker, rig }}
        className="rig-name mono plain hover:underline"
        title={`${worker}.${rig}`}
      >
        {shortHex(worker)}
        <wbr />.{rig}
      </Link>
      <Marks value={worker} kind="address" behind={`.${rig}`} />
    </>
  );
}

/** An address without a page of its own here, or a transaction: short, and whole when hovered over. */
export function Hex({ value, kind, behind = "" }: MarksProps): ReactNode {
  return (
    <span className="hex">
      <span className="mono" title={`${value}${behind}`}>
        {shortHex(value)}
        {behind}
      </span>
      <Marks value={value} kind={kind} behind={behind} />
    </span>
  );
}

/** What its worker calls a rig, below its name. */
export function RigLabel({ rig }: { readonly rig: Pick<RigSummary, "label"> }): ReactNode {
  return rig.label === null ? null : <span className="sub text-soft wrap-anywhere">{rig.label}</span>;
}

/** A transaction; none yet is drawn as a dash. */
export function TxLink({ hash }: { readonly hash: string | null }): ReactNode {
  return hash === null ? text.none : <Hex value={hash} kind="tx" />;
}
