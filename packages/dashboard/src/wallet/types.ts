/** A wallet of the browser, by the name that it gives itself; one that has none is the browser's only one. */
export interface Wallet {
  readonly id: string;
  readonly name: string;
}

/** What is signed: a text (EIP-191), or typed data (EIP-712), which wallets sign on its own chain alone. */
export type ToSign =
  { readonly chainId: number; readonly text: string } | { readonly chainId: number; readonly document: unknown };

/** The wallet, or its owner, said no; the text is for people, and empty where nobody said anything. */
export class WalletProblem extends Error {}

/** What people are told when a wallet does not do what it was asked. */
export interface WalletWords {
  /** It offers no address but this one; empty: none at all. */
  readonly offers: (offered: string) => string;
  /** It is on another chain, and does not know or does not go to this one. */
  readonly otherChain: (chain: string) => string;
  /** Nothing came back for so long. */
  readonly silent: (waited: string) => string;
}
