import { bytesToHex } from "@openpool/protocol";
import { useSyncExternalStore } from "react";

/** What a wallet in the browser lets a page ask (EIP-1193). */
interface Provider {
  request(question: { readonly method: string; readonly params?: readonly unknown[] }): Promise<unknown>;
}

/** A wallet of the browser, by the name that it gives itself. */
export interface Wallet {
  readonly id: string;
  readonly name: string;
  readonly provider: Provider;
}

/** The wallet, or its owner, said no; the text is for people. */
export class WalletProblem extends Error {}

let found: readonly Wallet[] = [];
const listeners = new Set<() => void>();

function add(wallet: Wallet): void {
  if (found.some((one) => one.id === wallet.id)) return;
  found = [...found, wallet];
  for (const one of listeners) one();
}

/** Wallets answer the question with an event each (EIP-6963); one that is of before that stands in `window.ethereum`. */
function onAnnounced(event: Event): void {
  const { info, provider } = ((event as CustomEvent<unknown>).detail ?? {}) as {
    readonly info?: { readonly uuid?: unknown; readonly name?: unknown };
    readonly provider?: Provider;
  };
  if (typeof info?.uuid !== "string" || typeof info.name !== "string" || typeof provider?.request !== "function")
    return;
  add({ id: info.uuid, name: info.name.slice(0, 40), provider });
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("eip6963:announceProvider", onAnnounced);
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  const { ethereum } = window as { readonly ethereum?: Provider };
  if (found.length === 0 && typeof ethereum?.request === "function") {
    add({ id: "window.ethereum", name: "", provider: ethereum });
  }
  return () => {
    listeners.delete(listener);
    window.removeEventListener("eip6963:announceProvider", onAnnounced);
  };
}

/** The wallets of this browser, as they make themselves known. */
export function useWallets(): readonly Wallet[] {
  return useSyncExternalStore(subscribe, () => found);
}

/** Asks; what a wallet refuses with becomes a text for people. */
async function ask(wallet: Wallet, method: string, params: readonly unknown[] = []): Promise<unknown> {
  try {
    return await wallet.provider.request({ method, params });
  } catch (error) {
    const { message } = (typeof error === "object" && error !== null ? error : {}) as { readonly message?: unknown };
    throw new WalletProblem(typeof message === "string" ? message.slice(0, 300) : "", { cause: error });
  }
}

const isSignature = (answer: unknown): answer is string =>
  typeof answer === "string" && /^0x[0-9a-fA-F]+$/.test(answer);

/** Makes sure that the wallet lets this page use an address. `other`: it offers none but this. */
async function choose(wallet: Wallet, worker: string, other: (offered: string) => string): Promise<void> {
  const accounts = await ask(wallet, "eth_requestAccounts");
  const offered = Array.isArray(accounts) ? accounts.filter((one) => typeof one === "string") : [];
  if (offered.some((one) => one.toLowerCase() === worker.toLowerCase())) return;
  throw new WalletProblem(other(offered[0] ?? ""));
}

/** Signs a text (EIP-191). @throws WalletProblem */
export async function signText(
  wallet: Wallet,
  worker: string,
  text: string,
  other: (offered: string) => string,
): Promise<string> {
  await choose(wallet, worker, other);
  const signature = await ask(wallet, "personal_sign", [`0x${bytesToHex(new TextEncoder().encode(text))}`, worker]);
  if (!isSignature(signature)) throw new WalletProblem("");
  return signature;
}

/** Signs typed data (EIP-712), on its chain. @throws WalletProblem */
export async function signTyped(
  wallet: Wallet,
  worker: string,
  typed: { readonly document: unknown; readonly chainId: number },
  other: (offered: string) => string,
): Promise<string> {
  await choose(wallet, worker, other);
  // Wallets sign typed data of the chain alone that they are on; one that cannot change it says so itself.
  const chainId = `0x${typed.chainId.toString(16)}`;
  if ((await ask(wallet, "eth_chainId")) !== chainId) await ask(wallet, "wallet_switchEthereumChain", [{ chainId }]);
  const signature = await ask(wallet, "eth_signTypedData_v4", [worker, JSON.stringify(typed.document)]);
  if (!isSignature(signature)) throw new WalletProblem("");
  return signature;
}
