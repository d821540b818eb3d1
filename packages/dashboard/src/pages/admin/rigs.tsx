import { type ReactNode, useState } from "react";
import { admin, type AdminRig } from "../../api/admin.ts";
import { shortRig } from "../../format/address.ts";
import { text } from "../../text.tsx";
import { Empty, Section } from "../../ui/parts.tsx";
import { Marks } from "../../ui/address.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Ago } from "../../ui/time.tsx";
import { Act, Ask, Failure, type Refusable, useChange } from "./pieces.tsx";

const words = text.admin;
const TONES = { connected: "", draining: "warn", gone: "off" } as const;
const nameOf = (rig: AdminRig): string => `${rig.worker}.${rig.rig}`;

/** Every rig that is connected or was here lately; taken out of work and back. */
export function Rigs({ rigs, onRefused }: Refusable & { readonly rigs: readonly AdminRig[] }): ReactNode {
  const [draining, setDraining] = useState<AdminRig>();
  const drain = useChange(admin.drain, { onRefused });
  const undrain = useChange(admin.undrain, { onRefused });
  const columns: readonly Column<AdminRig>[] = [
    {
      head: words.name,
      cell: (rig) => (
        <>
          <span className="rig-name mono" title={nameOf(rig)}>
            {shortRig(rig.worker, rig.rig)}
          </span>
          <Marks value={rig.worker} kind="address" />
        </>
      ),
    },
    {
      head: text.rigs.state,
      cell: (rig) => (
        <>
          <span className={`state ${TONES[rig.state]}`}>{words.state[rig.state]}</span>
          {rig.state === "gone" && <span className="sub">{text.lastSeen(<Ago at={rig.lastSeen} />)}</span>}
        </>
      ),
    },
    { head: words.load, className: "num", cell: (rig) => `${rig.sessions} / ${rig.capacity}` },
    {
      head: words.standing,
      className: "hide-m pl-5!",
      cell: (rig) => (
        <>
          {text.standing[rig.standing]}
          <span className="sub">{rig.reason}</span>
        </>
      ),
    },
    { head: words.from, className: "hide-m mono", cell: (rig) => rig.remoteAddress ?? text.none },
    {
      head: words.edit,
      quiet: true,
      className: "num",
      cell: (rig) =>
        rig.state === "draining" ? (
          <Act onClick={() => undrain.mutate(nameOf(rig))}>{words.undrain}</Act>
        ) : (
          <Act onClick={() => setDraining(rig)}>{words.drain}</Act>
        ),
    },
  ];
  return (
    <Section title={words.rigs}>
      {rigs.length === 0 ? (
        <Empty title={words.noRigs} />
      ) : (
        <Table rows={rigs} columns={columns} rowKey={nameOf} mark={(rig) => ({ "data-rig": nameOf(rig) })} />
      )}
      <Failure error={drain.error ?? undrain.error} />
      {draining !== undefined && (
        <Ask
          title={words.drainTitle(shortRig(draining.worker, draining.rig))}
          hint={words.drainHint}
          action={words.drain}
          onDone={() => setDraining(undefined)}
          onAgree={() => drain.mutate(nameOf(draining))}
        />
      )}
    </Section>
  );
}
