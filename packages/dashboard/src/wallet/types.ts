/** A wallet of the browser, by the name that it gives itself; one that has none is the browser's only one. */
export interface Wallet {
  readonly id: string;
  readonly name: string;
}

/** What is signed: a text (EIP-191), or typed data (EIP-712), which wallets sign on its own chain alone. */
export type ToSign =
  { readonly chainId: number; readonly text: string } | { readonly chainId: number; readonly document: unknown };
