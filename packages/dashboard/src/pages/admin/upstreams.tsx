import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { admin, type AdminUpstream } from "../../api/admin.ts";
import { formatCount } from "../../format/number.ts";
import { text } from "../../text.tsx";
import { Loaded, Section } from "../../ui/parts.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Act, Ask, Failure, live, type Refusable, useChange } from "./pieces.tsx";

const words = text.admin;

function tone(state: string): string {
  return state === "registered" ? "" : state === "drained" ? "off" : "warn";
}

/** Orchestrators that the pool works for; it is taken out of one and put back. Nothing where there are none. */
export function Upstreams({ onRefused }: Refusable): ReactNode {
  const upstreams = useQuery({ queryKey: ["admin", "upstreams"], queryFn: admin.upstreams, ...live });
  const [draining, setDraining] = useState<string>();
  const drain = useChange(admin.drainUpstream, { onRefused });
  const undrain = useChange(admin.undrainUpstream, { onRefused });
  if (upstreams.data?.length === 0) return null;
  const columns: readonly Column<AdminUpstream>[] = [
    {
      head: words.name,
      cell: ({ name, address, version }) => (
        <>
          {name}
          <span className="sub mono">{[address, version].filter(Boolean).join(", ")}</span>
        </>
      ),
    },
    {
      head: text.rigs.state,
      cell: ({ state, why }) => (
        <>
          <span className={`state ${tone(state)}`}>{words.upstreamState[state] ?? state}</span>
          {why !== undefined && <span className="sub">{why}</span>}
        </>
      ),
    },
    { head: words.load, className: "num", cell: ({ sessions, capacity }) => `${sessions} / ${capacity}` },
    {
      head: words.answered,
      className: "num hide-s",
      cell: ({ answered, failed, lost }) => (
        <>
          {formatCount(answered)}
          {failed + lost > 0 && <span className="sub">{words.upstreamLost(failed, lost)}</span>}
        </>
      ),
    },
    {
      head: words.edit,
      quiet: true,
      className: "num",
      cell: ({ name, state }) =>
        state === "drained" ? (
          <Act onClick={() => undrain.mutate(name)}>{words.undrain}</Act>
        ) : (
          <Act onClick={() => setDraining(name)}>{words.drain}</Act>
        ),
    },
  ];
  return (
    <Section title={words.upstreams} note={words.upstreamsNote}>
      <Loaded of={upstreams}>
        {(all) => (
          <Table
            rows={all}
            columns={columns}
            rowKey={({ name }) => name}
            mark={({ name }) => ({ "data-upstream": name })}
          />
        )}
      </Loaded>
      <Failure error={drain.error ?? undrain.error} />
      {draining !== undefined && (
        <Ask
          title={words.drainTitle(draining)}
          hint={words.drainUpstreamHint}
          action={words.drain}
          onDone={() => setDraining(undefined)}
          onAgree={() => drain.mutate(draining)}
        />
      )}
    </Section>
  );
}
