import { useEffect, useState } from "react";
import type { ToSign, Wallet } from "./types.ts";

/** The wallet, or its owner, said no; the text is for people. */
export class WalletProblem extends Error {}

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

/** Signs with a wallet. `other`: says that it offers none but this address. @throws WalletProblem */
export async function sign(
  wallet: Wallet,
  worker: string,
  what: ToSign,
  other: (offered: string) => string,
): Promise<string> {
  try {
    const { signWith } = await load();
    // An address that the page has checked.
    return await signWith(wallet, worker as `0x${string}`, what, (offered) => new WalletProblem(other(offered)));
  } catch (error) {
    if (error instanceof WalletProblem) throw error;
    const said = (typeof error === "object" && error !== null ? error : {}) as {
      readonly shortMessage?: unknown;
      readonly message?: unknown;
    };
    const message = typeof said.shortMessage === "string" ? said.shortMessage : said.message;
    throw new WalletProblem(typeof message === "string" ? message.slice(0, 300) : "", { cause: error });
  }
}
