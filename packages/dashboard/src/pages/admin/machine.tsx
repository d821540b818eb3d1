import type { AdminDisk } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { admin, type AdminStatus } from "../../api/admin.ts";
import { formatBytes, formatCount } from "../../format/number.ts";
import { text } from "../../text.tsx";
import { Facts, Loaded, Section } from "../../ui/parts.tsx";
import { Table } from "../../ui/table.tsx";
import { When } from "../../ui/time.tsx";
import { live } from "./pieces.tsx";

const words = text.admin;

/** Where the pool runs, what it holds, and how much room its data has. */
export function Machine({ pool }: { readonly pool: AdminStatus }): ReactNode {
  const disk = useQuery({ queryKey: ["admin", "disk"], queryFn: admin.disk, ...live });
  return (
    <section className="section two">
      <Section bare title={words.machine}>
        <Facts
          facts={[
            [words.facts.version, pool.version],
            [words.facts.started, <When key="started" at={pool.startedAt} />],
            [words.facts.serviceUri, pool.serviceUri],
            [words.facts.database, `${pool.database.kind}, ${pool.database.where}`],
            [words.facts.sessions, formatCount(pool.sessions)],
            [words.facts.jobs, formatCount(pool.jobsInFlight)],
            [words.facts.bytes, formatBytes(pool.bytesInFlight)],
          ]}
        />
      </Section>
      <Section bare title={words.disk}>
        <Loaded of={disk}>{(answer) => <Disk disk={answer} />}</Loaded>
      </Section>
    </section>
  );
}

function Disk({ disk }: { readonly disk: AdminDisk }): ReactNode {
  const { dataDir, freeBytes, sizeBytes, partitions } = disk;
  const free =
    freeBytes === null || sizeBytes === null ? text.none : words.freeOf(formatBytes(freeBytes), formatBytes(sizeBytes));
  return (
    <div data-disk="">
      <Facts
        facts={[
          [words.facts.dataDir, dataDir],
          [words.facts.free, free],
          [words.facts.log, formatBytes(partitions.reduce((sum, { bytes }) => sum + bytes, 0))],
        ]}
      />
      <Table
        className="mt-4"
        rows={partitions.slice(0, 14)}
        rowKey={({ month }) => month}
        columns={[
          { head: words.month, cell: ({ month }) => month },
          { head: words.size, className: "num", cell: ({ bytes }) => formatBytes(bytes) },
        ]}
      />
    </div>
  );
}
