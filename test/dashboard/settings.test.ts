import { spawnSync } from "node:child_process";
import { startLocalChain } from "@openpool/pool";
import type { WorkerAddress } from "@openpool/protocol";
import type { Browser } from "playwright-core";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { BOB } from "../e2e/pool.ts";
import { expectForEveryone, openBrowser, openPage, visit } from "./browser.ts";
import { injectWallet } from "./wallet.ts";
import { localPayouts, type PagesWorld, startPagesWorld } from "./world.ts";

vi.setConfig({ testTimeout: 120_000 });

const key = generatePrivateKey();
const account = privateKeyToAccount(key);
/** A token that the pool offers, by its address alone: nothing on this chain says what it is called. */
const TOKEN = "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC" as WorkerAddress;
const settingsPath = `/settings/${account.address}`;
let chain: Awaited<ReturnType<typeof startLocalChain>>;
let world: PagesWorld;
let browser: Browser;

/** What a page may ask a wallet for a signature of a text. */
const HARMLESS = ["wallet_requestPermissions", "eth_requestAccounts", "eth_accounts", "eth_chainId", "personal_sign"];

beforeAll(async () => {
  // By its number it is a chain that has a node and an explorer for everybody.
  [chain, browser] = await Promise.all([startLocalChain({ chainId: 42_161 }), openBrowser()]);
  world = await startPagesWorld({
    alerts: {
      publicUrl: "http://127.0.0.1:0",
      settings: { mail: undefined, telegram: undefined, operator: [] },
    },
    payouts: localPayouts(chain, {
      choices: [TOKEN],
      prices: new Map([[TOKEN, { kind: "fixed", unitsPerEth: 2_500n }]]),
    }),
  });
  await world.join(`${account.address}.attic`);
}, 180_000);
afterAll(async () => {
  await browser?.close();
  await world?.[Symbol.asyncDispose]();
  await chain?.[Symbol.asyncDispose]();
});

/** What a command of the page signs in a shell, where Foundry's cast is installed. */
function castSigns(command: string): string | undefined {
  if (spawnSync("cast", ["--version"]).status !== 0) return undefined;
  const typed = command.replace("--interactive", `--private-key ${key}`);
  return spawnSync("bash", ["-c", typed], { encoding: "utf8" }).stdout.trim();
}

