import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AxeBuilder } from "@axe-core/playwright";
import { findBrowser } from "./find-browser.ts";
import { type Browser, chromium, type Page, type Response } from "playwright-core";
import { expect } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Where the screenshots go; not under version control. */
export const PICTURES = join(root, "out", "dashboard");

export const PHONE = { width: 360, height: 780 } as const;
export const DESK = { width: 1440, height: 900 } as const;

/** A page that remembers everything that it should not have done. */
export interface WatchedPage extends AsyncDisposable {
  readonly page: Page;
  /** Errors of scripts, of the console and of requests; refusals under a security policy too. */
  readonly complaints: string[];
  readonly requests: string[];
  /** Bytes on the wire by kind of file, bodies only. */
  readonly bytes: Map<string, number>;
}

export async function openBrowser(): Promise<Browser> {
  mkdirSync(PICTURES, { recursive: true });
  return chromium.launch({
    executablePath: findBrowser() ?? "chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
}

/**
 * @param options.trustAll believe every certificate, as those of test servers.
 * @param options.zone where its reader lives.
 */
export async function openPage(
  browser: Browser,
  size: { width: number; height: number } = DESK,
  { trustAll = false, zone = "Europe/Berlin" } = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: size,
    colorScheme: "light",
    timezoneId: zone,
    ignoreHTTPSErrors: trustAll,
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  const requests: string[] = [];
  const bytes = new Map<string, number>();
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => requests.push(request.url()));
  page.on("requestfinished", (request) => {
    void request.sizes().then(
      ({ responseBodySize }) => {
        const kind = request.resourceType();
        bytes.set(kind, (bytes.get(kind) ?? 0) + responseBodySize);
      },
      () => {},
    );
  });
  return {
    page,
    complaints,
    requests,
    bytes,
    [Symbol.asyncDispose]: () => context.close(),
  };
}

/** Opens a path of the pages and waits until what it reads is there. */
export async function visit({ page }: WatchedPage, url: string): Promise<Response | null> {
  const response = await page.goto(url);
  await page.locator("h1").first().waitFor();
  await settle(page);
  return response;
}

/** No skeleton is left: everything that was asked for was answered. */
export async function settle(page: Page): Promise<void> {
  await page.locator(".skeleton").first().waitFor({ state: "detached" });
}

/** Amounts of money that stand somewhere without their exact wei: none is right. What is typed or copied is not told but given. */
export async function nakedAmounts(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(`(() => {
    const told = document.body.cloneNode(true);
    for (const one of told.querySelectorAll("[data-wei], code, pre, script, style, input, textarea")) one.remove();
    return [...told.querySelectorAll("*")]
      .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && /eth|wei/i.test(node.data)))
      .map((one) => one.textContent)
      .filter((text) => /\\d[\\d\\s.,]*(?:eth|g?wei)\\b/i.test(text));
  })()`);
}

/**
 * A page as everybody may have it: wide and narrow, light and dark, each without a barrier, with nothing to push sideways
 * and no amount without its wei. The pictures are kept.
 */
export async function expectForEveryone(page: Page, name: string): Promise<void> {
  for (const [width, size] of Object.entries({ 1440: DESK, 360: PHONE })) {
    for (const scheme of ["light", "dark"] as const) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      await settle(page);
      await page.screenshot({
        path: join(PICTURES, `${name.replaceAll(" ", "-")}-${width}-${scheme}.png`),
        fullPage: true,
      });
      const where = `${name}, ${width} ${scheme}`;
      // In the dark the same things have other colours, and nothing else is different.
      expect(await barriers(page, scheme === "dark" ? OF_COLOURS : undefined), where).toEqual([]);
      expect(await sideways(page), where).toBe(0);
      expect(await nakedAmounts(page), where).toEqual([]);
    }
  }
  await page.setViewportSize(DESK);
}

/** The rules that read colours. */
const OF_COLOURS = ["color-contrast", "link-in-text-block"] as const;

/** What assistive technology would stumble over, one line each; by these rules alone where some are named. */
export async function barriers(page: Page, rules?: readonly string[]): Promise<string[]> {
  // Its other way opens a page of its own for each answer, for frames from elsewhere; these pages have none.
  const axe = new AxeBuilder({ page }).setLegacyMode();
  if (rules === undefined) axe.withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]);
  else axe.withRules([...rules]);
  // Warnings lie over whatever is at the lower edge: all of that can be scrolled from under them.
  const lay = (position: "static" | ""): Promise<void> =>
    page.evaluate(`document.querySelectorAll(".warnings").forEach((one) => (one.style.position = "${position}"))`);
  await lay("static");
  const { violations } = await axe.analyze();
  await lay("");
  return violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 160)}`));
}

/** A page that is no dearer to have than it should be: what it loads, and how far things move meanwhile. */
export async function expectWithinBudget({ page, bytes, requests }: WatchedPage): Promise<void> {
  await page.waitForLoadState("load");
  await expectStill(page);
  // Every page has text in a font of ours, and what was loaded is counted a moment later.
  await expect.poll(() => bytes.get("font") ?? 0, { timeout: 20_000 }).toBeGreaterThan(0);
  expect(bytes.get("script")).toBeLessThan(200_000);
  expect([...bytes.values()].reduce((sum, one) => sum + one, 0)).toBeLessThan(450_000);
  const origin = new URL(page.url()).origin;
  expect(requests.filter((url) => !url.startsWith(origin))).toEqual([]);
  expect(requests.filter((url) => !url.includes("/v1/")).length).toBeLessThan(30);
}

/** How far a page can be pushed sideways, in pixels: 0 is right. */
export async function sideways(page: Page): Promise<number> {
  return page.evaluate<number>("document.documentElement.scrollWidth - document.documentElement.clientWidth");
}

/** Nothing moved while the page came together, as browsers count it (cumulative layout shift); otherwise what did. */
export async function expectStill(page: Page): Promise<void> {
  const moves = await page.evaluate<readonly { value: number; what: string }[]>(`new Promise((resolve) => {
    const what = ({ node, previousRect: from, currentRect: to }) =>
      [node?.parentElement?.className, node?.textContent?.slice(0, 40), from.x, from.y, "to", to.x, to.y].join(" ");
    new PerformanceObserver((list) => {
      const moved = list.getEntries().filter((one) => !one.hadRecentInput);
      resolve(moved.map(({ value, sources }) => ({ value, what: sources.map(what).join("; ") })));
    }).observe({ type: "layout-shift", buffered: true });
    // Nothing is told where nothing moved.
    requestAnimationFrame(() => requestAnimationFrame(() => resolve([])));
  })`);
  const told = [page.url(), ...moves.map(({ value, what }) => `${value}: ${what}`)].join("\n");
  expect(
    moves.reduce((sum, { value }) => sum + value, 0),
    told,
  ).toBeLessThan(0.02);
}
