import { isAddressProblem, isRigName, parseAddress } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { admin, type AdminCredential } from "../../api/admin.ts";
import { shortRig } from "../../format/address.ts";
import { text } from "../../text.tsx";
import { CopyButton } from "../../ui/address.tsx";
import { Command, Empty, Loaded, Section } from "../../ui/parts.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { When } from "../../ui/time.tsx";
import { Act, Failure, live, type Refusable, useChange } from "./pieces.tsx";

const words = text.admin;

/** Issued credentials: shown once, revoked at any time. */
export function Credentials({ onRefused }: Refusable): ReactNode {
  const workers = useQuery({ queryKey: ["admin", "workers"], queryFn: admin.workers, ...live });
  const [address, setAddress] = useState("");
  const [rig, setRig] = useState("");
  const issue = useChange(
    (given: { readonly address: string; readonly rig: string | undefined }) => admin.issue(given.address, given.rig),
    { onRefused },
  );
  const revoke = useChange(admin.revoke, { onRefused });
  const read = parseAddress(address.trim());
  const fits = !isAddressProblem(read) && (rig === "" || isRigName(rig));
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    if (!fits) return;
    issue.mutate({ address: read, rig: rig === "" ? undefined : rig });
  };
  const columns: readonly Column<AdminCredential>[] = [
    {
      head: words.name,
      className: "mono",
      cell: ({ name }) => <span className="rig-name">{shortRig(name.worker, name.rig)}</span>,
    },
    { head: words.when, cell: ({ createdAt }) => <When at={createdAt} /> },
    {
      head: words.edit,
      quiet: true,
      className: "num",
      cell: ({ id, revokedAt }) =>
        (revokedAt ?? null) === null ? (
          <Act onClick={() => revoke.mutate(id)}>{words.revoke}</Act>
        ) : (
          <span className="text-soft">{words.revoked}</span>
        ),
    },
  ];
  return (
    <Section title={words.credentials}>
      <form className="flex flex-wrap items-end gap-3" onSubmit={onSubmit}>
        <label className="grid w-full min-w-0 gap-1.5 sm:w-auto sm:flex-1">
          <span className="small text-soft">{words.find}</span>
          <input
            className="field mono"
            value={address}
            onChange={(event) => setAddress(event.target.value)}
            aria-invalid={address !== "" && isAddressProblem(read)}
            spellCheck={false}
            autoComplete="off"
          />
        </label>
        <label className="grid w-32 gap-1.5">
          <span className="small text-soft">{text.rigs.rig}</span>
          <input
            className="field mono"
            value={rig}
            onChange={(event) => setRig(event.target.value)}
            spellCheck={false}
            autoComplete="off"
          />
        </label>
        <button type="submit" className="button quiet h-[38px]!" disabled={!fits || issue.isPending}>
          {words.issue}
        </button>
      </form>
      <p className="mt-2 small text-soft">{words.issueHint}</p>
      <Failure error={issue.error ?? revoke.error} />
      {issue.data !== undefined && (
        <div className="mt-4" role="status">
          <p className="mb-1.5 small">{words.issued(issue.data.name)}</p>
          <Command copy={<CopyButton value={issue.data.secret} label={words.token} className="button quiet tiny" />}>
            {issue.data.secret}
          </Command>
        </div>
      )}
      <Loaded of={workers}>
        {({ credentials }) =>
          credentials.length === 0 ? (
            <Empty title={words.noCredentials} />
          ) : (
            <Table rows={credentials} columns={columns} rowKey={({ id }) => id} className="mt-5" />
          )
        }
      </Loaded>
    </Section>
  );
}
