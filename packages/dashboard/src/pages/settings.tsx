import { isAddressProblem, parseAddress } from "@openpool/protocol";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link, useLocation } from "@tanstack/react-router";
import { type ReactNode, useEffect } from "react";
import { settingsApi, signInApi } from "../api/settings.ts";
import { shortHex } from "../format/address.ts";
import { text } from "../text.tsx";
import { words } from "../text-settings.tsx";
import { Empty, Loaded, Section } from "../ui/parts.tsx";
import { Until } from "../ui/time.tsx";
import { AccessSettings } from "./settings/access.tsx";
import { AlertSettings, OpenAlerts } from "./settings/alerts.tsx";
import { PayoutSettings } from "./settings/payout.tsx";
import { RigSettings } from "./settings/rigs.tsx";
import { SignIn } from "./settings/sign-in.tsx";
import { Failure, useChange } from "./settings/forms.tsx";

const route = getRouteApi("/public/settings/$address");

/** What a worker changes about itself, once its wallet has signed in. Reading never needs that. */
export function SettingsPage(): ReactNode {
  const { address } = route.useParams();
  const worker = parseAddress(address);
  return (
    <>
      <div className="who">
        <h1 title={address}>{shortHex(isAddressProblem(worker) ? address : worker)}</h1>
        <span className="text-soft">{words.title}</span>
        <span className="actions">
          <Link to="/w/$address" params={{ address }}>
            {words.back}
          </Link>
        </span>
      </div>
      {isAddressProblem(worker) ? (
        <Empty title={text.lookup.problems[worker]}>{text.lookup.fix}</Empty>
      ) : (
        <Door worker={worker} />
      )}
    </>
  );
}

/** Nothing of this is kept longer than the page is open, or asked for all the time. */
const once = { staleTime: Infinity, refetchOnWindowFocus: "always" } as const;

function Door({ worker }: { readonly worker: string }): ReactNode {
  // Who followed a link to the alerts finds them first.
  const forAlerts = useLocation({ select: ({ hash }) => hash === "alerts" });
  const session = useQuery({ queryKey: ["session"], queryFn: signInApi.session, ...once });
  return (
    <Loaded of={session} lines={4}>
      {(one) =>
        one.worker === worker && one.expiresAt !== null ? (
          <Settings worker={worker} expiresAt={one.expiresAt} />
        ) : forAlerts ? (
          <>
            <OpenAlerts worker={worker} />
            <p className="mt-9">{words.alerts.signIn}</p>
            <SignIn worker={worker} other={one.worker} />
          </>
        ) : (
          <>
            <SignIn worker={worker} other={one.worker} />
            <OpenAlerts worker={worker} />
          </>
        )
      }
    </Loaded>
  );
}

function Settings({ worker, expiresAt }: { readonly worker: string; readonly expiresAt: string }): ReactNode {
  const client = useQueryClient();
  const api = settingsApi(worker);
  const settings = useQuery({ queryKey: ["settings", worker], queryFn: api.read, ...once });
  useEffect(() => {
    const end = setTimeout(
      () => void client.invalidateQueries({ queryKey: ["session"] }),
      Math.max(0, Date.parse(expiresAt) - Date.now()) + 1_000,
    );
    return () => clearTimeout(end);
  }, [client, expiresAt]);
  return (
    <Loaded of={settings} lines={8}>
      {(one) => (
        <>
          {one.banned !== null && <p className="mt-2 text-bad">{words.banned(one.banned)}</p>}
          <PayoutSettings worker={worker} payout={one.payout} api={api} />
          <RigSettings rigs={one.rigs} api={api} />
          <AccessSettings access={one.access} api={api} />
          <AlertSettings alerts={one.alerts} api={api} />
          <SessionSettings expiresAt={expiresAt} sessions={one.sessions} />
        </>
      )}
    </Loaded>
  );
}

function SessionSettings({
  expiresAt,
  sessions,
}: {
  readonly expiresAt: string;
  readonly sessions: number;
}): ReactNode {
  const leave = useChange(signInApi.leave);
  return (
    <Section title={words.session.title}>
      <p className="mb-3">
        {words.session.until(<Until at={expiresAt} />)} {words.session.browsers(sessions)}
      </p>
      <div className="flex flex-wrap gap-2">
        <button type="button" className="button quiet" onClick={() => leave.mutate(false)}>
          {words.session.leave}
        </button>
        <button type="button" className="button quiet" onClick={() => leave.mutate(true)}>
          {words.session.leaveAll}
        </button>
      </div>
      <Failure error={leave.error} />
    </Section>
  );
}
