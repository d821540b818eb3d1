import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useId, useState } from "react";
import { adminToken } from "../../api/admin.ts";
import { text } from "../../text.tsx";

const words = text.admin;

/** The operator's token: asked for once a tab, and again when it is refused. */
export function Token({ wrong, onKept }: { readonly wrong: boolean; readonly onKept: () => void }): ReactNode {
  const client = useQueryClient();
  const [kept, setKept] = useState(adminToken.read() !== undefined);
  const [typed, setTyped] = useState("");
  const id = useId();
  if (kept && !wrong)
    return (
      <p className="pb-6 small text-soft">
        {words.tokenThere}{" "}
        <button
          type="button"
          className="link"
          onClick={() => {
            adminToken.forget();
            setKept(false);
          }}
        >
          {words.tokenForget}
        </button>
      </p>
    );
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    if (typed.trim() === "") return;
    adminToken.keep(typed.trim());
    setKept(true);
    setTyped("");
    onKept();
    void client.invalidateQueries({ queryKey: ["admin"] });
  };
  return (
    <form className="max-w-xl pb-6" onSubmit={onSubmit}>
      <label className="grid gap-1.5" htmlFor={id}>
        <span className="small text-soft">{words.token}</span>
      </label>
      <div className="mt-1.5 flex gap-2">
        <input
          id={id}
          className="field mono min-w-0 flex-1"
          type="password"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          autoComplete="off"
          aria-describedby={`${id}-hint`}
        />
        <button type="submit" className="button">
          {words.tokenKeep}
        </button>
      </div>
      <p
        id={`${id}-hint`}
        className={`mt-2 small ${wrong ? "text-bad" : "text-soft"}`}
        role={wrong ? "alert" : undefined}
      >
        {wrong ? words.tokenWrong : words.tokenHint}
      </p>
    </form>
  );
}
