import type { PoolAnswer, Reason, RigSummary, WorkerAnswer } from "@openpool/protocol";
import { isAddressProblem, isRigName, parseAddress } from "@openpool/protocol";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { paths, queries } from "../api/client.ts";
import { useLive } from "../api/live.ts";
import { earnedPerDayWei, type Ladder, LADDERS, workPrice, type Workload } from "../join/calculator.ts";
import { checkCommand, DEFAULT_RIG_NAME, type JoinCase, joinCommands, poolHost } from "../join/commands.ts";
import { text } from "../text.tsx";
import { CopyButton } from "../ui/address.tsx";
import { Eth } from "../ui/amount.tsx";
import { Command, Loaded, Raw, Section } from "../ui/parts.tsx";
import { Coded } from "../ui/said.tsx";
import { Terms } from "../ui/terms.tsx";
import { Ago } from "../ui/time.tsx";
import { Reasons } from "../ui/why.tsx";
import { without } from "../without.ts";

const route = getRouteApi("/public/join");
const SOFTWARE = ["worker", "livepeer", "docker", "cloud"] as const;
const DEVICES = ["nvidia", "cpu"] as const;

/** From nothing to the first credit: the command of the reader's own case, then the rig appearing below it. */
export function JoinPage(): ReactNode {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const pool = useQuery(queries.pool());
  const [address, setAddress] = useState(search.address ?? "");
  const [rig, setRig] = useState(search.rig ?? DEFAULT_RIG_NAME);
  const software = search.with ?? "worker";
  const device = search.device ?? "nvidia";
  const read = parseAddress(address.trim());
  const worker = isAddressProblem(read) ? undefined : read;
  const rigFits = isRigName(rig);

  useEffect(() => {
    // What was typed stays in the address of the page, so that a reload or a second screen shows the same commands.
    const timer = setTimeout(() => {
      const wanted = {
        ...(worker === undefined ? {} : { address: worker }),
        ...(rigFits && rig !== DEFAULT_RIG_NAME ? { rig } : {}),
      };
      void navigate({
        search: (now) => ({ ...without(without(now, "address"), "rig"), ...wanted }),
        replace: true,
        resetScroll: false,
      });
    }, 300);
    return () => clearTimeout(timer);
  }, [worker, rig, rigFits, navigate]);

  const host = pool.data === undefined ? "" : poolHost(pool.data.serviceUri);
  const given: JoinCase = {
    software,
    device,
    address,
    rig,
    pool: host,
    credential: pool.data?.join.open === false,
    password: pool.data?.join.passwordNeeded === true,
    source: pool.data?.identity.sourceUrl ?? null,
  };
  return (
    <>
      <div className="float-right mt-9 ml-6 small">
        <Raw json={paths.pool()} />
      </div>
      <h1 className="line">{text.join.opening}</h1>
      {pool.data !== undefined && !pool.data.join.open && <p className="mb-6 text-warn">{text.join.closed}</p>}
      <section className="section pt-2!">
        <div className="grid gap-4 sm:grid-cols-[1fr_11rem]">
          <label className="grid gap-1.5">
            <span className="small text-soft">{text.join.address}</span>
            <input
              className="field mono h-11!"
              value={address}
              onChange={(event) => setAddress(event.target.value)}
              placeholder="0x…"
              spellCheck={false}
              autoComplete="off"
              aria-invalid={address !== "" && worker === undefined}
              aria-describedby="address-hint"
            />
          </label>
          <label className="grid gap-1.5">
            <span className="small text-soft">{text.join.rig}</span>
            <input
              className="field mono h-11!"
              value={rig}
              onChange={(event) => setRig(event.target.value)}
              spellCheck={false}
              autoComplete="off"
              aria-invalid={!rigFits}
              aria-describedby="address-hint"
            />
          </label>
        </div>
        <p
          id="address-hint"
          className={`mt-2 small ${address !== "" && worker === undefined ? "text-bad" : "text-soft"}`}
        >
          {address !== "" && isAddressProblem(read)
            ? text.lookup.problems[read]
            : rigFits
              ? text.join.addressHint
              : text.lookup.problems["bad-rig"]}
        </p>
        <div className="mt-6 mb-4 flex flex-wrap gap-3">
          <Choice
            label={text.join.software}
            value={software}
            choices={SOFTWARE.map((one) => [one, text.join.softwareNames[one]] as const)}
            onChoose={(chosen) =>
              void navigate({ search: (now) => ({ ...now, with: chosen }), replace: true, resetScroll: false })
            }
          />
          <Choice
            label={text.join.device}
            value={device}
            choices={DEVICES.map((one) => [one, text.join.deviceNames[one]] as const)}
            onChoose={(chosen) =>
              void navigate({ search: (now) => ({ ...now, device: chosen }), replace: true, resetScroll: false })
            }
          />
        </div>
        <p className="mb-3 small text-soft">
          {text.join.needs[software][device]} {software === "worker" && given.source === null && text.join.noSource}
        </p>
        <div className="grid gap-4">
          {joinCommands(given).map(({ id, code }) => {
            const command = (
              <Command copy={<CopyButton value={code} label={text.join.command} className="button quiet tiny" />}>
                {code}
              </Command>
            );
            if (id === "get" || id === "run" || id === "script") return <div key={id}>{command}</div>;
            return (
              <details key={id}>
                <summary className="mb-2 cursor-pointer small text-soft">{text.join.parts[id]}</summary>
                {command}
              </details>
            );
          })}
        </div>
      </section>
      <Waiting
        worker={worker}
        rig={rigFits ? rig : DEFAULT_RIG_NAME}
        anyRig={software === "cloud" || given.credential}
      />
      <Section title={text.join.check} note={text.join.checkNote}>
        <Command
          copy={<CopyButton value={checkCommand(host)} label={text.join.command} className="button quiet tiny" />}
        >
          {checkCommand(host)}
        </Command>
        <p className="mt-3 small text-soft">{text.join.checkNeeds[software]}</p>
        <p className="mt-1 small text-soft">{text.join.checkHelp(host)}</p>
      </Section>
      <section className="section two">
        <Loaded of={pool}>
          {(answer) =>
            answer.terms.scheme === "unit" ? (
              <Calculator pool={answer} />
            ) : (
              <Section bare title={text.join.calculator.title}>
                <p className="text-soft">{text.join.calculator.none(answer.terms.scheme)}</p>
              </Section>
            )
          }
        </Loaded>
        <Section bare title={text.terms.title}>
          <Loaded of={pool}>
            {({ terms, identity }) => (
              <>
                <Terms terms={terms}>
                  <Link to="/transparency">{text.terms.more}</Link>
                </Terms>
                {identity.hardware !== null && (
                  <p className="mt-4 wrap-anywhere">
                    <b className="font-semibold">{text.join.hardware}</b> {identity.hardware}
                  </p>
                )}
              </>
            )}
          </Loaded>
        </Section>
      </section>
      <Section title={text.join.never}>
        <ul className="prose list-disc pl-5">
          {text.join.neverLines.map((line) => (
            <li key={line} className="py-0.5">
              {line}
            </li>
          ))}
        </ul>
      </Section>
    </>
  );
}