test("a worker signs in with the wallet of its browser and changes everything that is its own to change", async () => {
  await using watched = await openPage(browser);
  const { page, complaints } = watched;
  const asked = await injectWallet(page, account, { chainId: 1, newChains: "when-added" });
  await visit(watched, `${world.url}/w/${account.address}`);
  await page.getByRole("link", { name: "Settings" }).click();
  await page.waitForURL(`**${settingsPath}`);
  await page.getByRole("button", { name: "Sign in with Test Wallet" }).waitFor();
  await expectForEveryone(page, "settings-sign-in");
  await page.getByRole("button", { name: "Sign in with Test Wallet" }).click();
  await page.getByRole("heading", { name: "How you are paid" }).waitFor();
  // Which of its accounts the page may see, and one signature: nothing that could move anything.
  expect(asked.map((one) => one.method).filter((method) => !HARMLESS.includes(method))).toEqual([]);
  expect(asked.filter((one) => one.method === "personal_sign")).toHaveLength(1);
  const cookies = await page.context().cookies();
  expect(cookies).toMatchObject([{ name: "openpool-session", httpOnly: true, sameSite: "Strict" }]);
  expect(await page.evaluate("document.cookie")).toBe("");

  // A rig's other name is text, whatever stands in it.
  const rig = page.locator("[data-rig=attic]");
  await rig.getByLabel("Another name for attic").fill("<b onclick=alert(1)>Attic</b>");
  await rig.getByRole("button").click();
  await rig.getByText("Saved").waitFor();

  const payout = page.locator("#payout");
  await payout.getByText("Change it", { exact: true }).click();
  await payout.getByLabel("Address", { exact: true }).fill(BOB);
  await payout.getByLabel("Minimum, ETH").fill("0.05");
  await payout.getByLabel("Gas at most, % of the amount").fill("0.5");
  await payout.getByLabel("Paid in").selectOption(TOKEN);
  await payout.getByRole("button", { name: "Go on to sign" }).click();
  await payout.getByRole("button", { name: "Sign with Test Wallet" }).click();
  const pending = payout.locator("[data-pending]");
  await pending.waitFor();
  expect(await pending.textContent()).toContain(BOB);
  expect(await pending.textContent()).toContain("0.5 % of the amount");
  expect(await pending.textContent()).toContain("Intoken 0xCcCC…cccC");
  await pending.locator(`a[href="https://arbiscan.io/address/${BOB}"]`).waitFor();
  expect(await pending.locator("[data-wei]").getAttribute("data-wei")).toBe("50000000000000000");
  // Wallets sign typed data on its own chain alone, and this one was on another.
  const methods = asked.map((one) => one.method);
  expect(methods.at(-1)).toBe("eth_signTypedData_v4");
  const chainId = `0x${chain.chainId.toString(16)}`;
  expect(asked[methods.indexOf("wallet_switchEthereumChain")]?.params).toEqual([{ chainId }]);
  // This one did not know it either, so it was offered as everybody has it, and asked to go there once more.
  expect(asked[methods.indexOf("wallet_addEthereumChain")]?.params).toEqual([
    {
      chainId,
      chainName: "Arbitrum One",
      nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
      rpcUrls: ["https://arb1.arbitrum.io/rpc"],
      blockExplorerUrls: ["https://arbiscan.io"],
    },
  ]);
  expect(methods.filter((method) => method === "wallet_switchEthereumChain")).toHaveLength(2);
  await expectForEveryone(page, "settings");
  await pending.getByRole("button", { name: "Take it back" }).click();
  await pending.waitFor({ state: "detached" });

  const access = page.locator("#access");
  await access.getByLabel("Rig").fill("attic");
  await access.getByRole("button", { name: "Issue a credential" }).click();
  const secret = (await access.locator("pre").textContent()) ?? "";
  expect(secret).toMatch(/^op_/);
  await access.getByRole("button", { name: "Lock the address" }).click();
  await access.getByText("Only rigs with a credential may use this address.").waitFor();
  await access.getByRole("button", { name: "Unlock it" }).click();
  await access.getByText("Anybody may start a rig with this address").waitFor();
  await access.getByRole("button", { name: "Revoke the credential of attic" }).click();
  await access.locator("table").waitFor({ state: "detached" });

  const alerts = page.locator("#alerts");
  await alerts.getByText("Subscribe", { exact: true }).first().click();
  await alerts.getByLabel("Over").selectOption("discord");
  await alerts
    .getByLabel("Webhook URL of a Discord channel")
    .fill("https://discord.com/api/webhooks/123456789012345678/abcdefghijklmnopqrstuvwx");
  await alerts.getByRole("button", { name: "Subscribe" }).click();
  const subscription = alerts.locator("[data-subscription=discord]");
  await subscription.waitFor();
  await subscription.getByRole("button", { name: "Change" }).click();
  await subscription.getByLabel("new terms").check();
  await subscription.getByRole("button", { name: "Save" }).click();
  await subscription.getByText(/, new terms/).waitFor();
  await subscription.getByRole("button", { name: "End" }).click();
  await subscription.waitFor({ state: "detached" });

  await page.getByRole("link", { name: "The worker's page" }).click();
  await page.getByText("<b onclick=alert(1)>Attic</b>").first().waitFor();
  expect(complaints).toEqual([]);

  const told = await world.pool.events("settings.changed");
  expect(told.map(({ data }) => data["setting"])).toEqual(["rig-label", "alerts", "alerts", "alerts"]);
});

test("a worker without a wallet in its browser signs by hand, and signs out everywhere", async () => {
  await using watched = await openPage(browser);
  const { page, complaints } = watched;
  await visit(watched, `${world.url}${settingsPath}`);
  await page.getByText("No wallet makes itself known in this browser.").waitFor();
  const [cast, , message] = await page.locator("pre").allTextContents();
  // What the command would sign, byte by byte.
  expect(cast).toBe(`cast wallet sign --interactive $'${message!.replaceAll("\n", "\\n")}'`);
  const field = page.getByLabel("Signature");
  await field.fill(await privateKeyToAccount(generatePrivateKey()).signMessage({ message: message! }));
  await page.getByRole("button", { name: "Sign in" }).click();
  expect(await page.getByRole("alert").textContent()).toContain("The signature is not one of");

  const [command, , anew] = await page.locator("pre").allTextContents();
  await field.fill(castSigns(command!) ?? (await account.signMessage({ message: anew! })));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "How you are paid" }).waitFor();

  const payout = page.locator("#payout");
  await payout.getByText("Change it", { exact: true }).click();
  await payout.getByLabel("Address", { exact: true }).fill(BOB);
  await payout.getByRole("button", { name: "Go on to sign" }).click();
  await payout.getByLabel("Signature").waitFor();
  const [typed, , document] = await payout.locator("pre").allTextContents();
  expect(typed).toMatch(/^cast wallet sign --interactive --data \$'/);
  await payout
    .getByLabel("Signature")
    .fill(castSigns(typed!) ?? (await account.signTypedData(JSON.parse(document!) as never)));
  await payout.getByRole("button", { name: "Hand it in" }).click();
  await payout.locator("[data-pending]").getByRole("button", { name: "Take it back" }).click();
  await payout.locator("[data-pending]").waitFor({ state: "detached" });

  await page.getByRole("button", { name: "Sign out everywhere" }).click();
  await page.getByText("Sign in with the wallet of this address.").waitFor();
  // A browser reports the refusal itself.
  expect(complaints.filter((line) => !line.includes("401"))).toEqual([]);
});

