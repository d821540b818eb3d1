import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LocalChain, startLocalChain } from "@openpool/pool";
import type { Browser, Locator, Page } from "playwright-core";
import { privateKeyToAccount } from "viem/accounts";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { attachedTo, SECRET, writeSecret } from "../attached/pool.ts";
import { ADA, BOB, push, until } from "../e2e/pool.ts";
import { behaviours } from "../peers/fake-transcoder.ts";
import { startStockOrchestrator, type StockOrchestrator } from "../peers/stock-orchestrator.ts";
import { barriers, openBrowser, openPage, settle, sideways, visit } from "./browser.ts";
import { localPayouts, type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 120_000 });

const EVIL = `<img src=x onerror="document.title='run'"><script>document.title='run'</script> moov atom not found`;
const carol = privateKeyToAccount(`0x${"0".repeat(62)}ca`);

let dir: string;
let secret: Awaited<ReturnType<typeof writeSecret>>;
let chain: LocalChain;
let orchestrator: StockOrchestrator;
let world: PagesWorld;
let browser: Browser;
let token: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "openpool-operator-"));
  secret = await writeSecret();
  [chain, orchestrator, browser] = await Promise.all([
    startLocalChain({ manualMining: true }),
    startStockOrchestrator({ secret: SECRET }),
    openBrowser(),
  ]);
  const keyFile = join(dir, "payer.key");
  await writeFile(keyFile, chain.richKeys[0] ?? "", { mode: 0o600 });
  // Nobody is there.
  const lost = { addr: "127.0.0.1:9", cliAddr: undefined };
  world = await startPagesWorld({
    attached: attachedTo({ main: orchestrator, lost }, secret.file),
    // Every run waits for a person, and a leap day is far enough away: runs are planned by hand.
    payouts: localPayouts(chain, { keyFile, approvalAboveWei: 0n }),
    firstTerms: { holdMs: 0, minimumPayoutWei: 0n, schedule: { cron: "0 0 29 2 *", timeZone: "UTC" } },
  });
  token = (await readFile(join(world.pool.dataDir, "admin-token"), "utf8")).trim();
  await world.join(`${ADA}.rig1`);
  await world.stream("paid", 2);
}, 180_000);
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
  await orchestrator?.[Symbol.asyncDispose]();
  await chain?.[Symbol.asyncDispose]();
  await secret?.[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

/** Opens the operator's page, with its token. */
async function operate(page: Page): Promise<void> {
  await page.goto(`${world.pool.running.adminUrl}/admin`);
  await page.getByLabel("Admin token").fill(token);
  await page.getByRole("button", { name: "Use it" }).click();
  await settle(page);
}

test("every change of an operator's can be made from its page, and stands in the audit log", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await operate(page);
  const audit = page.locator("section", { hasText: "What was asked for" });
  const audited = (action: string, body = ""): Promise<void> =>
    audit.locator("tr", { hasText: action }).filter({ hasText: body }).first().waitFor();
  const press = (where: Locator, name: string): Promise<void> =>
    where.getByRole("button", { name, exact: true }).first().click();
  const agree = async (name: string, field?: readonly [label: string, text: string]): Promise<void> => {
    const dialog = page.getByRole("dialog");
    if (field) await dialog.getByLabel(field[0]).fill(field[1]);
    await press(dialog, name);
  };

  const rig = page.locator(`[data-rig="${ADA}.rig1"]`);
  await press(rig, "Drain");
  await agree("Drain");
  await audited(`POST /rigs/${ADA}.rig1/drain`);
  await press(rig, "Take back");
  await audited(`POST /rigs/${ADA}.rig1/undrain`);

  const upstream = page.locator('[data-upstream="main"]');
  await upstream.getByText("registered").waitFor();
  await press(upstream, "Drain");
  await agree("Drain");
  await upstream.getByText("drained").waitFor();
  await audited("POST /upstreams/main/drain");
  await press(upstream, "Take back");
  await upstream.getByText("registered").waitFor();
  await audited("POST /upstreams/main/undrain");

  const dryRun = async (): Promise<string | null> => {
    await press(page.locator("main"), "Dry run");
    return page.locator("p[role=status]").first().textContent();
  };
  await expect.poll(dryRun, { timeout: 60_000 }).toContain("It would pay");
  await audited("POST /payouts/plan", '{"dryRun":true}');
  const plan = async (): Promise<Locator> => {
    await press(page.locator("main"), "Plan a run now");
    await agree("Plan a run now");
    const planned = page.locator("[data-run]", { hasText: "planned" });
    await planned.waitFor();
    return planned;
  };
  const first = await plan();
  await page.locator("p[role=status]", { hasText: /^Planned: .* to 1 worker\.$/ }).waitFor();
  await audited("POST /payouts/plan", '{"dryRun":false}');
  const id = await first.getAttribute("data-run");
  await press(first, "Take back");
  await page.locator(`[data-run="${id}"]`, { hasText: "cancelled" }).waitFor();
  await audited(`POST /payouts/${id}/cancel`);
  const second = await plan();
  const approved = await second.getAttribute("data-run");
  await press(page.locator("main"), "Pause");
  await agree("Pause", ["Reason, for everybody to read", "looking at something"]);
  await page.getByText("Paused: looking at something", { exact: true }).waitFor();
  await audited("POST /payouts/pause", "looking at something");
  await page.locator("[data-exception=payouts-paused]").waitFor();
  await using seen = await openPage(browser);
  for (const [path, word] of [
    [`/w/${ADA}`, "Payouts are stopped"],
    ["/", "stopped"],
    ["/payouts", "stopped"],
  ] as const) {
    await visit(seen, `${world.url}${path}`);
    const main = seen.page.locator("main");
    await main.getByText(word, { exact: true }).waitFor();
    await main.getByText("The operator has paused payouts: looking at something").first().waitFor();
  }
  await press(page.locator("main"), "Resume");
  await audited("POST /payouts/resume");
  await press(second, "Approve");
  await agree("Approve", ["Your name, for the log", "Grace"]);
  await audited(`POST /payouts/${approved}/approve`, '{"by":"Grace"}');

  await press(page.locator("main"), "Announce a change");
  await page.getByLabel("Commission, %").fill("20.5");
  await press(page.getByRole("form", { name: "Announce a change" }), "Announce a change");
  await agree("Announce a change");
  await page.locator('[data-terms="2"]').waitFor();
  await audited("POST /terms", '"commissionPpm":"205000"');

  await page.getByLabel("Address of a worker").fill(ADA);
  await press(page.locator("main"), "Issue a credential");
  const shown = page.locator("[role=status]", { hasText: "shown only now" });
  const issued = (await shown.locator("pre").textContent())?.trim() ?? "";
  expect(issued).toMatch(/^op_/);
  await audited("POST /workers", ADA);
  await press(page.locator("main"), "Revoke");
  await audited("DELETE /credentials/");

  const worker = page.locator(`[data-worker="${ADA}"]`);
  await press(worker, "Lock to credentials");
  await audited(`PATCH /workers/${ADA}`, '{"locked":true}');
  await press(worker, "Unlock");
  await audited(`PATCH /workers/${ADA}`, '{"locked":false}');
  await press(worker, "Note");
  await agree("Save", ["Note", "asked nicely"]);
  await audited(`PATCH /workers/${ADA}`, '{"note":"asked nicely"}');
  await press(worker, "Ban");
  await agree("Ban", ["Reason, for everybody to read", "sends black frames"]);
  await audited(`PATCH /workers/${ADA}`, '{"banned":"sends black frames"}');
  // What a ban holds back is an exception, with the reason.
  const held = page.locator("[data-exception=worker-held]");
  await held.getByText("it is banned (sends black frames)").waitFor();
  // A command is told whole, to be copied.
  await held.getByText(`openpool workers release ${ADA}`).waitFor();
  await press(worker, "Unban");
  await audited(`PATCH /workers/${ADA}`, '{"banned":null}');
  await held.waitFor({ state: "detached" });

  await page.locator('[data-gateway="127.0.0.1"]').waitFor();
  // The log holds what was asked for and no secret.
  const text = (await audit.textContent()) ?? "";
  expect([text.includes(issued), text.includes(token)]).toEqual([false, false]);
  await page.locator("[data-exception=upstream-lost]").getByText("The orchestrator lost does not have").waitFor();
  // It goes on behind the newest of it, as long as it is.
  const lines = await audit.locator("tbody tr").count();
  await page.route("**/admin/v1/audit*", (route) => {
    const url = new URL(route.request().url());
    url.searchParams.set("limit", "5");
    return route.continue({ url: url.href });
  });
  await page.reload();
  await expect.poll(() => audit.locator("tbody tr").count(), { timeout: 20_000 }).toBe(5);
  for (let shown = 5; shown < lines; shown += 5) {
    await audit.getByRole("button", { name: "Show more" }).click();
    await expect.poll(() => audit.locator("tbody tr").count(), { timeout: 20_000 }).toBe(Math.min(lines, shown + 5));
  }
  await audit.getByRole("button", { name: "Show more" }).waitFor({ state: "detached" });
  expect(watched.complaints).toEqual([]);
  expect(await barriers(page)).toEqual([]);
});