function Choice<Value extends string>(props: {
  readonly label: string;
  readonly value: Value;
  readonly choices: readonly (readonly [Value, string])[];
  readonly onChoose: (value: Value) => void;
}): ReactNode {
  return (
    <div className="tabs" role="group" aria-label={props.label}>
      {props.choices.map(([value, word]) => (
        <button key={value} type="button" aria-pressed={value === props.value} onClick={() => props.onChoose(value)}>
          {word}
        </button>
      ))}
    </div>
  );
}

const isOnline = (rig: RigSummary): boolean => rig.state !== "offline";

/** "Waiting for your rig … it is here", and then its first credit, as they happen. */
function Waiting(props: {
  readonly worker: string | undefined;
  readonly rig: string;
  readonly anyRig: boolean;
}): ReactNode {
  return (
    <Section title={text.join.waiting} note={text.join.waitingNote}>
      {props.worker === undefined ? (
        <p className="text-soft">{text.join.waitingFor}</p>
      ) : (
        <Watched worker={props.worker} rig={props.rig} anyRig={props.anyRig} />
      )}
    </Section>
  );
}

function Watched({
  worker,
  rig,
  anyRig,
}: {
  readonly worker: string;
  readonly rig: string;
  readonly anyRig: boolean;
}): ReactNode {
  const client = useQueryClient();
  const answer = useQuery({ ...queries.worker(worker), refetchInterval: 2_000 });
  const why = useQuery(queries.why(worker));
  useLive({
    worker,
    onFacts: (facts) => {
      if (facts.some((fact) => fact.worker === worker))
        void client.invalidateQueries({ queryKey: [paths.worker(worker)] });
    },
  });
  return (
    <Loaded of={answer} lines={3}>
      {(one) => <Steps key={worker} worker={one} rig={rig} anyRig={anyRig} why={why.data?.reasons ?? []} />}
    </Loaded>
  );
}

