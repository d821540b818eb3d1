import type { AuditLine } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { admin } from "../../api/admin.ts";
import { text } from "../../text.tsx";
import { Empty, Loaded, Section } from "../../ui/parts.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { When } from "../../ui/time.tsx";
import { live } from "./pieces.tsx";

const words = text.admin;
const columns: readonly Column<AuditLine>[] = [
  { head: words.when, cell: ({ at }) => <When at={at} /> },
  {
    head: words.action,
    className: "mono wrap-anywhere",
    cell: ({ action, body }) => (
      <>
        {action}
        {/* On a phone there is no room beside it. */}
        {Object.keys(body).length > 0 && <span className="sub">{JSON.stringify(body)}</span>}
      </>
    ),
  },
];

/** Every change that was asked for through the admin port, by this page or by a command. */
export function Audit(): ReactNode {
  const audit = useQuery({ queryKey: ["admin", "audit"], queryFn: admin.audit, ...live });
  return (
    <Section title={words.audit} note={words.auditNote}>
      <Loaded of={audit}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title={words.noAudit} />
          ) : (
            <Table rows={items} columns={columns} rowKey={({ position }) => position} />
          )
        }
      </Loaded>
    </Section>
  );
}
