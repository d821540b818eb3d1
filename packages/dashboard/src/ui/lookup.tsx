import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";
import { readLookup } from "../format/address.ts";
import { text } from "../text.tsx";

const APPLE = /^(?:Mac|iP)/.test(navigator.platform);

/**
 * The look-up box: an address or a rig, and there it is. Ctrl K puts the cursor into the one at the top of every page: with
 * another key held, so that nobody who speaks to a computer, or brushes a key, is taken there.
 */
export function Lookup({ large = false }: { readonly large?: boolean }): ReactNode {
  const navigate = useNavigate();
  const input = useRef<HTMLInputElement>(null);
  const [typed, setTyped] = useState("");
  const [problem, setProblem] = useState<string>();
  const id = useId();

  useEffect(() => {
    if (large) return;
    const onKey = (event: KeyboardEvent): void => {
      if (event.key.toLowerCase() !== "k" || event.altKey || event.shiftKey) return;
      if (!(APPLE ? event.metaKey && !event.ctrlKey : event.ctrlKey && !event.metaKey)) return;
      event.preventDefault();
      input.current?.focus();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [large]);

  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    const read = readLookup(typed);
    if (read.kind === "problem") {
      setProblem(text.lookup.problems[read.problem]);
      return;
    }
    setTyped("");
    setProblem(undefined);
    if (read.kind === "worker") void navigate({ to: "/w/$address", params: { address: read.worker } });
    else void navigate({ to: "/w/$address/$rig", params: { address: read.worker, rig: read.rig } });
  };

  const field = (
    <input
      ref={input}
      className="field"
      value={typed}
      onChange={(event) => {
        setTyped(event.target.value);
        setProblem(undefined);
      }}
      aria-label={text.lookup.label}
      aria-keyshortcuts={large ? undefined : APPLE ? "Meta+K" : "Control+K"}
      aria-invalid={problem !== undefined}
      aria-describedby={problem === undefined ? undefined : id}
      placeholder={large ? text.lookup.large : text.lookup.small}
      spellCheck={false}
      autoComplete="off"
      autoCapitalize="none"
      enterKeyHint="go"
    />
  );
  const complaint = problem !== undefined && (
    <span id={id} role="alert" className={large ? "mt-2 block small text-bad" : "complaint"}>
      {problem}
    </span>
  );
  if (large)
    return (
      <form role="search" aria-label={text.lookup.large} onSubmit={onSubmit}>
        <div className="bigfind">
          {field}
          <button type="submit" className="button">
            {text.lookup.go}
          </button>
        </div>
        {complaint}
      </form>
    );
  return (
    <form role="search" aria-label={text.lookup.label} className="find" onSubmit={onSubmit}>
      {field}
      <span className="key" aria-hidden="true">
        {text.lookup.key[APPLE ? "apple" : "other"]}
      </span>
      {complaint}
    </form>
  );
}
