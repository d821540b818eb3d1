import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WhyAnswer } from "@openpool/protocol";
import type { Browser, Locator, Page, Request, Route } from "playwright-core";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { ADA, BOB } from "../e2e/pool.ts";
import { bin } from "../e2e/program.ts";
import { barriers, DESK, expectForEveryone, openBrowser, openPage, PHONE, settle, visit } from "./browser.ts";
import { type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 60_000 });
const poll: typeof expect.poll = (read) => expect.poll(read, { timeout: 20_000 });

/** A worker of one test alone. */
const CAROL = "0x000000000000000000000000000000000000dEaD";

let world: PagesWorld;
let browser: Browser;

beforeAll(async () => {
  [world, browser] = await Promise.all([startPagesWorld(), openBrowser()]);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
});

/** Opens the operator's page, with its token. */
async function operate(page: Page): Promise<void> {
  await page.goto(`${world.pool.running.adminUrl}/admin`);
  await page.getByLabel("Admin token").fill(readFileSync(join(world.pool.dataDir, "admin-token"), "utf8").trim());
  await page.getByRole("button", { name: "Use it" }).click();
  await settle(page);
}

test("a pool without work says so on every page, with what to do next, and shows no zero without a reason", async () => {
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/`);
  const main = watched.page.locator("main");
  expect(await main.locator("h1").textContent()).toContain("No rig is connected right now.");
  expect(await main.textContent()).toContain("Nothing was credited yet.");
  expect(await main.locator("[data-devices]").textContent()).toContain("None, since no rig is connected.");
  await main.getByRole("link", { name: "Join with yours." }).click();
  await watched.page.waitForURL(/\/join/);
  for (const [path, nothing, next] of [
    ["/", "No payouts yet.", "This pool does not pay out by itself"],
    ["/workers", "No rig has joined yet.", "Join with yours"],
    ["/workers?state=online", "No rig matches.", "Clear filters"],
    ["/payouts", "No payouts yet.", "until the operator sets payouts up"],
    ["/transparency", "No day had work yet.", "These are the first terms"],
    ["/status", "No segment yet.", "once a gateway sends a stream"],
    [`/w/${ADA}`, "Nobody has worked here with this address yet.", "Get the command"],
    [`/w/${ADA}/attic`, "This rig has not been here.", "Get the command that starts it"],
    [`/settings/${ADA}#alerts`, "This pool sends no alerts", "Alerts need no sign-in."],
    ["/payouts/17", "There is no such payout run.", "All of them are under Payouts."],
  ] as const) {
    await visit(watched, `${world.url}${path}`);
    await main.getByText(nothing).first().waitFor();
    expect(await main.textContent(), path).toContain(next);
  }
  // What is not there is told by the browser itself.
  expect(watched.complaints.filter((line) => !line.includes("404"))).toEqual([]);
});

test("a worker joins, sees its rig arrive, and then its first credit", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/join`);
  await page.getByLabel("Your payout address").fill(ADA.toLowerCase());
  await page.getByLabel("Name of this machine").fill("attic");
  await page.getByRole("button", { name: "go-livepeer" }).click();
  const command = await page.locator("pre").first().textContent();
  expect(command).toContain(`-orchAddr 127.0.0.1:${world.pool.running.listen.port}`);
  expect(command).toContain(`-orchSecret ${ADA}.attic`);
  await page.getByText("Waiting for attic …").waitFor();

  // What is in the way of a rig stands where it is waited for.
  const wrong = await world.pool.transcoder({ secret: `${ADA}.attic`, capacity: 0 });
  await page.getByText("was refused: it offered no place for a stream.").waitFor();
  await wrong[Symbol.asyncDispose]();

  // What the command would do.
  await world.join(`${ADA}.attic`);
  await page.getByText("attic is here").waitFor();
  await page.getByText("Waiting for its first segment …").waitFor();

  await world.stream("first", 1);
  const credit = page.locator("[data-step=credit] [data-wei]");
  await credit.waitFor();
  // Its going moves the page, perhaps between the press and the release of a button.
  await page.getByText("No work is taken.").waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Your page" }).click();
  await page.waitForURL(`**/w/${ADA}`);
  await settle(page);
  const unpaidWei = async (): Promise<string> =>
    (await world.ask<{ balance: { unpaidWei: string } }>(`/v1/workers/${ADA}`)).balance.unpaidWei;
  // The books follow the log at a pace of their own.
  await poll(async () => BigInt(await unpaidWei()) > 0n).toBe(true);
  await poll(async () => {
    const shown = await page.locator(".amount-large [data-wei]").getAttribute("data-wei");
    return shown === (await unpaidWei());
  }).toBe(true);
  expect(watched.complaints).toEqual([]);
});

test("a page that is open shows the next credit without being asked", async () => {
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/w/${ADA}`);
  const shown = watched.page.locator(".amount-large [data-wei]");
  const before = BigInt((await shown.getAttribute("data-wei"))!);
  await world.stream("second", 2);
  await poll(async () => BigInt((await shown.getAttribute("data-wei"))!) > before).toBe(true);
});

