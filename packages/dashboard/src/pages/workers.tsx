import type { RigsAnswer, RigSummary } from "@openpool/protocol";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { getJson, paths, queries, type RigsFilter } from "../api/client.ts";
import { text } from "../text.tsx";
import { Empty, Loaded, More, Raw } from "../ui/parts.tsx";
import { rigColumns } from "../ui/rig-columns.tsx";
import { type Column, Table } from "../ui/table.tsx";
import { without } from "../without.ts";

const route = getRouteApi("/public/workers");
const PAGE = 50;
type Sort = "name" | "streams" | "speed" | "success" | "seen" | "jobs" | "earned";

/** Every rig of the pool. Filters and order are in the address of the page. */
export function WorkersPage(): ReactNode {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const sort: Sort = search.sort ?? "earned";
  const order = search.order ?? "desc";
  const filter: RigsFilter = { ...search, sort, order, limit: PAGE };
  const rigs = useInfiniteQuery({
    queryKey: ["rigs", filter],
    queryFn: ({ pageParam, signal }) => getJson<RigsAnswer>(paths.rigs(filter, pageParam), { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next ?? undefined,
    refetchInterval: 10_000,
    placeholderData: (before) => before,
  });
  const pool = useQuery(queries.pool());
  const named = pool.data?.live.devices.map(({ device }) => device) ?? [];
  // What the address asks for can be taken back, also when no such rig is online.
  const devices = search.device === undefined || named.includes(search.device) ? named : [...named, search.device];
  const [typed, setTyped] = useState(search.search ?? "");
  /** What typing has put into the address, until it stands there. */
  const asked = useRef<string>(null);
  useEffect(() => {
    // What stands there otherwise came by Back, Forward or a link, and the field follows it.
    if (asked.current !== (search.search ?? "")) setTyped(search.search ?? "");
    asked.current = null;
  }, [search.search]);
  useEffect(() => {
    // After a pause in typing; characters that no name holds find nothing anyway.
    const wanted = typed.replace(/[^\w.-]/g, "").slice(0, 80);
    if (wanted === (search.search ?? "")) return;
    const timer = setTimeout(() => {
      asked.current = wanted;
      void navigate({
        search: (now) => (wanted === "" ? without(now, "search") : { ...now, search: wanted }),
        replace: true,
      });
    }, 250);
    return () => clearTimeout(timer);
  }, [typed, search.search, navigate]);

  const sortedBy = (by: Sort, column: Column<RigSummary>): Column<RigSummary> => {
    const usual = by === "name" ? "asc" : "desc";
    const next = sort === by ? (order === "asc" ? "desc" : "asc") : usual;
    const head = (
      <button
        type="button"
        onClick={() => void navigate({ search: (now) => ({ ...now, sort: by, order: next }), replace: true })}
      >
        {column.head}
        <span aria-hidden="true">{sort === by ? (order === "asc" ? " ↑" : " ↓") : ""}</span>
      </button>
    );
    return { ...column, head, sorted: sort === by ? (order === "asc" ? "ascending" : "descending") : undefined };
  };
  /** A filter: one of the words, or none of them. */
  const choice = <Name extends "state" | "standing" | "device">(
    name: Name,
    label: string,
    any: string,
    words: readonly (readonly [value: NonNullable<(typeof search)[Name]>, word: string])[],
  ): ReactNode => (
    <select
      className="field max-w-full"
      aria-label={label}
      value={search[name] ?? ""}
      onChange={(event) => {
        const chosen = words.find(([value]) => value === event.target.value)?.[0];
        void navigate({
          search: (now) => (chosen === undefined ? without(now, name) : { ...now, [name]: chosen }),
          replace: true,
        });
      }}
    >
      <option value="">{any}</option>
      {words.map(([value, word]) => (
        <option key={value} value={value}>
          {word}
        </option>
      ))}
    </select>
  );
  const filtered = Object.keys(search).some((name) => name !== "sort" && name !== "order");

  return (
    <>
      <div className="who">
        <h1 className="words">{text.workersPage.title}</h1>
        <span className="text-soft">
          {rigs.data?.pages[0] !== undefined && text.workersPage.total(rigs.data.pages[0].total, filtered)}
        </span>
        <span className="actions">
          <Raw json={paths.rigs(filter)} csv={paths.rigsCsv(filter)} />
        </span>
      </div>
      <p className="mt-1 mb-5 small text-soft">{text.workersPage.better}</p>
      <form
        className="mb-5 flex flex-wrap items-center gap-3"
        role="search"
        onSubmit={(event) => event.preventDefault()}
      >
        <input
          className="field w-full sm:w-72"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          placeholder={text.workersPage.search}
          aria-label={text.workersPage.search}
          spellCheck={false}
          autoComplete="off"
        />
        {choice("state", text.rigs.state, text.workersPage.anyState, [
          ["online", text.state.online],
          ["draining", text.state.draining],
          ["offline", text.state.offline],
        ])}
        {choice("standing", text.rigs.trust, text.workersPage.anyTrust, [
          ["new", text.standing.new],
          ["trusted", text.standing.trusted],
          ["probation", text.standing.probation],
          ["barred", text.standing.barred],
        ])}
        {devices.length > 0 &&
          choice(
            "device",
            text.rigs.device,
            text.workersPage.anyDevice,
            devices.map((device) => [device, device]),
          )}
        {filtered && (
          <Link to="/workers" className="small" onClick={() => setTyped("")}>
            {text.workersPage.clear}
          </Link>
        )}
      </form>
      <Loaded of={rigs} lines={8} height={30}>
        {({ pages }) => {
          const items = pages.flatMap((page) => page.items);
          if (items.length === 0)
            return filtered ? (
              <Empty title={text.workersPage.noMatch}>
                <Link to="/workers" onClick={() => setTyped("")}>
                  {text.workersPage.clear}
                </Link>
              </Empty>
            ) : (
              <Empty title={text.rigs.none}>
                <Link to="/join">{text.rigs.noneAction}</Link>
              </Empty>
            );
          const { name, device, state, trust, spark, jobs, success, speed, earned } = rigColumns(items);
          const columns = [
            sortedBy("name", name),
            device,
            sortedBy("streams", state),
            trust,
            { ...spark, className: "hide-m" },
            sortedBy("jobs", jobs),
            sortedBy("success", success),
            sortedBy("speed", speed),
            sortedBy("earned", earned),
          ];
          return <Table rows={items} columns={columns} rowKey={(rig) => rig.name} />;
        }}
      </Loaded>
      <More of={rigs} />
    </>
  );
}
