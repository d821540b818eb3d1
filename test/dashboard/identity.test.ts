import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { PoolIdentity } from "@openpool/protocol";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import {
  barriers,
  DESK,
  expectStill,
  openBrowser,
  openPage,
  PHONE,
  PICTURES,
  settle,
  sideways,
  visit,
} from "./browser.ts";
import { type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 120_000 });

/** Twice as wide as high. */
const LOGO = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20" width="40" height="20"><rect width="40" height="20" fill="#0b6e4f"/></svg>`;
let browser: Browser;
let logos: Server;
let world: PagesWorld | undefined;

beforeAll(async () => {
  browser = await openBrowser();
  logos = createServer((request, response) => {
    const there = request.url === "/logo.svg";
    response.writeHead(there ? 200 : 404, { "content-type": there ? "image/svg+xml" : "text/plain" });
    response.end(there ? LOGO : "nothing here");
  });
  await new Promise<void>((resolve) => logos.listen(0, "127.0.0.1", resolve));
}, 120_000);
afterEach(async () => {
  await world?.[Symbol.asyncDispose]();
  world = undefined;
});
afterAll(async () => {
  await browser?.close();
  logos?.closeAllConnections();
  await new Promise((resolve) => logos.close(resolve));
});

/** A pool whose operator says this of it; the logo's server has its certificate. */
async function startAs(identity: PoolIdentity): Promise<PagesWorld> {
  const api = { listen: { host: "127.0.0.1", port: 0 }, named: true, trustProxy: false, identity };
  world = await startPagesWorld({ api });
  const pem = await readFile(join(world.pool.dataDir, "tls", "identity.pem"), "utf8");
  logos.setSecureContext({ cert: pem, key: pem });
  return world;
}

const logoAt = (path: string): string => `https://127.0.0.1:${(logos.address() as AddressInfo).port}${path}`;

/** How wide the logo's own picture is: 0 where it did not load. */
async function logoWidth(page: Page): Promise<number> {
  await page.locator("header.top img").waitFor();
  return page.evaluate<number>(`(() => {
    const logo = document.querySelector("header.top img");
    return logo.decode().then(() => logo.naturalWidth, () => 0);
  })()`);
}

test("everything that an operator says of the pool is on its pages", async () => {
  const { url } = await startAs({
    name: "Harbour Pool",
    logoUrl: logoAt("/logo.svg"),
    contacts: [
      { label: "E-mail", url: "mailto:operator@pool.example" },
      { label: "Chat", url: "https://chat.example/#harbour" },
    ],
    hardware: "8 GB of graphics memory, 50 Mbit/s both ways.",
    notice: "Maintenance on Sunday at 06:00 UTC: no segment is lost.",
    sourceUrl: "https://git.example/harbour/openpool.git",
  });
  await using watched = await openPage(browser, DESK, { trustAll: true });
  const { page } = watched;
  for (const path of ["/workers", "/join", "/payouts", "/transparency", "/status", "/"]) {
    const response = await visit(watched, `${url}${path}`);
    expect(response?.headers()["content-security-policy"]).toContain("img-src 'self' data: https:");
    expect(await page.locator("header.top").textContent()).toContain("Harbour Pool");
    expect(await logoWidth(page)).toBe(40);
    expect(await page.title()).toContain("Harbour Pool");
    expect(await response?.text()).toContain("<title>Harbour Pool</title>");
    await page.getByText("Maintenance on Sunday at 06:00 UTC: no segment is lost.").waitFor();
    const contacts = page.locator("footer");
    expect(await contacts.getByRole("link", { name: "E-mail" }).getAttribute("href")).toBe(
      "mailto:operator@pool.example",
    );
    expect(await contacts.getByRole("link", { name: "Chat" }).getAttribute("href")).toBe(
      "https://chat.example/#harbour",
    );
  }
  // The notice came with the page, and pushed nothing down; by now the browser has the fonts.
  await expectStill(page);
  await visit(watched, `${url}/join`);
  await page.locator("main").getByText("8 GB of graphics memory, 50 Mbit/s both ways.").waitFor();
  expect(await page.locator("pre").first().textContent()).toContain(
    "git clone https://git.example/harbour/openpool.git",
  );
  for (const [width, size] of Object.entries({ 1440: DESK, 360: PHONE })) {
    await page.setViewportSize(size);
    await settle(page);
    expect(await sideways(page)).toBe(0);
    await page.screenshot({ path: join(PICTURES, `identity-${width}.png`) });
  }
  expect(watched.complaints).toEqual([]);
});

test("what an operator wrote is text and never a program, however long it is", async () => {
  const evil = `<img src=x onerror="document.title='run'"><script>document.title='run'</script>`;
  const { url } = await startAs({
    name: `<b>${"W".repeat(57)}`,
    logoUrl: logoAt("/gone.svg"),
    contacts: [
      { label: "Click me", url: "javascript:document.title='run'" },
      { label: "L".repeat(40), url: `https://chat.example/${"x".repeat(250)}` },
    ],
    hardware: "H".repeat(500),
    notice: `${evil} ${"N".repeat(900)}`,
    sourceUrl: "https://git.example/$(reboot)",
  });
  await using watched = await openPage(browser, DESK, { trustAll: true });
  const { page } = watched;
  for (const path of ["/", "/join"]) {
    const response = await visit(watched, `${url}${path}`);
    expect(await response?.text()).toContain("<title>&#60;b&#62;WWW");
    await page.getByText(evil).waitFor();
    expect(await page.locator("main").textContent()).not.toContain("reboot");
    for (const size of [DESK, { width: 800, height: 900 }, PHONE]) {
      await page.setViewportSize(size);
      await settle(page);
      expect(await sideways(page), `${path} at ${size.width}`).toBe(0);
    }
    // The sign of our own stands where a picture does not load.
    await page.locator("header.top a.mark svg").waitFor();
    expect(await page.locator("header.top").textContent()).toContain("<b>WWW");
    expect(await page.locator("footer a", { hasText: "Click me" }).getAttribute("href")).toBe("#");
    await page.locator("footer a", { hasText: "Click me" }).click();
    expect(await page.title()).toContain("<b>WWW");
    expect(await barriers(page)).toEqual([]);
    await page.screenshot({ path: join(PICTURES, `hostile-words-${path.slice(1)}.png`) });
  }
  // A browser tells itself that the picture is not there.
  expect(watched.complaints.filter((line) => !line.includes("404"))).toEqual([]);
});
