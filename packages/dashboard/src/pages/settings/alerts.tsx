import type { AlertChannel, Subscribed, WorkerAlert, WorkerSettingsAnswer } from "@openpool/protocol";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useId, useState } from "react";
import { alertsApi, type Heard, type SettingsApi } from "../../api/settings.ts";
import { words as all } from "../../text-settings.tsx";
import { CopyButton } from "../../ui/address.tsx";
import { Command, Empty, Loaded, Section } from "../../ui/parts.tsx";
import { Failure, Field, useChange } from "./forms.tsx";

const words = all.alerts;

type Alerts = WorkerSettingsAnswer["alerts"];
type Subscription = Alerts["subscriptions"][number];
interface Props {
  readonly api: SettingsApi;
}

/** What a worker wants to hear, and over what. */
export function AlertSettings({ alerts, api }: Props & { readonly alerts: Alerts }): ReactNode {
  return (
    <Section title={words.title} note={words.note} id="alerts">
      {alerts.subscriptions.length > 0 ? (
        <ul className="mb-5 border-t border-line">
          {alerts.subscriptions.map((one) => (
            <li key={one.id} className="border-b border-line py-3" data-subscription={one.channel}>
              <One subscription={one} api={api} />
            </li>
          ))}
        </ul>
      ) : (
        <NoneYet off={alerts.channels.length === 0} />
      )}
      {alerts.channels.length > 0 && <Add channels={alerts.channels} subscribe={api.subscribe} />}
    </Section>
  );
}

function NoneYet({ off }: { readonly off: boolean }): ReactNode {
  return off ? <Empty title={words.off}>{words.offAction}</Empty> : <Empty title={words.none} />;
}

/** The same for everybody else: what is told is public, and the channel itself says yes. */
export function OpenAlerts({ worker }: { readonly worker: string }): ReactNode {
  const offered = useQuery({ queryKey: ["alert-channels"], queryFn: alertsApi.channels, retry: false });
  return (
    <Section title={words.title} note={words.open} id="alerts">
      <Loaded of={offered} lines={1}>
        {({ channels }) =>
          channels.length === 0 ? (
            <NoneYet off />
          ) : (
            <Add channels={channels} subscribe={(...asked) => alertsApi.subscribe(worker, ...asked)} />
          )
        }
      </Loaded>
    </Section>
  );
}

function One({ subscription: one, api }: Props & { readonly subscription: Subscription }): ReactNode {
  const [editing, setEditing] = useState(false);
  const change = useChange((heard: Heard) => api.changeAlerts(one.id, heard));
  const end = useChange(api.endAlerts);
  return (
    <>
      <div className="flex flex-wrap items-baseline gap-x-4 gap-y-1">
        <span className="min-w-0 flex-1 wrap-anywhere">
          {words.of(words.channels[one.channel], one.target)}
          {one.state === "pending" && <span className="text-warn"> · {words.pending}</span>}
          <span className="block small text-soft">
            {one.kinds.map((kind) => words.kind[kind]).join(", ")}
            {one.quiet !== null && ` · ${words.quiet(one.quiet.from, one.quiet.to, one.quiet.timeZone)}`}
          </span>
        </span>
        <span className="flex gap-2">
          <button type="button" className="button quiet tiny" onClick={() => setEditing(!editing)}>
            {words.edit}
          </button>
          <button type="button" className="button quiet tiny" onClick={() => end.mutate(one.id)}>
            {words.end}
          </button>
        </span>
      </div>
      <Failure error={end.error} />
      {editing && (
        <form
          className="mt-4"
          onSubmit={(event) => {
            event.preventDefault();
            change.mutate(readHeard(event), { onSuccess: () => setEditing(false) });
          }}
        >
          <HeardFields of={one} />
          <button type="submit" className="button quiet mt-4" disabled={change.isPending}>
            {all.save}
          </button>
          <Failure error={change.error} />
        </form>
      )}
    </>
  );
}

