import { useEffect, useState } from "react";
import { formatSpan } from "../format/time.ts";
import { type ToSign, type Wallet, WalletProblem, type WalletWords } from "./types.ts";

/** Hardly anybody signs anything: what it takes comes with the first page that asks for it. */
const load = (): Promise<typeof import("./wagmi.ts")> => import("./wagmi.ts");

/** The wallets of this browser, as they make themselves known; undefined until they were looked for. */
export function useWallets(chainId: number): readonly Wallet[] | undefined {
  const [wallets, setWallets] = useState<readonly Wallet[]>();
  useEffect(() => {
    let stop = (): void => {};
    let left = false;
    void load().then(
      ({ watchWallets }) => {
        if (!left) stop = watchWallets(chainId, setWallets);
      },
      // Without it there is still the way by hand.
      () => setWallets([]),
    );
    return () => {
      left = true;
      stop();
    };
  }, [chainId]);
  return wallets;
}

/** As long as anybody looks for a hardware wallet in a drawer, and no longer than a text to sign is good for. */
const WAIT_MS = 3 * 60_000;

/**
 * Signs with a wallet. It is waited for until `waiting` is aborted, by its owner or because it says nothing at all; what it
 * does later counts no more.
 *
 * @throws WalletProblem
 */
export async function sign(
  wallet: Wallet,
  worker: string,
  what: ToSign,
  words: WalletWords,
  waiting: AbortController,
): Promise<string> {
  const { signal } = waiting;
  const late = setTimeout(() => waiting.abort(new WalletProblem(words.silent(formatSpan(WAIT_MS)))), WAIT_MS);
  try {
    const { signWith } = await load();
    return await Promise.race([
      // An address that the page has checked.
      signWith(wallet, worker as `0x${string}`, what, words, signal),
      new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    ]);
  } catch (error) {
    if (error instanceof WalletProblem) throw error;
    const said = (typeof error === "object" && error !== null ? error : {}) as {
      readonly shortMessage?: unknown;
      readonly message?: unknown;
    };
    const message = typeof said.shortMessage === "string" ? said.shortMessage : said.message;
    throw new WalletProblem(typeof message === "string" ? message.slice(0, 300) : "", { cause: error });
  } finally {
    clearTimeout(late);
  }
}
