import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  parseSearchWith,
  stringifySearchWith,
} from "@tanstack/react-router";
import type { WindowName } from "@openpool/protocol";
import { HomePage } from "./pages/home.tsx";
import { NotFoundPage } from "./pages/not-found.tsx";
import { Shell } from "./ui/shell.tsx";
import { WINDOWS } from "./windows.ts";

const root = createRootRoute();
/** The frame of all pages but the operator's own, which another port serves. */
const shell = createRoute({ getParentRoute: () => root, id: "public", component: Shell });

/** What stands behind `?` is anybody's: anything but a known word counts as absent. */
function oneOf<const Value extends string>(values: readonly Value[], given: unknown): Value | undefined {
  return values.find((value) => value === given);
}
function word(given: unknown): string | undefined {
  return typeof given === "string" && given !== "" && given.length <= 120 ? given : undefined;
}
/** Leaves out what is absent, so that addresses stay short. */
function present<Values extends object>(values: Values): { [Name in keyof Values]?: NonNullable<Values[Name]> } {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined);
  // Object.fromEntries forgets the names; they are those of `values`, less the absent ones.
  return Object.fromEntries(kept) as { [Name in keyof Values]?: NonNullable<Values[Name]> };
}

const windowSearch = (search: Record<string, unknown>): { window?: WindowName } =>
  present({ window: oneOf(WINDOWS, search["window"]) });

const home = createRoute({ getParentRoute: () => shell, path: "/", component: HomePage });
const workers = createRoute({
  getParentRoute: () => shell,
  path: "/workers",
  validateSearch: (search: Record<string, unknown>) =>
    present({
      search: word(search["search"]),
      state: oneOf(["online", "draining", "offline"], search["state"]),
      standing: oneOf(["new", "trusted", "probation", "barred"], search["standing"]),
      device: word(search["device"]),
      sort: oneOf(["earned", "jobs", "success", "speed", "streams", "seen", "name"], search["sort"]),
      order: oneOf(["asc", "desc"], search["order"]),
    }),
  component: lazyRouteComponent(() => import("./pages/workers.tsx"), "WorkersPage"),
});
const worker = createRoute({
  getParentRoute: () => shell,
  path: "/w/$address",
  validateSearch: windowSearch,
  component: lazyRouteComponent(() => import("./pages/worker.tsx"), "WorkerPage"),
});
const settings = createRoute({
  getParentRoute: () => shell,
  // Not below /w/…, where every name belongs to a rig.
  path: "/settings/$address",
  component: lazyRouteComponent(() => import("./pages/settings.tsx"), "SettingsPage"),
});
const rig = createRoute({
  getParentRoute: () => shell,
  path: "/w/$address/$rig",
  validateSearch: windowSearch,
  component: lazyRouteComponent(() => import("./pages/rig.tsx"), "RigPage"),
});
const join = createRoute({
  getParentRoute: () => shell,
  path: "/join",
  validateSearch: (search: Record<string, unknown>) =>
    present({
      with: oneOf(["worker", "livepeer", "docker", "cloud"], search["with"]),
      device: oneOf(["nvidia", "cpu"], search["device"]),
      address: word(search["address"]),
      rig: word(search["rig"]),
    }),
  component: lazyRouteComponent(() => import("./pages/join.tsx"), "JoinPage"),
});
const payouts = createRoute({
  getParentRoute: () => shell,
  path: "/payouts",
  component: lazyRouteComponent(() => import("./pages/payouts.tsx"), "PayoutsPage"),
});
const payoutRun = createRoute({
  getParentRoute: () => shell,
  path: "/payouts/$id",
  component: lazyRouteComponent(() => import("./pages/payout-run.tsx"), "PayoutRunPage"),
});
const transparency = createRoute({
  getParentRoute: () => shell,
  path: "/transparency",
  component: lazyRouteComponent(() => import("./pages/transparency.tsx"), "TransparencyPage"),
});
const status = createRoute({
  getParentRoute: () => shell,
  path: "/status",
  component: lazyRouteComponent(() => import("./pages/status.tsx"), "StatusPage"),
});
const missing = createRoute({ getParentRoute: () => shell, path: "$", component: NotFoundPage });
const admin = createRoute({
  getParentRoute: () => root,
  path: "/admin",
  component: lazyRouteComponent(() => import("./pages/admin/admin.tsx"), "AdminPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    shell.addChildren([home, workers, worker, settings, rig, join, payouts, payoutRun, transparency, status, missing]),
    admin,
  ]),
  defaultPreload: "intent",
  scrollRestoration: true,
  // Addresses and names of rigs are text: `?rig=1e5` is no number.
  parseSearch: parseSearchWith((value) => value),
  stringifySearch: stringifySearchWith(String),
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
