import type { RigsAnswer } from "@openpool/protocol";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { getJson, paths, type RigsFilter } from "../api/client.ts";
import { formatCount, formatPpm, formatTimes } from "../format/number.ts";
import { text } from "../text.tsx";
import { RigLink } from "../ui/address.tsx";
import { columnDigits, Eth } from "../ui/amount.tsx";
import { Empty, Loaded, Spark, StateBadge } from "../ui/parts.tsx";
import { Ago } from "../ui/time.tsx";
import { without } from "../without.ts";

const route = getRouteApi("/public/workers");
const PAGE = 50;
const SORTS = ["name", "streams", "speed", "success", "seen", "jobs", "earned"] as const;
type Sort = (typeof SORTS)[number];

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
  const [typed, setTyped] = useState(search.search ?? "");
  useEffect(() => {
    // After a pause in typing; characters that no name holds find nothing anyway.
    const wanted = typed.replace(/[^\w.-]/g, "").slice(0, 80);
    if (wanted === (search.search ?? "")) return;
    const timer = setTimeout(() => {
      void navigate({
        search: (now) => (wanted === "" ? without(now, "search") : { ...now, search: wanted }),
        replace: true,
      });
    }, 250);
    return () => clearTimeout(timer);
  }, [typed, search.search, navigate]);

  const sorted = (column: Sort) => ({
    "aria-sort": sort === column ? (order === "asc" ? ("ascending" as const) : ("descending" as const)) : undefined,
  });
  const sorter = (column: Sort, word: string): ReactNode => {
    const usual = column === "name" ? "asc" : "desc";
    const next = sort === column ? (order === "asc" ? "desc" : "asc") : usual;
    return (
      <button
        type="button"
        onClick={() => void navigate({ search: (now) => ({ ...now, sort: column, order: next }), replace: true })}
      >
        {word}
        <span aria-hidden="true">{sort === column ? (order === "asc" ? " ↑" : " ↓") : ""}</span>
      </button>
    );
  };
  const filtered = Object.keys(search).some((name) => name !== "sort" && name !== "order");

  return (
    <>
      <div className="who">
        <h1 className="words">{text.workersPage.title}</h1>
        <span className="text-soft">
          {rigs.data?.pages[0] !== undefined && text.workersPage.total(rigs.data.pages[0].total, filtered)}
        </span>
        <span className="actions">
          <a href={paths.rigs(filter)}>{text.json}</a>
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
        <select
          className="field"
          aria-label={text.rigs.state}
          value={search.state ?? ""}
          onChange={(event) => {
            const state = (["online", "draining", "offline"] as const).find((one) => one === event.target.value);
            void navigate({
              search: (now) => (state === undefined ? without(now, "state") : { ...now, state }),
              replace: true,
            });
          }}
        >
          <option value="">{text.workersPage.anyState}</option>
          <option value="online">{text.state.online}</option>
          <option value="draining">{text.state.draining}</option>
          <option value="offline">{text.state.offline}</option>
        </select>
        <select
          className="field"
          aria-label={text.rigs.trust}
          value={search.standing ?? ""}
          onChange={(event) => {
            const standing = (["new", "trusted", "probation", "barred"] as const).find(
              (one) => one === event.target.value,
            );
            void navigate({
              search: (now) => (standing === undefined ? without(now, "standing") : { ...now, standing }),
              replace: true,
            });
          }}
        >
          <option value="">{text.workersPage.anyTrust}</option>
          <option value="new">{text.standing.new}</option>
          <option value="trusted">{text.standing.trusted}</option>
          <option value="probation">{text.standing.probation}</option>
          <option value="barred">{text.standing.barred}</option>
        </select>
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
          const digits = columnDigits(items.map((one) => one.earned24hWei));
          return (
            <table className="table">
              <thead>
                <tr>
                  <th {...sorted("name")}>{sorter("name", text.rigs.rig)}</th>
                  <th {...sorted("streams")}>{sorter("streams", text.rigs.state)}</th>
                  <th className="hide-m">{text.rigs.trust}</th>
                  <th className="hide-m">{text.rigs.spark}</th>
                  <th className="num hide-m" {...sorted("jobs")}>
                    {sorter("jobs", text.rigs.jobs)}
                  </th>
                  <th className="num hide-s" {...sorted("success")}>
                    {sorter("success", text.rigs.success)}
                  </th>
                  <th className="num hide-s" {...sorted("speed")}>
                    {sorter("speed", text.rigs.realTime)}
                  </th>
                  <th className="num" {...sorted("earned")}>
                    {sorter("earned", text.rigs.eth24h)}
                  </th>
                </tr>
              </thead>
              <tbody>
                {items.map((rig) => (
                  <tr key={rig.name}>
                    <td>
                      <RigLink worker={rig.worker} rig={rig.rig} />
                      {rig.device !== null && <span className="sub">{rig.device}</span>}
                    </td>
                    <td>
                      <StateBadge rig={rig} />
                      {rig.state === "offline" && (
                        <span className="sub">{text.lastSeen(<Ago at={rig.lastSeenAt} />)}</span>
                      )}
                    </td>
                    <td className="hide-m text-soft">
                      {rig.standing === null ? text.none : text.standing[rig.standing]}
                    </td>
                    <td className="hide-m">
                      <Spark counts={rig.spark} />
                    </td>
                    <td className="num hide-m">{formatCount(rig.jobs24h)}</td>
                    <td className="num hide-s">
                      {rig.successPpm === null ? text.none : formatPpm(Math.floor(rig.successPpm / 100) * 100)}
                    </td>
                    <td className="num hide-s">
                      {rig.realTimeRatio === null ? text.none : formatTimes(rig.realTimeRatio)}
                    </td>
                    <td className="num">
                      <Eth wei={rig.earned24hWei} digits={digits} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          );
        }}
      </Loaded>
      {rigs.hasNextPage && (
        <button
          type="button"
          className="button quiet mt-4"
          disabled={rigs.isFetchingNextPage}
          onClick={() => void rigs.fetchNextPage()}
        >
          {text.more}
        </button>
      )}
    </>
  );
}
