import { isAddressProblem, parseAddress } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { admin, type AdminRig, type AdminWorker, type WorkerChange } from "../../api/admin.ts";
import { shortHex } from "../../format/address.ts";
import { text } from "../../text.tsx";
import { Hex } from "../../ui/address.tsx";
import { Empty, Loaded, Section } from "../../ui/parts.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Act, Acts, Ask, Failure, live, type Refusable, useChange } from "./pieces.tsx";

const words = text.admin;

/** What the operator has laid down about workers: bans with their reasons, locks, notes. */
export function Workers({ rigs, onRefused }: Refusable & { readonly rigs: readonly AdminRig[] }): ReactNode {
  const workers = useQuery({ queryKey: ["admin", "workers"], queryFn: admin.workers, ...live });
  const change = useChange(
    ({ worker, ...what }: WorkerChange & { readonly worker: string }) => admin.change(worker, what),
    { onRefused },
  );
  const [typed, setTyped] = useState("");
  const found = parseAddress(typed.trim());
  const wrong = typed.trim() !== "" && isAddressProblem(found) ? found : undefined;
  const [asking, setAsking] = useState<{ readonly kind: "ban" | "note"; readonly worker: AdminWorker }>();
  const columns: readonly Column<AdminWorker>[] = [
    {
      head: words.worker,
      cell: ({ worker }) => <Hex value={worker} kind="address" />,
    },
    { head: words.laidDown, cell: (worker) => <LaidDown worker={worker} /> },
    {
      head: words.edit,
      quiet: true,
      className: "num",
      cell: (worker) => (
        <Acts>
          {(worker.banned ?? null) === null ? (
            <Act onClick={() => setAsking({ kind: "ban", worker })}>{words.ban}</Act>
          ) : (
            <Act onClick={() => change.mutate({ worker: worker.worker, banned: null })}>{words.unban}</Act>
          )}
          <Act onClick={() => change.mutate({ worker: worker.worker, locked: !worker.locked })}>
            {worker.locked ? words.unlock : words.lock}
          </Act>
          <Act onClick={() => setAsking({ kind: "note", worker })}>{words.note}</Act>
        </Acts>
      ),
    },
  ];
  return (
    <Section title={words.workers}>
      <label className="mb-5 grid max-w-xl gap-1.5">
        <span className="small text-soft">{words.anyWorker}</span>
        <input
          className="field mono"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          aria-invalid={wrong !== undefined}
          spellCheck={false}
          autoComplete="off"
        />
        {wrong !== undefined && <span className="small text-bad">{text.lookup.problems[wrong]}</span>}
      </label>
      <Loaded of={workers}>
        {({ workers: known }) => {
          const all = everyWorker(known, rigs, isAddressProblem(found) ? undefined : found);
          if (all.length === 0) return <Empty title={words.noWorkers} />;
          return (
            <Table
              rows={all}
              columns={columns}
              rowKey={({ worker }) => worker}
              mark={({ worker }) => ({ "data-worker": worker })}
            />
          );
        }}
      </Loaded>
      <Failure error={change.error} />
      {asking?.kind === "ban" && (
        <Ask
          grave
          title={words.banTitle(shortHex(asking.worker.worker))}
          hint={words.banHint}
          action={words.ban}
          field={{ label: words.banReason, value: "", required: true }}
          onDone={() => setAsking(undefined)}
          onAgree={(banned) => change.mutate({ worker: asking.worker.worker, banned })}
        />
      )}
      {asking?.kind === "note" && (
        <Ask
          title={words.noteTitle(shortHex(asking.worker.worker))}
          hint={words.noteHint}
          action={words.save}
          field={{ label: words.note, value: asking.worker.note ?? "", required: false }}
          onDone={() => setAsking(undefined)}
          onAgree={(note) => change.mutate({ worker: asking.worker.worker, note: note === "" ? null : note })}
        />
      )}
    </Section>
  );
}

/** Those that something was laid down about, and those that have a rig here; the one that is looked for alone, whoever it is. */
function everyWorker(
  known: readonly AdminWorker[],
  rigs: readonly AdminRig[],
  only: string | undefined,
): readonly AdminWorker[] {
  const all = new Map(known.map((worker) => [worker.worker, worker]));
  const plain = (worker: string): AdminWorker => ({ worker, locked: false });
  if (only !== undefined) return [all.get(only) ?? plain(only)];
  for (const { worker } of rigs) if (!all.has(worker)) all.set(worker, plain(worker));
  return [...all.values()];
}

function LaidDown({ worker }: { readonly worker: AdminWorker }): ReactNode {
  const { banned, locked, note } = worker;
  const plain = (banned ?? null) === null && !locked && (note ?? null) === null;
  if (plain) return <span className="text-soft">{words.none}</span>;
  return (
    <>
      {(banned ?? null) !== null && (
        <span className="block">
          <span className="tag bad">{words.banned}</span> <span className="wrap-anywhere">{banned}</span>
        </span>
      )}
      {locked && <span className="tag">{words.locked}</span>}
      {(note ?? null) !== null && <span className="sub wrap-anywhere">{note}</span>}
    </>
  );
}
