import { explorerOf } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { admin, type AdminStatus } from "../../api/admin.ts";
import { ApiProblem } from "../../api/client.ts";
import { text } from "../../text.tsx";
import { CopyButton } from "../../ui/address.tsx";
import { Explorer } from "../../ui/explorer.ts";
import { Stale, Updated } from "../../ui/freshness.tsx";
import { Command, Fence, Loaded } from "../../ui/parts.tsx";
import { Audit } from "./audit.tsx";
import { Credentials } from "./credentials.tsx";
import { Exceptions } from "./exceptions.tsx";
import { Gateways } from "./gateways.tsx";
import { Machine } from "./machine.tsx";
import { Payouts } from "./payouts.tsx";
import { live } from "./pieces.tsx";
import { Rigs } from "./rigs.tsx";
import { AdminTermsSection } from "./terms.tsx";
import { Token } from "./token.tsx";
import { Upstreams } from "./upstreams.tsx";
import { Workers } from "./workers.tsx";

const words = text.admin;

/** What is wrong first; then what an operator does. It lives on the admin port, not where the public pages are. */
export function AdminPage(): ReactNode {
  useEffect(() => {
    document.title = words.title;
  }, []);
  const status = useQuery({ queryKey: ["admin", "status"], queryFn: admin.status, ...live });
  const absent = status.error instanceof ApiProblem && status.error.status === 404;
  return (
    <>
      <header className="top">
        <div className="wrap">
          <h1 className="font-semibold">{words.title}</h1>
        </div>
      </header>
      <main className="wrap">
        <Fence>
          {absent ? (
            <>
              <p className="line">{words.elsewhere}</p>
              <p className="mb-3 text-soft">{words.elsewhereHow}</p>
              <Command
                copy={
                  <CopyButton value={words.elsewhereCommand} label={text.join.command} className="button quiet tiny" />
                }
              >
                {words.elsewhereCommand}
              </Command>
            </>
          ) : (
            <Loaded of={status} lines={6}>
              {(answer) => <Desk status={answer} />}
            </Loaded>
          )}
        </Fence>
      </main>
      <footer className="wrap">
        <div className="foot">
          <Updated />
        </div>
      </footer>
      <div role="status" className="warnings">
        <Stale />
      </div>
    </>
  );
}

function Desk({ status }: { readonly status: AdminStatus }): ReactNode {
  const [refused, setRefused] = useState(false);
  const overview = useQuery({ queryKey: ["admin", "overview"], queryFn: admin.overview, ...live });
  const payouts = useQuery({ queryKey: ["admin", "payouts"], queryFn: admin.payouts, ...live });
  const onRefused = (): void => setRefused(true);
  const explorer = payouts.data === undefined ? undefined : explorerOf(payouts.data.status.chainId);
  return (
    <Explorer value={explorer ?? null}>
      <Loaded of={overview} lines={3}>
        {({ exceptions }) => <Exceptions exceptions={exceptions} />}
      </Loaded>
      <Token wrong={refused} onKept={() => setRefused(false)} />
      <Rigs rigs={status.rigs} onRefused={onRefused} />
      <Workers rigs={status.rigs} onRefused={onRefused} />
      <Payouts onRefused={onRefused} />
      <AdminTermsSection onRefused={onRefused} />
      <Upstreams onRefused={onRefused} />
      <Gateways />
      <Credentials onRefused={onRefused} />
      <Audit />
      <Machine pool={status} />
    </Explorer>
  );
}