/** Reasons for which a rig that was started does not appear. */
const IN_THE_WAY: readonly string[] = ["banned", "refused", "offline"];

function Steps({
  worker,
  rig,
  anyRig,
  why,
}: {
  readonly worker: WorkerAnswer;
  readonly rig: string;
  /** The rig gives itself a name. */
  readonly anyRig: boolean;
  readonly why: readonly Reason[];
}): ReactNode {
  // Those that work already are not the one that is waited for, if that one's name is not known.
  const [before] = useState(() => worker.rigs.filter((one) => isOnline(one) && one.lastJobAt !== null));
  const found = anyRig
    ? worker.rigs.find((one) => isOnline(one) && !before.some(({ rig }) => rig === one.rig))
    : worker.rigs.find((one) => one.rig === rig);
  const online = found !== undefined && isOnline(found);
  const credited = found !== undefined && found.lastJobAt !== null;
  return (
    <>
      <ol className="grid gap-2" aria-live="polite">
        <li>
          <span className={`state ${online ? "" : "off"}`}>
            {online ? text.join.here(found.rig) : found === undefined ? text.join.notHere(rig) : text.join.gone(rig)}
          </span>{" "}
          <span className="text-soft">
            {online ? (
              <Coded said={found.stateReason} coded={found.stateReasonCoded} />
            ) : found === undefined ? null : (
              text.lastSeen(<Ago at={found.lastSeenAt} />)
            )}
          </span>
        </li>
        <li>
          <span className={`state whitespace-normal! ${credited ? "" : "off"}`} data-step="credit">
            <span>{credited ? text.join.credited(<Eth wei={found.earned24hWei} unit />) : text.join.notCredited}</span>
          </span>{" "}
          {credited && (
            <span className="text-soft">
              <Ago at={found.lastJobAt} />
            </span>
          )}
        </li>
      </ol>
      {!online && (
        <div className="mt-4" aria-live="polite">
          <Reasons reasons={why.filter(({ code }) => IN_THE_WAY.includes(code))} />
        </div>
      )}
      <p className="mt-4 small">
        <Link to="/w/$address" params={{ address: worker.worker }}>
          {text.join.yourPage}
        </Link>
      </p>
    </>
  );
}

function Calculator({ pool }: { readonly pool: PoolAnswer }): ReactNode {
  const [work, setWork] = useState<Workload>({ ladder: "usual", fps: 30, streams: 4, hours: 12 });
  const price = workPrice(pool);
  const perDay = earnedPerDayWei(work, price, pool.terms.commissionPpm);
  const number = (name: "streams" | "hours" | "fps", most: number): ReactNode => (
    <label className="grid gap-1.5">
      <span className="small text-soft">{text.join.calculator[name]}</span>
      <input
        className="field"
        type="number"
        min={0}
        max={most}
        value={work[name]}
        onChange={(event) => {
          const value = Math.min(most, Math.max(0, Math.trunc(Number(event.target.value) || 0)));
          setWork({ ...work, [name]: value });
        }}
      />
    </label>
  );
  return (
    <Section bare title={text.join.calculator.title} note={text.join.calculator.note(price.window)}>
      <div className="grid grid-cols-2 gap-3 sm:grid-cols-[1fr_1fr_1fr_1.7fr]">
        {number("streams", 1000)}
        {number("hours", 24)}
        {number("fps", 120)}
        <label className="grid gap-1.5">
          <span className="small text-soft">{text.join.calculator.ladder}</span>
          <select
            className="field"
            value={work.ladder}
            onChange={(event) => {
              const ladder = Object.keys(LADDERS).find((one): one is Ladder => one === event.target.value);
              if (ladder !== undefined) setWork({ ...work, ladder });
            }}
          >
            {(Object.entries(LADDERS) as [Ladder, readonly (readonly [number, number])[]][]).map(([name, sizes]) => (
              <option key={name} value={name}>
                {sizes.map(([, height]) => `${height}p`).join(" + ")}
              </option>
            ))}
          </select>
        </label>
      </div>
      <p className="mt-5 text-[22px] font-semibold tracking-tight">
        <Eth wei={perDay.toString()} unit />{" "}
        <span className="text-[15px] font-normal tracking-normal text-soft">{text.join.calculator.perDay}</span>
      </p>
      <p className="mt-1 small text-soft">
        {text.join.calculator.month(<Eth wei={(perDay * 30n).toString()} unit />)} {text.join.calculator.honest}
        {pool.terms.priceSource === "upstream" && ` ${text.join.calculator.priceMoves}`}
      </p>
    </Section>
  );
}