test("anybody subscribes to alerts of a worker without signing in, and is told what comes next", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await visit(watched, `${world.url}/w/${account.address}`);
  await page.getByRole("link", { name: "Subscribe to alerts" }).click();
  const alerts = page.locator("#alerts");
  await alerts.getByText("Subscribe", { exact: true }).first().click();
  await alerts.getByLabel("Over").selectOption("webhook");
  await alerts.getByLabel("URL that takes POST requests").fill("http://127.0.0.1/hook");
  await alerts.getByRole("button", { name: "Subscribe" }).click();
  await alerts.getByRole("alert").waitFor();
  await alerts.getByLabel("URL that takes POST requests").fill("https://hooks.example.com/hook");
  await alerts.getByRole("button", { name: "Subscribe" }).click();
  await alerts.getByText("A message with a link was sent there").waitFor();
  expect(await alerts.locator("pre").textContent()).toMatch(/^whsec_/);
  await expectForEveryone(page, "settings-open");
  // A browser reports the refusal itself.
  expect(watched.complaints.filter((line) => !line.includes("400"))).toEqual([]);
});

test("a wallet of somebody else, or one whose owner says no, lets nobody in and says why", async () => {
  const stranger = privateKeyToAccount(generatePrivateKey());
  await using other = await openPage(browser);
  const asked = await injectWallet(other.page, account, { chainId: 1, shows: stranger });
  await visit(other, `${world.url}${settingsPath}`);
  const button = other.page.getByRole("button", { name: "Sign in with Test Wallet" });
  await button.click();
  await other.page.getByRole("alert").waitFor();
  expect(await other.page.getByRole("alert").textContent()).toContain(`offers ${stranger.address.toLowerCase()}`);
  // Once more, and the wallet lets its owner choose another.
  await button.click();
  await other.page.getByRole("heading", { name: "How you are paid" }).waitFor();
  expect(asked.map(({ method }) => method)).toContain("wallet_revokePermissions");

  await using refusing = await openPage(browser);
  await injectWallet(refusing.page, account, { chainId: 1, refuses: true });
  await visit(refusing, `${world.url}${settingsPath}`);
  await refusing.page.getByRole("button", { name: "Sign in with Test Wallet" }).click();
  expect(await refusing.page.getByRole("alert").textContent()).toContain("User rejected the request.");
});

test("a wallet that says nothing is waited for no longer than its owner likes, and not for ever", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  await injectWallet(page, account, { chainId: 1, silentAt: "personal_sign" });
  await visit(watched, `${world.url}${settingsPath}`);
  const button = page.getByRole("button", { name: "Sign in with Test Wallet" });
  await button.click();
  await page.getByText("Waiting for your wallet.").waitFor();
  expect(await button.isDisabled()).toBe(true);
  await page.getByRole("button", { name: "Stop waiting" }).click();
  expect(await page.getByRole("alert").textContent()).toBe("The wallet did not sign.");
  await page.clock.install();
  await button.click();
  await page.getByText("Waiting for your wallet.").waitFor();
  await page.clock.fastForward(3 * 60_000);
  expect(await page.getByRole("alert").textContent()).toContain("The wallet has not answered for 3 min: open it");
  expect(await button.isEnabled()).toBe(true);
  expect(watched.complaints).toEqual([]);
});

test("a wallet that does not go to the pool's chain is not asked to sign there, and its owner is told", async () => {
  await using watched = await openPage(browser);
  const { page } = watched;
  const asked = await injectWallet(page, account, { chainId: 1, newChains: "never" });
  await visit(watched, `${world.url}${settingsPath}`);
  await page.getByRole("button", { name: "Sign in with Test Wallet" }).click();
  const payout = page.locator("#payout");
  await payout.getByText("Change it", { exact: true }).click();
  await payout.getByRole("button", { name: "Go on to sign" }).click();
  await payout.getByRole("button", { name: "Sign with Test Wallet" }).click();
  expect(await payout.getByRole("alert").textContent()).toContain("The wallet is not on Arbitrum One");
  expect(asked.map(({ method }) => method)).not.toContain("eth_signTypedData_v4");
  expect(watched.complaints).toEqual([]);
});
