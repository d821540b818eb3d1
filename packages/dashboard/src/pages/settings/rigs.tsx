import type { WorkerSettingsAnswer } from "@openpool/protocol";
import type { ReactNode } from "react";
import type { SettingsApi } from "../../api/settings.ts";
import { text } from "../../text.tsx";
import { words } from "../../text-settings.tsx";
import { Empty, Section } from "../../ui/parts.tsx";
import { Ago } from "../../ui/time.tsx";
import { Failure, useChange } from "./forms.tsx";

type Rig = WorkerSettingsAnswer["rigs"][number];

/** What a worker calls its rigs. */
export function RigSettings({ rigs, api }: { readonly rigs: readonly Rig[]; readonly api: SettingsApi }): ReactNode {
  return (
    <Section title={words.rigs.title} note={words.rigs.note} id="rigs">
      {rigs.length === 0 ? (
        <Empty title={words.rigs.none} />
      ) : (
        <ul className="grid gap-4">
          {rigs.map((rig) => (
            <li key={rig.rig} data-rig={rig.rig}>
              <Name rig={rig} api={api} />
            </li>
          ))}
        </ul>
      )}
    </Section>
  );
}

function Name({ rig, api }: { readonly rig: Rig; readonly api: SettingsApi }): ReactNode {
  const save = useChange((label: string) => api.setLabel(rig.rig, label === "" ? null : label));
  return (
    <form
      className="grid max-w-2xl items-center gap-x-4 gap-y-1.5 sm:grid-cols-[12rem_1fr_auto]"
      onSubmit={(event) => {
        event.preventDefault();
        const typed = new FormData(event.currentTarget).get("label");
        save.mutate(typeof typed === "string" ? typed.trim() : "");
      }}
    >
      <span className="wrap-anywhere">
        <span className="mono">{rig.rig}</span>{" "}
        <span className="small text-faint">{text.lastSeen(<Ago at={rig.lastSeenAt} />)}</span>
      </span>
      <input
        // What was saved is what the form begins with again.
        key={rig.label}
        name="label"
        className="field w-full"
        defaultValue={rig.label ?? ""}
        maxLength={40}
        autoComplete="off"
        aria-label={words.rigs.label(rig.rig)}
      />
      <button type="submit" className="button quiet" aria-label={words.rigs.save(rig.rig)} disabled={save.isPending}>
        {save.isSuccess ? words.saved : words.save}
      </button>
      <Failure error={save.error} />
    </form>
  );
}