test("what a rig, its FFmpeg and its owner say is text on every page, and never a program", async () => {
  // A transcoder whose version, errors and name on the pages are all programs.
  const loud = await world.pool.transcoder({ secret: `${BOB}.loud`, version: "<b onmouseover=alert(1)>9" });
  loud.behaviour = behaviours.error(EVIL);
  await world.join(`${carol.address}.attic`);
  const { admin } = world.pool.running.node;
  const gateway = world.pool.gateway();
  const standing = (): string | undefined => admin.status().rigs.find((one) => one.rig === "loud")?.reason;
  for (let stream = 0; !standing()?.includes("<img") && stream < 60; stream++)
    await push(gateway, `tried-${stream}`, 0);
  expect(standing()).toContain("<img");

  const { message } = await world.ask<{ message: string }>(`/v1/sign-in?address=${carol.address}`);
  const headers = { origin: world.url, "content-type": "application/json" };
  const signature = await carol.signMessage({ message });
  const body = JSON.stringify({ message, signature });
  const entered = await fetch(`${world.url}/v1/sign-in`, { method: "POST", headers, body });
  const cookie = entered.headers.get("set-cookie")?.split(";")[0] ?? "";
  const label = "<img src=x onerror=document.title=1>";
  const named = await fetch(`${world.url}/v1/workers/${carol.address}/settings/rigs/attic`, {
    method: "PUT",
    headers: { ...headers, cookie },
    body: JSON.stringify({ label }),
  });
  expect(named.status).toBe(200);
  await until(async () =>
    (await (await fetch(`${world.url}/v1/workers/${carol.address}/rigs/attic`)).text()).includes("<img"),
  );

  await using watched = await openPage(browser);
  const { page } = watched;
  const harmless = async (): Promise<void> => {
    expect(await page.locator("main img, main script").count()).toBe(0);
    expect(await page.title()).not.toMatch(/^(run|1)$/);
    expect(await sideways(page)).toBe(0);
  };
  await operate(page);
  await page.locator(`[data-rig="${BOB}.loud"]`).getByText("<img src=x onerror").first().waitFor();
  await page
    .locator("[data-exception]", { hasText: `${BOB.slice(-4)}.loud` })
    .getByText("<img src=x onerror")
    .waitFor();
  await harmless();
  for (const path of [`/w/${BOB}`, `/w/${BOB}/loud`, "/workers", "/"]) {
    await visit(watched, `${world.url}${path}`);
    await harmless();
    // Strangers do not even read it.
    expect(await page.content()).not.toContain("moov atom");
  }
  for (const path of [`/w/${carol.address}`, `/w/${carol.address}/attic`]) {
    await visit(watched, `${world.url}${path}`);
    await page.getByText(label).first().waitFor();
    await harmless();
  }
  expect(watched.complaints).toEqual([]);
});
