import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { Fragment, type ReactNode, useEffect, useState } from "react";
import { paths, queries } from "../api/client.ts";
import { text } from "../text.tsx";
import { Explorer } from "./explorer.ts";
import { Banner, Stale, Updated } from "./freshness.tsx";
import { Lookup } from "./lookup.tsx";
import { Fence, Skeleton } from "./parts.tsx";
import { reasonWords } from "./said.tsx";

/** Fonts that come later than this change the text before the reader's eyes, in milliseconds. */
const FONTS_WITHIN_MS = 3_000;

/** Our fonts, asked for before anything is written in them: a line that breaks elsewhere moves all that is below it. */
const fonts = Promise.race([
  Promise.allSettled(["1em Inter", "1em 'JetBrains Mono'"].map((font) => document.fonts.load(font))),
  new Promise((resolve) => setTimeout(resolve, FONTS_WITHIN_MS)),
]);

/** The pool serves its pages with its own name as their title. */
const SERVED_TITLE = document.title;

/** The frame of every page: the name, the way around, the look-up box, what is wrong, how old all of it is. */
export function Shell(): ReactNode {
  const { data: pool, isPending, failureCount } = useQuery(queries.pool());
  const [lettered, setLettered] = useState(false);
  useEffect(() => void fonts.then(() => setLettered(true)), []);
  // A notice above the page and the marks of an explorer within it come with this answer: the page is shown with them.
  const waiting = !lettered || (isPending && failureCount === 0);
  const name = pool?.identity.name ?? SERVED_TITLE;
  const path = useRouterState({ select: (state) => state.location.pathname });
  useEffect(() => {
    document.title = path === "/" ? name : `${text.titleOf(path)} · ${name}`;
  }, [path, name]);
  return (
    <Explorer value={pool?.explorer ?? null}>
      <a className="skip" href="#main">
        {text.skip}
      </a>
      <header className="top">
        <div className="wrap">
          <Link to="/" className="mark with-words" aria-label={text.home(name)}>
            <Logo url={pool?.identity.logoUrl ?? undefined} />
            <span>{name}</span>
          </Link>
          <Nav label={text.nav.label} />
          <Lookup />
          <Link to="/join" className="button">
            {text.nav.join}
          </Link>
        </div>
      </header>
      <div className="nav-phone">
        <Nav label={text.nav.label} />
      </div>
      <Notice />
      <div className={waiting ? "waiting relative" : "relative"}>
        {waiting && (
          // Over the page, which is there already and not to be seen: as it goes, nothing moves.
          <div className="wrap visible absolute inset-x-0 top-11">
            <Skeleton lines={6} height={34} />
          </div>
        )}
        <main className="wrap" id="main" tabIndex={-1}>
          <Fence key={path}>
            <Outlet />
          </Fence>
        </main>
      </div>
      <footer className="wrap">
        <div className="foot">
          <Updated />
          <Link to="/status">{pool?.status.health === "ok" ? text.health.ok : text.nav.status}</Link>
          <a href={paths.apiDocs()}>{text.footer.api}</a>
          {pool?.identity.contacts.map(({ label, url }) => (
            <a key={url} href={safeUrl(url)} rel="noreferrer">
              {label}
            </a>
          ))}
          {pool !== undefined && <span>{text.footer.version(pool.version)}</span>}
          <ThemeChoice />
        </div>
      </footer>
      <Warnings />
    </Explorer>
  );
}

/** The operator's, or ours where there is none or it does not load. */
function Logo({ url }: { readonly url: string | undefined }): ReactNode {
  const [broken, setBroken] = useState<string>();
  if (url !== undefined && url !== broken) return <img src={url} alt="" onError={() => setBroken(url)} />;
  return (
    <svg
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.7"
      strokeLinecap="round"
      aria-hidden="true"
    >
      <path d="M2 7c2.6-2.4 5.4-2.4 8 0s5.4 2.4 8 0" />
      <path d="M2 13c2.6-2.4 5.4-2.4 8 0s5.4 2.4 8 0" opacity=".45" />
    </svg>
  );
}

/** What an operator set as a contact may be a page or a mail address, nothing that runs. */
function safeUrl(url: string): string {
  return /^(?:https:|mailto:)/i.test(url) ? url : "#";
}

function Nav({ label }: { readonly label: string }): ReactNode {
  return (
    <nav className="nav" aria-label={label}>
      <Link to="/workers">{text.nav.workers}</Link>
      <Link to="/payouts">{text.nav.payouts}</Link>
      <Link to="/transparency">{text.nav.transparency}</Link>
      <Link to="/status">{text.nav.status}</Link>
    </nav>
  );
}

/** What the operator wants everybody to read. It comes with the first answer and stays. */
function Notice(): ReactNode {
  const { data: pool } = useQuery(queries.pool());
  if (pool === undefined || pool.identity.notice === null) return null;
  return (
    <aside aria-label={text.notice}>
      <Banner tone="" title={text.notice}>
        {pool.identity.notice}
      </Banner>
    </aside>
  );
}

/** What is wrong now. It comes and goes, so it stands below the page, at the lower edge of what is seen: nothing moves. */
function Warnings(): ReactNode {
  const { data: pool } = useQuery(queries.pool());
  return (
    <div role="status" className="warnings">
      <Stale />
      {pool !== undefined && pool.status.health !== "ok" && (
        <Banner tone={pool.status.health === "down" ? "text-bad" : "text-warn"} title={text.health[pool.status.health]}>
          {pool.status.reasons.map((reason) => (
            <Fragment key={reason.code}>{reasonWords(reason).sentence} </Fragment>
          ))}
          <Link to="/status">{text.health.more}</Link>
        </Banner>
      )}
    </div>
  );
}

const THEMES = ["auto", "light", "dark"] as const;

function ThemeChoice(): ReactNode {
  const [theme, setTheme] = useState<string>(() => document.documentElement.dataset["theme"] ?? "auto");
  const choose = (chosen: (typeof THEMES)[number]): void => {
    setTheme(chosen);
    if (chosen === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = chosen;
    try {
      localStorage.setItem("theme", chosen);
    } catch {
      // No storage: the choice holds until the page is left.
    }
  };
  return (
    <div className="tabs sm:ml-auto" role="group" aria-label={text.theme.label}>
      {THEMES.map((one) => (
        <button key={one} type="button" aria-pressed={theme === one} onClick={() => choose(one)}>
          {text.theme[one]}
        </button>
      ))}
    </div>
  );
}
