import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type InputHTMLAttributes, type ReactNode, useId, useRef } from "react";
import { ApiProblem } from "../../api/client.ts";
import { text } from "../../text.tsx";
import { words } from "../../text-settings.tsx";
import { CopyButton } from "../../ui/address.tsx";
import { Command } from "../../ui/parts.tsx";
import { type ToSign, type Wallet, WalletProblem } from "../../wallet/types.ts";
import { sign, useWallets } from "../../wallet/wallets.ts";

/** Changes something, then reads the settings and the sign-in anew. */
export function useChange<Input, Answer>(change: (input: Input) => Promise<Answer>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: async () => {
      await Promise.all([
        client.invalidateQueries({ queryKey: ["session"] }),
        client.invalidateQueries({ queryKey: ["settings"] }),
      ]);
    },
  });
}

/** What went wrong, in the words of the pool or of the wallet. */
export function Failure({ error }: { readonly error: Error | null }): ReactNode {
  if (error === null) return null;
  const said = error instanceof ApiProblem || error instanceof WalletProblem ? error.message : text.failed.unreachable;
  return (
    <p role="alert" className="mt-3 small text-bad wrap-anywhere">
      {said === "" ? words.signIn.refused : said}
    </p>
  );
}

/** A field with its name above it and what it means below. */
export function Field({
  label,
  hint,
  className = "",
  ...input
}: InputHTMLAttributes<HTMLInputElement> & { readonly label: string; readonly hint?: ReactNode }): ReactNode {
  const id = useId();
  return (
    <div className="grid content-start gap-1.5">
      <label className="small text-soft" htmlFor={id}>
        {label}
      </label>
      <input
        id={id}
        className={`field w-full ${className}`}
        autoComplete="off"
        spellCheck={false}
        aria-describedby={hint === undefined ? undefined : `${id}-hint`}
        {...input}
      />
      {hint !== undefined && (
        <p id={`${id}-hint`} className="small text-soft">
          {hint}
        </p>
      )}
    </div>
  );
}

/** A text for a shell, as it is. */
export function shellText(value: string): string {
  return `$'${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n")}'`;
}

/** A command to copy, with what it is for. */
export function NamedCommand({ name, children }: { readonly name: string; readonly children: string }): ReactNode {
  return (
    <div>
      <p className="mb-1.5 small text-soft">{name}</p>
      <Command copy={<CopyButton value={children} label={words.signIn.copyCommand} className="button quiet tiny" />}>
        {children}
      </Command>
    </div>
  );
}

interface SignProps {
  readonly worker: string;
  readonly what: ToSign;
  readonly wallet: (name: string) => string;
  readonly action: string;
  /** What to do with the signature. */
  readonly onSigned: (signature: string) => Promise<unknown>;
}

/** Signs with a wallet of this browser, or with whatever else the reader signs with. */
export function Sign({ worker, what, wallet: nameOf, action, onSigned }: SignProps): ReactNode {
  const wallets = useWallets(what.chainId);
  const id = useId();
  const waiting = useRef<AbortController>(undefined);
  const byWallet = useMutation({
    mutationFn: async (wallet: Wallet) => {
      const until = (waiting.current = new AbortController());
      return onSigned(await sign(wallet, worker, what, words.signIn, until));
    },
  });
  const byHand = useMutation({ mutationFn: onSigned });
  const busy = byWallet.isPending || byHand.isPending;
  const [kind, written] =
    "text" in what ? ["", shellText(what.text)] : ["--data ", shellText(JSON.stringify(what.document))];
  return (
    <>
      {wallets !== undefined && wallets.length > 0 && (
        <div className="flex flex-wrap gap-2">
          {wallets.map((one) => (
            <button key={one.id} type="button" className="button" disabled={busy} onClick={() => byWallet.mutate(one)}>
              {nameOf(one.name)}
            </button>
          ))}
        </div>
      )}
      {byWallet.isPending && (
        <p role="status" className="mt-3 small text-soft">
          {words.signIn.asksWallet}{" "}
          <button type="button" className="link" onClick={() => waiting.current?.abort(new WalletProblem())}>
            {words.signIn.stopWaiting}
          </button>
        </p>
      )}
      <Failure error={byWallet.error} />
      <details className="mt-5" open={wallets?.length === 0}>
        <summary className="cursor-pointer">
          {wallets?.length === 0 ? words.signIn.noWallet : words.signIn.byHand}
        </summary>
        <div className="mt-4 grid max-w-3xl gap-5">
          <p className="text-soft">{words.signIn.byHandHow}</p>
          <NamedCommand name={words.signIn.keystore}>{`cast wallet sign --interactive ${kind}${written}`}</NamedCommand>
          <NamedCommand name={words.signIn.ledger}>{`cast wallet sign --ledger ${kind}${written}`}</NamedCommand>
          <div>
            <p className="mb-1.5 small text-soft">{"text" in what ? words.signIn.text : words.payout.document}</p>
            <Command
              copy={
                <CopyButton
                  value={"text" in what ? what.text : JSON.stringify(what.document)}
                  label={words.signIn.copyText}
                  className="button quiet tiny"
                />
              }
            >
              {"text" in what ? what.text : JSON.stringify(what.document, undefined, 2)}
            </Command>
          </div>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              const given = new FormData(event.currentTarget).get("signature");
              byHand.mutate(typeof given === "string" ? given.trim() : "");
            }}
          >
            <label className="small text-soft" htmlFor={id}>
              {words.signIn.signature}
            </label>
            <textarea
              id={id}
              name="signature"
              className="field mono mt-1.5 w-full"
              rows={3}
              required
              spellCheck={false}
              autoComplete="off"
              placeholder="0x…"
            />
            <button type="submit" className="button mt-2" disabled={busy}>
              {action}
            </button>
            <Failure error={byHand.error} />
          </form>
        </div>
      </details>
    </>
  );
}
