import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, chromium, type Page, type Response } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Where the screenshots go; not under version control. */
export const PICTURES = join(root, "out", "dashboard");

/** The built pages, as the pool serves them; an up-to-date build costs nothing. */
export function buildPages(): string {
  const { status } = spawnSync(process.execPath, [join(root, "packages/dashboard/build.js")], { stdio: "inherit" });
  if (status !== 0) throw new Error("the pages do not build");
  return join(root, "packages/dashboard/dist");
}

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
    executablePath: process.env["CHROMIUM"] || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
}

/** @param options.trustAll believe every certificate, as those of test servers. */
export async function openPage(
  browser: Browser,
  size: { width: number; height: number } = DESK,
  { trustAll = false } = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: size,
    colorScheme: "light",
    timezoneId: "Europe/Berlin",
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

/** What assistive technology would stumble over, one line each. */
export async function barriers(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page })
    .withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"])
    .analyze();
  return violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 160)}`));
}

/** How far a page can be pushed sideways, in pixels: 0 is right. */
export async function sideways(page: Page): Promise<number> {
  return page.evaluate<number>("document.documentElement.scrollWidth - document.documentElement.clientWidth");
}

/** How far things moved while the page was built, as browsers count it (cumulative layout shift): below 0.1 is good. */
export async function shifts(page: Page): Promise<number> {
  return page.evaluate<number>(`new Promise((resolve) => {
    new PerformanceObserver((list) => {
      const moved = list.getEntries().filter((one) => !one.hadRecentInput);
      resolve(moved.reduce((sum, one) => sum + one.value, 0));
    }).observe({ type: "layout-shift", buffered: true });
    // Nothing is told where nothing moved.
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(0)));
  })`);
}
