import type { WorkerSettingsAnswer } from "@openpool/protocol";
import { type ReactNode, useState } from "react";
import type { SettingsApi } from "../../api/settings.ts";
import { words as all } from "../../text-settings.tsx";
import { CopyButton } from "../../ui/address.tsx";
import { Command, Section } from "../../ui/parts.tsx";
import { Table } from "../../ui/table.tsx";
import { When } from "../../ui/time.tsx";
import { Failure, Field, useChange } from "./forms.tsx";

const words = all.access;

interface Props {
  readonly access: WorkerSettingsAnswer["access"];
  readonly api: SettingsApi;
}

/** Whether anybody may work under the address, and the credentials of those that may when not. */
export function AccessSettings({ access, api }: Props): ReactNode {
  const lock = useChange(api.setLock);
  const issue = useChange(api.issue);
  const revoke = useChange(api.revoke);
  const [rig, setRig] = useState("");
  return (
    <Section title={words.title} id="access">
      <p className="mb-3 max-w-prose">
        {access.locked ? words.locked : words.open}
        {!access.credentialsWork && ` ${words.noCredentials}`}
      </p>
      {(access.credentialsWork || access.locked) && (
        <button
          type="button"
          className="button quiet"
          disabled={lock.isPending}
          onClick={() => lock.mutate(!access.locked)}
        >
          {access.locked ? words.unlock : words.lock}
        </button>
      )}
      <Failure error={lock.error} />
      {access.credentials.length > 0 && (
        <Table
          className="mt-5 max-w-2xl"
          rows={access.credentials}
          rowKey={({ id }) => id}
          columns={[
            {
              head: words.rig,
              cell: ({ rig, id }) => (
                <>
                  <span className="mono wrap-anywhere">{rig}</span>
                  <span className="sub mono">{id}</span>
                </>
              ),
            },
            { head: words.created, cell: ({ createdAt }) => <When at={createdAt} kind="date" /> },
            {
              head: words.revoke,
              quiet: true,
              className: "num",
              cell: ({ rig, id }) => (
                <button
                  type="button"
                  className="button quiet tiny"
                  aria-label={words.revokeOf(rig)}
                  onClick={() => revoke.mutate(id)}
                >
                  {words.revoke}
                </button>
              ),
            },
          ]}
        />
      )}
      <Failure error={revoke.error} />
      {access.canIssue ? (
        <form
          className="mt-5 flex max-w-md flex-wrap items-end gap-2"
          onSubmit={(event) => {
            event.preventDefault();
            issue.mutate(rig.trim(), { onSuccess: () => setRig("") });
          }}
        >
          <div className="min-w-0 flex-1">
            <Field
              label={words.rig}
              value={rig}
              onChange={(event) => setRig(event.target.value)}
              required
              maxLength={32}
              pattern="[0-9A-Za-z][0-9A-Za-z_\-]*"
            />
          </div>
          <button type="submit" className="button quiet" disabled={issue.isPending}>
            {words.issue}
          </button>
        </form>
      ) : (
        access.credentialsWork && <p className="mt-4 small text-soft">{words.operator}</p>
      )}
      <Failure error={issue.error} />
      {issue.data !== undefined && (
        <div className="mt-4 max-w-2xl" role="status">
          <p className="mb-1.5">{words.issued(issue.data.name)}</p>
          <Command copy={<CopyButton value={issue.data.secret} label={words.secret} className="button quiet tiny" />}>
            {issue.data.secret}
          </Command>
        </div>
      )}
    </Section>
  );
}
