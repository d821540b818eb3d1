import type { Page } from "playwright-core";
import { type Hex, hexToString } from "viem";
import type { PrivateKeyAccount } from "viem/accounts";

/** What a wallet was asked, oldest first. */
export type WalletLog = { readonly method: string; readonly params: readonly unknown[] }[];

export interface TestWallet {
  readonly chainId: number;
  /** Its owner presses the other button. */
  readonly refuses?: boolean;
  /** It goes to no chain that it was not given before, and `never`: not even then. */
  readonly newChains?: "when-added" | "never";
  /** What it lets a page see until the page gives that back; its owner chooses better then. */
  readonly shows?: PrivateKeyAccount;
  /** It never answers this. */
  readonly silentAt?: string;
}

/**
 * Puts a wallet into the browser, as extensions do: it makes itself known when a page asks (EIP-6963), and signs what it is
 * asked to with a key that the page never sees.
 */
export async function injectWallet(
  page: Page,
  account: PrivateKeyAccount,
  { chainId, refuses = false, newChains, shows = account, silentAt }: TestWallet,
): Promise<WalletLog> {
  const log: WalletLog = [];
  let on = chainId;
  let shown = shows;
  const chains = new Set([chainId]);
  await page.exposeFunction("askWallet", async (method: string, params: readonly unknown[]): Promise<unknown> => {
    log.push({ method, params });
    if (method === silentAt) return new Promise(() => {});
    const no = { error: { code: 4001, message: "User rejected the request." } };
    switch (method) {
      case "eth_accounts":
      case "eth_requestAccounts":
        return { result: [shown.address.toLowerCase()] };
      case "wallet_revokePermissions":
        shown = account;
        return { result: null };
      case "eth_chainId":
        return { result: `0x${on.toString(16)}` };
      case "wallet_addEthereumChain":
        if (newChains === "never") return { error: { code: 4200, message: `${method} is not supported` } };
        chains.add(Number((params[0] as { readonly chainId: Hex }).chainId));
        return { result: null };
      case "wallet_switchEthereumChain": {
        const wanted = Number((params[0] as { readonly chainId: Hex }).chainId);
        if (newChains !== undefined && !chains.has(wanted)) {
          return { error: { code: 4902, message: "Unrecognized chain ID. Try adding the chain first." } };
        }
        on = wanted;
        return { result: null };
      }
      case "personal_sign":
        return refuses ? no : { result: await account.signMessage({ message: hexToString(params[0] as Hex) }) };
      case "eth_signTypedData_v4":
        return refuses ? no : { result: await account.signTypedData(JSON.parse(String(params[1])) as never) };
      default:
        return { error: { code: 4200, message: `${method} is not supported` } };
    }
  });
  await page.addInitScript(`{
    const provider = {
      on() {},
      removeListener() {},
      async request({ method, params = [] }) {
        const answer = await window.askWallet(method, params);
        if (answer.error) throw answer.error;
        return answer.result;
      },
    };
    const detail = Object.freeze({
      info: { uuid: "9d3c1f54-0000-4000-8000-000000000001", name: "Test Wallet", icon: "data:,", rdns: "example.test" },
      provider,
    });
    const announce = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
    window.addEventListener("eip6963:requestProvider", announce);
    announce();
  }`);
  return log;
}
