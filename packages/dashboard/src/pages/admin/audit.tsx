import type { AuditLine } from "@openpool/protocol";
import { useInfiniteQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { admin } from "../../api/admin.ts";
import { text } from "../../text.tsx";
import { Empty, Loaded, More, Section } from "../../ui/parts.tsx";
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
  const audit = useInfiniteQuery({
    queryKey: ["admin", "audit"],
    queryFn: ({ pageParam }) => admin.audit(pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
    ...live,
    // Who goes through what was is not sent back to the beginning, and all of it is not read again every few seconds.
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 0) > 1 ? false : live.refetchInterval(query)),
  });
  return (
    <Section title={words.audit} note={words.auditNote}>
      <Loaded of={audit}>
        {({ pages }) => {
          const lines = pages.flatMap(({ items }) => items);
          if (lines.length === 0) return <Empty title={words.noAudit} />;
          return <Table rows={lines} columns={columns} rowKey={({ position }) => position} />;
        }}
      </Loaded>
      <More of={audit} />
    </Section>
  );
}