test("a page that nobody sees keeps no connection, and one that is seen again follows the pool again", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const isStream = (request: Request): boolean => request.url().includes("/v1/events");
  const followed = page.waitForRequest(isStream);
  await visit(watched, `${world.url}/w/${ADA}`);
  await followed;
  const turn = (to: "hidden" | "visible"): Promise<void> =>
    page.evaluate(`Object.defineProperty(document, "visibilityState", { value: "${to}", configurable: true });
      document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));`);
  const ended = page.waitForEvent("requestfailed", isStream);
  await turn("hidden");
  await ended;
  const again = page.waitForRequest(isStream);
  await turn("visible");
  await again;
});

test("a worker without work reads why, and what it can do", async () => {
  await world.join(`${BOB}.spare`);
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/w/${BOB}`);
  const why = watched.page.locator("#why");
  // What is true of a rig that has just come changes with each look of the pool; the page follows.
  await expect
    .poll(async () => {
      const { sentence } = await world.ask<WhyAnswer>(`/v1/workers/${BOB}/why`);
      expect(sentence.length).toBeGreaterThan(10);
      return (await why.textContent())?.includes(sentence.slice(0, 12));
    })
    .toBe(true);
  expect(await why.locator(".funnel").textContent()).toContain("Streams you have");
  expect(watched.complaints).toEqual([]);
});

test("a worker that gets no work because the operator said so, or because it left, reads just that", async () => {
  const rig = `${CAROL}.shed`;
  const shed = await world.join(rig);
  await using watched = await openPage(browser);
  const { page } = watched;
  await page.clock.install();
  await visit(watched, `${world.url}/w/${CAROL}`);
  const reason = (code: string): Locator => page.locator(`#why [data-reason="${code}"]`);
  /** The page asks every five seconds, of its own time. */
  const untilSaid = (code: string, said = true): Promise<void> =>
    expect
      .poll(
        async () => {
          await page.clock.fastForward(6_000);
          return (await reason(code).count()) > 0;
        },
        { interval: 500, timeout: 20_000 },
      )
      .toBe(said);
  const admin = async (method: string, path: string, sent?: unknown): Promise<void> => {
    const token = readFileSync(join(world.pool.dataDir, "admin-token"), "utf8").trim();
    const { status } = await fetch(`${world.pool.running.adminUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(sent === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(sent === undefined ? {} : { body: JSON.stringify(sent) }),
    });
    expect(status).toBeLessThan(300);
  };

  await admin("POST", `/rigs/${rig}/drain`);
  await untilSaid("draining");
  expect(await page.locator("#why").textContent()).toContain("operator takes shed out of work");
  await world.stream("not for the shed", 2);
  expect((await world.ask<WhyAnswer>(`/v1/workers/${CAROL}/why`)).own.jobsLastHour).toBe(0);
  await page.locator("#why .funnel .you dd.text-right").filter({ hasText: /^0$/ }).waitFor();
  await admin("POST", `/rigs/${rig}/undrain`);
  await untilSaid("draining", false);

  await admin("PATCH", `/workers/${CAROL}`, { banned: "sends black frames" });
  await untilSaid("banned");
  expect(await page.locator("#why").textContent()).toContain(
    "The operator has banned this address: sends black frames.",
  );
  await untilSaid("offline");
  await admin("PATCH", `/workers/${CAROL}`, { banned: null });
  await untilSaid("banned", false);
  await shed[Symbol.asyncDispose]();
  await untilSaid("offline");
  expect(await page.locator("#why").textContent()).toContain("None of its rigs is connected.");
  expect(watched.complaints).toEqual([]);
});

test("the check that the page for joining offers finds the pool from the rig's side, as a program", async () => {
  await using watched = await openPage(browser);
  await visit(watched, `${world.url}/join`);
  const command = await watched.page
    .locator("section", { hasText: "It does not appear?" })
    .locator("pre")
    .textContent();
  const words = (command ?? "").split(" ");
  expect(words.slice(0, 3)).toEqual(["npx", "--no", "openpool"]);
  // Nothing that another test uses: the ports and the data of this machine are no part of the check.
  const dir = await mkdtemp(join(tmpdir(), "openpool-check-"));
  const quiet = ["--json", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
  const said = await new Promise<string>((resolve) => {
    execFile(process.execPath, [bin, ...words.slice(3), ...quiet], (_error, stdout) => resolve(stdout));
  });
  await rm(dir, { recursive: true, force: true });
  const findings = JSON.parse(said) as readonly {
    readonly level: string;
    readonly what: string;
    readonly text: string;
  }[];
  const of = (name: string) => findings.find(({ what }) => what === name);
  expect(of("endpoint")).toMatchObject({ level: "ok", text: expect.stringContaining(world.pool.addr) });
  expect(of("certificate")?.level).toBe("ok");
  expect(of("clock")?.level).toBe("ok");
});

test("an address that never worked here is told what to do next, not that it is wrong", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const stranger = "0x00000000219ab540356cBB839Cbe05303d7705Fa";
  await visit(watched, `${world.url}/`);
  await page.getByRole("textbox", { name: "Look up an address or a rig" }).last().fill(stranger.toLowerCase());
  await page.getByRole("button", { name: "Look up" }).click();
  await page.waitForURL(`**/w/${stranger}`);
  await page.getByText("Nobody has worked here with this address yet.").waitFor();
  await page.getByRole("link", { name: "Get the command" }).click();
  await page.waitForURL(/\/join/);
  expect(await page.locator("pre").first().textContent()).toContain(stranger);
  expect(watched.complaints).toEqual([]);
});

test("a mistyped address is caught in the box, with what is wrong about it", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/`);
  const box = page.getByRole("textbox", { name: "Look up an address or a rig" }).last();
  await box.fill(ADA.replace("9d8A", "9d8a"));
  await box.press("Enter");
  expect(await page.getByRole("alert").textContent()).toContain("its capitals do not fit");
  await box.fill("hello");
  await box.press("Enter");
  expect(await page.getByRole("alert").textContent()).toContain("needs 0x and 40 letters or digits");
});

test("when the pool does not answer, what is on the page stays, and is said to be old, also on the operator's", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await page.clock.install();
  const silences: readonly ((route: Route) => Promise<void> | undefined)[] = [
    (route) => route.abort(),
    // A proxy in front of it answers for it.
    (route) => route.fulfill({ status: 502, body: "<h1>502 Bad Gateway</h1>" }),
    // The connection stands, and nothing comes.
    () => undefined,
  ];
  for (const [url, kept] of [
    [`${world.url}/w/${ADA}`, ".amount-large"],
    [`${world.pool.running.adminUrl}/admin`, "main .line"],
  ] as const) {
    await visit(watched, url);
    const before = await page.locator(kept).textContent();
    expect(await page.locator("footer").textContent()).toMatch(/Updated \d+ s ago/);
    const banner = page.getByText("The pool does not answer.");
    const afterAWhile = async (): Promise<number> => {
      await page.clock.fastForward(6_000);
      return banner.count();
    };
    for (const silence of silences) {
      await page.route("**", (route) =>
        route.request().resourceType() === "fetch" ? silence(route) : route.continue(),
      );
      await poll(afterAWhile).toBe(1);
      expect(await page.locator(kept).textContent()).toBe(before);
      await page.unroute("**");
      await poll(afterAWhile).toBe(0);
    }
  }
});

