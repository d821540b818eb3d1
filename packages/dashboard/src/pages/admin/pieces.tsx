import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { needsToken } from "../../api/admin.ts";
import { isAbsent } from "../../api/client.ts";
import { text } from "../../text.tsx";

const words = text.admin;
/** Asks again and again, whatever went wrong, unless it is not there. */
export const live = {
  refetchInterval: ({ state }: { readonly state: { readonly error: Error | null } }) =>
    isAbsent(state.error) ? (false as const) : 5_000,
  retry: false,
} as const;

export interface Refusable {
  /** The token was refused. */
  readonly onRefused: () => void;
}

/** Changes something, then reads everything of the operator's page anew. */
export function useChange<Input, Answer>(change: (input: Input) => Promise<Answer>, { onRefused }: Refusable) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => client.invalidateQueries({ queryKey: ["admin"] }),
    onError: (error) => {
      if (needsToken(error)) onRefused();
    },
  });
}

export function Failure({ error }: { readonly error: Error | null }): ReactNode {
  if (error === null || needsToken(error)) return null;
  return (
    <p role="alert" className="mt-3 small text-bad">
      {error.message}
    </p>
  );
}

/** Asks before something is done; with `field`, for a text too. */
export function Ask(props: {
  readonly title: string;
  readonly hint: ReactNode;
  readonly action: string;
  readonly field?: { readonly label: string; readonly value: string; readonly required: boolean };
  readonly grave?: boolean;
  readonly onDone: () => void;
  readonly onAgree: (value: string) => void;
}): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const [value, setValue] = useState(props.field?.value ?? "");
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  const missing = props.field?.required === true && value.trim() === "";
  return (
    <dialog
      ref={dialog}
      onClose={props.onDone}
      aria-labelledby={id}
      className="m-auto w-[min(30rem,92vw)] rounded-xl border border-line bg-raised p-6 text-ink backdrop:bg-black/40"
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (missing) return;
          props.onAgree(value.trim());
          dialog.current?.close();
        }}
      >
        <h2 id={id} className="mb-2 font-semibold">
          {props.title}
        </h2>
        <p className="text-soft">{props.hint}</p>
        {props.field !== undefined && (
          <label className="mt-4 grid gap-1.5">
            <span className="small text-soft">{props.field.label}</span>
            <textarea
              className="field"
              rows={3}
              maxLength={500}
              value={value}
              onChange={(event) => setValue(event.target.value)}
            />
          </label>
        )}
        <div className="mt-5 flex justify-end gap-2">
          <button type="button" className="button quiet" onClick={() => dialog.current?.close()}>
            {words.cancel}
          </button>
          <button type="submit" className={`button ${props.grave === true ? "bad" : ""}`} disabled={missing}>
            {props.action}
          </button>
        </div>
      </form>
    </dialog>
  );
}

/** A small button of a row, or of a section. */
export function Act(props: {
  readonly children: ReactNode;
  readonly onClick: () => void;
  readonly className?: string;
}): ReactNode {
  return (
    <button type="button" className={`button quiet ${props.className ?? "tiny"}`} onClick={props.onClick}>
      {props.children}
    </button>
  );
}

/** Several of them, side by side. */
export function Acts({ children }: { readonly children: ReactNode }): ReactNode {
  return <span className="inline-flex flex-wrap justify-end gap-1.5">{children}</span>;
}