function Add({
  channels,
  subscribe,
}: {
  readonly channels: readonly AlertChannel[];
  readonly subscribe: (channel: AlertChannel, target: string, heard: Heard) => Promise<Subscribed>;
}): ReactNode {
  const [channel, setChannel] = useState<AlertChannel>(channels[0] ?? "webhook");
  const add = useChange(({ target, heard }: { readonly target: string; readonly heard: Heard }) =>
    subscribe(channel, target, heard),
  );
  const id = useId();
  return (
    <details className="max-w-3xl">
      <summary className="cursor-pointer">{words.add}</summary>
      <form
        className="mt-4 grid gap-5"
        onSubmit={(event) => {
          event.preventDefault();
          const form = event.currentTarget;
          const target = String(new FormData(form).get("target") ?? "").trim();
          add.mutate({ target, heard: readHeard(event) }, { onSuccess: () => form.reset() });
        }}
      >
        <div className="grid gap-5 sm:grid-cols-[12rem_1fr]">
          <div className="grid content-start gap-1.5">
            <label className="small text-soft" htmlFor={id}>
              {words.channel}
            </label>
            <select
              id={id}
              className="field w-full"
              value={channel}
              // One of the options, which are channels.
              onChange={(event) => setChannel(event.target.value as AlertChannel)}
            >
              {channels.map((one) => (
                <option key={one} value={one}>
                  {words.channels[one]}
                </option>
              ))}
            </select>
          </div>
          <Field label={words.target[channel]} name="target" required maxLength={500} />
        </div>
        <HeardFields of={undefined} />
        <div>
          <button type="submit" className="button quiet" disabled={add.isPending}>
            {words.add}
          </button>
          <Failure error={add.error} />
        </div>
      </form>
      {add.data !== undefined && (
        <div className="mt-4" role="status">
          <p className="text-good">{add.data.state === "pending" ? words.sent : words.active}</p>
          {add.data.webhookSecret !== null && (
            <>
              <p className="mt-3 mb-1.5">{words.webhookSecret}</p>
              <Command
                copy={
                  <CopyButton value={add.data.webhookSecret} label={all.access.secret} className="button quiet tiny" />
                }
              >
                {add.data.webhookSecret}
              </Command>
            </>
          )}
        </div>
      )}
    </details>
  );
}

// The catalogue has each of them and no other: its type says so.
const KINDS = Object.keys(words.kind) as readonly WorkerAlert[];
/** What most want to hear. */
const USUAL: readonly WorkerAlert[] = ["rig-offline", "no-work", "payout-paid", "payout-failed", "address-change"];
type Threshold = keyof Subscription["thresholds"];
/** What may be set, in steps of 1 where nothing else is said, and what is set at first. */
const THRESHOLDS: Readonly<
  Record<Threshold, { readonly usual: number; readonly range: { min: number; max: number; step?: number } }>
> = {
  noWorkHours: { usual: 6, range: { min: 1, max: 168 } },
  successPercent: { usual: 90, range: { min: 1, max: 99 } },
  realTimeRatio: { usual: 1, range: { min: 0.1, max: 20, step: 0.1 } },
};

function HeardFields({ of }: { readonly of: Subscription | undefined }): ReactNode {
  const kinds = of?.kinds ?? USUAL;
  return (
    <>
      <fieldset>
        <legend className="mb-2 small text-soft">{words.kinds}</legend>
        <div className="grid gap-x-6 gap-y-1.5 sm:grid-cols-2">
          {KINDS.map((kind) => (
            <label key={kind} className="flex items-baseline gap-2">
              <input type="checkbox" name="kind" value={kind} defaultChecked={kinds.includes(kind)} />
              {words.kind[kind]}
            </label>
          ))}
        </div>
      </fieldset>
      <div className="mt-4 grid grid-cols-2 gap-4 sm:grid-cols-5">
        {(Object.keys(THRESHOLDS) as Threshold[]).map((name) => (
          <Field
            key={name}
            label={words[name]}
            name={name}
            type="number"
            {...THRESHOLDS[name].range}
            defaultValue={of?.thresholds[name] ?? THRESHOLDS[name].usual}
          />
        ))}
        {(["from", "to"] as const).map((end) => (
          <Field key={end} label={words.quietHours[end]} name={end} type="time" defaultValue={of?.quiet?.[end] ?? ""} />
        ))}
      </div>
    </>
  );
}

/** What the fields above say. Quiet hours are in the reader's own time. */
function readHeard(event: FormEvent<HTMLFormElement>): Heard {
  const form = new FormData(event.currentTarget);
  const number = (name: Threshold): number => Number(form.get(name));
  const [from, to] = [String(form.get("from") ?? ""), String(form.get("to") ?? "")];
  return {
    kinds: KINDS.filter((kind) => form.getAll("kind").includes(kind)),
    thresholds: {
      noWorkHours: number("noWorkHours"),
      successPercent: number("successPercent"),
      realTimeRatio: number("realTimeRatio"),
    },
    ...(from === "" || to === ""
      ? {}
      : { quiet: { from, to, timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone } }),
  };
}