test("an operator drains a rig, bans its worker with a reason, and takes both back", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const token = readFileSync(join(world.pool.dataDir, "admin-token"), "utf8").trim();
  await page.goto(`${world.pool.running.adminUrl}/admin`);
  await page.getByLabel("Admin token").fill("not the token");
  await page.getByRole("button", { name: "Use it" }).click();
  const rig = page.locator(`[data-rig="${ADA}.attic"]`);
  await rig.getByRole("button", { name: "Drain" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
  await page.getByText("The pool does not accept this token.").waitFor();

  await page.getByLabel("Admin token").fill(token);
  await page.getByRole("button", { name: "Use it" }).click();
  await rig.getByRole("button", { name: "Drain" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
  await rig.getByText("draining").waitFor();
  await rig.getByRole("button", { name: "Take back" }).click();
  await rig.getByText("online").waitFor();

  const worker = page.locator(`[data-worker="${ADA}"]`);
  await worker.getByRole("button", { name: "Ban" }).click();
  const dialog = page.getByRole("dialog");
  expect(await dialog.getByRole("button", { name: "Ban" }).isDisabled()).toBe(true);
  await dialog.getByLabel(/^Reason/).fill("sends black <b>frames</b>");
  await dialog.getByRole("button", { name: "Ban" }).click();
  await worker.getByText("sends black <b>frames</b>").waitFor();
  await using seen = await openPage(browser);
  await visit(seen, `${world.url}/w/${ADA}`);
  await seen.page.getByText("does not let this address work here: sends black <b>frames</b>").waitFor();

  await worker.getByRole("button", { name: "Unban" }).click();
  await worker.getByRole("button", { name: "Ban" }).waitFor();
  await worker.getByRole("button", { name: "Note" }).click();
  await page.getByRole("dialog").getByLabel("Note").fill("asked nicely");
  await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await worker.getByText("asked nicely").waitFor();
  await page.getByText(`PATCH /workers/${ADA}`).first().waitFor();

  // Somebody without a rig here, on a phone.
  const nobody = "0x00000000219ab540356cBB839Cbe05303d7705Fa";
  await page.setViewportSize(PHONE);
  await page.getByLabel("Any address").fill(nobody.toLowerCase());
  const other = page.locator(`[data-worker="${nobody}"]`);
  await other.getByRole("button", { name: "Lock to credentials" }).click();
  await other.getByText("locked", { exact: true }).waitFor();
  await other.getByRole("button", { name: "Ban" }).click();
  await dialog.getByLabel(/^Reason/).fill("known elsewhere");
  await dialog.getByRole("button", { name: "Ban" }).click();
  await other.getByText("known elsewhere").waitFor();
  await page.setViewportSize(DESK);
  // A browser reports refusals itself: the wrong token, and payouts that this pool does not make.
  expect(watched.complaints.filter((line) => !/40[14]|422/.test(line))).toEqual([]);
  expect(await barriers(page)).toEqual([]);
});

test("an operator announces a change of terms, and everybody reads it before it takes effect", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await operate(page);
  await page.getByRole("button", { name: "Announce a change" }).click();
  await page.getByLabel("Commission, %").fill("20.5");
  await page.getByLabel("Minimum payout, ETH").fill("0,5");
  const form = page.getByRole("form", { name: "Announce a change" });
  expect(await form.getByRole("button", { name: "Announce a change" }).isDisabled()).toBe(true);
  await page.getByLabel("Minimum payout, ETH").fill("0.025");
  await form.getByRole("button", { name: "Announce a change" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Announce a change" }).click();
  const announced = page.locator('[data-terms="2"]');
  await announced.getByText("announced").waitFor();
  expect(await announced.textContent()).toContain("20.5");
  await using seen = await openPage(browser);
  await visit(seen, `${world.url}/transparency`);
  await seen.page.getByText("Announced").first().waitFor();
  expect(watched.complaints.filter((line) => !/40[14]|422/.test(line))).toEqual([]);
});

test("an operator sees who sends streams, what they come to, and how much room the data has", async () => {
  await world.stream("counted", 1);
  await using watched = await openPage(browser);
  const { page } = watched;
  await operate(page);
  const gateway = page.locator('[data-gateway="127.0.0.1"]');
  await gateway.waitFor();
  const wei = await gateway.locator("[data-wei]").getAttribute("data-wei");
  expect(BigInt(wei ?? 0)).toBeGreaterThan(0n);
  const disk = page.locator("[data-disk]");
  await disk.getByText(world.pool.dataDir).waitFor();
  expect(await disk.locator("tbody tr").count()).toBeGreaterThan(0);
  await expectForEveryone(page, "admin");
});
