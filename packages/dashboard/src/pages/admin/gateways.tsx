import type { AdminGateways } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { admin } from "../../api/admin.ts";
import { formatCount } from "../../format/number.ts";
import { text } from "../../text.tsx";
import { columnDigits, Eth } from "../../ui/amount.tsx";
import { Empty, Loaded, Section } from "../../ui/parts.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { Ago, When } from "../../ui/time.tsx";
import { live } from "./pieces.tsx";

const words = text.admin;
type Gateway = AdminGateways["items"][number];

/** Who sends segments, how many, and what they come to. */
export function Gateways(): ReactNode {
  const gateways = useQuery({ queryKey: ["admin", "gateways"], queryFn: admin.gateways, ...live });
  const since = gateways.data?.since;
  return (
    <Section title={words.gateways} note={since !== undefined && words.gatewaysNote(<When at={since} />)}>
      <Loaded of={gateways}>
        {({ items }) => {
          if (items.length === 0) return <Empty title={words.noGateways}>{words.noGatewaysWhy}</Empty>;
          const digits = columnDigits(items.map((one) => one.feeWei));
          const columns: readonly Column<Gateway>[] = [
            {
              head: words.gateway,
              cell: ({ sender, lastSeenAt }) => (
                <>
                  <span className="mono wrap-anywhere">{sender}</span>
                  <span className="sub">{text.lastSeen(<Ago at={lastSeenAt} />)}</span>
                </>
              ),
            },
            { head: words.load, className: "num", cell: ({ streams }) => formatCount(streams) },
            {
              head: words.answered,
              className: "num",
              cell: ({ answered, lost, abandoned }) => (
                <>
                  {formatCount(answered)}
                  {lost + abandoned > 0 && <span className="sub">{words.gatewayLost(lost, abandoned)}</span>}
                </>
              ),
            },
            {
              head: words.video,
              className: "num hide-m",
              cell: ({ sourceMs }) => words.minutes(formatCount(Math.round(sourceMs / 60_000))),
            },
            { head: words.fees, className: "num hide-s", cell: ({ feeWei }) => <Eth wei={feeWei} digits={digits} /> },
          ];
          return (
            <Table
              rows={items}
              columns={columns}
              rowKey={({ sender }) => sender}
              mark={({ sender }) => ({ "data-gateway": sender })}
            />
          );
        }}
      </Loaded>
    </Section>
  );
}
